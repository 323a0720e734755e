//! `POST /workflowcancel`: has operations go on no longer, by an annotation of the Pgtasks that ask for them.
//!
//! What can be told at once is refused here; the reconciler decides what becomes of an operation, by how far it is then.

use std::sync::Arc;

use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use pgo_api::{CancelWorkflowRequest, CancelWorkflowResponse, CancelledWorkflow, Outcome, texts};
use pgo_core::{Operation, Outcome as Ending, cancel};
use pgo_crd::{Pgcluster, Pgtask, TaskType, label, task_cluster};
use pgo_ids::OperationId;
use serde_json::json;

use super::task;
use crate::{doorbell::doorbell, refusal::Refusal, request::Call};

/// What asks for something that can be cancelled; how far it is decides the rest.
const TYPES: [TaskType; 11] = [
    TaskType::Backrest,
    TaskType::Drill,
    TaskType::Restore,
    TaskType::Pgdump,
    TaskType::Pgrestore,
    TaskType::Pgbasebackup,
    TaskType::PgbasebackupRestore,
    TaskType::Benchmark,
    TaskType::Load,
    TaskType::MinorUpgrade,
    TaskType::ApplyPolicy,
];

pub(crate) async fn cancel(
    call: Arc<Call>,
    request: CancelWorkflowRequest,
) -> Result<CancelWorkflowResponse, Refusal> {
    if request.args.is_empty() {
        let text = "name one or more operations by their ids, which the answers of commands tell";
        return Err(Refusal(text.to_owned()));
    }
    // What was begun is finished, also when the client goes away.
    let cancelling = tokio::spawn(async move { all(&call, &request).await });
    cancelling
        .await
        .map_err(|error| Refusal(format!("cancelling broke off: {error}")))
}

/// Cancels each; what stands in the way of one does not keep the others.
async fn all(call: &Call, request: &CancelWorkflowRequest) -> CancelWorkflowResponse {
    let (mut answer, mut problems) = (CancelWorkflowResponse::default(), Vec::new());
    for id in &request.args {
        match one(call, &request.namespace, id).await {
            Ok(cancelled) => {
                let (id, cluster) = (&cancelled.operation, &cancelled.cluster);
                answer.results.push(texts::cancelling(id, cluster));
                answer.cancelled.push(cancelled);
            }
            Err(Refusal(why)) => problems.push(why),
        }
    }
    answer.outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    answer
}

async fn one(call: &Call, namespace: &str, id: &str) -> Result<CancelledWorkflow, Refusal> {
    let unknown = || Refusal(texts::no_workflow(id));
    // What is no id is no selector either.
    let operation: OperationId = id.parse().map_err(|_| unknown())?;
    let tasks: Api<Pgtask> = call.app.api(namespace);
    let task = asking(&tasks, namespace, operation).await?;
    let task = task.ok_or_else(unknown)?;
    let cluster = cluster_of(&task);
    let refused = |why: String| Refusal(format!("operation {id} of cluster {cluster}: {why}"));
    let tasktype = task.spec.tasktype.as_str();
    if !TYPES.iter().any(|one| one.as_str() == tasktype) {
        return Err(refused(format!("{tasktype} cannot be cancelled")));
    }
    let clusters: Api<Pgcluster> = call.app.api(namespace);
    let found = clusters.get_opt(&cluster).await?;
    let found = found.ok_or_else(|| refused("the cluster is gone".to_owned()))?;
    let status = found.status.map(|status| status.0).unwrap_or_default();
    let mut operations = status.journal.operations.iter();
    let known = operations.find(|known| known.id == operation);
    match known {
        Some(known) if !known.is_running() => return Err(refused(over(known))),
        None if task::is_over(&task) => return Err(refused("it is over already".to_owned())),
        _ => {}
    }
    if let Some(why) = cancel::refusal(&status, operation) {
        return Err(refused(why));
    }
    // Who was first stays the one who did it.
    if !task.annotations().contains_key(label::CANCEL) {
        note(call, &tasks, &task, operation).await?;
    }
    tracing::info!(%cluster, %operation, user = call.caller.name, "something is cancelled");
    Ok(CancelledWorkflow {
        cluster,
        operation: id.to_owned(),
    })
}

/// The task that asks for an operation. A restore has another one of the same id, which follows it; of a creation there is that
/// one alone.
async fn asking(
    tasks: &Api<Pgtask>,
    namespace: &str,
    id: OperationId,
) -> Result<Option<Pgtask>, Refusal> {
    let selector = ListParams::default().labels(&format!("{}={id}", label::WORKFLOWID));
    let mut found = tasks.list(&selector).await?.items;
    let asks = |task: &Pgtask| task.spec.tasktype != TaskType::Workflow.as_str();
    if found.iter().any(asks) {
        found.retain(asks);
    }
    if found.len() > 1 {
        return Err(Refusal(texts::several_workflows(
            namespace,
            &id.to_string(),
        )));
    }
    Ok(found.pop())
}

fn cluster_of(task: &Pgtask) -> String {
    let parameters = task.spec.parameters.iter();
    let parameters = parameters.map(|(key, value)| (key.as_str(), value.as_str()));
    let said = task_cluster(&task.spec.tasktype, parameters);
    let labelled = || task.labels().get(label::PG_CLUSTER).map(String::as_str);
    said.or_else(labelled).unwrap_or_default().to_owned()
}

/// How an operation ended.
fn over(known: &Operation) -> String {
    let ended = known.finished.map(|at| format!(" at {at}"));
    let ended = ended.unwrap_or_default();
    let cause = known.cause.iter().map(|cause| format!(": {cause}"));
    match known.outcome {
        Some(Ending::Completed) => format!("it is over already: it completed{ended}"),
        _ => format!(
            "it is over already: it failed{ended}{}",
            cause.collect::<String>()
        ),
    }
}

/// Writes on exactly this task who cancels what it asks for.
async fn note(
    call: &Call,
    tasks: &Api<Pgtask>,
    task: &Pgtask,
    id: OperationId,
) -> Result<(), Refusal> {
    let patch = json!({"metadata": {
        "uid": task.metadata.uid, "annotations": {label::CANCEL: call.caller.name},
    }});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let stored = tasks.patch(&task.name_any(), &parameters, &patch).await?;
    let rung = doorbell(pgo_bus::Kind::Pgtask, &stored, Some(id));
    call.app.bell.tell(rung);
    Ok(())
}
