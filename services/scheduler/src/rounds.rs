//! The scheduler's rounds: sleep until something is due or changes, and write down what there is to say.
//!
//! `watch → book → notes(now) → compare-and-swap of the annotations → log, metric`

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    pin::Pin,
    time::Duration,
};

use futures::{
    Stream, StreamExt as _,
    stream::{self, select_all},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use pgo_bus::{Doorbells, Kind};
use pgo_k8s::{ahead, lease::Leadership};
use pgo_telemetry::{CancellationToken, Condition, Telemetry};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    book::{About, Book, Key, Note},
    heartbeat::{EVERY, Heartbeat},
    metrics::Metrics,
    timetable::wait,
};

/// Label of the ConfigMaps that are schedules, as in 4.1.
const LABEL: &str = "crunchy-scheduler=true";

/// Who writes the annotations.
const MANAGER: &str = "pgo-scheduler";

/// How long the API server may take for one write.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Pause after a write that failed, or that another was faster with.
const PAUSE: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// Without a round for this long the process counts as stuck.
const ROUND_WITHIN: Duration = Duration::from_secs(90);

/// The condition that rounds go on. Without them nothing is done when it is due, so that the process is as good as dead.
pub fn going(telemetry: &Telemetry) -> Condition {
    telemetry.readiness().vital("rounds", ROUND_WITHIN)
}

/// Why a note was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer in {ANSWER_WITHIN:?}")]
    Deadline,
}

type Changes =
    Pin<Box<dyn Stream<Item = (String, watcher::Result<watcher::Event<ConfigMap>>)> + Send>>;

/// The rounds, before they begin.
pub struct Rounds {
    /// Of the Kubernetes API.
    pub client: Client,
    /// Where schedules are looked for.
    pub namespaces: Vec<String>,
    /// Of schedules that have changed: they are looked at right away.
    pub doorbells: Doorbells,
    /// Whether this process is the one that writes.
    pub leadership: watch::Receiver<Leadership>,
    /// Sign of life.
    pub heartbeat: Heartbeat,
    /// Another one: [`going`].
    pub going: Condition,
    /// Counts.
    pub metrics: Metrics,
}

impl Rounds {
    /// Goes on until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut book = Book::default();
        let mut listing = Listing::default();
        let namespaces = self.namespaces.iter();
        let follow = |namespace: &String| follow(&self.client, namespace, &self.doorbells);
        let mut changes = select_all(namespaces.map(follow));
        loop {
            let now = Timestamp::now();
            let leading = self.leadership.borrow_and_update().is_leading();
            self.sign_of_life(now);
            self.metrics.leads(leading);
            self.metrics.schedules(book.count());
            if leading {
                self.write(&mut book, now).await;
            }
            let due = book.next(now).filter(|_| leading);
            let pause = due.map_or(EVERY, |due| wait(Timestamp::now(), due).min(EVERY));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
                change = changes.next(), if !changes.is_empty() => {
                    if let Some((namespace, change)) = change {
                        listing.take(&mut book, namespace, change);
                    }
                }
                ended = self.leadership.changed() => if ended.is_err() {
                    // The election is over: this process ends.
                    shutdown.cancelled().await;
                }
            }
        }
    }

    fn sign_of_life(&mut self, now: Timestamp) {
        self.heartbeat.beat(now);
        self.going.met_for(ROUND_WITHIN);
    }

    /// Writes what there is to write. After a failure the rest waits for the next round: it would fail, too.
    async fn write(&mut self, book: &mut Book, now: Timestamp) {
        for note in book.notes(now) {
            // Many of them can take longer than a round may.
            self.sign_of_life(Timestamp::now());
            match self.write_one(&note).await {
                Ok(Some(map)) => {
                    self.tell(&note);
                    book.put(&map);
                }
                // Another version is on its way here.
                Ok(None) => book.postpone(&note.key, now + PAUSE),
                Err(error) => {
                    let Key { namespace, name } = &note.key;
                    tracing::warn!(namespace, name, %error, "the schedule's annotations cannot be written; trying again");
                    book.postpone(&note.key, now + PAUSE);
                    return;
                }
            }
        }
    }

    /// The ConfigMap as it is now, or nothing if it is not as it was read any more.
    async fn write_one(&self, note: &Note) -> Result<Option<ConfigMap>, WriteError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &note.key.namespace);
        let patch = Patch::Merge(serde_json::json!({
            "metadata": {"resourceVersion": note.version, "annotations": note.annotations},
        }));
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = timeout(ANSWER_WITHIN, api.patch(&note.key.name, &params, &patch)).await;
        match patched.map_err(|_| WriteError::Deadline)? {
            Ok(map) => Ok(Some(map)),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tell(&self, note: &Note) {
        let Key { namespace, name } = &note.key;
        match &note.about {
            About::Skipped {
                kind,
                cluster,
                due,
                runs,
                reason,
            } => {
                self.metrics.skipped(*kind, *runs);
                tracing::warn!(namespace, name, cluster, kind = kind.as_str(), %due, runs, reason, "a run was skipped");
            }
            About::Wrong(reason) => {
                tracing::warn!(namespace, name, reason, "the schedule cannot be kept");
            }
            About::Mended => tracing::info!(namespace, name, "the schedule can be kept now"),
        }
    }
}

fn follow(client: &Client, namespace: &str, doorbells: &Doorbells) -> Changes {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let (changes, ahead) = ahead::watch(api, watcher::Config::default().labels(LABEL));
    let looking = ahead.look_at(doorbells.of(Kind::ConfigMap, namespace));
    // Gives nothing, and goes on with the changes.
    let looking = stream::once(looking).filter_map(|()| ready(None));
    let namespace = namespace.to_owned();
    let changes = changes.map(move |change| (namespace.clone(), change));
    Box::pin(stream::select(changes, looking))
}

/// What is known of the namespaces while they are read.
#[derive(Default)]
struct Listing {
    /// ConfigMaps of a namespace until they are all there.
    maps: BTreeMap<String, Vec<ConfigMap>>,
    /// Namespaces that cannot be read, which was told.
    failing: BTreeSet<String>,
}

impl Listing {
    fn take(
        &mut self,
        book: &mut Book,
        namespace: String,
        change: watcher::Result<watcher::Event<ConfigMap>>,
    ) {
        // The first event of a new list comes before the answer.
        let read = !matches!(change, Ok(watcher::Event::Init) | Err(_));
        if read && self.failing.remove(&namespace) {
            tracing::info!(namespace, "schedules can be read again");
        }
        match change {
            Ok(watcher::Event::Init) => {
                self.maps.insert(namespace, Vec::new());
            }
            Ok(watcher::Event::InitApply(map)) => {
                self.maps.entry(namespace).or_default().push(map);
            }
            Ok(watcher::Event::InitDone) => {
                let maps = self.maps.remove(&namespace).unwrap_or_default();
                book.replace(&namespace, &maps);
            }
            Ok(watcher::Event::Apply(map)) => book.put(&map),
            Ok(watcher::Event::Delete(map)) => book.remove(&map),
            Err(error) if self.failing.contains(&namespace) => {
                tracing::debug!(namespace, %error, "schedules still cannot be read");
            }
            Err(error) => {
                tracing::warn!(namespace, %error, "schedules cannot be read; trying again until they can");
                self.failing.insert(namespace);
            }
        }
    }
}
