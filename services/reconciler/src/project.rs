//! Projections: what 4.1 keeps in specs and tasks, written after the status, from the status alone.

use std::time::Duration;

use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use pgo_core::{ClusterStatus, Kind, Outcome};
use pgo_crd::{Pgcluster, Pgtask};
use serde_json::json;

use crate::{cache::by_name, context::Context};

/// How long a projection may take; it is only a courtesy to readers of 4.1's fields.
const DEADLINE: Duration = Duration::from_secs(5);

/// 4.1's time in the parameters of a workflow.
const TIME_FORMAT: &str = "%Y-%m-%d.%H.%M.%S";

/// Notes in the workflow's task that the cluster's creation is completed. What fails here is done by a later reconcile.
pub async fn project(object: &Pgcluster, status: &ClusterStatus, context: &Context) {
    let Some(created) = status
        .journal
        .newest(Kind::CreateCluster)
        .filter(|created| created.outcome == Some(Outcome::Completed))
    else {
        return;
    };
    let namespace = object.namespace().unwrap_or_default();
    let name = format!("{}-createcluster", object.name_any());
    let task = by_name(&context.cache.tasks, &namespace, &name);
    let Some(Ok(task)) = task.as_deref().map(|task| &task.0) else {
        return;
    };
    if task.spec.parameters.contains_key("task completed") {
        return;
    }
    let at = created.finished.unwrap_or(created.started);
    let patch = json!({"spec": {
        "status": "completed",
        "parameters": {"task completed": at.strftime(TIME_FORMAT).to_string()},
    }});
    let api: Api<Pgtask> = Api::namespaced(context.client.clone(), &namespace);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = api.patch(&name, &parameters, &patch);
    match tokio::time::timeout(DEADLINE, patched).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::warn!(task = name, %error, "cannot note the completion in the task");
        }
        Err(_) => tracing::warn!(task = name, "no answer while noting the completion"),
    }
}
