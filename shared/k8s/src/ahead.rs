//! Watches that can be overtaken: where somebody says that an object has a version that a watch has not brought yet, it is
//! read, and goes the way that the watch's own news go.
//!
//! ```text
//! watch ────────────────────────────► what is known ─► events, none older than what was known
//! somebody says: X is at version 17 ─► known already? ─► nothing
//!                                           └─ no ─► read X ─┘ (goes in between)
//! ```
//!
//! The order of Kubernetes is kept: an object that was read is passed on only where its version is ahead of everything that
//! the watch has brought, so that its removal can only come after it; and what the watch brings late of an object that was
//! read is left out.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Resource, ResourceExt as _,
    api::ListParams,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::timeout};

/// How long the API server may take for an object.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Objects that are read at the same time.
const AT_ONCE: usize = 8;

/// Objects that were read and wait to be passed on; more wait with who asked for them.
const QUEUE: usize = 64;

/// What came of it when somebody said that there is a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overtaken {
    /// The watch has brought it already, or is being begun anew and will.
    Known,
    /// It was read.
    Read,
    /// There is no such object any more, or the watch is not about it any more. The watch tells that it is gone.
    Gone,
}

/// Why a newer version could not be read; the watch brings it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kubernetes refused or failed.
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    /// It did not answer.
    #[error("the API server did not answer in {ANSWER_WITHIN:?}")]
    Deadline,
}

/// How far a watch is.
#[derive(Debug, Default)]
struct Progress {
    /// Grows with each list.
    list: u64,
    listing: bool,
    /// The highest version of all that came.
    version: u64,
}

type Shared = Arc<Mutex<Progress>>;

fn lock(progress: &Shared) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a watch look at an object at once. Clones are handles of the same.
#[derive(Debug)]
pub struct Ahead<K> {
    api: Api<K>,
    config: watcher::Config,
    progress: Shared,
    read: mpsc::Sender<(u64, K)>,
}

impl<K: Clone> Clone for Ahead<K> {
    fn clone(&self) -> Self {
        Self {
            api: self.api.clone(),
            config: self.config.clone(),
            progress: self.progress.clone(),
            read: self.read.clone(),
        }
    }
}

/// A watch with backoff after failures, and what makes it look at once.
pub fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
) -> (
    impl Stream<Item = watcher::Result<Event<K>>> + Send,
    Ahead<K>,
)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let progress = Shared::default();
    let (read, passed_on) = mpsc::channel(QUEUE);
    let ahead = Ahead {
        api: api.clone(),
        config: config.clone(),
        progress: progress.clone(),
        read,
    };
    let watched = watcher(api, config).default_backoff().map(News::Watched);
    let passed_on = stream::unfold(passed_on, |mut read| async move {
        let (list, object) = read.recv().await?;
        Some((News::Read(list, object), read))
    });
    let mut order = Order::new(progress);
    let events = stream::select(watched, passed_on)
        .filter_map(move |news| std::future::ready(order.take(news)));
    (events, ahead)
}

impl<K> Ahead<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Sees to it that the watch brings the object in this version or a newer one, now.
    ///
    /// Versions are compared as numbers, which they are in Kubernetes; where one is none, the watch brings it in its time.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn look(&self, name: &str, version: &str) -> Result<Overtaken, ReadError> {
        let Ok(version) = version.parse::<u64>() else {
            return Ok(Overtaken::Known);
        };
        let list = {
            let progress = lock(&self.progress);
            if progress.listing || progress.version >= version {
                return Ok(Overtaken::Known);
            }
            progress.list
        };
        let Some(params) = self.selecting(name) else {
            return Ok(Overtaken::Known);
        };
        let asked = timeout(ANSWER_WITHIN, self.api.list(&params)).await;
        let found = asked.map_err(|_| ReadError::Deadline)??;
        let Some(object) = found.items.into_iter().next() else {
            return Ok(Overtaken::Gone);
        };
        // Fails only where nobody reads the watch any more.
        let _ = self.read.send((list, object)).await;
        Ok(Overtaken::Read)
    }
}

impl<K> Ahead<K> {
    /// What asks for the one object, if the watch is about it. A list, as the watch has no other rights than to lists, and
    /// so that its selectors hold.
    fn selecting(&self, name: &str) -> Option<ListParams> {
        let one = format!("metadata.name={name}");
        let fields = match self.config.field_selector.as_deref() {
            Some(fields) if fields == one => one,
            Some(fields) if fields.starts_with("metadata.name=") => return None,
            Some(fields) => format!("{fields},{one}"),
            None => one,
        };
        Some(ListParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: Some(fields),
            ..ListParams::default()
        })
    }
}

impl<K> Ahead<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Looks at each object that is named, with the version that it has at least, until there are no more names.
    pub async fn look_at(self, named: impl Stream<Item = (String, String)>) {
        let looking = named.for_each_concurrent(AT_ONCE, |(name, version)| {
            let ahead = self.clone();
            async move {
                match ahead.look(&name, &version).await {
                    Ok(overtaken) => tracing::debug!(name, version, ?overtaken, "a doorbell"),
                    Err(error) => {
                        tracing::debug!(name, version, %error, "an object of which there is news cannot be read");
                    }
                }
            }
        });
        looking.await;
    }
}

enum News<K> {
    Watched(watcher::Result<Event<K>>),
    /// What was read, after so many lists.
    Read(u64, K),
}

/// Passes on what is new.
struct Order {
    progress: Shared,
    /// Versions of objects that were read and that the watch has not brought yet, by name (with the namespace).
    ahead: HashMap<(Option<String>, String), u64>,
}

fn version(object: &impl Resource) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

impl Order {
    fn new(progress: Shared) -> Self {
        Self {
            progress,
            ahead: HashMap::new(),
        }
    }

    fn take<K: Resource>(&mut self, news: News<K>) -> Option<watcher::Result<Event<K>>> {
        match news {
            News::Watched(Ok(event)) => self.watched(event).map(Ok),
            News::Watched(Err(error)) => Some(Err(error)),
            News::Read(list, object) => self.read(list, object).map(Ok),
        }
    }

    fn watched<K: Resource>(&mut self, event: Event<K>) -> Option<Event<K>> {
        let mut progress = lock(&self.progress);
        let (Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) = &event
        else {
            progress.listing = matches!(event, Event::Init);
            if progress.listing {
                progress.list += 1;
                // A list is as new as any answer before it.
                self.ahead.clear();
            }
            return Some(event);
        };
        let version = version(object);
        progress.version = progress.version.max(version);
        let key = (object.namespace(), object.name_any());
        match self.ahead.get(&key) {
            Some(ahead) if *ahead > version => None,
            Some(_) => {
                self.ahead.remove(&key);
                Some(event)
            }
            None => Some(event),
        }
    }

    fn read<K: Resource>(&mut self, list: u64, object: K) -> Option<Event<K>> {
        let progress = lock(&self.progress);
        let version = version(&object);
        let late = progress.listing || progress.list != list || version <= progress.version;
        let key = (object.namespace(), object.name_any());
        if late || self.ahead.get(&key).is_some_and(|known| *known >= version) {
            return None;
        }
        self.ahead.insert(key, version);
        Some(Event::Apply(object))
    }
}

#[cfg(test)]
mod tests;
