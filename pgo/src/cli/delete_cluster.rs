//! `pgo delete cluster`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{DeleteClusterRequest, DeleteClusterResponse, Endpoint, PGO_VERSION};

use super::{
    Failure, Output, Report,
    create_cluster::{behind, lines},
    prompt::{self, Answer},
    select::{Selected, Selection, each, shows},
    wait::{Following, WaitFlags},
};
use crate::{client::Api, output};

/// Delete clusters
///
/// Data and backups stay unless --delete-data and --delete-backups are given; a new cluster of the same name takes the
/// data up again.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Delete the data too
    #[arg(short = 'd', long)]
    delete_data: bool,
    /// Delete the backups too
    #[arg(short = 'b', long)]
    delete_backups: bool,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Asks the user, then the apiserver for each name; refusals are told when all were asked.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let json = arguments.output.is_json();
    let following = Following::begin(&arguments.wait, &api, json).await;
    let mut results = Vec::new();
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let request = request(&arguments, selected, &api);
        api.send(Endpoint::DeleteCluster, &request).await
    };
    let mut untold = Vec::new();
    let take = |report: &mut Report, selected: &Selected, answer: DeleteClusterResponse| {
        if !json {
            report.print(&lines(&answer.results));
        }
        if answer.outcome.failure().is_none() && behind(DELETED, &answer.results).is_empty() {
            untold.push(selected.about("the answer does not say that anything was deleted"));
        }
        results.extend(answer.results);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    untold.iter().for_each(|what| report.problem(what));
    let names = behind(DELETED, &results);
    if json && shows(&outcome, &results) {
        report.print_json(&DeleteClusterResponse { results, outcome });
    }
    if let Some(following) = following {
        following.until_gone(names, &mut report).await;
    }
    report.end()
}

fn request(arguments: &Arguments, selected: &Selected, api: &Api) -> DeleteClusterRequest {
    // 4.1's client names `all` where all are meant.
    let name = match selected.all {
        true => "all",
        false => &selected.name,
    };
    DeleteClusterRequest {
        cluster_name: name.to_owned(),
        selector: selected.selector.clone(),
        all_flag: selected.all,
        delete_data: arguments.delete_data,
        delete_backups: arguments.delete_backups,
        namespace: api.settings().namespace.clone(),
        client_version: PGO_VERSION.to_owned(),
    }
}

/// Result of 4.1: the name of a cluster is behind it.
const DELETED: &str = "deleted pgcluster ";
