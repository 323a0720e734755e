//! `pgo status`.

use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use pgo_api::{
    Endpoint, NodeInfo, PGO_VERSION, StatusCluster, StatusDetail, StatusQuery, StatusResponse,
};

use super::{Failure, Output, Report};
use crate::{
    client::Api,
    output::{pad, plain, replication, table},
};

/// Show figures about the databases of a namespace, the nodes and each cluster
///
/// Of each cluster: the primary, how many instances are ready of those there are to be, the timeline, how far the last replica is
/// behind, settings that wait for a restart, for whom commits wait, who took over from whom last and why, and the last restore that
/// was proven to work.
///
/// Exit status 2 where figures could not be had: they are named on standard error, and shown as zero, empty or error.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    output: Output,
}

/// One request, one answer.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let query = StatusQuery {
        version: PGO_VERSION.to_owned(),
        namespace: api.settings().namespace.clone(),
    };
    let answer = api.get(Endpoint::Status, &query.to_query()).await?;
    let status: StatusResponse = answer.whole()?;
    let mut report = Report::default();
    match arguments.output.is_json() {
        true => report.print_json(&status),
        false => report.print(&render(&status.result)),
    }
    let missing = &status.outcome.msg;
    if !missing.is_empty() {
        report.problem(format!("figures are missing in the status: {missing}"));
    }
    report.end()
}

/// Width of the labels of the first block; columns further in are as wide.
const LABEL: usize = 25;

fn render(status: &StatusDetail) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        text.push_str(&format!("{}{}\n", pad(label, LABEL), plain(&value)));
    };
    line("Operator Start:", status.operator_start_time.clone());
    line("Databases:", status.num_databases.to_string());
    line("Backups:", status.num_backups.to_string());
    line("Claims:", status.num_claims.to_string());
    line("Total Volume Size:", pad(&status.volume_cap, 10));

    text.push_str("\nDatabase Images:\n");
    for (image, count) in &status.db_tags {
        text.push_str(&format!("{}{count}\t{}\n", pad("", LABEL), plain(image)));
    }
    text.push_str("\nDatabases Not Ready:\n");
    for pod in &status.not_ready {
        text.push_str(&format!("\t{}\n", pad(&plain(pod), 30)));
    }
    for (title, names) in [
        ("Pending Restart", &status.pending_restart),
        (
            "Fallen Back From Synchronous Replication",
            &status.fallen_back,
        ),
        ("Clusters Not Ready", &status.clusters_not_ready),
        (
            "Settings Of pgo.yaml Not Available Yet",
            &status.not_available,
        ),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("\n{title}:\n"));
        }
        for name in names {
            text.push_str(&format!("\t{}\n", plain(name)));
        }
    }
    text.push_str("\nNodes:\n");
    text.extend(status.nodes.iter().map(node));

    text.push_str("\nLabels (count > 1): [count] [label]\n");
    for label in status.labels.iter().filter(|label| label.value > 1) {
        text.push_str(&format!("\t[{}]\t[{}]\n", label.value, plain(&label.key)));
    }
    text.push_str(&clusters(&status.clusters, Timestamp::now()));
    text
}

/// Below what 4.1 prints: how the instances of each cluster stand to each other, and what was changed and proven last.
fn clusters(clusters: &[StatusCluster], now: Timestamp) -> String {
    if clusters.is_empty() {
        return String::new();
    }
    let heads = [
        "NAME",
        "PRIMARY",
        "READY",
        "TIMELINE",
        "LAG",
        "PENDING RESTART",
        "SYNCHRONOUS",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(clusters.iter().map(row));
    let takeover = |one: &StatusCluster| replication::takeover(one.last_takeover.as_ref()?, now);
    let proven = |one: &StatusCluster| one.last_proven_restore.as_ref().map(replication::proven);
    let mut text = String::new();
    for (title, lines) in [
        ("Clusters", table(&rows)),
        ("Last Change Of The Primary", told(clusters, takeover)),
        ("Last Proven Restore", told(clusters, proven)),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}:\n"));
        }
        text.extend(lines.iter().map(|line| format!("\t{line}\n")));
    }
    text
}

/// A line for each cluster of which there is something to tell.
fn told(
    clusters: &[StatusCluster],
    what: impl Fn(&StatusCluster) -> Option<String>,
) -> Vec<String> {
    let line = |one: &StatusCluster| Some([plain(&one.name), plain(&what(one)?)]);
    let rows: Vec<[String; 2]> = clusters.iter().filter_map(line).collect();
    table(&rows)
}

fn row(cluster: &StatusCluster) -> [String; 7] {
    let known = |text: Option<String>| text.filter(|text| !text.is_empty());
    let settings = cluster.instances.iter();
    let settings: BTreeSet<&str> = settings
        .flat_map(|instance| &instance.pending_restart)
        .map(String::as_str)
        .collect();
    let settings = settings.into_iter().collect::<Vec<_>>().join(", ");
    let timeline = (cluster.timeline > 0).then(|| cluster.timeline.to_string());
    [
        Some(cluster.name.clone()),
        Some(cluster.primary.clone()),
        Some(replication::ready(cluster)),
        timeline,
        cluster.lag.as_ref().map(replication::furthest_behind),
        Some(settings),
        cluster.synchronous.as_ref().map(replication::commits),
    ]
    .map(|cell| plain(known(cell).as_deref().unwrap_or("-")))
}

fn node(node: &NodeInfo) -> String {
    let labels = node.labels.iter();
    let labels: String = labels
        .map(|(k, v)| format!("\t\t\t{}={}\n", plain(k), plain(v)))
        .collect();
    let padded = |text: &str| pad(&plain(text), 30);
    let (name, status) = (padded(&node.name), padded(&node.status));
    format!("\t{name}\n\t\tStatus:{status}\n\t\tLabels:\n{labels}")
}
