//! `pgo test`.

use clap::Args;
use jiff::Timestamp;
use pgo_api::{ClusterTestRequest, ClusterTestResponse, ClusterTestResult, Endpoint, PGO_VERSION};

use super::{
    Failure, Output, Report,
    select::{Selected, Selection, each, shows},
};
use crate::{
    client::Api,
    output::{Colours, note, plain, replication},
};

/// Test whether the databases of clusters answer, with every user on every Service
///
/// Behind the connections stands how the instances stood when the test began, in the words of pgo show cluster: role, lag, timeline,
/// for whom commits wait, what waits for a restart, and the last change of the primary.
///
/// Exit status 2 where a connection does not work, or where there is none to try.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    output: Output,
}

/// Asks for each name; the outcome is told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        api.send(Endpoint::TestCluster, &request(selected, api))
            .await
    };
    let take = |report: &mut Report, selected: &Selected, answer: ClusterTestResponse| {
        let remark = &answer.outcome.msg;
        if answer.outcome.failure().is_none() && !remark.is_empty() {
            note(&format!("pgo: {}", plain(remark)));
        }
        if shows(&answer.outcome, &answer.results) {
            if !json {
                report.print(&render(&answer.results, Colours::detect()));
            }
            failures.extend(failure(selected, &answer.results));
        }
        results.extend(answer.results);
    };
    let requests = arguments.selection.requests()?;
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&ClusterTestResponse { results, outcome });
    }
    failures.iter().for_each(|failure| report.problem(failure));
    report.end()
}

fn request(selected: &Selected, api: &Api) -> ClusterTestRequest {
    // 4.1's client names `all` where it names none.
    let name = match selected.name.as_str() {
        "" => "all",
        name => name,
    };
    ClusterTestRequest {
        cluster_name: name.to_owned(),
        selector: selected.selector.clone(),
        all_flag: selected.all,
        namespace: api.settings().namespace.clone(),
        client_version: PGO_VERSION.to_owned(),
    }
}

fn render(results: &[ClusterTestResult], colours: Colours) -> String {
    if results.is_empty() {
        return "Nothing found.\n".to_owned();
    }
    let mut text = String::new();
    for result in results {
        text.push_str(&format!("\ncluster : {} \n", plain(&result.cluster_name)));
        for item in &result.items {
            let working = match item.working {
                true => colours.good("Working"),
                false => colours.bad("NOT working"),
            };
            text.push_str(&format!("\t{} is {working}\n", plain(&item.psql_string)));
        }
        let standing = result.standing.iter();
        for line in standing.flat_map(|standing| replication::lines(standing, Timestamp::now())) {
            text.push_str(&format!("\t{}\n", plain(&line)));
        }
    }
    text
}

/// What of an answer makes the test a failed one.
fn failure(selected: &Selected, results: &[ClusterTestResult]) -> Option<String> {
    if results.is_empty() {
        return Some(match selected.name.as_str() {
            "" => "no cluster was tested: none was found".to_owned(),
            name => format!("cluster {name} was not found"),
        });
    }
    let bad: Vec<String> = results
        .iter()
        .filter_map(|result| {
            let broken = result.items.iter().filter(|item| !item.working).count();
            let (name, tried) = (&result.cluster_name, result.items.len());
            match (tried, broken) {
                (0, _) => Some(format!("cluster {name} has nothing to connect to")),
                (_, 0) => None,
                _ => Some(format!(
                    "{broken} of {tried} connections to cluster {name} do not work"
                )),
            }
        })
        .collect();
    (!bad.is_empty()).then(|| bad.join("; "))
}
