//! Runs of schedules. The scheduler begins, skips or misses them; what became of one it notes on the Pgcluster, and it is
//! told from there.
//!
//! The scheduler may note the same again after a failure, also when the note was told and taken away: so what was told last of
//! each schedule is remembered, and nothing is told that was due then or before.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgo_events::{Datum, EventType, Field};
use pgo_ids::OperationId;

use crate::{
    Journal,
    journal::{Notice, Subject},
};

/// So many schedules of a cluster are remembered, those whose runs were told last.
const REMEMBERED: usize = 64;

/// What became of a run that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunVerdict {
    /// It has begun.
    Begun,
    /// It was left out, for this reason.
    Skipped(String),
    /// Nobody was there to begin it in time, nor so many others before it: the number counts all of them.
    Missed(u64),
}

/// A run of a schedule that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledRun {
    /// Id of the run; of the operation, where one has begun.
    pub operation: OperationId,
    /// Name of the schedule.
    pub schedule: String,
    /// Uid of the object that holds the schedule: another one of the same name is another schedule.
    pub uid: String,
    /// When it was due.
    pub due: Timestamp,
    /// What became of it.
    pub verdict: RunVerdict,
}

impl ScheduledRun {
    fn notice(&self) -> Notice {
        let schedule = &self.schedule;
        let (event_type, cause) = match &self.verdict {
            RunVerdict::Begun => (
                EventType::ScheduleRun,
                format!("schedule {schedule} was due"),
            ),
            RunVerdict::Skipped(reason) => (EventType::ScheduleRunSkipped, reason.clone()),
            RunVerdict::Missed(1) => (
                EventType::ScheduleRunMissed,
                "nobody was there to begin it in time".to_owned(),
            ),
            RunVerdict::Missed(runs) => (
                EventType::ScheduleRunMissed,
                format!("nobody was there to begin {runs} runs in time; this is the last of them"),
            ),
        };
        Notice {
            event_type,
            about: String::new(),
            time: None,
            cause,
            since: None,
            details: vec![
                (Field::Schedule, Datum::Text(schedule.clone())),
                (Field::Due, Datum::Text(self.due.to_string())),
            ],
        }
    }
}

/// Tells the runs that were not told, the first to be due first. `told` is up to when those of each schedule were.
pub(crate) fn tell(
    (journal, told): (&mut Journal, &mut BTreeMap<String, Timestamp>),
    subject: Subject<'_>,
    runs: &[ScheduledRun],
    now: Timestamp,
) {
    let mut runs: Vec<&ScheduledRun> = runs.iter().collect();
    runs.sort_by_key(|run| run.due);
    for run in runs {
        if told.get(&run.uid).is_some_and(|last| run.due <= *last) {
            continue;
        }
        journal.tell_of(subject, run.operation, run.notice(), now);
        told.insert(run.uid.clone(), run.due);
    }
    while told.len() > REMEMBERED {
        let oldest = told.iter().min_by_key(|(_, due)| **due);
        let Some(uid) = oldest.map(|(uid, _)| uid.clone()) else {
            return;
        };
        told.remove(&uid);
    }
}
