//! What Kubernetes tells of schedules, clusters and tasks, for each namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    future::ready,
    pin::Pin,
};

use futures::{
    Stream, StreamExt as _,
    stream::{self, ReadyChunks, SelectAll, select_all},
};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::ConfigMap};
use kube::{Api, Client, Resource, runtime::watcher};
use pgo_bus::{Doorbells, Kind};
use pgo_crd::Pgtask;
use pgo_k8s::ahead;
use serde::de::DeserializeOwned;

use crate::{
    around::{Around, LeanCluster},
    book::Book,
};

/// Label of the ConfigMaps that are schedules, as in 4.1.
const LABEL: &str = "crunchy-scheduler=true";

/// How many kinds of objects are followed in each namespace.
const KINDS: usize = 3;

/// So many changes are taken together.
const TOGETHER: usize = 512;

/// A change of one of them.
pub enum News {
    /// A ConfigMap that is a schedule.
    Schedule(watcher::Result<watcher::Event<ConfigMap>>),
    /// A Pgcluster.
    Cluster(watcher::Result<watcher::Event<LeanCluster>>),
    /// A Pgtask.
    Task(Box<watcher::Result<watcher::Event<Pgtask>>>),
}

type Changes = Pin<Box<dyn Stream<Item = (String, News)> + Send>>;

/// Follows all that is to be followed in these namespaces, from a list on that is as new as can be.
pub fn follow(
    client: &Client,
    namespaces: &[String],
    doorbells: &Doorbells,
) -> ReadyChunks<SelectAll<Changes>> {
    let of_one = |namespace: &String| {
        let schedules = watcher::Config::default().labels(LABEL);
        let all = watcher::Config::default;
        let place = (client, namespace.as_str(), doorbells);
        [
            one(place, schedules, Kind::ConfigMap, News::Schedule),
            one(place, all(), Kind::Pgcluster, News::Cluster),
            one(place, all(), Kind::Pgtask, |change| {
                News::Task(Box::new(change))
            }),
        ]
    };
    select_all(namespaces.iter().flat_map(of_one)).ready_chunks(TOGETHER)
}

fn one<K>(
    (client, namespace, doorbells): (&Client, &str, &Doorbells),
    config: watcher::Config,
    kind: Kind,
    news: fn(watcher::Result<watcher::Event<K>>) -> News,
) -> Changes
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
    let (changes, ahead) = ahead::watch(api, config);
    let rung = doorbells.of(kind, namespace);
    let looking = async move { ahead.look_at(rung).await };
    // Gives nothing, and goes on with the changes.
    let looking = stream::once(looking).filter_map(|()| ready(None));
    let namespace = namespace.to_owned();
    let changes = changes.map(move |change| (namespace.clone(), news(change)));
    Box::pin(stream::select(changes, looking))
}

/// What a change says.
enum Change<K> {
    /// Nothing yet.
    Nothing,
    /// These are all.
    All(Vec<K>),
    /// This is as it is now.
    Put(K),
    /// This is gone.
    Gone(K),
}

/// Lists of one kind that are being read, by namespace.
struct Lists<K>(BTreeMap<String, Vec<K>>);

impl<K> Lists<K> {
    fn take(&mut self, namespace: &str, event: watcher::Event<K>) -> Change<K> {
        match event {
            watcher::Event::Init => {
                self.0.insert(namespace.to_owned(), Vec::new());
                Change::Nothing
            }
            watcher::Event::InitApply(object) => {
                self.0.entry(namespace.to_owned()).or_default().push(object);
                Change::Nothing
            }
            watcher::Event::InitDone => Change::All(self.0.remove(namespace).unwrap_or_default()),
            watcher::Event::Apply(object) => Change::Put(object),
            watcher::Event::Delete(object) => Change::Gone(object),
        }
    }
}

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// What is known of the namespaces while they are read.
#[derive(Default)]
pub struct Listing {
    schedules: Lists<ConfigMap>,
    clusters: Lists<LeanCluster>,
    tasks: Lists<Pgtask>,
    /// The kinds of which everything is known, by namespace.
    known: BTreeMap<String, BTreeSet<&'static str>>,
    /// Kinds that cannot be read in a namespace, which was told.
    failing: BTreeSet<(String, &'static str)>,
}

impl Listing {
    /// Whether everything is known in a namespace.
    pub fn knows(&self, namespace: &str) -> bool {
        let known = self.known.get(namespace);
        known.is_some_and(|kinds| kinds.len() == KINDS)
    }

    /// Forgets what is known: everything is read anew.
    pub fn begin_anew(&mut self) {
        self.known.clear();
    }

    /// Takes a change of a namespace.
    pub fn take(
        &mut self,
        (book, around): (&mut Book, &mut Around),
        (namespace, news): (String, News),
    ) {
        let namespace = namespace.as_str();
        match news {
            News::Schedule(change) => {
                let Some(event) = self.heard(namespace, "schedules", change) else {
                    return;
                };
                match self.schedules.take(namespace, event) {
                    Change::Nothing => {}
                    Change::All(maps) => {
                        book.replace(namespace, &maps);
                        self.know(namespace, "schedules");
                    }
                    Change::Put(map) => book.put(&map),
                    Change::Gone(map) => book.remove(&map),
                }
            }
            News::Cluster(change) => {
                let Some(event) = self.heard(namespace, "clusters", change) else {
                    return;
                };
                match self.clusters.take(namespace, event) {
                    Change::Nothing => {}
                    Change::All(clusters) => {
                        around.replace_clusters(namespace, &clusters);
                        self.know(namespace, "clusters");
                    }
                    Change::Put(cluster) => around.put_cluster(&cluster),
                    Change::Gone(cluster) => around.remove_cluster(&cluster),
                }
            }
            News::Task(change) => {
                let Some(event) = self.heard(namespace, "tasks", *change) else {
                    return;
                };
                match self.tasks.take(namespace, event) {
                    Change::Nothing => {}
                    Change::All(tasks) => {
                        around.replace_tasks(namespace, &tasks);
                        self.know(namespace, "tasks");
                    }
                    Change::Put(task) => around.put_task(&task),
                    Change::Gone(task) => around.remove_task(&task),
                }
            }
        }
    }

    fn know(&mut self, namespace: &str, kind: &'static str) {
        let known = self.known.entry(namespace.to_owned()).or_default();
        known.insert(kind);
    }

    /// What was heard; a failure is told once, until something is heard again.
    fn heard<K>(
        &mut self,
        namespace: &str,
        kind: &'static str,
        change: watcher::Result<watcher::Event<K>>,
    ) -> Option<watcher::Event<K>> {
        let place = (namespace.to_owned(), kind);
        match change {
            Ok(event) => {
                // The first event of a new list comes before the answer.
                let is_read = !matches!(event, watcher::Event::Init);
                if is_read && self.failing.remove(&place) {
                    tracing::info!(namespace, "{kind} can be read again");
                }
                Some(event)
            }
            Err(error) if self.failing.contains(&place) => {
                tracing::debug!(namespace, %error, "{kind} still cannot be read");
                None
            }
            Err(error) => {
                tracing::warn!(namespace, %error, "{kind} cannot be read; trying again until they can");
                self.failing.insert(place);
                None
            }
        }
    }
}
