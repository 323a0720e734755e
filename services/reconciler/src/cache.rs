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
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _, reflector,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use pgo_bus::{Doorbells, Kind};
use pgo_crd::{Pgtask, label};
use pgo_k8s::ahead::{self, Ahead};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::waker::Waker;

/// Objects of a namespace. Of kinds whose content does not matter only the metadata is read.
pub struct Cache {
    /// Pods of clusters.
    pub pods: Store<Pod>,
    /// Claims of clusters.
    pub claims: Store<PersistentVolumeClaim>,
    /// EndpointSlices of clusters.
    pub slices: Store<EndpointSlice>,
    /// Requests; one that cannot be understood must not hide the others.
    pub tasks: Store<DeserializeGuard<Pgtask>>,
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
    /// Ends the watches with the cache.
    _watches: JoinSet<()>,
}

impl Cache {
    /// Begins to watch; requests that the doorbell is rung for are looked at right away.
    pub fn watch(client: &Client, namespace: &str, waker: &Waker, doorbells: &Doorbells) -> Self {
        let ours = watcher::Config::default().labels("vendor=crunchydata");
        let mut watches = JoinSet::new();
        let mut watch = Watch {
            client,
            namespace,
            waker,
            tasks: &mut watches,
        };
        // 4.1's tasks do not carry the vendor's label.
        let (tasks, ahead) = watch.keep_ahead(&watcher::Config::default(), complain);
        let rung = doorbells.of(Kind::Pgtask, namespace);
        watch.tasks.spawn(ahead.look_at(rung));
        Self {
            pods: watch.keep(&ours, |_| {}),
            claims: watch.keep(&ours, |_| {}),
            slices: watch.keep(&ours, |_| {}),
            tasks,
            secrets: watch.keep(&ours, |_| {}),
            services: watch.keep(&ours, |_| {}),
            leases: watch.keep(&ours, |_| {}),
            accounts: watch.keep(&ours, |_| {}),
            roles: watch.keep(&ours, |_| {}),
            bindings: watch.keep(&ours, |_| {}),
            _watches: watches,
        }
    }

    /// Waits until everything was seen once, however long that takes.
    pub async fn synced(&self) {
        // An error here means that a watch ended, which it does only with the process.
        let _ = tokio::join!(
            self.pods.wait_until_ready(),
            self.claims.wait_until_ready(),
            self.slices.wait_until_ready(),
            self.tasks.wait_until_ready(),
            self.secrets.wait_until_ready(),
            self.services.wait_until_ready(),
            self.leases.wait_until_ready(),
            self.accounts.wait_until_ready(),
            self.roles.wait_until_ready(),
            self.bindings.wait_until_ready(),
        );
    }
}

/// How watches begin.
struct Watch<'a> {
    client: &'a Client,
    namespace: &'a str,
    waker: &'a Waker,
    tasks: &'a mut JoinSet<()>,
}

impl Watch<'_> {
    /// Keeps the objects of a kind; `seen` is called with each that came or has changed.
    fn keep<K>(&mut self, config: &watcher::Config, seen: fn(&K)) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        self.keep_ahead(config, seen).0
    }

    /// The same, with what makes the watch look at an object at once.
    fn keep_ahead<K>(&mut self, config: &watcher::Config, seen: fn(&K)) -> (Store<K>, Ahead<K>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), self.namespace);
        let (store, writer) = reflector::store();
        let (waker, namespace) = (self.waker.clone(), self.namespace.to_owned());
        let (changes, ahead) = ahead::watch(api, config.clone());
        let stream = changes
            .modify(|object| object.managed_fields_mut().clear())
            .reflect(writer)
            .touched_objects();
        self.tasks.spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(object) = stream.next().await {
                match object {
                    Ok(object) => {
                        seen(&object);
                        wake(&object, &waker);
                    }
                    Err(error) => {
                        let kind = K::kind(&());
                        tracing::warn!(namespace, %kind, %error, "a watch was interrupted; it begins again");
                    }
                }
            }
        });
        (store, ahead)
    }
}

/// Says of a task that cannot be understood why.
fn complain(task: &DeserializeGuard<Pgtask>) {
    if let Err(unreadable) = &task.0 {
        tracing::error!(
            task = task.name_any(),
            namespace = task.namespace(),
            error = unreadable.error,
            "the Pgtask cannot be understood and is left alone; mend it, or remove it"
        );
    }
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
