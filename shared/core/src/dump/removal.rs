//! The removal of the copies by `pg_basebackup`, or of the dumps, of a cluster: of the claim that they are on where no other one was
//! named.
//!
//! ```text
//! BackupRemoval ─► DeleteBackup runs ─► step: the claim goes ─► it is gone: completed
//!        └─► refused                                          └─ something uses it for long: failed
//! ```

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Field};
use pgo_ids::OperationId;

use super::{base, base_claim_name, dump_claim_name};
use crate::{Backup, Cluster, ClusterStatus, Kind, Observed, Operation, Outcome, Step};

/// What is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Copies by `pg_basebackup`.
    Copies,
    /// Dumps.
    Dumps,
}

impl Removed {
    /// The word for it in events and Pgtasks.
    #[must_use]
    pub fn tool(self) -> &'static str {
        match self {
            Self::Copies => base::TOOL,
            Self::Dumps => "pgdump",
        }
    }

    /// The claim that goes.
    fn claim(self, cluster: &Cluster) -> String {
        match self {
            Self::Copies => base_claim_name(&cluster.name),
            Self::Dumps => dump_claim_name(&cluster.name),
        }
    }

    /// What the operation is about.
    fn of(operation: &Operation) -> Self {
        match operation.tool.as_deref() == Some(Self::Dumps.tool()) {
            true => Self::Dumps,
            false => Self::Copies,
        }
    }
}

/// A request to remove the copies by `pg_basebackup`, or the dumps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupRemoval {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// What goes.
    pub what: Removed,
}

/// How long the claim may take to go: Kubernetes keeps it for as long as a pod uses it.
const DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// Why nothing else begins meanwhile.
pub(super) fn in_the_way(status: &ClusterStatus) -> Option<String> {
    let running = status.journal.running(Kind::DeleteBackup)?;
    Some(format!(
        "the removal of backups is going on, operation {}; wait for its end, then ask again",
        running.id
    ))
}

/// Begins what is asked for, or says why not.
pub(super) fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    for request in &cluster.removals {
        let (subject, id) = (cluster.subject(), request.operation);
        if next.journal.knows(id) {
            continue;
        }
        if !cluster.has_room(&next.journal) {
            break;
        }
        let of = (Kind::DeleteBackup, None);
        let operation = Operation {
            tool: Some(request.what.tool().to_owned()),
            ..Operation::begun(of, id, &request.actor, cluster.generation, now)
        };
        let claim = request.what.claim(cluster);
        match refusal(next, observed, &claim) {
            Some(reason) => next.journal.refuse(subject, operation, &reason, now),
            None => {
                let cause = format!("it was asked for, with claim {claim}");
                next.journal.begin(subject, operation, Some(cause));
            }
        }
    }
}

fn refusal(status: &ClusterStatus, observed: &Observed, claim: &str) -> Option<String> {
    if let Some(running) = &status.dump {
        return Some(format!(
            "a copy, a dump, or a restore of one is going on, operation {}; wait for its end, then ask again",
            running.order.operation
        ));
    }
    let missing = uid(observed, claim).is_none();
    let missing =
        missing.then(|| format!("there is no claim {claim} with backups of this cluster"));
    in_the_way(status).or(missing)
}

/// Uid of the claim, where it is there.
fn uid<'a>(observed: &'a Observed, claim: &str) -> Option<&'a String> {
    observed.backups.get(&(Backup::Claim, claim.to_owned()))
}

/// What became of what goes on.
pub(super) fn advance(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let Some(running) = next.journal.running(Kind::DeleteBackup) else {
        return;
    };
    let (id, begun, subject) = (running.id, running.started, cluster.subject());
    let claim = Removed::of(running).claim(cluster);
    if uid(observed, &claim).is_none() {
        let on_it = next.dumps.iter().filter(|made| made.claim == claim);
        let sizes: Vec<u64> = on_it.map(|made| made.size_bytes).collect();
        next.dumps.retain(|made| made.claim != claim);
        let mut details = vec![(Field::Volume, Datum::Text(claim.clone()))];
        let mut cause = format!("claim {claim} is gone");
        // What was there before it was remembered is not known, and no size of it is made up.
        if !sizes.is_empty() {
            cause.push_str(&format!(", with the {} made there last", sizes.len()));
            details.push((Field::SizeBytes, Datum::Number(sizes.iter().sum())));
        }
        next.journal.complete(subject, id, (&cause, &details), now);
    } else if now.duration_since(begun) >= DEADLINE {
        let minutes = DEADLINE.as_mins();
        let cause = format!(
            "claim {claim} is there yet after {minutes} min: Kubernetes keeps it for as long as a pod uses it"
        );
        let failed = (Outcome::Failed, Some(cause));
        next.journal.finish_one(subject, id, failed, now);
    }
}

/// The cluster goes, whose own deletion says what becomes of its backups.
pub(super) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, cause: &str, now: Timestamp) {
    if let Some(running) = next.journal.running(Kind::DeleteBackup) {
        let (id, failed) = (running.id, (Outcome::Failed, Some(cause.to_owned())));
        next.journal.finish_one(cluster.subject(), id, failed, now);
    }
}

/// The claim goes.
pub(super) fn step(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Option<Step> {
    let running = status.journal.running(Kind::DeleteBackup)?;
    let name = Removed::of(running).claim(cluster);
    Some(Step::RemoveBackup {
        backup: Backup::Claim,
        uid: uid(observed, &name)?.clone(),
        name,
    })
}
