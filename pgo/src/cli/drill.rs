//! `pgo drill`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{CreateDrillRequest, CreateDrillResponse, Endpoint, PGO_VERSION};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    select::{Selected, Selection, each, shows},
    wait::{BACKUPS, Following, WaitFlags, Work},
};
use crate::client::Api;

/// Prove that backups can be restored
///
/// Restores a backup by pgBackRest into a throw-away instance now, whatever the policy of restore drills says, replays what is
/// archived, checks it and reads all of it. The cluster is not touched. With --wait the command ends when the backup is proven, or
/// with the cause why it is not. `pgo show backup` shows what became of each.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  pgo drill hippo --wait --timeout=2h\n  pgo drill hippo --backup=20261126-210300F"
)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// pgBackRest's name for the backup, as `pgo show backup` has it; without it the newest one
    #[arg(
        long,
        value_name = "LABEL",
        default_value = "",
        hide_default_value = true
    )]
    backup: String,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Asks for each name; refusals are told when all were asked.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    let json = arguments.output.is_json();
    let of_backups = (BACKUPS, api.settings().namespace.as_str());
    let following = Following::begin_in(of_backups, &arguments.wait, &api, json).await;
    let mut report = Report::default();
    let (mut results, mut drills) = (Vec::new(), Vec::new());
    let ask = async |selected: &Selected| {
        let request = CreateDrillRequest {
            namespace: api.settings().namespace.clone(),
            args: selected.args(),
            selector: selected.selector.clone(),
            backup: arguments.backup.clone(),
            client_version: PGO_VERSION.to_owned(),
        };
        api.send(Endpoint::CreateDrill, &request).await
    };
    let take = |report: &mut Report, _: &Selected, answer: CreateDrillResponse| {
        if !json {
            report.print(&lines(&answer.results));
        }
        results.extend(answer.results);
        drills.extend(answer.drills);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    let asked = drills.iter().cloned();
    let asked = asked.map(|one| (one.cluster.into(), one.operation));
    let asked = asked.collect();
    if json && shows(&outcome, &results) {
        report.print_json(&CreateDrillResponse {
            results,
            drills,
            outcome,
        });
    }
    if let Some(following) = following {
        following.until_done(Work::Drill, asked, &mut report).await;
    }
    report.end()
}
