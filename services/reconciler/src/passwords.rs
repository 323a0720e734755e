//! The passwords of the cluster that `spec.secretfrom` names, read only while some are to be copied. The caches do not hold
//! the content of Secrets, and those of another's making may lack the labels by which caches are filled.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use pgo_core::{Cluster, Observed, UserSecret};
use pgo_ids::{ClusterName, RoleName};
use tokio::time::timeout;

/// How long a look may take; what is not known then is asked for again.
const DEADLINE: Duration = Duration::from_secs(5);

/// Which of them there are; none where nothing is to be copied, or Kubernetes does not answer.
pub async fn sources(
    cluster: &Cluster,
    observed: &Observed,
    client: &Client,
) -> Option<BTreeSet<UserSecret>> {
    let desired = cluster.desired.as_ref().ok()?;
    let from = desired.secret_from.as_ref()?;
    if cluster.is_to_go() || desired.missing_secrets(observed).is_empty() {
        return None;
    }
    let namespace = cluster.namespace.as_str();
    let looks = UserSecret::ALL.map(|which| async move {
        let found = password(client, namespace, (which, from, &desired.user)).await?;
        Ok::<_, kube::Error>(found.map(|_| which))
    });
    let looked = timeout(DEADLINE, futures::future::try_join_all(looks)).await;
    match looked {
        Ok(Ok(found)) => Some(found.into_iter().flatten().collect()),
        Ok(Err(error)) => {
            tracing::warn!(
                cluster = %cluster.name, namespace, %from, %error,
                "cannot read the Secrets that passwords are to be copied from; trying again"
            );
            None
        }
        Err(_) => {
            tracing::warn!(
                cluster = %cluster.name, namespace, %from,
                "the API server did not answer when asked for Secrets to copy passwords from"
            );
            None
        }
    }
}

/// The password of a user of a cluster, if its Secret is there and has one.
///
/// # Errors
/// Kubernetes failed.
pub async fn password(
    client: &Client,
    namespace: &str,
    (which, cluster, user): (UserSecret, &ClusterName, &RoleName),
) -> Result<Option<String>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let name = which.name(cluster.as_str(), user.as_str());
    let found = secrets.get_opt(&name).await?;
    Ok(found.as_ref().and_then(pgo_objects::password))
}
