//! `pgo restore`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{Endpoint, RestoreRequest, RestoreResponse};
use rand::Rng as _;

use super::{
    Failure, Output, Report,
    backup::PGBACKREST,
    create_cluster::lines,
    prompt::{self, Answer},
    wait::{Following, WaitFlags, Work},
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
#[derive(Args)]
#[command(
    after_help = "Examples:\n  pgo restore hippo --pitr-target='2026-11-26 21:30:00+00' --wait\n  pgo restore hippo \
                  --backup-opts='--type=xid --target=731'"
)]
pub struct Arguments {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// Program that made the backup: pgbackrest
    #[arg(long, value_name = "PROGRAM", default_value = PGBACKREST)]
    backup_type: String,
    /// Options of the program, in one text; of pgBackRest, such as --type=immediate, or --type=xid with --target
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    backup_opts: String,
    /// The point in time, such as '2026-11-26 21:30:00+00'; UTC where it has no zone
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
            "" | PGBACKREST => Ok(()),
            later @ ("pgbasebackup" | "pgdump") => Err(Failure::NotAvailable(vec![format!(
                "--backup-type={later}"
            )])),
            other => Err(Failure::Usage(format!(
                "--backup-type={other} is none; there is pgbackrest"
            ))),
        }
    }
}

/// Asks for a restore.
pub async fn run(arguments: &Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let mut report = Report::default();
    match json {
        true => output::note(WARNING),
        false => report.print(&lines(&[WARNING.to_owned()])),
    }
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let request = RestoreRequest {
        namespace: api.settings().namespace.clone(),
        from_cluster: arguments.cluster.clone(),
        to_pvc: format!("{}-{}", arguments.cluster, letters()),
        restore_opts: arguments.backup_opts.clone(),
        pitr_target: arguments.pitr_target.clone(),
        node_label: arguments.node_label.clone(),
        backrest_storage_type: arguments.pgbackrest_storage_type.clone(),
    };
    let following = Following::begin(&arguments.wait, &api, json).await;
    let answer = api.send(Endpoint::Restore, &request).await?;
    let answer: RestoreResponse = answer.whole()?;
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

/// What distinguishes the new instance: four lower-case letters, as in 4.1.
fn letters() -> String {
    let mut draw = rand::rng();
    (0..4)
        .map(|_| char::from(draw.random_range(b'a'..=b'z')))
        .collect()
}
