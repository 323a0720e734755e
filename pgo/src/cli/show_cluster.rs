//! `pgo show cluster`.

use clap::Args;
use jiff::Timestamp;
use pgo_api::{
    Endpoint, PGO_VERSION, ShowClusterDetail, ShowClusterRequest, ShowClusterResponse,
    StatusCluster,
};
use serde_json::Value;

use super::{
    Failure, Output, Report,
    select::{Selected, Selection, each, shows},
    wait::STARTED,
};
use crate::{
    client::{Answer, Api, ClientError},
    output::{plain, replication},
};

/// Show clusters and what belongs to them
///
/// Exit status 2 where a cluster that was named is not there.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Only clusters with this tag of the PostgreSQL image
    #[arg(
        long,
        value_name = "TAG",
        default_value = "",
        hide_default_value = true
    )]
    ccp_image_tag: String,
    #[command(flatten)]
    output: Output,
}

/// Asks for each name; what was not found is told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    let mut report = Report::default();
    let namespace = &api.settings().namespace;
    let tag = &arguments.ccp_image_tag;
    let ask = async |selected: &Selected| ask(api, namespace, selected, tag).await;
    let take = |report: &mut Report, selected: &Selected, answer: ShowClusterResponse| {
        if !json && shows(&answer.outcome, &answer.results) {
            report.print(&render(&answer.results));
        }
        let found = !answer.results.is_empty() || answer.outcome.failure().is_some();
        if !found && !selected.name.is_empty() {
            missing.push(selected.name.clone());
        }
        results.extend(answer.results);
    };
    let requests = arguments.selection.requests()?;
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&ShowClusterResponse { results, outcome });
    }
    if !missing.is_empty() {
        report.problem(format!(
            "not found in namespace {namespace}: {}",
            missing.join(", ")
        ));
    }
    report.end()
}

/// One request to `/showclusters`, about clusters of a namespace.
pub async fn ask(
    api: &Api,
    namespace: &str,
    selected: &Selected,
    image_tag: &str,
) -> Result<Answer<ShowClusterResponse>, ClientError> {
    let request = ShowClusterRequest {
        cluster_name: selected.name.clone(),
        selector: selected.selector.clone(),
        all_flag: selected.all,
        ccp_image_tag: image_tag.to_owned(),
        namespace: namespace.to_owned(),
        client_version: PGO_VERSION.to_owned(),
    };
    api.send(Endpoint::ShowCluster, &request).await
}

fn render(results: &[ShowClusterDetail]) -> String {
    match results {
        [] => "No clusters found.\n".to_owned(),
        some => some.iter().map(cluster).collect(),
    }
}

fn cluster(detail: &ShowClusterDetail) -> String {
    let spec = &detail.cluster["spec"];
    let name = detail.cluster.pointer("/metadata/name");
    let title = format!(
        "cluster : {} ({}:{})",
        name.and_then(Value::as_str).unwrap_or_default(),
        of(spec, "ccpimage"),
        of(spec, "ccpimagetag")
    );
    let details = details(detail).into_iter();
    let details: String = details
        .map(|text| format!("\t{}\n", plain(&text)))
        .collect();
    format!("\n{}\n{details}", plain(&title))
}

/// The lines about a cluster, as they are in 4.1.
fn details(detail: &ShowClusterDetail) -> Vec<String> {
    let spec = &detail.cluster["spec"];
    let mut lines = Vec::new();
    if let Some(why) = not_ready(&detail.cluster) {
        lines.push(format!("not ready : {why}"));
    }
    if let Some(why) = not_in_force(&detail.cluster) {
        lines.push(format!("not in force : {why}"));
    }
    for pod in &detail.pods {
        lines.push(format!(
            "pod : {} ({}) on {} ({}) ({})",
            pod.name, pod.phase, pod.node_name, pod.ready_status, pod.kind
        ));
        let claims = pod.pvc_name.values();
        lines.extend(claims.map(|claim| format!("pvc : {claim}")));
    }
    let standing = StatusCluster::read("", spec, &detail.cluster["status"]);
    lines.extend(replication::lines(&standing, Timestamp::now()));
    let resources = &spec["ContainerResources"];
    lines.push(format!(
        "resources : CPU Limit={} Memory Limit={}, CPU Request={} Memory Request={}",
        of(resources, "limitscpu"),
        of(resources, "limitsmemory"),
        of(resources, "requestscpu"),
        of(resources, "requestsmemory")
    ));
    lines.push(format!(
        "storage : Primary={} Replica={}",
        of(&spec["PrimaryStorage"], "size"),
        of(&spec["ReplicaStorage"], "size")
    ));
    let deployments = detail.deployments.iter();
    lines.extend(deployments.map(|deployment| format!("deployment : {}", deployment.name)));
    let policies = detail.deployments.iter().take(1);
    let policies = policies.flat_map(|deployment| &deployment.policy_labels);
    lines.extend(policies.map(|policy| format!("policy: {policy}")));
    for service in &detail.services {
        let external = match service.external_ip.as_str() {
            "" => String::new(),
            ip => format!(" ExternalIP ({ip})"),
        };
        lines.push(format!(
            "service : {} - ClusterIP ({}){external}",
            service.name, service.cluster_ip
        ));
    }
    let replicas = detail.replicas.iter();
    lines.extend(replicas.map(|replica| format!("replica : {}", replica.name)));
    lines.push(labels(&detail.cluster["metadata"]["labels"]));
    lines
}

/// A text in an object; the empty one where there is none.
fn of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// With a blank behind each, also the last one.
fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: String = pairs
        .map(|(key, value)| format!("{key}={} ", value.as_str().unwrap_or_default()))
        .collect();
    format!("labels : {pairs}")
}

/// Whether a Pgcluster's status says that it is ready.
pub fn is_ready(cluster: &Value) -> bool {
    condition(cluster, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Why it is not, if its status says that it is not.
pub fn not_ready(cluster: &Value) -> Option<String> {
    why_not(condition(cluster, "Ready")?)
}

/// What the status says while a cluster is made, before the last step that was reached.
const BEING_MADE: &str = "being made: ";

/// The last step of its creation that a cluster has reached, where its status says that it is being made: in the words of the
/// event of that step.
pub fn step(cluster: &Value) -> Option<String> {
    let ready = condition(cluster, "Ready").filter(|ready| ready["reason"] == "Creating")?;
    match of(ready, "message").strip_prefix(BEING_MADE)? {
        "accepted" => Some(STARTED.to_owned()),
        step => Some(plain(step)),
    }
}

/// What a ready cluster's spec asks for and does not have, if its status says so. While it is not ready, that goes first.
fn not_in_force(cluster: &Value) -> Option<String> {
    let up_to_date = condition(cluster, "UpToDate").filter(|_| is_ready(cluster))?;
    why_not(up_to_date)
}

/// Why a condition does not hold, if it does not.
fn why_not(condition: &Value) -> Option<String> {
    if condition["status"] == "True" {
        return None;
    }
    let why = match (of(condition, "reason"), of(condition, "message")) {
        ("", message) | (message, "") => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    Some(plain(&why))
}

fn condition<'a>(cluster: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = cluster.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|one| one["type"] == name)
}
