//! Having an agent apply a policy. That may take minutes, in which a cluster is looked at as ever: the answer is noted for a
//! later look.

use std::time::Duration;

use jiff::Timestamp;
use kube::{Api, Client};
use pgo_core::{Cluster, Step};
use pgo_crd::Pgpolicy;
use pgo_ids::{InstanceName, Namespace, OperationId};
use tokio::time::timeout;

use crate::{
    agents::{Agents, Unheard},
    context::Context,
    policies::fetch,
};

/// How long Kubernetes may take to show a policy.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// The database that policies are applied to, as in 4.1.
const DATABASE: &str = "postgres";

/// What is to be applied where.
struct Asked {
    operation: OperationId,
    policy: String,
    namespace: Namespace,
    instance: InstanceName,
    started: Timestamp,
}

/// Begins it, unless it is under way or answered.
pub fn begin(step: &Step, cluster: &Cluster, context: &Context) {
    let Step::ApplyPolicy {
        operation,
        policy,
        instance,
        started,
    } = step
    else {
        return;
    };
    if !context.policies.begin(&cluster.stream, *operation) {
        return;
    }
    let asked = Asked {
        operation: *operation,
        policy: policy.clone(),
        namespace: cluster.namespace.clone(),
        instance: instance.clone(),
        started: *started,
    };
    let (client, agents) = (context.client.clone(), context.agents.clone());
    let (policies, stream) = (context.policies.clone(), cluster.stream.clone());
    let wake = context.waking(cluster);
    tokio::spawn(async move {
        let answer = match apply(&asked, client, &agents).await {
            Ok(notices) => Some(Ok(notices)),
            Err(Unheard::Refused(reason)) => Some(Err(reason)),
            // It is asked again: the agent runs it once.
            Err(Unheard::Failed(why)) => {
                let Asked {
                    operation,
                    policy,
                    instance,
                    ..
                } = &asked;
                tracing::warn!(%operation, policy, %instance, why, "a policy is not applied yet");
                None
            }
        };
        policies.ended(&stream, asked.operation, answer);
        wake();
    });
}

async fn apply(asked: &Asked, client: Client, agents: &Agents) -> Result<u32, Unheard> {
    let Asked {
        policy, namespace, ..
    } = asked;
    let api: Api<Pgpolicy> = Api::namespaced(client, namespace.as_str());
    let found = match timeout(READ_DEADLINE, api.get_opt(policy)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(Unheard::Failed(error.to_string())),
        Err(_) => return Err(Unheard::Failed("Kubernetes does not answer".to_owned())),
    };
    let Some(found) = found else {
        return Err(Unheard::Refused(format!(
            "there is no policy {policy} in namespace {namespace}"
        )));
    };
    let sql = match (found.spec.sql.is_empty(), found.spec.url.as_str()) {
        (false, _) => found.spec.sql,
        (true, url) => {
            let fetched = fetch::text(url, fetch::roots()).await;
            fetched.map_err(Unheard::Refused)?
        }
    };
    let at = (&asked.instance, asked.started);
    let what = (asked.operation, DATABASE, sql);
    agents.apply_policy(namespace, at, what).await
}
