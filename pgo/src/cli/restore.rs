//! `pgo restore`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{Endpoint, RestoreBaseRequest, RestoreDumpRequest, RestoreRequest, RestoreResponse};
use rand::Rng as _;

use super::{
    Failure, Output, Report,
    backup::{PGBACKREST, PGBASEBACKUP, PGDUMP},
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
///
/// A copy by pg_basebackup (--backup-type=pgbasebackup) is restored to a claim of its own; the cluster is not touched. `pgo create
/// cluster` with the name of that claim makes a cluster that goes on with the data.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  pgo restore hippo --pitr-target='2026-11-26 21:30:00+00' --wait\n  pgo restore hippo \
                  --backup-opts='--type=xid --target=731'\n  pgo restore hippo --backup-type=pgdump \
                  --backup-opts='--clean --if-exists' --wait\n  pgo restore hippo --backup-type=pgbasebackup \
                  --restore-to-pvc=hippo2 --wait && pgo create cluster hippo2"
)]
pub struct Arguments {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// Program that made the backup: pgbackrest, pgbasebackup or pgdump
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
    /// Label of the nodes that the new instance, or the pod that restores a copy or a dump, prefers, KEY=VALUE
    #[arg(
        long,
        value_name = "LABEL",
        default_value = "",
        hide_default_value = true
    )]
    node_label: String,
    /// Where pgBackRest has the backups: local, s3 or local,s3
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    pgbackrest_storage_type: String,
    /// Claim with the dump or the copy
    #[arg(
        long,
        value_name = "CLAIM",
        default_value = "",
        hide_default_value = true
    )]
    backup_pvc: String,
    /// Where the copy by pg_basebackup lies on its claim; the newest where it is not said
    #[arg(
        long,
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    backup_path: String,
    /// Claim to make for the copy by pg_basebackup, and so the name of the cluster to come; CLUSTER-abcd where it is not said, with
    /// four letters that are drawn
    #[arg(
        long,
        value_name = "CLAIM",
        default_value = "",
        hide_default_value = true
    )]
    restore_to_pvc: String,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// Refuses what there never was, and what does not go together. Empty is pgBackRest, as in 4.1.
    pub fn check(&self) -> Result<(), Failure> {
        let kind = match self.backup_type.as_str() {
            "" => PGBACKREST,
            kind @ (PGBACKREST | PGDUMP | PGBASEBACKUP) => kind,
            other => {
                return Err(Failure::Usage(format!(
                    "--backup-type={other} is none; there are pgbackrest, pgbasebackup and pgdump"
                )));
            }
        };
        let flags: [(&str, &str, &[&str]); 6] = [
            ("--backup-pvc", &self.backup_pvc, &[PGDUMP, PGBASEBACKUP]),
            ("--backup-path", &self.backup_path, &[PGBASEBACKUP]),
            ("--restore-to-pvc", &self.restore_to_pvc, &[PGBASEBACKUP]),
            (
                "--pgbackrest-storage-type",
                &self.pgbackrest_storage_type,
                &[PGBACKREST],
            ),
            ("--backup-opts", &self.backup_opts, &[PGBACKREST, PGDUMP]),
            ("--pitr-target", &self.pitr_target, &[PGBACKREST, PGDUMP]),
        ];
        for (flag, value, of) in flags {
            if !value.is_empty() && !of.contains(&kind) {
                let of = of.join(" or ");
                return Err(Failure::Usage(format!(
                    "{flag} goes with --backup-type={of} only"
                )));
            }
        }
        Ok(())
    }

    fn is_dump(&self) -> bool {
        self.backup_type == PGDUMP
    }

    fn is_base(&self) -> bool {
        self.backup_type == PGBASEBACKUP
    }

    /// Whether the cluster goes on meanwhile.
    fn stops_nothing(&self) -> bool {
        self.is_dump() || self.is_base()
    }
}

/// Asks for a restore.
pub async fn run(arguments: &Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let mut report = Report::default();
    match json {
        // Nothing is stopped for a dump or a copy.
        _ if arguments.stops_nothing() => {}
        true => output::note(WARNING),
        false => report.print(&lines(&[WARNING.to_owned()])),
    }
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let topic = if arguments.stops_nothing() {
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
    } else if arguments.is_base() {
        let to_pvc = match arguments.restore_to_pvc.as_str() {
            "" => format!("{}-{}", arguments.cluster, letters()),
            said => said.to_owned(),
        };
        let request = RestoreBaseRequest {
            namespace,
            from_cluster: arguments.cluster.clone(),
            to_pvc,
            from_pvc: arguments.backup_pvc.clone(),
            backup_path: arguments.backup_path.clone(),
            node_label: arguments.node_label.clone(),
        };
        api.send(Endpoint::RestorePgbasebackup, &request).await?
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
