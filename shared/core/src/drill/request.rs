//! Drills that somebody asks for: a backup is tried now, whatever the policy says.
//!
//! One that cannot be is refused at once. What has only to wait, for a backup, a restore, another drill, a place or the repository,
//! waits.

use jiff::Timestamp;
use pgo_ids::OperationId;

use super::run::{DRILL, Wanted, begin, is_held};
use crate::{BackupSet, Cluster, ClusterStatus, DrillPlace, Observed, Operation};

/// A request for a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// pgBackRest's name for the backup; the newest one where none is named.
    pub backup: Option<String>,
}

impl DrillRequest {
    /// The operation that it becomes, of this backup.
    fn begun(&self, cluster: &Cluster, backup: &str, now: Timestamp) -> Operation {
        let (id, actor) = (self.operation, self.actor.as_str());
        Operation {
            backup: Some(backup.to_owned()).filter(|label| !label.is_empty()),
            ..Operation::begun(DRILL, id, actor, cluster.generation, now)
        }
    }
}

/// What becomes of a request now.
enum Judged<'a> {
    /// Something has to end before.
    Waits,
    /// It cannot be done.
    Refused(String),
    /// This backup is to be tried.
    Begins(&'a BackupSet),
}

/// Whether one that is asked for only lacks a place.
pub(super) fn wants(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> bool {
    let mut waiting = waiting(status, cluster);
    let first = waiting.next();
    first.is_some_and(|asked| matches!(judge(status, cluster, observed, asked), Judged::Begins(_)))
}

fn waiting<'a>(
    status: &'a ClusterStatus,
    cluster: &'a Cluster,
) -> impl Iterator<Item = &'a DrillRequest> {
    let asked = cluster.drills.iter();
    asked.filter(|asked| !status.journal.knows(asked.operation))
}

/// Begins the one that was asked for first, and refuses what cannot be done.
pub(super) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let asked: Vec<_> = waiting(next, cluster).cloned().collect();
    for request in asked {
        // Two Pgtasks may have one id.
        if next.journal.knows(request.operation) {
            continue;
        }
        if !cluster.has_room(&next.journal) {
            return;
        }
        match judge(next, cluster, observed, &request) {
            Judged::Waits => return,
            Judged::Refused(reason) => {
                let backup = request.backup.as_deref().unwrap_or_default();
                let operation = request.begun(cluster, backup, now);
                let subject = cluster.subject();
                next.journal.refuse(subject, operation, &reason, now);
            }
            Judged::Begins(_) if observed.drill_place != DrillPlace::Taken => return,
            Judged::Begins(backup) => {
                let wanted = Wanted {
                    operation: request.begun(cluster, &backup.label, now),
                    backup: backup.label.clone(),
                    why: "it was asked for",
                    asked: true,
                };
                begin(next, cluster, wanted, now);
                return;
            }
        }
    }
}

fn judge<'a>(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &'a Observed,
    request: &DrillRequest,
) -> Judged<'a> {
    let name = &cluster.name;
    let desired = match &cluster.desired {
        Ok(desired) => desired,
        Err(invalid) => {
            return Judged::Refused(format!("the spec of {name} is not understood: {invalid}"));
        }
    };
    if desired.backups.is_none() {
        return Judged::Refused(format!("{name} does not have pgbackrest enabled"));
    }
    if !status.was_ready() {
        return Judged::Refused("the cluster has not been ready yet".to_owned());
    }
    let is_busy = status.drills.run.is_some() || status.backup.is_some() || is_held(status);
    let Some(agent) = observed.repository.works().filter(|_| !is_busy) else {
        return Judged::Waits;
    };
    let Some(newest) = agent.backups.last() else {
        return Judged::Refused(format!(
            "there is no backup of {name} to try; make one with pgo backup {name}"
        ));
    };
    let Some(label) = &request.backup else {
        return Judged::Begins(newest);
    };
    let found = agent.backups.iter().find(|one| one.label == *label);
    found.map_or_else(
        || {
            let there: Vec<&str> = agent.backups.iter().map(|one| one.label.as_str()).collect();
            Judged::Refused(format!(
                "there is no backup {label}; there are {}",
                there.join(", ")
            ))
        },
        Judged::Begins,
    )
}
