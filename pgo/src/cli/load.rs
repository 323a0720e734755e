//! `pgo load`.

use std::{fs, path::PathBuf, sync::Arc};

use clap::Args;
use pgo_api::{Endpoint, LoadRequest, LoadResponse, PGO_VERSION};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    select::{Selection, shows},
    wait::{Following, LOADS, WaitFlags, Work},
};
use crate::{client::Api, output};

/// Load a file of a claim into a table
///
/// The load file says which, in YAML or JSON: DbDatabase, DbUser, DbPort, TableToLoad, FilePath, PVCName, and where need be FileType
/// (csv or json), FSGroup and SupplementalGroup. All rows are loaded or none. The answer says that it was asked for; with
/// --wait the command follows it to its end.
#[derive(Args)]
#[command(
    after_help = "Example:\n  pgo load hippo --load-config=people.yaml --policies=people-table --wait"
)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// File that says what is loaded, and where
    #[arg(long, value_name = "FILE")]
    load_config: PathBuf,
    /// Policies that are applied before, with commas between them
    #[arg(
        long,
        value_name = "POLICIES",
        default_value = "",
        hide_default_value = true
    )]
    policies: String,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Reads the file, then asks once for all.
pub async fn run(arguments: &Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let file = &arguments.load_config;
    let load_config = fs::read_to_string(file)
        .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", file.display())))?;
    let requests = arguments.selection.requests()?;
    let json = arguments.output.is_json();
    let namespace = api.settings().namespace.clone();
    let of_loads = (LOADS, namespace.as_str());
    let following = Following::begin_in(of_loads, &arguments.wait, &api, json).await;
    let request = LoadRequest {
        args: requests.iter().flat_map(|one| one.args()).collect(),
        selector: requests
            .first()
            .map(|one| one.selector.clone())
            .unwrap_or_default(),
        namespace: namespace.clone(),
        load_config,
        policies: arguments.policies.clone(),
        client_version: PGO_VERSION.to_owned(),
    };
    let answer = api.send(Endpoint::Load, &request).await?;
    let answer: LoadResponse = answer.also_in_part();
    let mut report = Report::default();
    match json {
        true if shows(&answer.outcome, &answer.results) => report.print_json(&answer),
        true => {}
        false => report.print(&lines(&answer.results)),
    }
    let why = answer.outcome.failure().map(output::lines);
    if answer.jobs.is_empty()
        && let Some(why) = &why
    {
        // Two lines, as in 4.1.
        return Err(Failure::Failed(format!(
            "Error in loading...\nError: {why}"
        )));
    }
    if let Some(why) = why {
        report.problem(why);
    }
    if let Some(following) = following {
        let asked = answer.jobs.into_iter();
        let asked = asked
            .map(|one| (one.cluster.into(), one.operation))
            .collect();
        following.until_done(Work::Load, asked, &mut report).await;
    }
    report.end()
}
