//! Having an agent apply a policy. That may take minutes, in which a cluster is looked at as ever: the answer is noted for a
//! later look.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};
use pgo_core::{Cluster, PolicyPlace, Step};
use pgo_crd::{Pgpolicy, label};
use pgo_ids::{InstanceName, Namespace, OperationId};
use tokio::time::timeout;

use crate::{
    agents::{Agents, Unheard},
    context::Context,
    policies::fetch,
};

/// How long Kubernetes may take to show a policy, or a Secret.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// The database that policies are applied to unless another one is named, as in 4.1.
const DATABASE: &str = "postgres";

/// What is to be applied where.
struct Asked {
    operation: OperationId,
    policy: String,
    place: PolicyPlace,
    cluster: String,
    namespace: Namespace,
    instance: InstanceName,
    started: Timestamp,
}

/// Begins it, unless it is under way or answered.
pub fn begin(step: &Step, cluster: &Cluster, context: &Context) {
    let Step::ApplyPolicy {
        operation,
        policy,
        place,
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
        place: place.clone(),
        cluster: cluster.name.to_string(),
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
    let api: Api<Pgpolicy> = Api::namespaced(client.clone(), namespace.as_str());
    let Some(found) = read(&api, policy).await? else {
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
    let role = match &asked.place.secret {
        Some(secret) => user_of(secret, asked, client).await?,
        None => String::new(),
    };
    let database = asked.place.database.as_deref().unwrap_or(DATABASE);
    let at = (&asked.instance, asked.started);
    let what = (asked.operation, database, role, sql);
    agents.apply_policy(namespace, at, what).await
}

/// The user whose name a Secret of the cluster has.
async fn user_of(secret: &str, asked: &Asked, client: Client) -> Result<String, Unheard> {
    let api: Api<Secret> = Api::namespaced(client, asked.namespace.as_str());
    let refuse = |what: &str| {
        let Asked { cluster, .. } = asked;
        Err(Unheard::Refused(format!(
            "the policy is to run as the user of Secret {secret}: {what}; name one of cluster {cluster}, or none"
        )))
    };
    let Some(found) = read(&api, secret).await? else {
        return refuse("it is not there");
    };
    if found.labels().get(label::PG_CLUSTER) != Some(&asked.cluster) {
        return refuse("it is not of this cluster");
    }
    let name = found.data.as_ref().and_then(|data| data.get("username"));
    let name = name.and_then(|name| String::from_utf8(name.0.clone()).ok());
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Ok(name),
        None => refuse("it has no username"),
    }
}

async fn read<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Unheard>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match timeout(READ_DEADLINE, api.get_opt(name)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Unheard::Failed(error.to_string())),
        Err(_) => Err(Unheard::Failed("Kubernetes does not answer".to_owned())),
    }
}
