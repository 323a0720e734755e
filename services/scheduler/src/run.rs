//! Runs of schedules, as the annotations of their ConfigMaps have them.
//!
//! | annotation | says |
//! |---|---|
//! | `next-run` | when the schedule is due next; a time that is over: that run waits for another one of its cluster |
//! | `claimed-run` | which run is being begun, and its id: from here on nobody decides about it anew |
//! | `last-run` | the last run that has begun: when it was due, how far it is, its id |
//! | `last-skipped` | the last run that was left out: when it was due, why |
//! | `last-missed` | the last run that nobody was there for: when it was due, how many there were |
//! | `untold-runs` | of what the Pgcluster has no note yet |

use std::fmt;

use jiff::Timestamp;
use pgo_ids::{OperationId, StreamId};
pub use pgo_schedule::{LAST_MISSED, LAST_RUN, LAST_SKIPPED, NEXT_RUN, SCHEDULE_ERROR};

/// The run that is being begun: its time, a blank, its id.
pub const CLAIMED_RUN: &str = "pgo.crunchydata.com/claimed-run";

/// What has to be noted on the Pgcluster yet: `skipped`, `missed`.
pub const UNTOLD_RUNS: &str = "pgo.crunchydata.com/untold-runs";

/// Id of the run of a schedule that is due at a time: whoever derives it gets the same. `uid` is that of the ConfigMap.
pub fn operation(uid: &StreamId, due: Timestamp) -> OperationId {
    OperationId::derived(uid, &format!("run {due}"))
}

/// A run that is being begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// When it was due.
    pub due: Timestamp,
    /// Its id.
    pub operation: OperationId,
}

/// How far a run is that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is known of its end.
    Running,
    /// It did what it was to do.
    Completed,
    /// It did not.
    Failed,
    /// Neither its task nor its cluster know of it any more.
    Gone,
}

impl Progress {
    const ALL: [Self; 4] = [Self::Running, Self::Completed, Self::Failed, Self::Gone];

    /// The word in the annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// The last run that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// When it was due.
    pub due: Timestamp,
    /// How far it is.
    pub progress: Progress,
    /// Its id.
    pub operation: OperationId,
}

/// The last run that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// When it was due.
    pub due: Timestamp,
    /// Why.
    pub reason: String,
}

/// The last run that was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// When it was due.
    pub due: Timestamp,
    /// How many were, one after the other.
    pub runs: u64,
}

/// What has to be noted on the Pgcluster yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// The last run that was skipped.
    pub skipped: bool,
    /// The last run that was missed.
    pub missed: bool,
}

impl Untold {
    /// Reads the annotation.
    pub fn read(text: &str) -> Self {
        let has = |word: &str| text.split(' ').any(|one| one == word);
        Self {
            skipped: has("skipped"),
            missed: has("missed"),
        }
    }

    /// Whether there is something.
    pub fn is_some(self) -> bool {
        self.skipped || self.missed
    }
}

fn timed(text: &str) -> Option<(Timestamp, &str)> {
    let (time, rest) = text.split_once(' ')?;
    Some((time.parse().ok()?, rest))
}

impl Claim {
    /// Reads the annotation.
    pub fn read(text: &str) -> Option<Self> {
        let (due, id) = timed(text)?;
        let operation = id.parse().ok()?;
        Some(Self { due, operation })
    }
}

impl LastRun {
    /// Reads the annotation.
    pub fn read(text: &str) -> Option<Self> {
        let (due, rest) = timed(text)?;
        let (word, id) = rest.split_once(' ')?;
        let mut all = Progress::ALL.into_iter();
        Some(Self {
            due,
            progress: all.find(|progress| progress.as_str() == word)?,
            operation: id.parse().ok()?,
        })
    }
}

impl Skipped {
    /// Reads the annotation.
    pub fn read(text: &str) -> Option<Self> {
        let (due, reason) = timed(text)?;
        let reason = reason.to_owned();
        Some(Self { due, reason })
    }
}

impl Missed {
    /// Reads the annotation.
    pub fn read(text: &str) -> Option<Self> {
        let (due, runs) = timed(text)?;
        let runs = runs.parse().ok()?;
        Some(Self { due, runs })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.due, self.operation)
    }
}

impl fmt::Display for LastRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.due,
            self.progress.as_str(),
            self.operation
        )
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.due, self.reason)
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.due, self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let due: Timestamp = "2026-03-01T11:00:00Z".parse().expect("a time");
        let uid: StreamId = "25927091-b343".parse().expect("a uid");
        let operation = operation(&uid, due);
        let claim = Claim { due, operation };
        assert_eq!(Claim::read(&claim.to_string()), Some(claim));
        for progress in Progress::ALL {
            let last = LastRun {
                due,
                progress,
                operation,
            };
            assert_eq!(LastRun::read(&last.to_string()), Some(last));
        }
        let skipped = Skipped {
            due,
            reason: "it was too late".to_owned(),
        };
        assert_eq!(Skipped::read(&skipped.to_string()), Some(skipped));
        let missed = Missed { due, runs: 3 };
        assert_eq!(Missed::read(&missed.to_string()), Some(missed));
        assert_eq!(missed.to_string(), "2026-03-01T11:00:00Z 3");
    }

    #[test]
    fn the_id_of_a_run_is_that_of_its_schedule_and_time() {
        let due: Timestamp = "2026-03-01T11:00:00Z".parse().expect("a time");
        let [one, other] = ["a", "b"].map(|uid| uid.parse::<StreamId>().expect("a uid"));
        let id = operation(&one, due);
        assert_eq!(id, operation(&one, due));
        assert_ne!(id, operation(&other, due));
        assert_ne!(
            id,
            operation(&one, due + jiff::SignedDuration::from_secs(1))
        );
    }
}
