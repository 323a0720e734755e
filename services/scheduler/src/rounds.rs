//! The scheduler's rounds: sleep until something is due or changes, and do what there is to do.
//!
//! `watches → book, around → steps(now) → calls of Kubernetes, many at once → log, metric`

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    StreamExt as _,
    stream::{self, FusedStream as _},
};
use jiff::Timestamp;
use kube::Client;
use pgo_bus::Doorbells;
use pgo_k8s::lease::Leadership;
use pgo_telemetry::{CancellationToken, Condition, Telemetry};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    around::Around,
    book::{About, Book, Key, Step},
    heartbeat::{EVERY, Heartbeat},
    metrics::Metrics,
    news::{self, Listing},
    perform::{self, Done, Failure},
    timetable::wait,
};

/// So many calls of the API server go on at once: of a thousand runs that are due together none waits long, and others are
/// answered meanwhile.
const AT_ONCE: usize = 32;

/// Pause after a step that failed, or that another was faster with.
const PAUSE: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// What was decided longer ago is decided anew: this process may have stood still, and another one may lead.
const DECIDED_WITHIN: Duration = Duration::from_secs(5);

/// Without a round for this long the process counts as stuck.
const ROUND_WITHIN: Duration = Duration::from_secs(90);

/// The condition that rounds go on. Without them nothing is done when it is due, so that the process is as good as dead.
pub fn going(telemetry: &Telemetry) -> Condition {
    telemetry.readiness().vital("rounds", ROUND_WITHIN)
}

/// What tells the time; it may jump, as that of a machine does.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The rounds, before they begin.
pub struct Rounds {
    /// Of the Kubernetes API.
    pub client: Client,
    /// Namespace of PGO itself, with `pgo.yaml`.
    pub operator_namespace: String,
    /// Where schedules are looked for.
    pub namespaces: Vec<String>,
    /// Of what has changed: it is looked at right away.
    pub doorbells: Doorbells,
    /// Whether this process is the one that writes.
    pub leadership: watch::Receiver<Leadership>,
    /// By which schedules are due.
    pub clock: Clock,
    /// Sign of life.
    pub heartbeat: Heartbeat,
    /// Another one: [`going`].
    pub going: Condition,
    /// Counts.
    pub metrics: Metrics,
}

/// What came of a step that was begun or not.
enum Tried {
    /// It was not begun, after another one that failed or since this process leads no more: it waits.
    Left,
    /// It was not begun, since it was decided too long ago: it is decided anew.
    Old,
    Done(Result<Done, Failure>),
}

/// What is known.
#[derive(Default)]
struct Known {
    book: Book,
    around: Around,
    listing: Listing,
    /// When `pgo.yaml` was read last.
    config: Option<Instant>,
}

impl Rounds {
    /// Goes on until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut known = Known::default();
        let mut changes = news::follow(&self.client, &self.namespaces, &self.doorbells);
        let (mut led, mut is_new) = (false, true);
        loop {
            let now = (self.clock)();
            let leading = self.leadership.borrow_and_update().is_leading();
            if leading && !led && !is_new {
                // The one that led before may have written what the watches have not brought.
                changes = news::follow(&self.client, &self.namespaces, &self.doorbells);
                known.listing.begin_anew();
            }
            (led, is_new) = (leading, false);
            self.sign_of_life(now);
            self.metrics.leads(leading);
            self.metrics.schedules(known.book.count());
            if leading {
                self.read_config(&mut known).await;
                self.work(&mut known).await;
            }
            let now = (self.clock)();
            let due = known.book.next(now).filter(|_| leading);
            let pause = due.map_or(EVERY, |due| wait(now, due).min(EVERY));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                ended = self.leadership.changed() => if ended.is_err() {
                    // The election is over: this process ends.
                    shutdown.cancelled().await;
                },
                together = changes.next(), if !changes.is_terminated() => {
                    for change in together.into_iter().flatten() {
                        known.listing.take((&mut known.book, &mut known.around), change);
                    }
                }
                () = sleep(pause) => {}
            }
        }
    }

    fn sign_of_life(&mut self, now: Timestamp) {
        self.heartbeat.beat(now);
        self.going.met_for(ROUND_WITHIN);
    }

    /// Reads whether clusters that do not say it have pgBackRest. What was read before goes on where that fails.
    async fn read_config(&self, known: &mut Known) {
        if known.config.is_some_and(|read| read.elapsed() < EVERY) {
            return;
        }
        known.config = Some(Instant::now());
        match perform::has_backrest(&self.client, &self.operator_namespace).await {
            Ok(backrest) => known.around.backrest = Some(backrest),
            Err(error) => {
                tracing::warn!(%error, "pgo.yaml cannot be read; what is known of it goes on");
            }
        }
    }

    /// Does what there is to do, until there is nothing more or nothing more works.
    async fn work(&mut self, known: &mut Known) {
        loop {
            let now = (self.clock)();
            let Known {
                book,
                around,
                listing,
                ..
            } = &mut *known;
            let steps = book.steps(now, around, |namespace| listing.knows(namespace));
            if steps.is_empty() || !self.carry_out(known, steps).await {
                return;
            }
        }
    }

    /// Whether to look for more right away. After a failure the rest waits for the next round: it would fail, too.
    async fn carry_out(&mut self, known: &mut Known, steps: Vec<Step>) -> bool {
        let (decided, failing) = (Instant::now(), AtomicBool::new(false));
        let (client, leadership) = (self.client.clone(), self.leadership.clone());
        let tried = stream::iter(steps).map(|step| {
            let (client, leadership, failing) = (&client, &leadership, &failing);
            async move {
                let is_leading = leadership.borrow().is_leading();
                let is_old = decided.elapsed() > DECIDED_WITHIN;
                if !is_leading || failing.load(Ordering::Relaxed) {
                    return (step, Tried::Left);
                }
                if is_old {
                    return (step, Tried::Old);
                }
                let done = perform::perform(client, &step).await;
                failing.fetch_or(done.is_err(), Ordering::Relaxed);
                (step, Tried::Done(done))
            }
        });
        let mut tried = std::pin::pin!(tried.buffer_unordered(AT_ONCE));
        let mut progress = false;
        while let Some((step, came)) = tried.next().await {
            // Many of them can take longer than a round may.
            self.sign_of_life((self.clock)());
            match came {
                Tried::Left => known.book.postpone(step.key(), self.later()),
                Tried::Old => progress = true,
                Tried::Done(Ok(done)) => progress |= self.take(known, &step, done),
                Tried::Done(Err(error)) => {
                    let Key { namespace, name } = step.key();
                    tracing::warn!(namespace, name, %error, "what is due by the schedule cannot be done or noted; trying again");
                    known.book.postpone(step.key(), self.later());
                }
            }
        }
        // After a failure what the watches have brought meanwhile comes first.
        progress && !failing.load(Ordering::Relaxed)
    }

    fn later(&self) -> Timestamp {
        (self.clock)() + PAUSE
    }

    /// Takes what came of a step; whether it leads to more.
    fn take(&self, known: &mut Known, step: &Step, done: Done) -> bool {
        match done {
            Done::Written(map) => {
                self.tell(step);
                known.book.put(&map);
                true
            }
            Done::Task(task) => {
                known.around.put_task(&task);
                let Step::Make(make) = step else {
                    return false;
                };
                let made = make.claim.operation;
                let is_made = known.around.asks_for(made);
                if !is_made {
                    known.book.postpone(step.key(), self.later());
                }
                is_made
            }
            Done::Overtaken => {
                known.book.postpone(step.key(), self.later());
                false
            }
            Done::Refused(reason) => {
                known.book.refuse(step.key(), reason);
                true
            }
        }
    }

    fn tell(&self, step: &Step) {
        let note = match step {
            Step::Note(note) => note,
            Step::Tell(tell) => &tell.then,
            Step::Make(_) => return,
        };
        let Key { namespace, name } = &note.key;
        match &note.about {
            None => {}
            Some(About::Begun(run, claim)) => {
                self.metrics.begun(run.kind);
                let (cluster, kind) = (&run.cluster, run.kind.as_str());
                let (due, operation) = (claim.due, claim.operation);
                tracing::info!(namespace, name, cluster, kind, %due, %operation, "a run has begun");
            }
            Some(About::Skipped(run, skipped)) => {
                self.metrics.skipped(run.kind);
                let (cluster, kind) = (&run.cluster, run.kind.as_str());
                let (due, reason) = (skipped.due, &skipped.reason);
                tracing::warn!(namespace, name, cluster, kind, %due, reason, "a run was skipped");
            }
            Some(About::Missed(run, missed)) => {
                self.metrics.missed(run.kind, missed.runs);
                let (cluster, kind) = (&run.cluster, run.kind.as_str());
                let (due, runs) = (missed.due, missed.runs);
                tracing::warn!(namespace, name, cluster, kind, %due, runs, "runs were missed; see why no scheduler was there then");
            }
            Some(About::Ended(run, last)) => {
                let (cluster, kind) = (&run.cluster, run.kind.as_str());
                let (due, operation, how) = (last.due, last.operation, last.progress.as_str());
                tracing::info!(namespace, name, cluster, kind, %due, %operation, how, "a run has ended");
            }
            Some(About::Wrong(reason)) => {
                tracing::warn!(namespace, name, reason, "the schedule cannot be kept");
            }
            Some(About::Mended) => {
                tracing::info!(namespace, name, "the schedule can be kept now");
            }
        }
    }
}
