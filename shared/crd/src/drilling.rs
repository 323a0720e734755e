//! Pgtasks that ask for a restore drill: a backup is tried now. 4.1 has none of these.

use pgo_core::DrillRequest;

use crate::{Pgcluster, Pgtask, TaskType, convert::actor};

/// Parameter of a Pgtask: pgBackRest's name for the backup; without it the newest one.
pub const DRILLED_BACKUP: &str = "backup";

/// The restore drills that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn drill_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<DrillRequest> {
    crate::restarting::in_order(tasks, |task| drill_request(task, cluster))
}

/// The restore drill that a Pgtask asks for, where it does.
#[must_use]
pub fn drill_request(task: &Pgtask, cluster: &Pgcluster) -> Option<DrillRequest> {
    let backup = task.spec.parameters.get(DRILLED_BACKUP);
    let backup = backup.map(|label| label.trim().to_owned());
    Some(DrillRequest {
        operation: crate::restarting::asked(task, cluster, TaskType::Drill)?,
        actor: actor(task),
        backup: backup.filter(|label| !label.is_empty()),
    })
}
