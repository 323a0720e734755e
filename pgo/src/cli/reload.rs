//! `pgo reload`.

use clap::Args;
use pgo_api::{Endpoint, ReloadRequest, ReloadResponse};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    prompt::{self, Answer},
    select::{Selected, Selection, each, shows},
};
use crate::{client::Api, output};

/// Have PostgreSQL read its configuration anew
///
/// Every instance of a cluster does. Settings that take over a new value only with a restart are named; pgo restart does
/// that. A configuration with a fault is not taken over, and the fault is shown.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    output: Output,
}

/// Asks the user, then the apiserver, which answers when it is done; refusals are told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let requests = arguments.selection.requests()?;
    let json = arguments.output.is_json();
    let mut results = Vec::new();
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let request = ReloadRequest {
            namespace: api.settings().namespace.clone(),
            args: selected.args(),
            selector: selected.selector.clone(),
        };
        api.send(Endpoint::Reload, &request).await
    };
    let take = |report: &mut Report, _: &Selected, answer: ReloadResponse| {
        if !json {
            report.print(&lines(&answer.results));
        }
        results.extend(answer.results);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&ReloadResponse { results, outcome });
    }
    report.end()
}
