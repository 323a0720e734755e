//! What to do next: a decision from what was done so far. No I/O, no clock.

use std::time::Duration;

use crate::state::Phase;

/// Which of the two ways an instance goes; it can change at any time, by [`Event::Turned`] or [`Event::Elected`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is the primary.
    Lead,
    /// It follows the primary.
    Follow,
    /// It is made from a backup, and no part of its cluster.
    Restore,
}

/// A step on the way to a PostgreSQL that serves; in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Lock the data volume.
    Lock,
    /// Find this instance in the Lease, and write the Lease where it is the holder.
    Decide,
    /// Find PostgreSQL in the image, and look whether there is data.
    Inspect,
    /// Make a data directory: the primary.
    Initialise,
    /// Copy the primary's: a replica without data, or with data that is of no use.
    Clone,
    /// Copy a backup.
    Restore,
    /// Bring data that has diverged back to what the primary has: a replica.
    Rewind,
    /// Write the configuration.
    Configure,
    /// Start the server.
    Start,
    /// Wait until it answers.
    Await,
    /// Replay what is archived, and wait where it was asked for until this instance is to lead.
    Replay,
    /// End recovery, where it was a standby: the primary.
    Promote,
    /// Make roles and database.
    SetUp,
    /// Lead the Service here.
    Publish,
    /// Watch the primary until it ends.
    Serve,
    /// Watch the replica until it ends.
    Stream,
}

/// How a stage, or the rest after it, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stage is done.
    Done,
    /// [`Stage::Decide`] is done, and this is the way to go.
    Decided(Way),
    /// [`Stage::Inspect`] is done, and there is no data yet.
    Empty,
    /// The data may hold what the primary has not.
    Diverged,
    /// The data cannot be brought back to what the primary has.
    Unusable,
    /// A replica was made the primary while it ran.
    Elected,
    /// Another instance is primary now; the server has been stopped.
    Turned,
    /// The server was stopped to be started again as it is.
    Stopped,
    /// What the stage needs is not there yet.
    Missing(String),
    /// The stage failed, for this reason.
    Failed(String),
    /// The server ended by itself.
    Exited {
        /// How, and what it said last.
        reason: String,
        /// How long it had served.
        served: Duration,
    },
    /// The rest is over.
    Rested,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run a stage.
    Run(Stage),
    /// Rest, then ask again.
    Rest(Duration),
}

/// How far this agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    stage: Stage,
    way: Way,
    /// What is being waited for.
    missing: Option<String>,
    resting: bool,
    /// Failures in a row; they make the rests longer.
    failures: u32,
    failure: Option<Failure>,
    restarts: u32,
    /// Tries in a row of which none led to a server that answered as it should.
    vain: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    at: Stage,
    reason: String,
}

/// A server that served as long as this crashed for a new reason: it is started again at once. Long enough that one that does
/// nothing but crash takes no core for itself.
const STEADY: Duration = Duration::from_secs(2);

/// Vain tries in a row after which a server counts as one that does not come up. A crash in the middle of a start happens; the
/// second one is no chance any more, and the third try would come too late for who waits.
const DOWN: u32 = 2;

/// Rest after the first failure.
const FIRST_REST: Duration = Duration::from_millis(250);

/// Rest before it is asked again whether what is missing is there.
const MISSING_REST: Duration = Duration::from_secs(1);

/// Longest rest: once the cause of a failure is gone, the instance comes back within this time.
const LONGEST_REST: Duration = Duration::from_secs(10);

impl Default for Progress {
    fn default() -> Self {
        Self {
            stage: Stage::Lock,
            // Nobody leads before it was decided.
            way: Way::Follow,
            missing: None,
            resting: false,
            failures: 0,
            failure: None,
            restarts: 0,
            vain: 0,
        }
    }
}

impl Progress {
    /// What to do now.
    pub fn next(&self) -> Next {
        if self.resting && self.missing.is_some() {
            Next::Rest(MISSING_REST)
        } else if self.resting {
            let doublings = self.failures.saturating_sub(1).min(16);
            Next::Rest((FIRST_REST * 2_u32.pow(doublings)).min(LONGEST_REST))
        } else {
            Next::Run(self.stage)
        }
    }

    /// What to tell the world. A failure is told until what failed has succeeded, also while it is tried again.
    pub fn phase(&self) -> Phase {
        match self.stage {
            _ if self.failure.is_some() => Phase::Failed,
            Stage::Lock | Stage::Decide | Stage::Inspect | Stage::Configure => Phase::Starting,
            Stage::Initialise => Phase::Initializing,
            Stage::Clone | Stage::Restore => Phase::Cloning,
            Stage::Rewind => Phase::Rewinding,
            Stage::Start
            | Stage::Await
            | Stage::Replay
            | Stage::Promote
            | Stage::SetUp
            | Stage::Publish => Phase::Recovering,
            Stage::Serve | Stage::Stream => Phase::Running,
        }
    }

    /// Why it failed, if it did; else what is being waited for, if anything is.
    pub fn error(&self) -> Option<&str> {
        let failure = self.failure.as_ref().map(|failure| failure.reason.as_str());
        failure.or(self.missing.as_deref())
    }

    /// Which way this instance goes.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Whether a primary's server does not come up.
    pub fn is_down(&self) -> bool {
        self.way == Way::Lead && self.vain >= DOWN
    }

    /// How often a server that had served was started again.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The progress after `event`.
    #[must_use]
    pub fn after(mut self, event: Event) -> Self {
        match event {
            Event::Rested => self.resting = false,
            Event::Done => self.go_on(following(self.stage, self.way)),
            Event::Decided(way) => {
                self.way = way;
                self.go_on(Stage::Inspect);
            }
            Event::Empty if self.way == Way::Lead => self.go_on(Stage::Initialise),
            Event::Empty if self.way == Way::Restore => self.go_on(Stage::Restore),
            Event::Empty | Event::Unusable => self.go_on(Stage::Clone),
            Event::Diverged => self.go_on(Stage::Rewind),
            Event::Elected => {
                self.way = Way::Lead;
                self.go_on(Stage::Promote);
            }
            Event::Turned => self.go_on(Stage::Decide),
            Event::Stopped => {
                self.failures = 0;
                self.go_on(Stage::Configure);
            }
            Event::Missing(what) => {
                self.missing = Some(what);
                self.resting = true;
                // Who is primary may have changed meanwhile.
                self.stage = Stage::Decide;
            }
            Event::Failed(reason) => {
                self.count_vain();
                self.fail(retry(self.stage), reason);
            }
            Event::Exited { reason, served } => self.exited(reason, served),
        }
        self
    }

    fn go_on(&mut self, to: Stage) {
        if self.stage > Stage::Inspect {
            self.missing = None;
        }
        // Whatever failed, there is a server to look after.
        let runs = matches!(to, Stage::Serve | Stage::Stream);
        // Roles and the user's setup.sql are no reason for another primary.
        if self.stage > Stage::Promote || runs {
            self.vain = 0;
        }
        if self
            .failure
            .as_ref()
            .is_some_and(|failure| self.stage >= failure.at || runs)
        {
            self.failure = None;
            // Whether a server stays up is known only after it has served for a while.
            if self.stage < Stage::Await {
                self.failures = 0;
            }
        }
        self.stage = to;
    }

    fn count_vain(&mut self) {
        if (Stage::Configure..=Stage::Promote).contains(&self.stage) {
            self.vain = self.vain.saturating_add(1);
        }
    }

    fn fail(&mut self, to: Stage, reason: String) {
        self.missing = None;
        self.failure = Some(Failure {
            at: self.stage,
            reason,
        });
        self.failures = self.failures.saturating_add(1);
        self.resting = true;
        self.stage = to;
    }

    fn exited(&mut self, reason: String, served: Duration) {
        if matches!(self.stage, Stage::Serve | Stage::Stream) {
            self.restarts = self.restarts.saturating_add(1);
            if served >= STEADY {
                self.failures = 0;
            }
            if self.failures == 0 {
                // Counted, so that one that ends again and again is not started in a tight loop.
                self.failures = u32::from(served < STEADY);
                self.stage = Stage::Configure;
                return;
            }
            // It is over only when the server answers again.
            self.stage = Stage::Await;
        } else {
            self.count_vain();
        }
        self.fail(Stage::Configure, reason);
    }
}

fn following(stage: Stage, way: Way) -> Stage {
    match (stage, way) {
        (Stage::Lock, _) => Stage::Decide,
        (Stage::Decide, _) => Stage::Inspect,
        (Stage::Inspect | Stage::Initialise | Stage::Clone | Stage::Restore | Stage::Rewind, _) => {
            Stage::Configure
        }
        (Stage::Configure, _) => Stage::Start,
        (Stage::Start, _) => Stage::Await,
        (Stage::Await, Way::Lead) => Stage::Promote,
        (Stage::Await | Stage::Replay, Way::Restore) => Stage::Replay,
        (Stage::Replay, _) => Stage::Promote,
        (Stage::Promote, _) => Stage::SetUp,
        (Stage::SetUp, _) => Stage::Publish,
        (Stage::Publish | Stage::Serve, _) => Stage::Serve,
        (Stage::Await | Stage::Stream, _) => Stage::Stream,
    }
}

/// Where to begin again after a failure: what may have caused it is looked at anew.
fn retry(failed: Stage) -> Stage {
    match failed {
        Stage::Initialise => Stage::Inspect,
        // Who is primary, and where, may have changed.
        Stage::Clone | Stage::Restore | Stage::Rewind => Stage::Decide,
        Stage::Start | Stage::Serve | Stage::Stream => Stage::Configure,
        stage => stage,
    }
}

#[cfg(test)]
mod tests;
