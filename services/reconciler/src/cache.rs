//! What is there in a namespace, kept by watches; each change wakes the cluster it belongs to.

use std::{fmt::Debug, hash::Hash};

use futures::StreamExt as _;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _, reflector,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use pgo_crd::{Pgtask, label};
use serde::de::DeserializeOwned;

use crate::waker::Waker;

/// Objects of a namespace. Of kinds whose content does not matter only the metadata is kept.
#[derive(Clone)]
pub struct Cache {
    /// Pods of clusters.
    pub pods: Store<Pod>,
    /// Claims of clusters.
    pub claims: Store<PersistentVolumeClaim>,
    /// EndpointSlices of clusters.
    pub slices: Store<EndpointSlice>,
    /// Requests.
    pub tasks: Store<Pgtask>,
    /// Secrets, without their content.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// Services.
    pub services: Store<PartialObjectMeta<Service>>,
    /// Leases.
    pub leases: Store<PartialObjectMeta<Lease>>,
    /// Accounts of agents.
    pub accounts: Store<PartialObjectMeta<ServiceAccount>>,
    /// Roles of agents.
    pub roles: Store<PartialObjectMeta<Role>>,
    /// Bindings of those.
    pub bindings: Store<PartialObjectMeta<RoleBinding>>,
}

impl Cache {
    /// Begins to watch, and returns when everything was seen once.
    pub async fn watch(client: &Client, namespace: &str, waker: &Waker) -> Self {
        let ours = watcher::Config::default().labels("vendor=crunchydata");
        let cache = Self {
            pods: keep(client, namespace, &ours, waker),
            claims: keep(client, namespace, &ours, waker),
            slices: keep(client, namespace, &ours, waker),
            // 4.1's tasks do not carry the vendor's label.
            tasks: keep(client, namespace, &watcher::Config::default(), waker),
            secrets: keep(client, namespace, &ours, waker),
            services: keep(client, namespace, &ours, waker),
            leases: keep(client, namespace, &ours, waker),
            accounts: keep(client, namespace, &ours, waker),
            roles: keep(client, namespace, &ours, waker),
            bindings: keep(client, namespace, &ours, waker),
        };
        // An error here means that a watch ended, which it does only with the process.
        let _ = tokio::join!(
            cache.pods.wait_until_ready(),
            cache.claims.wait_until_ready(),
            cache.slices.wait_until_ready(),
            cache.tasks.wait_until_ready(),
            cache.secrets.wait_until_ready(),
            cache.services.wait_until_ready(),
            cache.leases.wait_until_ready(),
            cache.accounts.wait_until_ready(),
            cache.roles.wait_until_ready(),
            cache.bindings.wait_until_ready(),
        );
        cache
    }
}

fn keep<K>(client: &Client, namespace: &str, config: &watcher::Config, waker: &Waker) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let (store, writer) = reflector::store();
    let waker = waker.clone();
    let stream = watcher(api, config.clone())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects();
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(object) = stream.next().await {
            match object {
                Ok(object) => wake(&object, &waker),
                Err(error) => {
                    let kind = std::any::type_name::<K>();
                    tracing::warn!(kind, %error, "a watch was interrupted; it begins again");
                }
            }
        }
    });
    store
}

fn wake<K: Resource>(object: &K, waker: &Waker) {
    let meta = object.meta();
    let cluster = meta
        .labels
        .as_ref()
        .and_then(|labels| labels.get(label::PG_CLUSTER));
    if let (Some(cluster), Some(namespace)) = (cluster, &meta.namespace) {
        waker.wake(namespace, cluster);
    }
}

/// The object of a name, from a store.
pub fn by_name<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<std::sync::Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    store.get(&ObjectRef::new(name).within(namespace))
}
