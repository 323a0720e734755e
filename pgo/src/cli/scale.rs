//! `pgo scale` and `pgo scaledown`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{
    ClusterScaleResponse, Endpoint, PGO_VERSION, Response as _, ScaleDownQuery, ScaleDownResponse,
    ScaleQuery, ScaleQueryResponse, ScaleQueryTarget, texts,
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

/// Add replicas to clusters
///
/// Each cluster that is named gets as many more as --replica-count says. `kubectl scale pgcluster` sets the whole number
/// instead.
#[derive(Args)]
pub struct Up {
    /// Names of clusters
    #[arg(value_name = "CLUSTER", required = true)]
    clusters: Vec<String>,
    /// How many replicas are added
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    replica_count: i64,
    /// Type of the replicas' Service: ClusterIP, NodePort or LoadBalancer
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "",
        hide_default_value = true
    )]
    service_type: String,
    /// Tag of the PostgreSQL image, instead of the cluster's
    #[arg(
        long,
        value_name = "TAG",
        default_value = "",
        hide_default_value = true
    )]
    ccp_image_tag: String,
    /// Resource configuration of pgo.yaml, instead of the cluster's
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    resources_config: String,
    /// Storage configuration of pgo.yaml, instead of the cluster's
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    storage_config: String,
    /// Label a node must have for the replicas to run there: key=value
    #[arg(
        long,
        value_name = "LABEL",
        default_value = "",
        hide_default_value = true
    )]
    node_label: String,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

impl Up {
    /// What the number itself can get wrong, as in 4.1.
    pub fn check(&self) -> Result<(), Failure> {
        if self.replica_count < 1 {
            return Err(Failure::Usage(
                "--replica-count is required to be greater than 0, the default is 1 if not specified".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Asks the user, then the apiserver for each cluster; refusals are told when all were asked.
pub async fn up(arguments: &Up, api: Arc<Api>) -> Result<(), Failure> {
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let query = ScaleQuery {
        replica_count: arguments.replica_count.to_string(),
        resources_config: arguments.resources_config.clone(),
        storage_config: arguments.storage_config.clone(),
        node_label: arguments.node_label.clone(),
        version: PGO_VERSION.to_owned(),
        ccp_image_tag: arguments.ccp_image_tag.clone(),
        service_type: arguments.service_type.clone(),
        namespace: api.settings().namespace.clone(),
    };
    let query = query.to_query();
    let json = arguments.output.is_json();
    let following = Following::begin(&arguments.wait, &api, json).await;
    let mut replicas = Vec::new();
    let mut report = Report::default();
    for cluster in &arguments.clusters {
        let answer = api.get_of(Endpoint::ScaleCluster, cluster, &query);
        let answer: ClusterScaleResponse = answer.await?.also_in_part();
        match json {
            true => report.print_json(&answer),
            false => report.print(&lines(answer.results.as_deref().unwrap_or_default())),
        }
        let created = answer.results.iter().flatten();
        let created = created.filter_map(|text| text.strip_prefix(&texts::created_replica("")));
        replicas.extend(created.map(|name| (cluster.clone(), name.to_owned())));
        if let Some(why) = answer.outcome().failure() {
            report.problem(why);
        }
    }
    if let Some(following) = following {
        following.until_joined(replicas, &mut report).await;
    }
    report.end()
}

/// Remove a replica from a cluster, or show which there are
///
/// Its data is kept unless --delete-data is given.
#[derive(Args)]
pub struct Down {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// Show the replicas that can be removed
    #[arg(long, conflicts_with_all = ["target", "wait"])]
    query: bool,
    /// The replica that goes
    #[arg(
        long,
        value_name = "REPLICA",
        default_value = "",
        hide_default_value = true
    )]
    target: String,
    /// Delete its data too
    #[arg(short = 'd', long)]
    delete_data: bool,
    /// Keep its data: what is done anyway
    #[arg(long, conflicts_with = "delete_data")]
    keep_data: bool,
    /// Do not ask before
    #[arg(long)]
    no_prompt: bool,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

impl Down {
    /// What is missing, as in 4.1.
    pub fn check(&self) -> Result<(), Failure> {
        match !self.query && self.target.is_empty() {
            true => Err(Failure::Failed("You must specify --target".to_owned())),
            false => Ok(()),
        }
    }
}

/// Shows the replicas, or asks for the removal of one.
pub async fn down(arguments: &Down, api: Arc<Api>) -> Result<(), Failure> {
    if arguments.query {
        let asks = (&*api, Endpoint::ScaleQuery);
        let list =
            |answer: &ScaleQueryResponse| render(answer.targets.as_deref().unwrap_or_default());
        return query::show(asks, &arguments.cluster, arguments.output, list).await;
    }
    if !arguments.no_prompt && prompt::confirm()? == Answer::No {
        output::note("Aborting...");
        return Ok(());
    }
    let query = ScaleDownQuery {
        version: PGO_VERSION.to_owned(),
        replica_name: arguments.target.clone(),
        delete_data: arguments.delete_data.to_string(),
        namespace: api.settings().namespace.clone(),
    };
    let query = query.to_query();
    let json = arguments.output.is_json();
    let following = Following::begin(&arguments.wait, &api, json).await;
    let answer = api.get_of(Endpoint::ScaleDown, &arguments.cluster, &query);
    let answer: ScaleDownResponse = answer.await?.whole()?;
    let mut report = Report::default();
    match json {
        true => report.print_json(&answer),
        false => report.print(&lines(&answer.results)),
    }
    if let Some(following) = following {
        let asked = vec![(arguments.cluster.clone().into(), answer.operation)];
        following
            .until_done(Work::ScaleDown, asked, &mut report)
            .await;
    }
    report.end()
}

/// As in 4.1.
fn render(targets: &[ScaleQueryTarget]) -> String {
    let mut text = "Replica targets include:\n".to_owned();
    for target in targets {
        let line = format!(
            "{} ({}) ({}) ({})",
            target.name, target.ready_status, target.node, target.rep_status
        );
        text.push_str(&format!("\t{}\n", plain(&line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_shown_as_in_4_1() {
        let target = ScaleQueryTarget {
            name: "hippo-abcd".to_owned(),
            ready_status: "1/1".to_owned(),
            node: "node2".to_owned(),
            rep_status: "receive 50331648 replay 50331648".to_owned(),
        };
        assert_eq!(
            render(&[target]),
            "Replica targets include:\n\thippo-abcd (1/1) (node2) (receive 50331648 replay 50331648)\n"
        );
    }
}
