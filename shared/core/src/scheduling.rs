//! Schedules that are made and deleted on request. The apiserver does it by itself and notes it on the Pgcluster; it is told
//! from there. Nothing follows from it, so its operation is not remembered.

use jiff::Timestamp;
use pgo_events::{Datum, Field};
use pgo_ids::OperationId;

use crate::{Journal, Kind, Operation, Outcome, journal::Subject};

/// What was done with a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleChange {
    /// It was made.
    Created,
    /// It was deleted.
    Deleted,
}

/// A schedule that was made or deleted, or should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRequest {
    /// Id of the operation.
    pub operation: OperationId,
    /// Who asked for it.
    pub actor: String,
    /// Name of the schedule.
    pub schedule: String,
    /// What was asked for.
    pub change: ScheduleChange,
    /// When.
    pub at: Timestamp,
    /// Why it was not done, where it was not.
    pub failed: Option<String>,
}

/// Tells of it, its beginning and its end.
pub(crate) fn tell(journal: &mut Journal, subject: Subject<'_>, request: &ScheduleRequest) {
    let kind = match request.change {
        ScheduleChange::Created => Kind::CreateSchedule,
        ScheduleChange::Deleted => Kind::DeleteSchedule,
    };
    let outcome = match request.failed {
        None => Outcome::Completed,
        Some(_) => Outcome::Failed,
    };
    let at = request.at;
    let operation = Operation::begun((kind, None), request.operation, &request.actor, 0, at);
    let details = [(Field::Schedule, Datum::Text(request.schedule.clone()))];
    let how = (outcome, request.failed.clone());
    journal.tell_over_with(subject, &operation, how, &details, at);
}
