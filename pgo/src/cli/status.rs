//! `pgo status`.

use clap::Args;
use pgo_api::{Endpoint, NodeInfo, PGO_VERSION, StatusDetail, StatusQuery, StatusResponse};

use super::{Failure, Output, Report};
use crate::{
    client::Api,
    output::{pad, plain},
};

/// Show figures about the databases of a namespace and the nodes
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
    text
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
