//! `GET /workflow/{id}`: how far an operation is, by the id that the request for it was answered with.

use std::sync::Arc;

use kube::{Api, ResourceExt as _, api::ListParams};
use pgo_api::{Outcome, ShowWorkflowDetail, ShowWorkflowResponse, StatusQuery, texts};
use pgo_core::{ClusterStatus, Operation, Outcome as Ending};
use pgo_crd::{Pgcluster, Pgtask, TaskType, label};
use pgo_ids::{ClusterName, OperationId};

use crate::{app::App, refusal::Refusal, request::Call};

/// Parameter of 4.1's tasks that names the cluster.
const CLUSTER: &str = "pg-cluster";

pub(crate) async fn workflow(
    call: Arc<Call>,
    query: StatusQuery,
) -> Result<ShowWorkflowResponse, Refusal> {
    let (app, namespace) = (&*call.app, query.namespace.as_str());
    let id = call.variable();
    let unknown = || Refusal(texts::no_workflow(&id));
    // What is no id is no selector either.
    let id: OperationId = id.parse().map_err(|_| unknown())?;
    let tasks: Api<Pgtask> = app.api(namespace);
    let selector = ListParams::default().labels(&format!("{}={id}", label::WORKFLOWID));
    let mut tasks = tasks.list(&selector).await?.items;
    // A restore has one that asks for it, and 4.1's own that follows it.
    let follows = |task: &Pgtask| task.spec.tasktype == TaskType::Workflow.as_str();
    if tasks.iter().any(follows) {
        tasks.retain(follows);
    }
    let mut tasks = tasks.into_iter();
    let task = tasks.next().ok_or_else(unknown)?;
    if tasks.next().is_some() {
        return Err(Refusal(texts::several_workflows(
            namespace,
            &id.to_string(),
        )));
    }
    let cluster = cluster_of(&task);
    let status = status(app, namespace, &cluster).await?;
    Ok(ShowWorkflowResponse {
        results: detail(task, cluster, id, status.as_ref()),
        outcome: Outcome::ok(),
    })
}

/// The cluster that a task is about.
fn cluster_of(task: &Pgtask) -> String {
    let said = task.spec.parameters.get(CLUSTER);
    let labelled = || task.labels().get(label::PG_CLUSTER);
    said.or_else(labelled).cloned().unwrap_or_default()
}

async fn status(
    app: &App,
    namespace: &str,
    cluster: &str,
) -> Result<Option<ClusterStatus>, Refusal> {
    let Ok(name) = cluster.parse::<ClusterName>() else {
        return Ok(None);
    };
    let clusters: Api<Pgcluster> = app.api(namespace);
    let found = clusters.get_opt(name.as_str()).await?;
    Ok(found.and_then(|found| Some(found.status?.0)))
}

/// What a task says, and how far its operation is by the status of its cluster.
fn detail(
    task: Pgtask,
    cluster_name: String,
    id: OperationId,
    status: Option<&ClusterStatus>,
) -> ShowWorkflowDetail {
    let operations = status.map(|status| status.journal.operations.as_slice());
    let mut operations = operations.unwrap_or_default().iter();
    let operation = operations.find(|operation| operation.id == id);
    let state = match operation.map(|operation| operation.outcome) {
        Some(None) => "running",
        Some(Some(Ending::Completed)) => "completed",
        Some(Some(Ending::Failed)) => "failed",
        None => noted(&task),
    };
    let said = |of: fn(&Operation) -> Option<String>| operation.and_then(of).unwrap_or_default();
    ShowWorkflowDetail {
        cluster_name,
        task: task.name_any(),
        task_type: task.spec.tasktype,
        parameters: Some(task.spec.parameters),
        state: state.to_owned(),
        cause: said(|operation| operation.cause.clone()),
        started: said(|operation| Some(operation.started.to_string())),
        finished: said(|operation| Some(operation.finished?.to_string())),
    }
}

/// What the task itself says, where the status of the cluster knows its operation not yet, or no more.
pub(super) fn noted(task: &Pgtask) -> &'static str {
    let conditions = task.status.as_ref();
    let mut conditions = conditions.iter().flat_map(|status| &status.conditions);
    let complete = conditions.find(|condition| condition["type"] == "Complete");
    match complete.and_then(|condition| condition["reason"].as_str()) {
        None => "waiting",
        Some("Completed") => "completed",
        Some("Failed") => "failed",
        Some(_) => "running",
    }
}
