//! `pgo restart`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{
    AskedRestart, Endpoint, PGO_VERSION, QueryRestartResponse, RestartRequest, RestartResponse,
    RestartTarget,
};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    prompt::{self, Answer},
    query,
    select::{Selected, Selection, each, shows},
    wait::{Following, WaitFlags, Work},
};
use crate::{
    client::Api,
    output::{self, plain, table},
};

/// Restart PostgreSQL in place, or show its instances
///
/// Replicas are restarted one after another, then the primary, which stays the primary: its connections end, and writes
/// pause until it is back. At the first instance that does not come back the restart stops.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Show the instances, their roles, and whether settings wait for a restart
    #[arg(long, conflicts_with_all = ["target", "wait", "selector", "all"])]
    query: bool,
    /// The one instance that is to be restarted
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    target: String,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        let requests = self.selection.requests()?;
        let one = matches!(requests.as_slice(), [one] if !one.name.is_empty());
        match one || self.target.is_empty() && !self.query {
            true => Ok(()),
            false => Err(Failure::Usage(
                "--query and --target are about one cluster; name it".to_owned(),
            )),
        }
    }
}

/// Shows the instances, or asks for restarts; refusals are told when all were asked.
pub async fn run(arguments: Arguments, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    if arguments.query {
        let name = requests.first().map(|one| one.name.clone());
        let name = name.unwrap_or_default();
        let table = |answer: &QueryRestartResponse| render(&name, &answer.results);
        let asks = (&*api, Endpoint::QueryRestart);
        return query::show(asks, &name, arguments.output, table).await;
    }
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let json = arguments.output.is_json();
    let following = Following::begin(&arguments.wait, &api, json).await;
    let (mut results, mut restarts) = (Vec::new(), Vec::<AskedRestart>::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let request = RestartRequest {
            namespace: api.settings().namespace.clone(),
            args: selected.args(),
            selector: selected.selector.clone(),
            target: arguments.target.clone(),
            client_version: PGO_VERSION.to_owned(),
        };
        api.send(Endpoint::RestartCluster, &request).await
    };
    let take = |report: &mut Report, _: &Selected, answer: RestartResponse| {
        if !json {
            report.print(&lines(&answer.results));
        }
        results.extend(answer.results);
        restarts.extend(answer.restarts);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&RestartResponse {
            results,
            restarts: restarts.clone(),
            outcome,
        });
    }
    if let Some(following) = following {
        let asked = restarts.into_iter();
        let asked = asked
            .map(|one| (one.cluster.into(), one.operation))
            .collect();
        following
            .until_done(Work::Restart, asked, &mut report)
            .await;
    }
    report.end()
}

fn render(cluster: &str, targets: &[RestartTarget]) -> String {
    let heads = [
        "INSTANCE",
        "ROLE",
        "STATUS",
        "NODE",
        "REPLICATION",
        "PENDING RESTART",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(targets.iter().map(row));
    let lines: String = table(&rows)
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    format!("\ncluster : {}\n{lines}", plain(cluster))
}

fn row(target: &RestartTarget) -> [String; 6] {
    let pending = match (target.pending, target.settings.as_slice()) {
        (false, _) => "no".to_owned(),
        (true, []) => "yes".to_owned(),
        (true, names) => format!("yes: {}", names.join(", ")),
    };
    [
        &target.name,
        &target.role,
        &target.status,
        &target.node,
        &target.replication,
        &pending,
    ]
    .map(|text| plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_shown_as_a_table_with_what_waits_for_a_restart() {
        let primary = RestartTarget {
            name: "hippo".to_owned(),
            role: "primary".to_owned(),
            status: "running".to_owned(),
            node: "node1".to_owned(),
            pending: true,
            settings: vec!["max_connections".to_owned(), "shared_buffers".to_owned()],
            ..RestartTarget::default()
        };
        let replica = RestartTarget {
            name: "hippo-abcd".to_owned(),
            role: "replica".to_owned(),
            replication: "streaming, lag 0 bytes, 0.0 s".to_owned(),
            node: "node2".to_owned(),
            pending: false,
            settings: Vec::new(),
            ..primary.clone()
        };
        assert_eq!(
            render("hippo", &[primary, replica]),
            "\ncluster : hippo\n\
             INSTANCE    ROLE     STATUS   NODE   REPLICATION                    PENDING RESTART\n\
             hippo       primary  running  node1                                 yes: max_connections, shared_buffers\n\
             hippo-abcd  replica  running  node2  streaming, lag 0 bytes, 0.0 s  no\n"
        );
    }
}
