//! Restores by pgBackRest: `POST /restore` asks for one by a Pgtask, which the reconciler judges and carries out; another task
//! follows it, as in 4.1.
//!
//! What can be told at once is refused here. Whether the backups reach the target, the agent of the repository says.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Api;
use pgo_api::{Outcome, RestoreRequest, RestoreResponse, texts};
use pgo_core::restore::{instance_name, options::RestoreOptions};
use pgo_crd::{Pgcluster, Pgtask};
use pgo_ids::{ClusterName, OperationId};
use uuid::Uuid;

use super::{
    ask,
    backup::backs_up,
    create,
    scale::identity,
    task::{self, RestoreTask, Subject},
    wanted::{check_place, check_storage_types, node_label},
};
use crate::{app::App, refusal::Refusal, request::Call};

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

pub(crate) async fn restore(
    call: Arc<Call>,
    request: RestoreRequest,
) -> Result<RestoreResponse, Refusal> {
    RestoreOptions::parse(&request.restore_opts, &request.pitr_target)
        .map_err(|error| Refusal(error.to_string()))?;
    check_storage_types(&request.backrest_storage_type)?;
    let app = &*call.app;
    let nodes = create::nodes(app, &request.node_label).await?;
    let node = node_label(&request.node_label, &nodes)?;
    let cluster = cluster(app, &request.namespace, &request.from_cluster).await?;
    if !backs_up(app, &cluster)? {
        return refuse(texts::RESTORE_WITHOUT_BACKREST);
    }
    check_place(&request.backrest_storage_type, &cluster.spec.userlabels)?;
    if let Some(running) = running(&cluster) {
        return refuse(format!(
            "a restore of cluster {} is going on, operation {running}; wait for its end, then ask again",
            request.from_cluster
        ));
    }
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { one(&call, &request, &cluster, node).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a restore broke off: {error}")))?
}

/// The restore that goes on.
fn running(cluster: &Pgcluster) -> Option<OperationId> {
    let journal = &cluster.status.as_ref()?.0.journal;
    let running = journal.running(pgo_core::Kind::RestoreCluster)?;
    Some(running.id)
}

pub(super) async fn cluster(app: &App, namespace: &str, name: &str) -> Result<Pgcluster, Refusal> {
    let api: Api<Pgcluster> = app.api(namespace);
    let found = match name.parse::<ClusterName>() {
        Ok(name) => api.get_opt(name.as_str()).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| Refusal(texts::not_found(name)))
}

async fn one(
    call: &Call,
    request: &RestoreRequest,
    cluster: &Pgcluster,
    node: Option<(String, String)>,
) -> Result<RestoreResponse, Refusal> {
    let (namespace, name) = (request.namespace.as_str(), request.from_cluster.as_str());
    let to = match request.to_pvc.as_str() {
        "" => instance_name(name, OperationId::from(Uuid::new_v4())),
        asked => asked.to_owned(),
    };
    let work = RestoreTask {
        to: &to,
        options: &request.restore_opts,
        target: &request.pitr_target,
        node,
        storage_type: &request.backrest_storage_type,
    };
    let make = |subject: &Subject<'_>, id| task::restore(subject, id, &work);
    let id = ask::one(call, namespace, cluster, make).await?;
    let following = follow(call, request, cluster, (id, &to)).await;
    // It goes on without, and is found by its id all the same.
    if let Err(Refusal(why)) = following {
        tracing::warn!(cluster = name, operation = %id, why, "no task follows a restore");
    }
    let id = id.to_string();
    Ok(RestoreResponse {
        results: vec![
            texts::restore_performed(name, &to, (&request.restore_opts, &request.pitr_target)),
            texts::workflow_id(&id),
        ],
        operation: id,
        outcome: Outcome::ok(),
    })
}

/// Stores 4.1's task that follows it; that of a former one makes way.
async fn follow(
    call: &Call,
    request: &RestoreRequest,
    cluster: &Pgcluster,
    (id, to): (OperationId, &str),
) -> Result<(), Refusal> {
    let (name, uid) = identity(cluster)?;
    let subject = Subject {
        namespace: &request.namespace,
        name: &name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let task = task::restoring(&subject, id, to, Timestamp::now());
    let tasks: Api<Pgtask> = call.app.api(&request.namespace);
    task::create(&tasks, &task, |_| true).await?;
    Ok(())
}
