//! `POST /clustersdelete`: asks for the deletion; the reconciler does it.

use std::sync::Arc;

use kube::{ResourceExt as _, api::DynamicObject};
use pgo_api::{DeleteClusterRequest, DeleteClusterResponse, Outcome, texts};
use pgo_ids::{ClusterName, OperationId, StreamId};
use uuid::Uuid;

use super::{
    Selection,
    task::{self, Subject},
};
use crate::{
    refusal::{Refusal, kubernetes_text},
    request::Call,
};

pub(crate) async fn delete(
    call: Arc<Call>,
    request: DeleteClusterRequest,
) -> Result<DeleteClusterResponse, Refusal> {
    let selection = Selection::of(&request.selector, request.all_flag, &request.cluster_name);
    let clusters = selection.clusters(&call.app, &request.namespace).await?;
    if clusters.is_empty() {
        return Err(Refusal(texts::NO_CLUSTERS.to_owned()));
    }
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { ask(&call, &request, &clusters).await });
    asking
        .await
        .map_err(|error| Refusal(format!("the deletion broke off: {error}")))
}

/// Asks for the deletion of each; what stands in the way of one does not keep the others.
async fn ask(
    call: &Call,
    request: &DeleteClusterRequest,
    clusters: &[DynamicObject],
) -> DeleteClusterResponse {
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for cluster in clusters {
        match ask_one(call, request, cluster).await {
            Ok(()) => results.push(texts::deleted_cluster(&cluster.name_any())),
            Err(Refusal(why)) => problems.push(why),
        }
    }
    let outcome = if problems.is_empty() {
        Outcome::ok()
    } else {
        Outcome::error(problems.join("; "))
    };
    DeleteClusterResponse { results, outcome }
}

async fn ask_one(
    call: &Call,
    request: &DeleteClusterRequest,
    cluster: &DynamicObject,
) -> Result<(), Refusal> {
    let unusable = |what: &str| Refusal(format!("{} has no usable {what}", cluster.name_any()));
    let name: ClusterName = cluster.name_any().parse().map_err(|_| unusable("name"))?;
    let uid: StreamId = cluster
        .uid()
        .and_then(|uid| uid.parse().ok())
        .ok_or_else(|| unusable("uid"))?;
    let subject = Subject {
        namespace: &request.namespace,
        name: &name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let id = OperationId::from(Uuid::new_v4());
    let what = (request.delete_data, request.delete_backups);
    let task = task::deletion(&subject, id, what);
    let tasks = call.app.api(&request.namespace);
    task::create(&tasks, &task, |found| task::is_anothers(found, &uid))
        .await
        .map_err(|error| Refusal(kubernetes_text(&error)))
}
