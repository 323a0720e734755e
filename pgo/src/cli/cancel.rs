//! `pgo cancel`.

use std::time::Duration;

use clap::Args;
use pgo_api::{
    CancelWorkflowRequest, CancelWorkflowResponse, CancelledWorkflow, Endpoint, PGO_VERSION,
    ShowWorkflowDetail, ShowWorkflowResponse, StatusQuery,
};
use tokio::time::{Instant, sleep};

use super::{Failure, Output, Report, create_cluster::lines, select::shows, wait::WaitFlags};
use crate::{
    client::{Api, ClientError},
    output::{self, ago},
};

/// Pause between two looks at an operation.
const PAUSE: Duration = Duration::from_secs(1);

/// Cancel operations that wait or are under way
///
/// By the ids that the requests for them were answered with. What waits fails at once. A backup is stopped, and those that
/// there are stay as they are. A restore by pgBackRest is given up while its cluster still serves, which goes on as it was;
/// later it is gone through with. An upgrade stops before its next instance. A dump is left out; what a restore of one has
/// written stays. Each is told as failed, with who cancelled it.
#[derive(Args)]
pub struct Arguments {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Asks for it, and waits for the ends where that is wanted; refusals are told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let mut report = Report::default();
    let request = CancelWorkflowRequest {
        namespace: api.settings().namespace.clone(),
        args: arguments.ids.clone(),
        client_version: PGO_VERSION.to_owned(),
    };
    let answer = api.send(Endpoint::CancelWorkflow, &request).await?;
    let answer: CancelWorkflowResponse = answer.also_in_part();
    match json {
        true if shows(&answer.outcome, &answer.results) => report.print_json(&answer),
        true => {}
        false => report.print(&lines(&answer.results)),
    }
    if let Some(why) = answer.outcome.failure() {
        report.problem(why);
    }
    if arguments.wait.wait && !answer.cancelled.is_empty() {
        report.tell_problems("waiting for the rest");
        let (began, limit) = (Instant::now(), arguments.wait.timeout);
        for one in &answer.cancelled {
            match until_over(api, one, began + limit).await {
                Ok(shown) => tell(one, &shown, json, &mut report),
                Err(why) => report.problem(format!(
                    "operation {} is not over within {}{why}; a longer --timeout waits longer",
                    one.operation,
                    ago(limit)
                )),
            }
        }
    }
    report.end()
}

/// Looks until an operation is over; why it was not seen to be where that was not in time.
async fn until_over(
    api: &Api,
    one: &CancelledWorkflow,
    deadline: Instant,
) -> Result<ShowWorkflowDetail, String> {
    let query = StatusQuery {
        version: PGO_VERSION.to_owned(),
        namespace: api.settings().namespace.clone(),
    };
    let query = query.to_query();
    loop {
        let looked: Result<ShowWorkflowResponse, ClientError> = async {
            let asked = api.get_of(Endpoint::ShowWorkflow, &one.operation, &query);
            asked.await?.whole()
        }
        .await;
        let why = match looked {
            Ok(shown) if is_over(&shown.results.state) => return Ok(shown.results),
            Ok(_) => String::new(),
            Err(error) => format!(": {error}"),
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(why);
        }
        sleep(PAUSE).await;
    }
}

fn is_over(state: &str) -> bool {
    matches!(state, "completed" | "failed")
}

/// How it ended: one that came to its end first was not cancelled.
fn tell(one: &CancelledWorkflow, shown: &ShowWorkflowDetail, json: bool, report: &mut Report) {
    let CancelledWorkflow { cluster, operation } = one;
    if shown.state == "completed" {
        report.problem(format!(
            "operation {operation} of cluster {cluster} completed before it could be cancelled"
        ));
        return;
    }
    let text = format!(
        "operation {operation} of cluster {cluster} is over: {}",
        shown.cause
    );
    let line = output::plain(&text);
    match json {
        true => output::note(&line),
        false => report.print(&format!("{line}\n")),
    }
}
