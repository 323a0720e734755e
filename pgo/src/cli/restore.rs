//! `pgo restore`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{Endpoint, RestoreDumpRequest, RestoreRequest, RestoreResponse};
use rand::Rng as _;

use super::{
    Failure, Output, Report,
    backup::{PGBACKREST, PGDUMP},
    create_cluster::lines,
    prompt::{self, Answer},
    wait::{BACKUPS, CLUSTERS, Following, WaitFlags, Work},
};
use crate::{client::Api, output};

/// 4.1's warning.
const WARNING: &str = "Warning:  If currently running, the primary database in this cluster will be stopped and recreated as part of \
     this workflow!";

/// Restore a cluster from its backups
///
/// The backup comes up in a new instance while the cluster serves; when it has reached the target, the other instances stop and
/// it takes their place. What was written after the target is no longer in the cluster: the claim of the former primary stays,
/// with the data as it was. A target that the backups do not reach is refused, and nothing is changed.
///
/// A dump (--backup-type=pgdump) is restored into the cluster as it runs, the newest where --pitr-target does not name one.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  pgo restore hippo --pitr-target='2026-11-26 21:30:00+00' --wait\n  pgo restore hippo \
                  --backup-opts='--type=xid --target=731'\n  pgo restore hippo --backup-type=pgdump \
                  --backup-opts='--clean --if-exists' --wait"
)]
pub struct Arguments {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// Program that made the backup: pgbackrest or pgdump
    #[arg(long, value_name = "PROGRAM", default_value = PGBACKREST)]
    backup_type: String,
    /// Options of the program, in one text; of pgBackRest, such as --type=immediate, or --type=xid with --target, or of
    /// pg_restore
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    backup_opts: String,
    /// The point in time, such as '2026-11-26 21:30:00+00'; UTC where it has no zone. With pgdump the name of the dump
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true
    )]
    pitr_target: String,
    /// Label of the nodes that the new instance prefers, KEY=VALUE
    #[arg(
        long,
        value_name = "LABEL",
        default_value = "",
        hide_default_value = true
    )]
    node_label: String,
    /// Where pgBackRest has the backups: local
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    pgbackrest_storage_type: String,
    /// Claim with the dump
    #[arg(
        long,
        value_name = "CLAIM",
        default_value = "",
        hide_default_value = true
    )]
    backup_pvc: String,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// Refuses what comes later, and what there never was. Empty is pgBackRest, as in 4.1.
    pub fn check(&self) -> Result<(), Failure> {
        match self.backup_type.as_str() {
            "" | PGBACKREST if self.backup_pvc.is_empty() => Ok(()),
            "" | PGBACKREST => Err(Failure::Usage(format!(
                "--backup-pvc goes with --backup-type={PGDUMP} only"
            ))),
            PGDUMP if self.pgbackrest_storage_type.is_empty() => Ok(()),
            PGDUMP => Err(Failure::Usage(format!(
                "--pgbackrest-storage-type goes with --backup-type={PGBACKREST} only"
            ))),
            later @ "pgbasebackup" => Err(Failure::NotAvailable(vec![format!(
                "--backup-type={later}"
            )])),
            other => Err(Failure::Usage(format!(
                "--backup-type={other} is none; there are pgbackrest and pgdump"
            ))),
        }
    }

    fn is_dump(&self) -> bool {
        self.backup_type == PGDUMP
    }
}

/// Asks for a restore.
pub async fn run(arguments: &Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let mut report = Report::default();
    match json {
        // Nothing is stopped for a dump.
        _ if arguments.is_dump() => {}
        true => output::note(WARNING),
        false => report.print(&lines(&[WARNING.to_owned()])),
    }
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let topic = if arguments.is_dump() {
        BACKUPS
    } else {
        CLUSTERS
    };
    let of = (topic, api.settings().namespace.as_str());
    let following = Following::begin_in(of, &arguments.wait, &api, json).await;
    let answer = ask(arguments, &api).await?;
    match json {
        true => report.print_json(&answer),
        false => report.print(&lines(&answer.results)),
    }
    if let Some(following) = following {
        let asked = vec![(arguments.cluster.clone().into(), answer.operation)];
        following
            .until_done(Work::Restore, asked, &mut report)
            .await;
    }
    report.end()
}

async fn ask(arguments: &Arguments, api: &Api) -> Result<RestoreResponse, Failure> {
    let namespace = api.settings().namespace.clone();
    let answer = if arguments.is_dump() {
        let request = RestoreDumpRequest {
            namespace,
            from_cluster: arguments.cluster.clone(),
            from_pvc: arguments.backup_pvc.clone(),
            restore_opts: arguments.backup_opts.clone(),
            pitr_target: arguments.pitr_target.clone(),
            node_label: arguments.node_label.clone(),
        };
        api.send(Endpoint::RestoreDump, &request).await?
    } else {
        let request = RestoreRequest {
            namespace,
            from_cluster: arguments.cluster.clone(),
            to_pvc: format!("{}-{}", arguments.cluster, letters()),
            restore_opts: arguments.backup_opts.clone(),
            pitr_target: arguments.pitr_target.clone(),
            node_label: arguments.node_label.clone(),
            backrest_storage_type: arguments.pgbackrest_storage_type.clone(),
        };
        api.send(Endpoint::Restore, &request).await?
    };
    Ok(answer.whole()?)
}

/// What distinguishes the new instance: four lower-case letters, as in 4.1.
fn letters() -> String {
    let mut draw = rand::rng();
    (0..4)
        .map(|_| char::from(draw.random_range(b'a'..=b'z')))
        .collect()
}
