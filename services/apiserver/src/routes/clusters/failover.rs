//! `/failover`: which instances can become the primary, and the request that one does.
//!
//! The request is a Pgtask; the reconciler judges it by what the agents say and has them do it. What is wrong at first
//! sight is refused here, and nothing is stored.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use pgo_api::{
    CreateFailoverRequest, CreateFailoverResponse, FailoverTarget, Outcome, QueryFailoverResponse,
    StatusQuery, texts,
};
use pgo_bus::Kind;
use pgo_core::ClusterStatus;
use pgo_crd::{Pgcluster, Pgtask, label};
use pgo_ids::{ClusterName, OperationId};
use uuid::Uuid;

use super::{
    Selection,
    pod::{self, Containers},
    scale::{identity, primary},
    task::{self, Subject},
};
use crate::{agents, app::App, doorbell::doorbell, refusal::Refusal, request::Call};

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

pub(super) async fn cluster(app: &App, namespace: &str, name: &str) -> Result<Pgcluster, Refusal> {
    let api: Api<Pgcluster> = app.api(namespace);
    let found = match name.parse::<ClusterName>() {
        Ok(name) => api.get_opt(name.as_str()).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| Refusal(texts::no_cluster_named(name)))
}

/// The pods of a cluster's instances, in order of name.
pub(super) async fn instances(
    app: &App,
    namespace: &str,
    cluster: &str,
) -> Result<Vec<Pod>, Refusal> {
    let members = ListParams::default().labels(&format!("{}={cluster}", label::PG_CLUSTER));
    let pods: Api<Pod> = app.api(namespace);
    let mut pods = pods.list(&members).await?.items;
    pods.retain(pod::is_instance);
    pods.sort_by_key(|pod| pod.name_any());
    Ok(pods)
}

pub(crate) async fn query(
    call: Arc<Call>,
    query: StatusQuery,
) -> Result<QueryFailoverResponse, Refusal> {
    let app = &*call.app;
    let cluster = cluster(app, &query.namespace, &call.variable()).await?;
    let primary = primary(&cluster);
    let mut pods = instances(app, &query.namespace, &cluster.name_any()).await?;
    pods.retain(|pod| pod::deployment(pod) != primary);
    let preferred = preferred(app).await?;
    let targets = pods.iter().map(|pod| target(app, pod, &preferred));
    Ok(QueryFailoverResponse {
        results: Some(Vec::new()),
        targets: Some(futures::future::join_all(targets).await),
        outcome: Outcome::ok(),
    })
}

/// Names of the nodes that pgo.yaml prefers.
async fn preferred(app: &App) -> Result<Vec<String>, Refusal> {
    let selector = app.configuration.now().pgo.preferred_failover_node.clone();
    if selector.is_empty() {
        return Ok(Vec::new());
    }
    let nodes: Api<Node> = Api::all(app.client.clone());
    let found = nodes.list(&ListParams::default().labels(&selector)).await?;
    Ok(found.iter().map(kube::ResourceExt::name_any).collect())
}

async fn target(app: &App, pod: &Pod, preferred: &[String]) -> FailoverTarget {
    let state = agents::state(app, pod).await;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let rep_status = match &state {
        None => "its agent does not answer".to_owned(),
        Some(state) => texts::failover_status(state.streaming, state.lag_bytes, state.lag_ms),
    };
    let state = state.unwrap_or_default();
    let node = node.unwrap_or_default();
    FailoverTarget {
        name: pod::deployment(pod),
        ready_status: Containers::of(pod).to_string(),
        preferred_node: preferred.contains(&node),
        node,
        rep_status,
        receive_location: state.received_lsn,
        replay_location: state.lsn,
    }
}

pub(crate) async fn create(
    call: Arc<Call>,
    request: CreateFailoverRequest,
) -> Result<CreateFailoverResponse, Refusal> {
    if !matches!(
        request.autofail_replace_replica.as_str(),
        "" | "true" | "false"
    ) {
        return refuse(texts::AUTOFAIL_REPLACE_REPLICA);
    }
    let app = &*call.app;
    let cluster = cluster(app, &request.namespace, &request.cluster_name).await?;
    if cluster.metadata.deletion_timestamp.is_some() {
        return refuse(format!("cluster {} is being deleted", cluster.name_any()));
    }
    check_target(app, &request, &cluster).await?;
    let autofails = pgo_crd::autofail(&cluster, &app.configuration.now());
    let autofails = autofails.map_err(|error| Refusal(error.to_string()))?;
    if autofails && !request.planned {
        return refuse(texts::AUTOFAIL_IS_ON);
    }
    if let Some(status) = &cluster.status {
        nothing_else_runs(&status.0)?;
    }
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { ask(&call, &request, &cluster).await });
    let asked = asking
        .await
        .map_err(|error| Refusal(format!("asking for a failover broke off: {error}")));
    let (name, id) = asked??;
    Ok(CreateFailoverResponse {
        results: vec![
            texts::created_failover(&name),
            texts::workflow_id(&id.to_string()),
        ],
        targets: String::new(),
        operation: id.to_string(),
        outcome: Outcome::ok(),
    })
}

/// The target is an instance, and not the primary.
async fn check_target(
    app: &App,
    request: &CreateFailoverRequest,
    cluster: &Pgcluster,
) -> Result<(), Refusal> {
    let target = request.target.as_str();
    if target.is_empty() {
        return Ok(());
    }
    let pods = instances(app, &request.namespace, &cluster.name_any()).await?;
    if !pods.iter().any(|pod| pod::deployment(pod) == target) {
        return refuse(texts::no_target(target));
    }
    if target == primary(cluster) {
        return refuse(texts::TARGET_IS_PRIMARY);
    }
    Ok(())
}

fn nothing_else_runs(status: &ClusterStatus) -> Result<(), Refusal> {
    match status.journal.running_change() {
        None => Ok(()),
        Some(running) => refuse(format!(
            "the primary is being changed already, by operation {}; ask again when that is over",
            running.id
        )),
    }
}

/// Stores the task. One that is over makes way for it.
async fn ask(
    call: &Call,
    request: &CreateFailoverRequest,
    cluster: &Pgcluster,
) -> Result<(String, OperationId), Refusal> {
    let (name, uid) = identity(cluster)?;
    let subject = Subject {
        namespace: &request.namespace,
        name: &name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let id = OperationId::from(Uuid::new_v4());
    let task = task::failover(&subject, request, id);
    let tasks: Api<Pgtask> = call.app.api(&request.namespace);
    let is_former = |found: &Pgtask| task::is_anothers(found, &uid) || task::is_over(found);
    let stored = task::create(&tasks, &task, is_former).await?;
    call.app
        .bell
        .tell(doorbell(Kind::Pgtask, &stored, Some(id)));
    tracing::info!(
        cluster = %name, target = request.target, user = call.caller.name,
        "another primary was asked for"
    );
    Ok((name.to_string(), id))
}

/// The Pgclusters that an update is about: as 4.1 reads it, the selector goes before all, and that before the names.
pub(super) async fn selected(
    app: &App,
    namespace: &str,
    (selector, all, names): (&str, bool, &[String]),
) -> Result<Vec<DynamicObject>, Refusal> {
    if !selector.is_empty() || all || names.is_empty() {
        let selection = Selection::of(selector, all, "");
        return selection.clusters(app, namespace).await;
    }
    let mut clusters = Vec::new();
    for name in names {
        let found = Selection::of("", false, name)
            .clusters(app, namespace)
            .await?;
        clusters.extend(found);
    }
    Ok(clusters)
}
