//! `/restart`: which instances there are to restart, and the request that PostgreSQL is restarted in place, by a Pgtask.
//!
//! What can be told at once is refused here; the reconciler judges again, by what the agents say.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_api::{
    AskedRestart, Outcome, QueryRestartResponse, RestartRequest, RestartResponse, RestartTarget,
    StatusQuery, texts,
};
use pgo_core::ClusterStatus;
use pgo_crd::Pgcluster;
use pgo_proto::agent::{InstanceState, Phase, Role};

use super::{
    ask,
    failover::{cluster, instances},
    pod, task,
};
use crate::{agents, app::App, refusal::Refusal, request::Call};

pub(crate) async fn query(
    call: Arc<Call>,
    query: StatusQuery,
) -> Result<QueryRestartResponse, Refusal> {
    let app = &*call.app;
    let cluster = cluster(app, &query.namespace, &call.variable()).await?;
    let pods = instances(app, &query.namespace, &cluster.name_any()).await?;
    let targets = pods.iter().map(|pod| target(app, pod));
    let mut results = futures::future::join_all(targets).await;
    results.sort_by_key(|one| (one.role != "primary", one.name.clone()));
    Ok(QueryRestartResponse {
        results,
        outcome: Outcome::ok(),
    })
}

async fn target(app: &App, pod: &Pod) -> RestartTarget {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let of_pod = RestartTarget {
        name: pod::deployment(pod),
        node: node.unwrap_or_default(),
        ..RestartTarget::default()
    };
    match agents::state(app, pod).await {
        Some(state) => said(of_pod, state),
        None => RestartTarget {
            status: "its agent does not answer".to_owned(),
            ..of_pod
        },
    }
}

/// What an agent says of its instance.
fn said(of_pod: RestartTarget, state: InstanceState) -> RestartTarget {
    let role = match state.role() {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Unspecified => "",
    };
    let replication = match state.role() {
        Role::Replica => texts::failover_status(state.streaming, state.lag_bytes, state.lag_ms),
        _ => String::new(),
    };
    let status = match state.phase() {
        Phase::Running => "running",
        Phase::Failed => "failed",
        Phase::Stopping => "stopping",
        Phase::Cloning => "cloning",
        Phase::Rewinding => "rewinding",
        _ => "starting",
    };
    RestartTarget {
        role: role.to_owned(),
        status: status.to_owned(),
        replication,
        pending: !state.pending_restart.is_empty(),
        settings: state.pending_restart,
        ..of_pod
    }
}

pub(crate) async fn restart(
    call: Arc<Call>,
    request: RestartRequest,
) -> Result<RestartResponse, Refusal> {
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { all(&call, &request).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a restart broke off: {error}")))?
}

/// Asks for each; what stands in the way of one does not keep the others.
async fn all(call: &Call, request: &RestartRequest) -> Result<RestartResponse, Refusal> {
    let is_one =
        request.selector.is_empty() && matches!(request.args.as_slice(), [name] if name != "all");
    if !request.target.is_empty() && !is_one {
        let text = "a target is an instance of one cluster; name that cluster alone";
        return Err(Refusal(text.to_owned()));
    }
    let wanted = (request.args.as_slice(), request.selector.as_str());
    let namespace = request.namespace.as_str();
    let (clusters, mut problems) = ask::clusters(&call.app, namespace, wanted).await?;
    let mut answer = RestartResponse::default();
    for cluster in &clusters {
        let name = cluster.name_any();
        match one(call, request, cluster).await {
            Ok(asked) => {
                answer.results.push(texts::created_restart(&name));
                answer.results.push(texts::workflow_id(&asked.operation));
                answer.restarts.push(asked);
            }
            Err(Refusal(why)) => problems.push(why),
        }
    }
    answer.outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    Ok(answer)
}

async fn one(
    call: &Call,
    request: &RestartRequest,
    cluster: &Pgcluster,
) -> Result<AskedRestart, Refusal> {
    let (namespace, target) = (request.namespace.as_str(), request.target.as_str());
    let name = cluster.name_any();
    if !target.is_empty() {
        let pods = instances(&call.app, namespace, &name).await?;
        if !pods.iter().any(|pod| pod::deployment(pod) == target) {
            return Err(Refusal(texts::no_target(target)));
        }
    }
    let status = cluster.status.clone().map(|status| status.0);
    in_the_way(&name, &status.unwrap_or_default())?;
    let make = |subject: &task::Subject<'_>, id| task::restart(subject, id, target);
    let id = ask::one(call, namespace, cluster, make).await?;
    Ok(AskedRestart {
        cluster: name,
        operation: id.to_string(),
    })
}

/// Refuses while anything else is done with a cluster, or it is not ready.
fn in_the_way(cluster: &str, status: &ClusterStatus) -> Result<(), Refusal> {
    let mut operations = status.journal.operations.iter();
    if let Some(running) = operations.find(|operation| operation.is_running()) {
        return Err(Refusal(format!(
            "cluster {cluster}: {} is going on since {}; wait for its end, then ask again",
            running.kind.what(),
            running.started
        )));
    }
    match status.is_ready() {
        true => Ok(()),
        false => Err(Refusal(format!(
            "cluster {cluster} is not ready: {}; a restart begins only while it serves",
            status.reason
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_says_is_shown() {
        let state = InstanceState {
            phase: Phase::Running.into(),
            role: Role::Replica.into(),
            streaming: true,
            lag_bytes: 5,
            pending_restart: vec!["max_connections".to_owned()],
            ..InstanceState::default()
        };
        let shown = said(RestartTarget::default(), state);
        assert_eq!(
            (shown.role.as_str(), shown.status.as_str()),
            ("replica", "running")
        );
        assert_eq!(shown.replication, "streaming, lag 5 bytes, 0.0 s");
        assert!(shown.pending);
        assert_eq!(shown.settings, ["max_connections"]);

        let primary = InstanceState {
            role: Role::Primary.into(),
            ..InstanceState::default()
        };
        let shown = said(RestartTarget::default(), primary);
        assert_eq!(
            (shown.role.as_str(), shown.status.as_str()),
            ("primary", "starting")
        );
        assert!(!shown.pending && shown.replication.is_empty());
    }
}
