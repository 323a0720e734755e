//! `pgo backup`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{
    AskedBackup, CreateBackrestBackupRequest, CreateBackrestBackupResponse, CreateDumpRequest,
    CreateDumpResponse, Endpoint, Outcome,
};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    select::{Selected, Selection, each, shows},
    wait::{BACKUPS, Following, WaitFlags, Work},
};
use crate::client::Api;

/// What makes a backup.
pub const PGBACKREST: &str = "pgbackrest";

/// What makes a dump.
pub const PGDUMP: &str = "pgdump";

/// What makes a copy of a server.
pub const PGBASEBACKUP: &str = "pgbasebackup";

/// Back up clusters
///
/// The answer says that the backup was asked for. With --wait the command follows it and ends when it is complete, or with the
/// cause of its failure. `pgo show backup` shows the backups that there are.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  pgo backup hippo --backup-opts=--type=full --wait\n  pgo backup hippo --backup-type=pgdump \
                  --backup-opts=--dump-all --wait\n  pgo backup hippo --backup-type=pgbasebackup --pvc-name=hippo-copies --wait"
)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    kind: BackupType,
    /// Options of the program, in one text; of pgBackRest, such as --type=full, diff or incr, of pg_basebackup, or of pg_dump;
    /// --dump-all among these means all databases
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    backup_opts: String,
    /// Where pgBackRest keeps it: local, s3 or local,s3
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    pgbackrest_storage_type: String,
    /// Claim that a dump or a copy goes to; made where it is not there
    #[arg(
        long,
        value_name = "CLAIM",
        default_value = "",
        hide_default_value = true
    )]
    pvc_name: String,
    /// Storage configuration of pgo.yaml for a claim that is made for them
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    storage_config: String,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Which program a backup is of.
#[derive(Args)]
pub struct BackupType {
    /// Program that makes the backup: pgbackrest, pgbasebackup or pgdump
    #[arg(long, value_name = "PROGRAM", default_value = PGBACKREST)]
    backup_type: String,
}

impl BackupType {
    /// Whether dumps are meant.
    pub fn is_dump(&self) -> bool {
        self.backup_type == PGDUMP
    }

    /// Whether copies by `pg_basebackup` are meant, as in 4.1 also where it is empty.
    pub fn is_base(&self) -> bool {
        matches!(self.backup_type.as_str(), "" | PGBASEBACKUP)
    }

    /// Refuses what there never was.
    pub fn check(&self) -> Result<(), Failure> {
        match self.backup_type.as_str() {
            "" | PGBACKREST | PGDUMP | PGBASEBACKUP => Ok(()),
            other => Err(Failure::Usage(format!(
                "--backup-type={other} is none; there are pgbackrest, pgbasebackup and pgdump"
            ))),
        }
    }
}

impl Arguments {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        self.kind.check()?;
        let of_dumps = [
            ("--pvc-name", &self.pvc_name),
            ("--storage-config", &self.storage_config),
        ];
        let of_backrest = [("--pgbackrest-storage-type", &self.pgbackrest_storage_type)];
        let (wrong, kind) = match self.kind.is_dump() || self.kind.is_base() {
            true => (&of_backrest[..], PGBACKREST),
            false => (&of_dumps[..], "pgdump or pgbasebackup"),
        };
        if let Some((flag, _)) = wrong.iter().find(|(_, value)| !value.is_empty()) {
            return Err(Failure::Usage(format!(
                "{flag} goes with --backup-type={kind} only"
            )));
        }
        self.selection.requests().map(|_| ())
    }
}

/// What an answer says, whichever program was asked for.
struct Asked {
    results: Vec<String>,
    backups: Vec<AskedBackup>,
    outcome: Outcome,
}

/// Asks for each name; refusals are told when all were asked.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    let json = arguments.output.is_json();
    let of_backups = (BACKUPS, api.settings().namespace.as_str());
    let following = Following::begin_in(of_backups, &arguments.wait, &api, json).await;
    let mut report = Report::default();
    let asked = if arguments.kind.is_dump() {
        let to = Endpoint::CreateDump;
        dump(&arguments, (to, requests), &api, &mut report).await
    } else if arguments.kind.is_base() {
        let to = Endpoint::CreateBackup;
        dump(&arguments, (to, requests), &api, &mut report).await
    } else {
        backrest(&arguments, requests, &api, &mut report).await
    };
    let backups = asked.backups.clone();
    if json && shows(&asked.outcome, &asked.results) {
        // Answers to both have the same form.
        report.print_json(&CreateBackrestBackupResponse {
            results: asked.results,
            backups: asked.backups,
            outcome: asked.outcome,
        });
    }
    if let Some(following) = following {
        let asked = backups.into_iter();
        let asked = asked
            .map(|one| (one.cluster.into(), one.operation))
            .collect();
        following.until_done(Work::Backup, asked, &mut report).await;
    }
    report.end()
}

/// Prints the results of an answer.
fn print(report: &mut Report, results: &[String], outcome: &Outcome) {
    report.print(&lines(results));
    if results.is_empty() && outcome.failure().is_none() {
        report.print("No clusters found.\n");
    }
}

async fn backrest(
    arguments: &Arguments,
    requests: Vec<Selected>,
    api: &Api,
    report: &mut Report,
) -> Asked {
    let json = arguments.output.is_json();
    let (mut results, mut backups) = (Vec::new(), Vec::new());
    let ask = async |selected: &Selected| {
        let request = CreateBackrestBackupRequest {
            namespace: api.settings().namespace.clone(),
            args: selected.args(),
            selector: selected.selector.clone(),
            backup_opts: arguments.backup_opts.clone(),
            backrest_storage_type: arguments.pgbackrest_storage_type.clone(),
        };
        api.send(Endpoint::CreateBackrestBackup, &request).await
    };
    let take = |report: &mut Report, _: &Selected, answer: CreateBackrestBackupResponse| {
        if !json {
            print(report, &answer.results, &answer.outcome);
        }
        results.extend(answer.results);
        backups.extend(answer.backups);
    };
    let outcome = each(requests, report, ask, take).await;
    Asked {
        results,
        backups,
        outcome,
    }
}

/// A dump, or a copy of the server: they are asked for with the same words.
async fn dump(
    arguments: &Arguments,
    (to, requests): (Endpoint, Vec<Selected>),
    api: &Api,
    report: &mut Report,
) -> Asked {
    let json = arguments.output.is_json();
    let (mut results, mut backups) = (Vec::new(), Vec::new());
    let ask = async |selected: &Selected| {
        let request = CreateDumpRequest {
            namespace: api.settings().namespace.clone(),
            args: selected.args(),
            selector: selected.selector.clone(),
            pvc_name: arguments.pvc_name.clone(),
            storage_config: arguments.storage_config.clone(),
            backup_opts: arguments.backup_opts.clone(),
        };
        api.send(to, &request).await
    };
    let take = |report: &mut Report, _: &Selected, answer: CreateDumpResponse| {
        if !json {
            print(report, &answer.results, &answer.outcome);
        }
        results.extend(answer.results);
        backups.extend(answer.backups);
    };
    let outcome = each(requests, report, ask, take).await;
    Asked {
        results,
        backups,
        outcome,
    }
}
