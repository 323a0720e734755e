//! What is there of a cluster that does not go by its own: pods, claims, and Secrets with passwords.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::{Api, Resource, api::ListParams, core::PartialObjectMeta};
use pgo_core::Cluster;
use pgo_crd::label;
use serde::de::DeserializeOwned;

use super::of_cluster;
use crate::{context::Context, error::Error, execute::call};

/// Objects with a cluster's label.
pub struct There {
    /// Pods.
    pub pods: Vec<Arc<Pod>>,
    /// Claims.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Secrets, without their content.
    pub secrets: Vec<Arc<PartialObjectMeta<Secret>>>,
}

impl There {
    /// What the caches show; of a cluster that is to go and of which they show no pod, what Kubernetes itself says. What was
    /// made a moment ago, perhaps by a reconciler that has ended since, may be in no cache yet, and would stay for ever.
    ///
    /// # Errors
    /// Kubernetes does not say.
    pub async fn of(cluster: &Cluster, context: &Context) -> Result<Self, Error> {
        let cache = &context.cache;
        let pods = of_cluster(&cache.pods.state(), cluster);
        let goes = cluster.deleting || !cluster.delete_requests.is_empty();
        if goes && pods.is_empty() {
            return Self::asked_for(cluster, context).await;
        }
        Ok(Self {
            pods,
            claims: of_cluster(&cache.claims.state(), cluster),
            secrets: of_cluster(&cache.secrets.state(), cluster),
        })
    }

    async fn asked_for(cluster: &Cluster, context: &Context) -> Result<Self, Error> {
        let name = cluster.name.as_str();
        let labels = format!("vendor=crunchydata,{}={name}", label::PG_CLUSTER);
        let labelled = ListParams::default().labels(&labels);
        let (pods, claims): (Api<Pod>, Api<PersistentVolumeClaim>) =
            (api(cluster, context), api(cluster, context));
        let secrets: Api<Secret> = api(cluster, context);
        let (pods, claims, secrets) = tokio::try_join!(
            call("list pods of", name, pods.list(&labelled)),
            call("list claims of", name, claims.list(&labelled)),
            call("list Secrets of", name, secrets.list_metadata(&labelled)),
        )?;
        Ok(Self {
            pods: pods.items.into_iter().map(Arc::new).collect(),
            claims: claims.items.into_iter().map(Arc::new).collect(),
            secrets: secrets.items.into_iter().map(Arc::new).collect(),
        })
    }
}

fn api<K>(cluster: &Cluster, context: &Context) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned,
{
    Api::namespaced(context.client.clone(), cluster.namespace.as_str())
}
