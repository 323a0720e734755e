//! Events that have no room in a status, or whose cluster is gone: copied to pages in the operator's namespace, relayed from
//! there.

mod content;
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
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use content::{Barrier, Barriers, Content};
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
        relaying: Relaying {
            api: api.clone(),
            relay,
            metrics,
            barriers: Barriers::default(),
        },
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
    relaying: Relaying,
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
                listed.sort_by_cached_key(|page| content::first(&page.spec));
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
        let content = Content::of(&page.spec);
        let barrier = self.relaying.barriers.raise(&content);
        self.relaying.offer(&content);
        let relaying = self.relaying.clone().relay(page, content, barrier);
        let task = AbortOnDropHandle::new(tokio::spawn(relaying));
        self.relayed.insert(uid, task);
    }
}

/// What is needed to relay a page. Clones are handles of the same.
#[derive(Clone)]
struct Relaying {
    api: Api<PgEventPage>,
    relay: Relay,
    metrics: Metrics,
    barriers: Barriers,
}

impl Relaying {
    /// Not while an older page of the stream cannot be read: the oldest that is offered counts as the oldest there is, and the
    /// history would give up what that page has.
    fn offer(&self, content: &Content) {
        let Some(first) = content.events.first() else {
            return;
        };
        let confirmed = self.relay.confirmed(&first.stream).unwrap_or_default();
        if !self.barriers.keep_back(content, confirmed) {
            self.relay.offer(&first.stream, content.events.clone());
        }
    }

    /// Until the page is removed. One that holds what this version does not understand is kept, and its barrier with it.
    async fn relay(self, page: PgEventPage, content: Content, _barrier: Option<Arc<Barrier>>) {
        let _counted = self.metrics.page();
        let unreadable = content.unreadable.as_ref().map(|error| {
            tracing::error!(
                page = page.name_any(), place = content.events.len() + 1, %error,
                "the page stays, and what came later to its stream waits, since its events from this place on cannot be read; \
                 run the version of PGO that wrote it, or delete the page to give them up"
            );
            self.metrics.unreadable_page()
        });
        if let Some(last) = content.events.last() {
            while self.relay.confirmed(&last.stream) < Some(last.seq) {
                self.offer(&content);
                sleep(LOOK).await;
            }
        }
        if unreadable.is_some() {
            std::future::pending::<()>().await;
        }
        while let Err(error) = remove(&page, &self.api).await {
            tracing::warn!(%error, "an event page stays a while longer; trying again");
            sleep(LOOK).await;
        }
        tracing::info!(page = page.name_any(), "the events of a page are stored");
    }
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
