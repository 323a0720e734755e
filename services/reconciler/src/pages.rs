//! Events that have no room in a status, or whose cluster is gone: copied to pages in the operator's namespace, relayed from
//! there.

mod store;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Preconditions},
    runtime::{WatchStreamExt as _, watcher},
};
use pgo_bus::Relay;
use pgo_crd::{PgEventPage, Pgcluster};
use pgo_events::{DecodeError, Event};
use pgo_ids::Seq;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

pub use store::{find, store};

use crate::{context::Context, error::Error, metrics::Metrics, write::WRITE_DEADLINE};

/// How often a page is looked at for whether its events are confirmed.
const LOOK: Duration = Duration::from_secs(2);

/// Copies the unconfirmed events of a cluster to a page. Copying again changes nothing.
pub async fn copy(object: &Arc<Pgcluster>, context: &Context) -> Result<(), Error> {
    let Some(status) = &object.status else {
        return Ok(());
    };
    let api: Api<PgEventPage> =
        Api::namespaced(context.client.clone(), context.operator_namespace.as_str());
    tokio::time::timeout(
        WRITE_DEADLINE,
        store(&api, &status.0.journal.outbox.entries),
    )
    .await
    .map_err(|_| Error::Deadline("copy the last events to a page"))?
}

/// Relays the pages there are and those that come, and removes each when its events are confirmed.
pub async fn relay(api: Api<PgEventPage>, relay: Relay, metrics: Metrics) {
    let mut pages = Pages {
        api: api.clone(),
        relay,
        metrics,
        relayed: HashMap::new(),
        listed: Vec::new(),
    };
    let changes = watcher(api, watcher::Config::default()).default_backoff();
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Ok(change) => pages.take(change),
            Err(error) => {
                tracing::warn!(%error, "the watch of event pages was interrupted; it begins again");
            }
        }
    }
}

/// The pages that are relayed, each by one task, for as long as it is there.
struct Pages {
    api: Api<PgEventPage>,
    relay: Relay,
    metrics: Metrics,
    /// By uid.
    relayed: HashMap<String, AbortOnDropHandle<()>>,
    /// What a list has brought so far.
    listed: Vec<PgEventPage>,
}

impl Pages {
    fn take(&mut self, change: watcher::Event<PgEventPage>) {
        match change {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(page) => self.listed.push(page),
            watcher::Event::InitDone => {
                let mut listed = std::mem::take(&mut self.listed);
                let uids: Vec<_> = listed.iter().filter_map(PgEventPage::uid).collect();
                self.relayed.retain(|uid, _| uids.contains(uid));
                // The oldest of a stream first: what is offered behind it must not count as the oldest.
                listed.sort_by_cached_key(first_seq);
                listed.into_iter().for_each(|page| self.begin(page));
            }
            watcher::Event::Apply(page) => self.begin(page),
            watcher::Event::Delete(page) => {
                self.relayed.remove(&page.uid().unwrap_or_default());
            }
        }
    }

    fn begin(&mut self, page: PgEventPage) {
        let uid = page.uid().unwrap_or_default();
        if self.relayed.contains_key(&uid) {
            return;
        }
        let (events, _) = understood(&page.spec.events);
        if let Some(stream) = events.first().map(|first| first.stream.clone()) {
            self.relay.offer(&stream, events);
        }
        let (api, relay, metrics) = (&self.api, &self.relay, &self.metrics);
        let relaying = relay_one(page, api.clone(), relay.clone(), metrics.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(relaying));
        self.relayed.insert(uid, task);
    }
}

/// Where the events of a page begin, as far as they can be read.
fn first_seq(page: &PgEventPage) -> Seq {
    let first = page.spec.events.first();
    let event = first.and_then(|text| Event::from_wire(text.as_bytes()).ok());
    event.map(|event| event.seq).unwrap_or_default()
}

/// Until the page is removed. One that holds what this version does not understand is kept.
async fn relay_one(page: PgEventPage, api: Api<PgEventPage>, relay: Relay, metrics: Metrics) {
    let _counted = metrics.page();
    let (events, unreadable) = understood(&page.spec.events);
    if let Some(last) = events.last() {
        while relay.confirmed(&last.stream) < Some(last.seq) {
            relay.offer(&last.stream, events.clone());
            sleep(LOOK).await;
        }
    }
    if let Some(error) = unreadable {
        let _unreadable = metrics.unreadable_page();
        tracing::error!(
            page = page.name_any(), place = events.len() + 1, %error,
            "the page stays, since its events from this place on cannot be read; run the version of PGO that wrote it, or \
             delete the page to give them up"
        );
        return std::future::pending().await;
    }
    while let Err(error) = remove(&page, &api).await {
        tracing::warn!(%error, "an event page stays a while longer; trying again");
        sleep(LOOK).await;
    }
    tracing::info!(page = page.name_any(), "the events of a page are stored");
}

/// The events up to the first that cannot be read: what is behind one must not be taken before it.
fn understood(texts: &[String]) -> (Vec<Event>, Option<DecodeError>) {
    let mut events = Vec::with_capacity(texts.len());
    for text in texts {
        match Event::from_wire(text.as_bytes()) {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

/// Removes exactly this page.
async fn remove(page: &PgEventPage, api: &Api<PgEventPage>) -> Result<(), Error> {
    let name = page.name_any();
    let exactly = DeleteParams {
        preconditions: Some(Preconditions {
            uid: page.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let removed = tokio::time::timeout(WRITE_DEADLINE, api.delete(&name, &exactly))
        .await
        .map_err(|_| Error::Deadline("remove an event page"))?;
    match removed {
        // Gone, or another's by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(Error::Kubernetes {
            what: format!("remove PgEventPage {name}"),
            source: Box::new(source),
        }),
        Ok(_) => Ok(()),
    }
}
