//! `pgo upgrade`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{AskedUpgrade, CreateUpgradeRequest, CreateUpgradeResponse, Endpoint, PGO_VERSION};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    select::{Selected, Selection, each, shows},
    wait::{Following, WaitFlags, Work},
};
use crate::client::Api;

/// Upgrade clusters to a later minor version of PostgreSQL
///
/// Replicas get the new image one after another, each caught up before the next, the primary comes last. An image that
/// cannot be used is refused before anything is changed; at the first failure the upgrade stops and the cluster goes on.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Tag of the PostgreSQL image, instead of the one in pgo.yaml
    #[arg(
        long,
        value_name = "TAG",
        default_value = "",
        hide_default_value = true
    )]
    ccp_image_tag: String,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Asks the apiserver; refusals are told when all were asked.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    let json = arguments.output.is_json();
    let following = Following::begin(&arguments.wait, &api, json).await;
    let (mut results, mut upgrades) = (Vec::new(), Vec::<AskedUpgrade>::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let request = request(&arguments, selected, &api);
        api.send(Endpoint::Upgrade, &request).await
    };
    let take = |report: &mut Report, _: &Selected, answer: CreateUpgradeResponse| {
        if !json {
            report.print(&lines(&answer.results));
            if answer.results.is_empty() && answer.outcome.failure().is_none() {
                report.print(&lines(std::slice::from_ref(&answer.outcome.msg)));
            }
        }
        results.extend(answer.results);
        upgrades.extend(answer.upgrades);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&CreateUpgradeResponse {
            results,
            upgrades: upgrades.clone(),
            outcome,
        });
    }
    if let Some(following) = following {
        let asked = upgrades.into_iter();
        let asked = asked.map(|one| (one.cluster, one.operation)).collect();
        following
            .until_done(Work::Upgrade, asked, &mut report)
            .await;
    }
    report.end()
}

fn request(arguments: &Arguments, selected: &Selected, api: &Api) -> CreateUpgradeRequest {
    CreateUpgradeRequest {
        args: selected.args(),
        selector: selected.selector.clone(),
        namespace: api.settings().namespace.clone(),
        ccp_image_tag: arguments.ccp_image_tag.clone(),
        client_version: PGO_VERSION.to_owned(),
    }
}
