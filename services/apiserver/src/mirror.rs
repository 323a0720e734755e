//! What is needed of some objects in Kubernetes, kept up to date by a watch, so that a request costs no call.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::watcher::{self, Event},
};
use pgo_bus::{Bell, Doorbells, Kind};
use pgo_k8s::ahead;
use pgo_telemetry::{CancellationToken, Condition};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::doorbell::doorbell;

/// What is known, by name of object.
type Known<V> = BTreeMap<String, Arc<V>>;

/// Clones are handles of the same.
#[derive(Debug)]
pub(crate) struct Mirror<V> {
    known: watch::Receiver<Option<Known<V>>>,
}

impl<V> Clone for Mirror<V> {
    fn clone(&self) -> Self {
        Self {
            known: self.known.clone(),
        }
    }
}

/// The watch did not come about in time.
#[derive(Debug, thiserror::Error)]
#[error("Kubernetes did not tell of its {what} within {} s; is it reachable, and does the account of this process have the right to list and watch them?", .after.as_secs())]
pub(crate) struct NotSynced {
    what: &'static str,
    after: Duration,
}

impl<V: Send + Sync + 'static> Mirror<V> {
    /// Watches the objects of `api` until `shutdown`; of each, only what `keep` takes is kept. Those that `news` hears of are
    /// looked at right away, and it tells others of those that have changed.
    pub(crate) fn start<K>(
        api: Api<K>,
        config: watcher::Config,
        keep: impl Fn(&K) -> Option<V> + Send + Sync + 'static,
        news: Option<News>,
        condition: Condition,
        shutdown: CancellationToken,
    ) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (sender, known) = watch::channel(None);
        let (events, ahead) = ahead::watch(api, config);
        let rung = news.as_ref().map(News::rung);
        tokio::spawn(async move {
            let mut copy = Copy {
                sender,
                listing: BTreeMap::new(),
                condition,
                news,
            };
            let events = events
                .inspect_err(|error| tracing::warn!(%error, "a watch was interrupted"))
                .take_until(shutdown.cancelled_owned());
            let follow = async {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.next().await {
                    if let Ok(event) = event {
                        copy.take(event, &keep);
                    }
                }
            };
            let look = async {
                if let Some(rung) = rung {
                    ahead.look_at(rung).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = follow => {}
                () = look => {}
            }
        });
        Self { known }
    }

    /// Waits until the objects that are there now are known.
    pub(crate) async fn synced(
        &self,
        what: &'static str,
        deadline: Duration,
    ) -> Result<(), NotSynced> {
        let mut known = self.known.clone();
        let synced = tokio::time::timeout(deadline, known.wait_for(Option::is_some)).await;
        match synced {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotSynced {
                what,
                after: deadline,
            }),
        }
    }

    /// What is kept of the object of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<V>> {
        self.known.borrow().as_ref()?.get(name).cloned()
    }

    /// Names of the objects of which something is kept.
    pub(crate) fn names(&self) -> Vec<String> {
        let known = self.known.borrow();
        known.iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Waits for the next change; false: there will be none.
    pub(crate) async fn changed(&mut self) -> bool {
        self.known.changed().await.is_ok()
    }
}

/// Where news of objects of one kind come from and go to: the watch of another process may be faster than ours, or stall.
pub(crate) struct News {
    pub kind: Kind,
    pub namespace: String,
    pub doorbells: Doorbells,
    pub bell: Bell,
}

impl News {
    fn rung(&self) -> impl Stream<Item = (String, String)> + Send + use<> {
        self.doorbells.of(self.kind, &self.namespace)
    }

    fn tell(&self, object: &impl Resource) {
        self.bell.tell(doorbell(self.kind, object, None));
    }
}

/// The writing side.
struct Copy<V> {
    sender: watch::Sender<Option<Known<V>>>,
    /// What a new list has brought so far; it replaces the former when it is complete.
    listing: Known<V>,
    condition: Condition,
    news: Option<News>,
}

impl<V> Copy<V> {
    fn take<K: Resource>(&mut self, event: Event<K>, keep: &impl Fn(&K) -> Option<V>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                if let Some(value) = keep(&object) {
                    self.listing.insert(object.name_any(), Arc::new(value));
                }
            }
            Event::InitDone => {
                let known = std::mem::take(&mut self.listing);
                self.sender.send_replace(Some(known));
                self.condition.met();
            }
            Event::Apply(object) => {
                let (name, value) = (object.name_any(), keep(&object));
                if let Some(news) = self.news.as_ref().filter(|_| value.is_some()) {
                    news.tell(&object);
                }
                self.sender.send_if_modified(|known| {
                    let known = known.get_or_insert_default();
                    match value {
                        Some(value) => {
                            known.insert(name, Arc::new(value));
                            true
                        }
                        None => known.remove(&name).is_some(),
                    }
                });
            }
            Event::Delete(object) => {
                self.sender.send_if_modified(|known| {
                    let known = known.get_or_insert_default();
                    known.remove(&object.name_any()).is_some()
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use pgo_telemetry::Readiness;

    use super::*;

    fn object(name: &str, value: &str) -> ConfigMap {
        ConfigMap {
            metadata: kube::api::ObjectMeta {
                name: Some(name.to_owned()),
                ..Default::default()
            },
            data: Some(BTreeMap::from([("v".to_owned(), value.to_owned())])),
            ..Default::default()
        }
    }

    fn keep(object: &ConfigMap) -> Option<String> {
        let value = object.data.as_ref()?.get("v")?;
        (!value.is_empty()).then(|| value.clone())
    }

    fn copy(readiness: &Readiness) -> (Copy<String>, Mirror<String>) {
        let (sender, known) = watch::channel(None);
        let copy = Copy {
            sender,
            listing: BTreeMap::new(),
            condition: readiness.condition("objects"),
            news: None,
        };
        (copy, Mirror { known })
    }

    #[test]
    fn a_list_is_known_only_when_it_is_complete_and_replaces_the_former() {
        let readiness = Readiness::default();
        let (mut copy, mirror) = copy(&readiness);
        copy.take(Event::Init, &keep);
        copy.take(Event::InitApply(object("a", "1")), &keep);
        assert_eq!(mirror.get("a"), None);
        assert!(readiness.check().is_err());
        copy.take(Event::InitDone, &keep);
        assert_eq!(mirror.get("a").as_deref(), Some(&"1".to_owned()));
        assert!(readiness.check().is_ok());

        copy.take(Event::Init, &keep);
        copy.take(Event::InitApply(object("b", "2")), &keep);
        assert!(
            mirror.get("a").is_some(),
            "the former list holds until the new one is there"
        );
        copy.take(Event::InitDone, &keep);
        assert_eq!(mirror.get("a"), None);
        assert!(mirror.get("b").is_some());
    }

    #[test]
    fn an_object_that_is_no_longer_kept_is_forgotten() {
        let (mut copy, mirror) = copy(&Readiness::default());
        copy.take(Event::<ConfigMap>::InitDone, &keep);
        copy.take(Event::Apply(object("a", "1")), &keep);
        copy.take(Event::Apply(object("a", "2")), &keep);
        assert_eq!(mirror.get("a").as_deref(), Some(&"2".to_owned()));
        copy.take(Event::Apply(object("a", "")), &keep);
        assert_eq!(mirror.get("a"), None);
        copy.take(Event::Apply(object("a", "3")), &keep);
        copy.take(Event::Delete(object("a", "3")), &keep);
        assert_eq!(mirror.get("a"), None);
    }
}
