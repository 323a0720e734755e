//! Waiting for the end of what the reconciler was asked for.

use std::time::Duration;

use kube::Api;
use pgo_core::Operation;
use pgo_crd::Pgcluster;
use pgo_ids::OperationId;
use tokio::time::{Instant, sleep};

use crate::{app::App, refusal::Refusal};

/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(250);

/// The operation of a cluster, when it has ended; `what` is its name for people.
///
/// # Errors
/// It has not within `limit`.
pub(super) async fn ended(
    app: &App,
    (namespace, name): (&str, &str),
    (what, id): (&str, OperationId),
    limit: Duration,
) -> Result<Operation, Refusal> {
    let api: Api<Pgcluster> = app.api(namespace);
    let begin = Instant::now();
    loop {
        sleep(LOOK).await;
        // An answer that is missing may come with the next look.
        let found = api.get_opt(name).await.unwrap_or_default();
        if let Some(ended) = found.as_ref().and_then(|found| find(found, id)) {
            return Ok(ended.clone());
        }
        if begin.elapsed() > limit {
            return Err(Refusal(format!(
                "cluster {name}: the {what} was asked for (workflow id {id}) and has not ended within {} s; does the reconciler \
                 run? See pgo status",
                limit.as_secs()
            )));
        }
    }
}

fn find(cluster: &Pgcluster, id: OperationId) -> Option<&Operation> {
    let mut operations = cluster.status.as_ref()?.0.journal.operations.iter();
    operations.find(|operation| operation.id == id && operation.outcome.is_some())
}
