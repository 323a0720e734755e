//! What to do next: a decision from what was done so far. No I/O, no clock.

use std::time::Duration;

use crate::state::Phase;

/// A step on the way to a PostgreSQL that serves; in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Lock the data volume.
    Lock,
    /// Find this instance in the Lease, and write the Lease.
    Authorise,
    /// Find PostgreSQL in the image, and look whether there is data.
    Inspect,
    /// Make a data directory.
    Initialise,
    /// Write the configuration.
    Configure,
    /// Start the server.
    Start,
    /// Wait until it answers.
    Await,
    /// Make roles and database.
    SetUp,
    /// Lead the Service here.
    Publish,
    /// Watch it until it ends.
    Serve,
}

/// How a stage, or the rest after it, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stage is done.
    Done,
    /// [`Stage::Inspect`] is done, and there is no data yet.
    Empty,
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
    resting: bool,
    /// Failures in a row; they make the rests longer.
    failures: u32,
    failure: Option<Failure>,
    restarts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    at: Stage,
    reason: String,
}

/// A server that served as long as this crashed for a new reason: it is started again at once.
const STEADY: Duration = Duration::from_secs(10);

/// Rest after the first failure.
const FIRST_REST: Duration = Duration::from_millis(250);

/// Longest rest: once the cause of a failure is gone, the instance comes back within this time.
const LONGEST_REST: Duration = Duration::from_secs(10);

impl Default for Progress {
    fn default() -> Self {
        Self {
            stage: Stage::Lock,
            resting: false,
            failures: 0,
            failure: None,
            restarts: 0,
        }
    }
}

impl Progress {
    /// What to do now.
    pub fn next(&self) -> Next {
        if self.resting {
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
            Stage::Lock | Stage::Authorise | Stage::Inspect | Stage::Configure => Phase::Starting,
            Stage::Initialise => Phase::Initializing,
            Stage::Start | Stage::Await | Stage::SetUp | Stage::Publish => Phase::Recovering,
            Stage::Serve => Phase::Running,
        }
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.reason.as_str())
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
            Event::Done => self.go_on(following(self.stage)),
            Event::Empty => self.go_on(Stage::Initialise),
            Event::Failed(reason) => self.fail(retry(self.stage), reason),
            Event::Exited { reason, served } => self.exited(reason, served),
        }
        self
    }

    fn go_on(&mut self, to: Stage) {
        if self
            .failure
            .as_ref()
            .is_some_and(|failure| self.stage >= failure.at)
        {
            self.failure = None;
            // Whether a server stays up is known only after it has served for a while.
            if self.stage < Stage::Await {
                self.failures = 0;
            }
        }
        self.stage = to;
    }

    fn fail(&mut self, to: Stage, reason: String) {
        self.failure = Some(Failure {
            at: self.stage,
            reason,
        });
        self.failures = self.failures.saturating_add(1);
        self.resting = true;
        self.stage = to;
    }

    fn exited(&mut self, reason: String, served: Duration) {
        if self.stage == Stage::Serve {
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
        }
        self.fail(Stage::Configure, reason);
    }
}

fn following(stage: Stage) -> Stage {
    match stage {
        Stage::Lock => Stage::Authorise,
        Stage::Authorise => Stage::Inspect,
        Stage::Inspect | Stage::Initialise => Stage::Configure,
        Stage::Configure => Stage::Start,
        Stage::Start => Stage::Await,
        Stage::Await => Stage::SetUp,
        Stage::SetUp => Stage::Publish,
        Stage::Publish | Stage::Serve => Stage::Serve,
    }
}

/// Where to begin again after a failure: what may have caused it is looked at anew.
fn retry(failed: Stage) -> Stage {
    match failed {
        Stage::Initialise => Stage::Inspect,
        Stage::Start => Stage::Configure,
        stage => stage,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(reason: &str) -> Event {
        Event::Failed(reason.to_owned())
    }

    fn exited(served: Duration) -> Event {
        Event::Exited {
            reason: "gone".to_owned(),
            served,
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Done),
            Just(Event::Empty),
            Just(failed("cause")),
            (0u64..30).prop_map(|seconds| exited(Duration::from_secs(seconds))),
        ]
    }

    /// Goes through `events`, resting whenever it is asked for, and checks each step.
    fn after_all(events: Vec<Event>) -> Progress {
        events
            .into_iter()
            .fold(Progress::default(), |progress, event| {
                match progress.next() {
                    Next::Rest(_) => progress.after(Event::Rested).after(event),
                    Next::Run(_) => progress.after(event),
                }
            })
    }

    proptest! {
        #[test]
        fn from_everywhere_success_leads_to_serving_without_an_error(events in prop::collection::vec(any_event(), 0..40)) {
            let mut progress = after_all(events);
            for _ in 0..20 {
                let event = if progress.resting { Event::Rested } else { Event::Done };
                progress = progress.after(event);
            }
            prop_assert_eq!(progress.next(), Next::Run(Stage::Serve));
            prop_assert_eq!(progress.phase(), Phase::Running);
            prop_assert_eq!(progress.error(), None);
        }

        #[test]
        fn a_failure_is_told_and_every_rest_is_bounded(events in prop::collection::vec(any_event(), 0..40)) {
            let progress = after_all(events);
            prop_assert_eq!(progress.phase() == Phase::Failed, progress.error().is_some());
            if let Next::Rest(rest) = progress.next() {
                prop_assert!(rest >= FIRST_REST && rest <= LONGEST_REST);
                prop_assert_eq!(progress.phase(), Phase::Failed);
            }
        }

        #[test]
        fn a_server_is_never_started_without_lock_and_lease(events in prop::collection::vec(any_event(), 0..40)) {
            let mut progress = Progress::default();
            let mut done = Vec::new();
            for event in events {
                if let Next::Run(stage) = progress.next() {
                    if stage >= Stage::Inspect {
                        prop_assert!(done.contains(&Stage::Lock) && done.contains(&Stage::Authorise));
                    }
                    // Nothing else can happen in these stages.
                    let early = stage < Stage::Inspect;
                    let event = if early && event != Event::Done { failed("cause") } else { event };
                    if event == Event::Done {
                        done.push(stage);
                    }
                    progress = progress.after(event);
                } else {
                    progress = progress.after(Event::Rested);
                }
            }
        }
    }

    #[test]
    fn rests_become_longer_and_the_failure_stays_until_its_stage_succeeds() {
        let mut progress = Progress::default().after(Event::Done);
        let mut rests = Vec::new();
        for _ in 0..8 {
            progress = progress.after(failed("the Lease names another"));
            if let Next::Rest(rest) = progress.next() {
                rests.push(rest.as_millis());
            }
            progress = progress.after(Event::Rested);
            assert_eq!(progress.phase(), Phase::Failed);
        }
        assert_eq!(rests, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]);
        let progress = progress.after(Event::Done);
        assert_eq!(
            (progress.phase(), progress.error()),
            (Phase::Starting, None)
        );
    }

    #[test]
    fn an_initdb_that_fails_is_tried_from_the_inspection_on() {
        let inspecting = Progress::default().after(Event::Done).after(Event::Done);
        let progress = inspecting.after(Event::Empty);
        assert_eq!(progress.phase(), Phase::Initializing);
        let progress = progress.after(failed("disk full")).after(Event::Rested);
        assert_eq!(progress.next(), Next::Run(Stage::Inspect));
        // It is still the failure of initdb that is told, until initdb succeeds.
        let progress = progress.after(Event::Empty);
        assert_eq!(progress.error(), Some("disk full"));
        assert_eq!(progress.after(Event::Done).error(), None);
    }

    #[test]
    fn the_first_crash_is_answered_at_once_and_the_next_ones_slower() {
        let serving = after_all(vec![Event::Done; 9]);
        assert_eq!(serving.next(), Next::Run(Stage::Serve));
        let again = serving.after(exited(Duration::from_secs(1)));
        assert_eq!(again.next(), Next::Run(Stage::Configure));
        assert_eq!((again.error(), again.restarts()), (None, 1));

        let serving = (0..5).fold(again, |progress, _| progress.after(Event::Done));
        let slower = serving.after(exited(Duration::from_secs(1)));
        assert!(matches!(slower.next(), Next::Rest(_)));
        assert_eq!((slower.phase(), slower.restarts()), (Phase::Failed, 2));

        let serving = after_all(vec![Event::Done; 9]);
        let steady = serving
            .after(exited(Duration::from_secs(1)))
            .after(Event::Done)
            .after(Event::Done)
            .after(Event::Done)
            .after(Event::Done)
            .after(Event::Done)
            .after(exited(Duration::from_secs(60)));
        assert_eq!(steady.next(), Next::Run(Stage::Configure));
    }
}
