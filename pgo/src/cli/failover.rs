//! `pgo failover`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{
    CreateFailoverRequest, CreateFailoverResponse, Endpoint, FailoverTarget, PGO_VERSION,
    QueryFailoverResponse,
};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    prompt::{self, Answer},
    query,
    wait::{Following, WaitFlags, Work},
};
use crate::{
    client::Api,
    output::{self, plain},
};

/// Make another instance of a cluster the primary, or show which can be
///
/// A primary that serves hands over in order, and nothing is lost. Where none serves, the target takes over with what it
/// has. `pgo watch clustertopic` and the Pgtask CLUSTER-failover tell how it goes.
#[derive(Args)]
pub struct Arguments {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// Show the replicas that can become the primary
    #[arg(long, conflicts_with_all = ["target", "planned", "wait"])]
    query: bool,
    /// The instance that is to be the primary
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    target: String,
    /// Only where the primary hands over in order; goes also while autofail is on
    #[arg(long)]
    planned: bool,
    /// Accepted as in 4.1, true or false: the former primary stays as a replica in any case
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "",
        hide_default_value = true
    )]
    autofail_replace_replica: String,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// What is missing or wrong, as in 4.1.
    pub fn check(&self) -> Result<(), Failure> {
        let replace = self.autofail_replace_replica.as_str();
        if !matches!(replace, "" | "true" | "false") {
            return Err(Failure::Failed(
                pgo_api::texts::AUTOFAIL_REPLACE_REPLICA.to_owned(),
            ));
        }
        match !self.query && self.target.is_empty() {
            true => Err(Failure::Failed(
                "--target is required for failover".to_owned(),
            )),
            false => Ok(()),
        }
    }
}

/// Shows who can be the primary, or asks that one is.
pub async fn run(arguments: &Arguments, api: Arc<Api>) -> Result<(), Failure> {
    if arguments.query {
        let asks = (&*api, Endpoint::QueryFailover);
        return query::show(asks, &arguments.cluster, arguments.output, render).await;
    }
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let request = CreateFailoverRequest {
        namespace: api.settings().namespace.clone(),
        cluster_name: arguments.cluster.clone(),
        autofail_replace_replica: arguments.autofail_replace_replica.clone(),
        target: arguments.target.clone(),
        client_version: PGO_VERSION.to_owned(),
        planned: arguments.planned,
    };
    let json = arguments.output.is_json();
    let following = Following::begin(&arguments.wait, &api, json).await;
    let answer = api.send(Endpoint::CreateFailover, &request).await?;
    let answer: CreateFailoverResponse = answer.whole()?;
    let mut report = Report::default();
    match json {
        true => report.print_json(&answer),
        false => report.print(&lines(&answer.results)),
    }
    if let Some(following) = following {
        let asked = vec![(arguments.cluster.clone().into(), answer.operation)];
        following
            .until_done(Work::Failover, asked, &mut report)
            .await;
    }
    report.end()
}

/// As in 4.1, with what it does not say behind: whether WAL flows, and the lag.
fn render(answer: &QueryFailoverResponse) -> String {
    let mut text = format!(
        "{}\nFailover targets include:\n",
        plain(&answer.outcome.msg)
    );
    for target in answer.targets.iter().flatten() {
        text.push_str(&format!("\t{}\n", plain(&line(target))));
    }
    for result in answer.results.iter().flatten() {
        text.push_str(&format!("{}\n", plain(result)));
    }
    text
}

fn line(target: &FailoverTarget) -> String {
    let preferred = if target.preferred_node {
        " (preferred node)"
    } else {
        ""
    };
    let more = match target.rep_status.as_str() {
        "" => String::new(),
        status => format!(" ({status})"),
    };
    format!(
        "{} ({}) ({}){preferred} ReceiveLoc ({}) ReplayLoc ({}){more}",
        target.name,
        target.ready_status,
        target.node,
        target.receive_location,
        target.replay_location
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_shown_as_in_4_1() {
        let target = FailoverTarget {
            name: "hippo-abcd".to_owned(),
            ready_status: "1/1".to_owned(),
            node: "node2".to_owned(),
            receive_location: 50_331_648,
            replay_location: 50_331_648,
            ..FailoverTarget::default()
        };
        let ours = FailoverTarget {
            name: "hippo-efgh".to_owned(),
            preferred_node: true,
            rep_status: "streaming, lag 0 bytes, 0.0 s".to_owned(),
            ..target.clone()
        };
        let answer = QueryFailoverResponse {
            targets: Some(vec![target, ours]),
            ..QueryFailoverResponse::default()
        };
        assert_eq!(
            render(&answer),
            "\nFailover targets include:\n\
             \thippo-abcd (1/1) (node2) ReceiveLoc (50331648) ReplayLoc (50331648)\n\
             \thippo-efgh (1/1) (node2) (preferred node) ReceiveLoc (50331648) ReplayLoc (50331648) \
             (streaming, lag 0 bytes, 0.0 s)\n"
        );
    }
}
