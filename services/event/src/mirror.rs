//! The log, mirrored to Kubernetes Events: `kubectl describe pgcluster hippo` shows what happened.
//!
//! ```text
//! place (file beside the log) ─► Reader ─► told ─► create, events.k8s.io ─► place
//!                                            409: it is there already; another refusal: passed over; no answer: again;
//!                                            5xx: again for some minutes, then passed over
//! ```
//!
//! It is a reader like others: nothing waits for it, and while the API server is away it waits. It tells each event once: the
//! place is kept, and where that is older than the last one told, the name of the Kubernetes Event, which follows from
//! the event's key, is there already.

mod told;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client, api::PostParams};
use pgo_proto::event::{ReadRequest, read_request::From, read_response::What};
use pgo_telemetry::CancellationToken;
use tokio::time::{Instant, sleep, timeout};
pub use told::told;

use crate::{
    log::{Cursor, Log},
    metrics::Metrics,
    reader::Reader,
};

/// Where the place is kept, in the folder of the log.
const FILE: &str = "mirrored";

/// How long the API server may take for one.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Pause after an API server that did not answer; doubles up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// An answer that Kubernetes failed may be about the moment, or about this one Event (an admission webhook, a store that does not
/// take it): after so long, in which it answered nothing else, the next one is told.
const FAILS_FOR: Duration = Duration::from_secs(300);

/// Without a place it begins so long ago: what is older, Kubernetes would have forgotten by now (its `--event-ttl`).
const FORGETS_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// So many events are told before the place is kept again, where one follows the other.
const KEEP_EVERY: u32 = 64;

/// Tells Kubernetes what is in the log; of two replicas only the one that leads does.
#[derive(Clone)]
pub struct Mirror {
    /// What is told.
    pub log: Arc<Log>,
    /// Counts.
    pub metrics: Metrics,
    /// Ends it.
    pub shutdown: CancellationToken,
    /// Whom it is told to.
    pub client: Client,
    /// Folder of the log.
    pub folder: PathBuf,
    /// Name of the process.
    pub instance: String,
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Told,
    /// Kubernetes will never take it: its namespace is gone, or no right covers it.
    Refused,
    /// It says that it failed.
    Failed,
    /// It may take it later.
    Unanswered,
}

impl Mirror {
    /// Forgets up to where all is told: another replica has told what came since. What is told twice is refused.
    pub fn forget(&self) {
        let Place(path) = Place::new(&self.folder);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let path = path.display();
            tracing::warn!(%path, %error, "cannot forget up to where events were mirrored");
        }
    }

    /// Goes on until `shutdown`.
    pub async fn run(self) {
        let shutdown = self.shutdown.clone();
        let following = async {
            loop {
                if let Err(status) = self.follow().await {
                    tracing::debug!(%status, "the mirror reads the log anew");
                }
                sleep(PAUSE.0).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = following => {}
        }
    }

    /// Reads on from the place, until the log cannot be read.
    async fn follow(&self) -> Result<(), tonic::Status> {
        let place = Place::new(&self.folder);
        let request = ReadRequest {
            from: Some(place.read().unwrap_or_else(begin)),
            follow: true,
            ..ReadRequest::default()
        };
        let reading = self.metrics.reader();
        let mut reader =
            Reader::begin(self.log.clone(), request, reading, self.shutdown.clone()).await?;
        let mut since_kept = 0;
        while let Some(answer) = reader.next().await? {
            match answer.what {
                Some(What::Record(record)) => {
                    self.tell(&record.event).await;
                    since_kept += 1;
                    if since_kept >= KEEP_EVERY || !reader.has_more() {
                        place.keep(&record.cursor);
                        since_kept = 0;
                    }
                }
                Some(What::CaughtUp(there)) => place.keep(&there.cursor),
                Some(What::Cut(cut)) => {
                    tracing::warn!(cut, "not all that happened is told to Kubernetes");
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Tells one event, however long the API server is away. One on which it fails again and again holds up the others for
    /// [`FAILS_FOR`].
    async fn tell(&self, event: &[u8]) {
        let event = serde_json::from_slice(event).ok();
        let Some(told) = event.and_then(|event| told(&event, &self.instance)) else {
            return;
        };
        let mut pause = PAUSE.0;
        let mut failing_since = None;
        loop {
            match self.create(&told).await {
                Outcome::Told => return self.metrics.mirrored(),
                Outcome::Refused => return self.metrics.not_mirrored(),
                Outcome::Failed => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= FAILS_FOR {
                        let name = told.metadata.name.as_deref().unwrap_or_default();
                        tracing::warn!(name, within = ?FAILS_FOR, "Kubernetes fails on an Event each time, which is passed over");
                        return self.metrics.not_mirrored();
                    }
                }
                Outcome::Unanswered => failing_since = None,
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn create(&self, told: &Event) -> Outcome {
        let namespace = told.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        let error = match timeout(ANSWER_WITHIN, api.create(&parameters, told)).await {
            Ok(Ok(_)) => return Outcome::Told,
            Ok(Err(error)) => error,
            Err(_) => {
                tracing::warn!(within = ?ANSWER_WITHIN, "Kubernetes does not take an Event in time; it is told later");
                return Outcome::Unanswered;
            }
        };
        match &error {
            kube::Error::Api(status) if status.code == 409 => Outcome::Told,
            kube::Error::Api(status) if is_final(status.code) => {
                let name = told.metadata.name.as_deref().unwrap_or_default();
                tracing::info!(namespace, name, %error, "Kubernetes refuses an Event, which is passed over");
                Outcome::Refused
            }
            error => {
                tracing::warn!(%error, "Kubernetes takes no Events; they are told later");
                match error {
                    kube::Error::Api(status) if status.code >= 500 => Outcome::Failed,
                    _ => Outcome::Unanswered,
                }
            }
        }
    }
}

/// Whether the same would be refused again: what is wrong is the request, not the moment. Not 401, since tokens are
/// renewed.
fn is_final(code: u16) -> bool {
    (400..500).contains(&code) && ![401, 408, 429].contains(&code)
}

fn begin() -> From {
    From::Since(SystemTime::from(Timestamp::now() - FORGETS_AFTER).into())
}

/// Up to where all is told, in a file. An older one costs a few refusals, so nothing waits for the disk.
struct Place(PathBuf);

impl Place {
    fn new(folder: &Path) -> Self {
        Self(folder.join(FILE))
    }

    fn read(&self) -> Option<From> {
        let text = fs::read_to_string(&self.0).ok()?;
        let cursor: Cursor = text.trim().parse().ok()?;
        Some(From::Cursor(cursor.to_string()))
    }

    fn keep(&self, cursor: &str) {
        if let Err(error) = self.write(cursor) {
            let path = self.0.display();
            tracing::warn!(%path, %error, "cannot keep up to where events are mirrored");
        }
    }

    fn write(&self, cursor: &str) -> io::Result<()> {
        let new = self.0.with_extension("new");
        fs::write(&new, cursor)?;
        fs::rename(&new, &self.0)
    }
}
