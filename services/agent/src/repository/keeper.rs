//! Takes orders, one at a time, and writes down what becomes of them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use pgo_postgres::backrest::info::Set;
use pgo_telemetry::CancellationToken;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Surroundings,
    journal::{Begun, Journal},
    state::{self, Reporter},
    work::{self, INTERRUPTED, Job},
};
use crate::{fill, state::Volume};

/// Time between two looks at how full the volume is.
const LOOK: Duration = Duration::from_secs(15);

/// An order, and where the answer goes.
#[derive(Debug)]
pub enum Order {
    /// Something is to be begun.
    Begin {
        /// What.
        job: Box<Job>,
        /// Whether it has begun, or why it cannot be.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// What runs for an operation is to be stopped.
    Cancel {
        /// Id of the operation.
        operation: String,
        /// That it is told to end, or does not run.
        answer: oneshot::Sender<()>,
    },
}

/// The error of what was stopped because somebody wanted it to be.
const CANCELLED: &str = "cancelled";

/// The backups that were made, or would be restored.
type Outcome = Result<Vec<Set>, String>;

/// Does what is ordered.
#[derive(Debug)]
pub struct Keeper {
    around: Arc<Surroundings>,
    journal: Journal,
    reporter: Arc<Reporter>,
    work: Option<Running>,
}

/// Work that goes on.
#[derive(Debug)]
struct Running {
    task: AbortOnDropHandle<Outcome>,
    /// Ends it alone.
    cancel: CancellationToken,
    cancelled: bool,
}

impl Keeper {
    /// One that has done nothing yet.
    pub fn new(around: Arc<Surroundings>, journal: Journal, reporter: Arc<Reporter>) -> Self {
        Self {
            around,
            journal,
            reporter,
            work: None,
        }
    }

    /// Does what is ordered, until `stop` and what runs has ended.
    pub async fn keep(mut self, mut orders: mpsc::Receiver<Order>, stop: &CancellationToken) {
        self.recover().await;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                outcome = ended(&mut self.work) => self.end(outcome).await,
                () = stop.cancelled(), if self.work.is_none() => return,
                Some(order) = orders.recv() => self.take(order, stop),
                _ = looks.tick() => self.look_at_volume(),
            }
        }
    }

    fn take(&mut self, order: Order, stop: &CancellationToken) {
        // Who does not wait any more for the answer asks again.
        match order {
            Order::Begin { job, answer } => {
                let begun = self.begin(*job, stop);
                let _ = answer.send(begun);
            }
            Order::Cancel { operation, answer } => {
                self.cancel(&operation);
                let _ = answer.send(());
            }
        }
    }

    /// Has what runs for an operation end.
    fn cancel(&mut self, operation: &str) {
        let is_it = |begun: &Begun| begun.operation == operation;
        if !self.journal.running().is_some_and(is_it) {
            return;
        }
        if let Some(work) = self.work.as_mut().filter(|work| !work.cancelled) {
            tracing::info!(operation, "work is cancelled");
            work.cancelled = true;
            work.cancel.cancel();
        }
    }

    /// What ran when the agent ended before this one has not come to its end, unless the backup is there.
    async fn recover(&mut self) {
        let sets = self.refresh().await;
        if let Some(begun) = self.journal.running() {
            let made = sets.into_iter();
            let made: Vec<Set> = made
                .filter(|set| set.operation == begun.operation)
                .collect();
            // Where one of several places lacks it, it has not come to its end.
            let is_whole = made.len() >= begun.places;
            let outcome = match is_whole {
                true => Ok(made),
                false => Err(format!(
                    "{INTERRUPTED}the agent of the repository, or its pod, ended meanwhile"
                )),
            };
            self.write_down(outcome);
        }
        self.tell();
    }

    fn begin(&mut self, job: Job, stop: &CancellationToken) -> Result<(), String> {
        if self.journal.knows(&job.operation) {
            return Ok(());
        }
        if let Some(begun) = self.journal.running() {
            let (what, operation) = (begun.what.name(), &begun.operation);
            return Err(format!("{what} of the operation {operation} runs"));
        }
        if stop.is_cancelled() {
            return Err("the agent of the repository is to end".to_owned());
        }
        let begun = Begun {
            operation: job.operation.clone(),
            what: job.what,
            started: Timestamp::now(),
            places: job.storages(&self.around).map_or(1, |places| places.len()),
        };
        self.journal
            .begin(begun)
            .map_err(|error| error.to_string())?;
        tracing::info!(
            operation = job.operation,
            what = job.what.name(),
            "work begins"
        );
        let (around, reporter) = (self.around.clone(), self.reporter.clone());
        let cancel = stop.child_token();
        let stop = cancel.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let progress = |percent| {
                reporter.change(|state| {
                    if let Some(work) = &mut state.running {
                        work.percent = percent;
                    }
                });
            };
            job.run(&around, &stop, progress).await
        }));
        self.work = Some(Running {
            task,
            cancel,
            cancelled: false,
        });
        self.tell();
        Ok(())
    }

    async fn end(&mut self, outcome: Outcome) {
        let was_cancelled = self.work.take().is_some_and(|work| work.cancelled);
        let outcome = outcome.map_err(|error| {
            match was_cancelled && error.starts_with(INTERRUPTED) {
                true => CANCELLED.to_owned(),
                // It failed for another reason before it could be stopped.
                false => error,
            }
        });
        match &outcome {
            Ok(sets) => {
                let labels: Vec<&str> = sets.iter().map(|set| set.label.as_str()).collect();
                tracing::info!(?labels, "work is done");
            }
            Err(error) => tracing::error!(error, "work has failed"),
        }
        self.write_down(outcome);
        // Whoever hears that a backup was made finds it among the backups.
        self.refresh().await;
        self.tell();
    }

    /// A look at the backups that was interrupted is no answer: who ordered it finds it unknown, and orders it again.
    fn write_down(&mut self, outcome: Outcome) {
        let looked = self
            .journal
            .running()
            .is_some_and(|begun| begun.what.only_looks());
        let was_interrupted = matches!(&outcome, Err(error) if error.starts_with(INTERRUPTED));
        let written = match looked && was_interrupted {
            true => self.journal.forget(),
            false => self.journal.end(Timestamp::now(), outcome),
        };
        if let Err(error) = written {
            tracing::error!(%error, "how work has ended is not written down; after a restart it counts as interrupted");
        }
    }

    /// Tells what is known of the backups; nothing changes where pgBackRest does not say.
    async fn refresh(&self) -> Vec<Set> {
        self.look_at_volume();
        match work::sets(&self.around).await {
            Ok(sets) => {
                let backups = sets.iter().map(state::backup_set).collect();
                self.reporter.change(|state| state.backups = backups);
                sets
            }
            Err(error) => {
                tracing::warn!(error, "which backups there are is not known");
                Vec::new()
            }
        }
    }

    fn tell(&self) {
        let running = self.journal.running().map(state::work);
        let done = self.journal.done().iter().map(state::done).collect();
        self.reporter.change(|state| {
            state.running = running;
            state.done = done;
        });
    }

    fn look_at_volume(&self) {
        match fill::volume(&self.around.settings.folder) {
            Ok(found) => self.reporter.change(|state| {
                let told = Volume {
                    bytes: state.volume_bytes,
                    used: state.volume_used,
                };
                if fill::is_news(Some(told), found) {
                    (state.volume_bytes, state.volume_used) = (found.bytes, found.used);
                }
            }),
            Err(error) => tracing::warn!(%error, "how full the volume is is not known"),
        }
    }
}

/// How what runs has ended; never where nothing runs.
async fn ended(work: &mut Option<Running>) -> Outcome {
    match work {
        None => std::future::pending().await,
        Some(Running { task, .. }) => task
            .await
            .unwrap_or_else(|error| Err(format!("the work broke off: {error}"))),
    }
}
