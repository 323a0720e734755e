//! What is there in a namespace, kept by watches; each change wakes the cluster it belongs to.

pub mod lean;

use std::{fmt::Debug, hash::Hash};

use futures::StreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
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
use pgo_crd::{Pgreplica, Pgtask, label, task_cluster};
use pgo_k8s::ahead::{self, Ahead};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::waker::Waker;
use lean::Lean;

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
    /// Requests for replicas; likewise.
    pub replicas: Store<DeserializeGuard<Pgreplica>>,
    /// Secrets, without their content.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// Deployments of repositories of backups.
    pub deployments: Store<PartialObjectMeta<Deployment>>,
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
        let all = watcher::Config::default();
        let (tasks, ahead) = watch.keep_ahead(&all, by_parameters, complain);
        let rung = doorbells.of(Kind::Pgtask, namespace);
        watch.tasks.spawn(ahead.look_at(rung));
        let (replicas, ahead) = watch.keep_ahead(&all, by_spec, complain);
        let rung = doorbells.of(Kind::Pgreplica, namespace);
        watch.tasks.spawn(ahead.look_at(rung));
        Self {
            pods: watch.keep(&ours),
            claims: watch.keep(&ours),
            slices: watch.keep(&ours),
            tasks,
            replicas,
            secrets: watch.keep(&ours),
            deployments: watch.keep(&ours),
            services: watch.keep(&ours),
            leases: watch.keep(&ours),
            accounts: watch.keep(&ours),
            roles: watch.keep(&ours),
            bindings: watch.keep(&ours),
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
            self.replicas.wait_until_ready(),
            self.secrets.wait_until_ready(),
            self.deployments.wait_until_ready(),
            self.services.wait_until_ready(),
            self.leases.wait_until_ready(),
            self.accounts.wait_until_ready(),
            self.roles.wait_until_ready(),
            self.bindings.wait_until_ready(),
        );
    }
}

/// Tells the cluster that an object belongs to.
type Whose<K> = fn(&K) -> Option<&str>;

/// How watches begin.
struct Watch<'a> {
    client: &'a Client,
    namespace: &'a str,
    waker: &'a Waker,
    tasks: &'a mut JoinSet<()>,
}

impl Watch<'_> {
    /// Keeps the objects of a kind.
    fn keep<K>(&mut self, config: &watcher::Config) -> Store<K>
    where
        K: Lean
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        self.keep_ahead(config, by_label, |_| {}).0
    }

    /// The same, with what makes the watch look at an object at once. `cluster` tells whose an object is, and `seen` is called
    /// with each that came or has changed.
    fn keep_ahead<K>(
        &mut self,
        config: &watcher::Config,
        cluster: Whose<K>,
        seen: fn(&K),
    ) -> (Store<K>, Ahead<K>)
    where
        K: Lean
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>
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
        let stream = changes.modify(Lean::shed).reflect(writer).touched_objects();
        self.tasks.spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(object) = stream.next().await {
                match object {
                    Ok(object) => {
                        seen(&object);
                        if let (Some(cluster), Some(namespace)) =
                            (cluster(&object), object.meta().namespace.as_deref())
                        {
                            waker.wake(namespace, cluster);
                        }
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

/// Says of a request that cannot be understood why.
fn complain<K: Resource<DynamicType = ()>>(request: &DeserializeGuard<K>) {
    if let Err(unreadable) = &request.0 {
        let kind = K::kind(&());
        tracing::error!(
            %kind,
            name = request.name_any(),
            namespace = request.namespace(),
            error = unreadable.error,
            "a request cannot be understood and is left alone; mend it, or remove it"
        );
    }
}

/// The cluster that an object belongs to by its label.
fn by_label<K: Resource>(object: &K) -> Option<&str> {
    let labels = object.meta().labels.as_ref()?;
    labels.get(label::PG_CLUSTER).map(String::as_str)
}

/// The cluster that a Pgtask is about: one that was made by hand may have no label.
fn by_parameters(task: &DeserializeGuard<Pgtask>) -> Option<&str> {
    match &task.0 {
        Ok(asks) => {
            let parameters = asks.spec.parameters.iter();
            let parameters = parameters.map(|(key, value)| (key.as_str(), value.as_str()));
            task_cluster(&asks.spec.tasktype, parameters).or_else(|| by_label(task))
        }
        Err(_) => by_label(task),
    }
}

/// The cluster that a Pgreplica is for: one that was made by hand may have no label.
fn by_spec(replica: &DeserializeGuard<Pgreplica>) -> Option<&str> {
    match &replica.0 {
        Ok(replica) => Some(&replica.spec.clustername),
        Err(_) => by_label(replica),
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
