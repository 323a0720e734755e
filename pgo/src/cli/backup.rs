//! `pgo backup`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{AskedBackup, CreateBackrestBackupRequest, CreateBackrestBackupResponse, Endpoint};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    select::{Selected, Selection, each, shows},
    wait::{BACKUPS, Following, WaitFlags, Work},
};
use crate::client::Api;

/// What makes a backup; others of 4.1 come later.
pub const PGBACKREST: &str = "pgbackrest";

/// Back up clusters
///
/// The answer says that the backup was asked for. With --wait the command follows it and ends when it is complete, or with the
/// cause of its failure. `pgo show backup` shows the backups that there are.
#[derive(Args)]
#[command(after_help = "Example:\n  pgo backup hippo --backup-opts=--type=full --wait")]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    kind: BackupType,
    /// Options of the program, in one text; of pgBackRest, such as --type=full, diff or incr
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    backup_opts: String,
    /// Where pgBackRest keeps it: local
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    pgbackrest_storage_type: String,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Which program a backup is of.
#[derive(Args)]
pub struct BackupType {
    /// Program that makes the backup: pgbackrest
    #[arg(long, value_name = "PROGRAM", default_value = PGBACKREST)]
    backup_type: String,
}

impl BackupType {
    /// Refuses what comes later, and what there never was. Empty is pg_basebackup, as in 4.1.
    pub fn check(&self) -> Result<(), Failure> {
        match self.backup_type.as_str() {
            PGBACKREST => Ok(()),
            later @ ("" | "pgbasebackup" | "pgdump") => Err(Failure::NotAvailable(vec![format!(
                "--backup-type={later}"
            )])),
            other => Err(Failure::Usage(format!(
                "--backup-type={other} is none; there is pgbackrest"
            ))),
        }
    }
}

impl Arguments {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        self.kind.check()?;
        self.selection.requests().map(|_| ())
    }
}

/// Asks for each name; refusals are told when all were asked.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    let json = arguments.output.is_json();
    let of_backups = (BACKUPS, api.settings().namespace.as_str());
    let following = Following::begin_in(of_backups, &arguments.wait, &api, json).await;
    let (mut results, mut backups) = (Vec::new(), Vec::<AskedBackup>::new());
    let mut report = Report::default();
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
            report.print(&lines(&answer.results));
            if answer.results.is_empty() && answer.outcome.failure().is_none() {
                report.print("No clusters found.\n");
            }
        }
        results.extend(answer.results);
        backups.extend(answer.backups);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&CreateBackrestBackupResponse {
            results,
            backups: backups.clone(),
            outcome,
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
