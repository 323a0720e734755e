//! What somebody wants to go on no longer: an operation that waits fails at once, one that is under way when what works on it
//! can be stopped without harm.
//!
//! ```text
//! Cluster::cancelled ─┬─► it waits ─► begun and failed at once
//!                     ├─► a restore drill ─► failed without a verdict, its pod goes
//!                     ├─► a backup ─► its repository stops it, and says so ─► failed
//!                     ├─► a restore whose cluster serves still, a dump, a copy, a benchmark, a load ─► failed, what was made for it goes
//!                     └─► an upgrade ─► failed before its next instance
//! ```
//!
//! Each ends as any other failure does, once. What is done in one stroke, or may not stay half done, is not cancelled.

use jiff::Timestamp;
use pgo_ids::OperationId;

use crate::{
    Cluster, ClusterStatus, Kind, Observed, Outcome, Plan, RestoreStage, Step, asked, policy,
};

/// The error of a piece of work that its agent stopped since it was told to (`proto/pgo/agent/v1/repository.proto`).
pub(crate) const STOPPED: &str = "cancelled";

/// Beginning of the error of a piece of work that ended with its agent.
const INTERRUPTED: &str = "interrupted: ";

/// Longest name of who cancels that is told; whoever may change a Pgtask may write anything there.
const LONGEST_NAME: usize = 64;

impl Cluster {
    /// Why an operation fails that somebody has cancelled; none where nobody has.
    pub(crate) fn cancelled(&self, operation: OperationId) -> Option<String> {
        let who = self.cancelled.get(&operation)?.trim();
        let who: String = who.chars().take(LONGEST_NAME).collect();
        let who = match who.as_str() {
            "" => "somebody",
            who => who,
        };
        Some(format!("cancelled by {who}"))
    }

    /// The same for one of which its agent says that it failed so.
    pub(crate) fn stopped(&self, operation: OperationId, error: &str) -> Option<String> {
        let is_stopped = error == STOPPED || error.starts_with(INTERRUPTED);
        self.cancelled(operation).filter(|_| is_stopped)
    }
}

/// Whether operations of a kind can be cancelled at all.
#[must_use]
pub fn can_be_cancelled(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CreateBackup
            | Kind::VerifyRestore
            | Kind::RestoreCluster
            | Kind::CreateDump
            | Kind::RestoreDump
            | Kind::RestoreBaseBackup
            | Kind::Benchmark
            | Kind::Load
            | Kind::UpgradeCluster
            | Kind::ApplyPolicy
    )
}

/// Why the operation with this id, which goes on, cannot be cancelled now; none where it can, or is not known.
#[must_use]
pub fn refusal(status: &ClusterStatus, id: OperationId) -> Option<String> {
    let mut operations = status.journal.operations.iter();
    let operation = operations.find(|operation| operation.id == id)?;
    let what = operation.kind.what();
    if !can_be_cancelled(operation.kind) {
        return Some(format!("{what} cannot be cancelled"));
    }
    let restore = status.restore.as_ref();
    let is_past_stop = restore.is_some_and(|run| {
        run.order.operation == id
            && matches!(run.stage, RestoreStage::Stopping | RestoreStage::Giving)
    });
    if is_past_stop {
        return Some(format!(
            "{what} has come so far that the former instances stop; it can only be gone through with. The data as it was before \
             stays: see pgo show workflow {id}"
        ));
    }
    let is_sent = policy::is_sent(status, id);
    is_sent.then(|| format!("{what} cannot be cancelled once it runs, and it runs"))
}

/// What is cancelled and has not begun fails.
pub(crate) fn commit(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    if cluster.cancelled.is_empty() {
        return;
    }
    asked::refuse_cancelled(next, cluster, now);
    let waiting = policy::unsent(next);
    for id in waiting {
        if let Some(cause) = cluster.cancelled(id) {
            let failed = (Outcome::Failed, Some(before(&cause)));
            next.journal.finish_one(cluster.subject(), id, failed, now);
        }
    }
}

/// Why something fails that had not begun when it was cancelled.
pub(crate) fn before(cause: &str) -> String {
    format!("{cause} before it began")
}

/// The repository stops what it does for an operation that is cancelled, whatever has become of that meanwhile.
pub(crate) fn steps(plan: &mut Plan, cluster: &Cluster, observed: &Observed) {
    let agent = observed.repository.heard();
    let Some(work) = agent.and_then(|agent| agent.running.as_ref()) else {
        return;
    };
    if cluster.cancelled.contains_key(&work.operation) {
        plan.steps.push(Step::CancelWork {
            operation: work.operation,
        });
        plan.waiting_for = Some("the repository to stop what was cancelled");
    }
}
