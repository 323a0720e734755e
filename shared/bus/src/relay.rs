//! The relay: a task that publishes what is unconfirmed.

pub mod backlog;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use backlog::{Backlog, Job, Outcome, Waiting, Wake};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use pgo_events::{Event, Topic};
use pgo_ids::{EventKey, Seq, StreamId};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::sleep_until,
};

use crate::{Message, PublishFailed, Publisher};

/// Most events on their way at a time: one trip to the broker for each batch.
const BATCH: usize = 256;

/// Publishes events until they are confirmed. Clones are handles of the same relay; it ends with the last of them.
///
/// Nothing here blocks: calls take a short lock, and the network is the task's.
#[derive(Clone, Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    task: Option<Arc<Task>>,
}

#[derive(Debug)]
struct Shared {
    backlog: Mutex<Backlog>,
    work: Notify,
    unconfirmed: watch::Sender<usize>,
    published: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Relay {
    /// Starts a relay.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(publisher: impl Publisher) -> Self {
        let shared = Arc::new(Shared::new());
        let task = tokio::spawn(run(shared.clone(), publisher));
        Self {
            shared,
            task: Some(Arc::new(Task(task))),
        }
    }

    /// A relay that publishes nothing: eventing is switched off.
    #[must_use]
    pub fn off() -> Self {
        Self {
            shared: Arc::new(Shared::new()),
            task: None,
        }
    }

    /// Whether it is [`Relay::off`].
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.task.is_none()
    }

    /// Takes unconfirmed events of a stream, the oldest first; publishes those that it does not know yet, at once.
    ///
    /// Nothing unconfirmed before them may be unknown ([`Relay::knows`]): the oldest that is known counts as the oldest
    /// there is, and the history will not wait for any before it.
    pub fn offer(&self, stream: &StreamId, events: Vec<Event>) {
        if events.is_empty() || self.is_off() {
            return;
        }
        self.shared.change(|backlog| backlog.offer(stream, events));
        self.shared.work.notify_one();
    }

    /// Forgets the events of a stream up to `seq`: they are on disk at the event service.
    pub fn confirm(&self, stream: &StreamId, seq: Seq) {
        self.shared
            .change(|backlog| backlog.confirm(stream, seq, Instant::now()));
    }

    /// Up to which event a stream is known to be confirmed.
    #[must_use]
    pub fn confirmed(&self, stream: &StreamId) -> Option<Seq> {
        self.shared.lock().confirmed(stream)
    }

    /// Whether all unconfirmed events of a stream up to `seq` are known: those that come after may be offered.
    #[must_use]
    pub fn knows(&self, stream: &StreamId, seq: Seq) -> bool {
        self.shared.lock().knows(stream, seq)
    }

    /// Number of events that are offered and not confirmed, or that their own topics still need, and a way to wait for its changes.
    #[must_use]
    pub fn unconfirmed(&self) -> watch::Receiver<usize> {
        self.shared.unconfirmed.subscribe()
    }

    /// What is offered and not confirmed.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.shared.lock().waiting()
    }

    /// Publications that were acknowledged, and those that were not, since the beginning; events that were published
    /// again count again.
    #[must_use]
    pub fn publications(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.shared.published), read(&self.shared.failed))
    }

    pub(crate) fn unconfirmed_streams(&self) -> Vec<StreamId> {
        self.shared.lock().unconfirmed_streams()
    }

    /// The event service is there (again).
    pub(crate) fn expect_confirmations(&self) {
        self.shared.lock().expect_confirmations(Instant::now());
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn new() -> Self {
        Self {
            backlog: Mutex::default(),
            work: Notify::new(),
            unconfirmed: watch::Sender::new(0),
            published: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the backlog and tells its size, both under the lock so that the newest size is told last.
    fn change(&self, change: impl FnOnce(&mut Backlog)) {
        let mut backlog = self.lock();
        change(&mut backlog);
        let count = backlog.unconfirmed();
        self.unconfirmed
            .send_if_modified(|told| std::mem::replace(told, count) != count);
    }
}

async fn run(shared: Arc<Shared>, publisher: impl Publisher) {
    let mut losses = publisher.losses();
    loop {
        let batch = shared.lock().take(Instant::now(), BATCH);
        if batch.is_empty() {
            wait(&shared, &mut losses).await;
        } else {
            let outcomes = publish(&publisher, batch).await;
            shared.count(&outcomes);
            shared.change(|backlog| backlog.settle(&outcomes, Instant::now()));
            if losses.has_changed().unwrap_or(false) {
                losses.mark_unchanged();
                shared.lock().reconnected();
            }
        }
    }
}

impl Shared {
    fn count(&self, outcomes: &[(EventKey, Outcome)]) {
        let all = outcomes.len();
        let well = outcomes.iter().filter(|(_, o)| o.complete());
        let well = well.count();
        let add = |count: &AtomicU64, number: usize| {
            count.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        add(&self.published, well);
        add(&self.failed, all - well);
    }
}

/// Until there may be something to publish.
async fn wait(shared: &Shared, losses: &mut watch::Receiver<u64>) {
    let wake = shared.lock().next_wake();
    let due = async {
        match wake {
            Some(Wake::Now) => {}
            Some(Wake::At(at)) => sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    let lost = async {
        // Without its sender a publisher does not tell of losses; they are mended by time then.
        if losses.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = shared.work.notified() => {}
        () = due => {}
        () = lost => shared.lock().reconnected(),
    }
}

/// Publishes a batch, all at once and in order; of each event first what the history waits for.
async fn publish(publisher: &impl Publisher, batch: Vec<Job>) -> Vec<(EventKey, Outcome)> {
    let sent: Vec<_> = batch
        .iter()
        .map(|job| {
            let all = job.all_topic.then(|| send(publisher, job, Topic::All));
            let own = job.own_topics.then(|| to_own(publisher, job));
            async move {
                let (own_topics, all_topic) = tokio::join!(done(own), done(all));
                let outcome = Outcome {
                    own_topics,
                    all_topic,
                };
                (job.event.key(), outcome)
            }
        })
        .collect();
    join_all(sent).await
}

/// What does not have to be sent is done.
async fn done(sent: Option<BoxFuture<'static, bool>>) -> bool {
    match sent {
        Some(sent) => sent.await,
        None => true,
    }
}

fn to_own(publisher: &impl Publisher, job: &Job) -> BoxFuture<'static, bool> {
    let topics = job.event.topics().filter(|topic| *topic != Topic::All);
    let sent: Vec<_> = topics.map(|topic| send(publisher, job, topic)).collect();
    Box::pin(async move { join_all(sent).await.into_iter().all(|there| there) })
}

/// Queues a message now; the future tells whether the broker has it.
fn send(publisher: &impl Publisher, job: &Job, topic: Topic) -> BoxFuture<'static, bool> {
    let key = job.event.key();
    let published = match Message::encode(&job.event, job.unconfirmed_from) {
        Ok(body) => publisher.publish(topic, Bytes::from(body)),
        Err(error) => {
            let failed = PublishFailed::Other(error.to_string());
            Box::pin(async move { Err(failed) })
        }
    };
    Box::pin(async move {
        match published.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%key, %topic, %error, "event not published; it is tried again");
                false
            }
        }
    })
}
