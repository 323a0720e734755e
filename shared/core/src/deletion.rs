//! The deletion of a cluster: who asked for it, what it removes, how it ends.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_ids::OperationId;

use crate::{
    Cluster, ClusterStatus, DeleteOptions, Journal, Kind, Milestone, Observed, Operation, Outcome,
    Phase, asked, backup,
    commit::{CREATION, DELETION, begin_creation, describe},
    drill, dump, failover, job,
    plan::{Leftover, leftovers},
    policy, reload, replicas, restart, restore, settings, upgrade,
};

/// What a Pgtask asks for: the cluster's deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// What to remove.
    pub options: DeleteOptions,
}

/// A deletion that takes longer is told as failed, though it goes on: PostgreSQL stops within a minute or two, and a volume
/// goes as fast, unless something holds it.
const DELETION_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// From so many operations on, a request that asks for nothing more is none of its own: each has a place in the status and
/// two events, and whoever can make Pgtasks could fill both. Far more than people and programs that ask for one deletion.
const MOST_DELETIONS: usize = 16;

/// Takes a deletion one step further: what was asked is begun, what is done is told.
pub(crate) fn deletion(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let subject = cluster.subject();
    if next.journal.newest(Kind::DeleteCluster).is_none() {
        if next.journal.newest(Kind::CreateCluster).is_none() {
            // Nobody has begun it, and who asked for it is told all the same.
            begin_creation(next, cluster, (Milestone::Accepted, None), now);
        }
        let interrupted = "the cluster was deleted before it was ready".to_owned();
        replicas::break_off(next, cluster, now);
        failover::break_off(next, cluster, now);
        reload::break_off(next, cluster, now);
        restart::break_off(next, cluster, now);
        policy::break_off(next, cluster, now);
        upgrade::break_off(next, cluster, now);
        backup::break_off(next, cluster, now);
        dump::break_off(next, cluster, now);
        restore::break_off(next, cluster, now);
        drill::break_off(next, cluster, now);
        job::break_off(next, cluster, now);
        settings::break_off(next, cluster, now);
        next.journal
            .finish(subject, CREATION, (Outcome::Failed, Some(interrupted)), now);
    }
    asked::refuse(next, cluster, observed, now);
    begin_deletions(next, cluster, now);
    widen_deletion(next, cluster);
    take_up_deletion(next, cluster, observed, now);
    if let Some(running) = next.journal.running(Kind::DeleteCluster) {
        let options = running.delete.unwrap_or_default();
        let left = leftovers(next, cluster, observed, options);
        let told = removed(&left, options);
        let journal = &mut next.journal;
        journal.progress(subject, DELETION, (&told, &[]), now);
        if left.is_empty() && cluster.deleting {
            let completed = (Outcome::Completed, None);
            journal.finish(subject, DELETION, completed, now);
        } else if is_overdue(journal, now) {
            let failed = (Outcome::Failed, Some(in_the_way(&left, observed)));
            journal.finish(subject, DELETION, failed, now);
        }
    }
    let message = match next.journal.newest(Kind::DeleteCluster) {
        None => "to be removed".to_owned(),
        Some(deletion) => match (deletion.outcome, &deletion.cause) {
            (None, _) => "being removed".to_owned(),
            (Some(Outcome::Failed), Some(cause)) => cause.clone(),
            (Some(_), _) => "removed; its last events are being stored".to_owned(),
        },
    };
    describe(next, cluster, (Phase::Deleting, "Deleting"), &message, now);
}

/// Whether the deletion goes on for too long, as whoever asked first sees it: who joins late puts nothing off.
fn is_overdue(journal: &Journal, now: Timestamp) -> bool {
    let mut deletions = journal.all(Kind::DeleteCluster);
    deletions
        .find(|deletion| deletion.is_running())
        .is_some_and(|first| now.duration_since(first.started) >= DELETION_DEADLINE)
}

/// A deletion begins with that of the object itself, or with a request. Each request is an operation of its own, also one
/// that comes to a deletion that goes on: whoever asked is told the end under the id he has.
fn begin_deletions(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let is_begun = next.journal.newest(Kind::DeleteCluster).is_some();
    if cluster.delete_requests.is_empty() && !is_begun {
        let own = DeleteRequest {
            operation: OperationId::derived(&cluster.stream, "delete"),
            actor: String::new(),
            options: DeleteOptions::default(),
        };
        begin_deletion(next, cluster, &own, now);
    }
    for request in &cluster.delete_requests {
        if !is_taken_up(&next.journal, request) {
            begin_deletion(next, cluster, request, now);
        }
    }
}

fn begin_deletion(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    request: &DeleteRequest,
    now: Timestamp,
) {
    let former = next.journal.newest(Kind::DeleteCluster);
    let before = former.and_then(|deletion| deletion.delete);
    let before = before.unwrap_or_default();
    let told = former.map_or(0, |former| former.steps);
    let steps = if before.covers(request.options) {
        told
    } else {
        told.min(retold_from(before, request.options))
    };
    let first = next.journal.all(Kind::DeleteCluster).next();
    let cause = first.map(|first| format!("asks for the same deletion as operation {}", first.id));
    let operation = Operation {
        steps,
        delete: Some(before.with(request.options)),
        ..Operation::begun(
            (Kind::DeleteCluster, None),
            request.operation,
            &request.actor,
            cluster.generation,
            now,
        )
    };
    next.journal.begin(cluster.subject(), operation, cause);
}

/// Whether a request is an operation already, or need not be one.
fn is_taken_up(journal: &Journal, request: &DeleteRequest) -> bool {
    let mut deletions = journal.all(Kind::DeleteCluster);
    if deletions.any(|deletion| deletion.id == request.operation) {
        return true;
    }
    let is_crowded = journal.all(Kind::DeleteCluster).count() >= MOST_DELETIONS;
    is_crowded && is_covered(journal, request)
}

/// Whether what a request asks for is removed without it.
fn is_covered(journal: &Journal, request: &DeleteRequest) -> bool {
    let newest = journal.newest(Kind::DeleteCluster);
    let removes = newest.and_then(|deletion| deletion.delete);
    removes.is_some_and(|removes| removes.covers(request.options))
}

/// The first request to a cluster that goes, of any kind, whose operation is not recorded yet, or not with all that it asks
/// for. While there is one, nothing is removed, and the cluster does not go.
#[must_use]
pub fn unrecorded(status: &ClusterStatus, cluster: &Cluster) -> Option<OperationId> {
    let journal = &status.journal;
    let mut deletions = cluster.delete_requests.iter();
    let deletion =
        deletions.find(|request| !is_taken_up(journal, request) || !is_covered(journal, request));
    let deletion = deletion.map(|request| request.operation);
    deletion.or_else(|| asked::first_unbegun(status, cluster))
}

/// What all requests together ask for.
fn asked_by_all(cluster: &Cluster) -> DeleteOptions {
    let requests = cluster.delete_requests.iter();
    requests.fold(DeleteOptions::default(), |all, request| {
        all.with(request.options)
    })
}

/// A later request can have a deletion remove more while it goes on, never less.
fn widen_deletion(next: &mut ClusterStatus, cluster: &Cluster) {
    let asked = asked_by_all(cluster);
    let operations = next.journal.operations.iter_mut().rev();
    let mut deletions = operations.filter(|o| o.kind == Kind::DeleteCluster);
    let Some(deletion) = deletions.next() else {
        return;
    };
    let options = deletion.delete.unwrap_or_default();
    if deletion.outcome != Some(Outcome::Completed) && !options.covers(asked) {
        deletion.delete = Some(options.with(asked));
        deletion.steps = deletion.steps.min(retold_from(options, asked));
    }
}

/// A deletion that was told as failed goes on; its end is that of an operation of its own. So is that of one which was
/// told as completed and is asked to remove more after all, while the object is still there.
fn take_up_deletion(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let Some(ended) = next.journal.newest(Kind::DeleteCluster) else {
        return;
    };
    let options = ended.delete.unwrap_or_default();
    let asked = options.with(asked_by_all(cluster));
    let (steps, cause) = match ended.outcome {
        Some(Outcome::Failed) if leftovers(next, cluster, observed, options).is_empty() => {
            (ended.steps, "what was in the way is gone")
        }
        Some(Outcome::Completed) if observed.finalizer && !options.covers(asked) => {
            let from = ended.steps.min(retold_from(options, asked));
            (from, "asked to remove more than before")
        }
        _ => return,
    };
    if !cluster.deleting {
        return;
    }
    let again = format!("delete again after {}", ended.id);
    let operation = Operation {
        id: OperationId::derived(&cluster.stream, &again),
        started: now,
        finished: None,
        outcome: None,
        cause: None,
        steps,
        delete: Some(asked),
        ..ended.clone()
    };
    let cause = cause.to_owned();
    next.journal
        .begin(cluster.subject(), operation, Some(cause));
}

/// Why a deletion has not ended.
fn in_the_way(left: &BTreeSet<Leftover>, observed: &Observed) -> String {
    if let Some(refused) = &observed.refused {
        return refused.clone();
    }
    let names = |names: Vec<&str>| names.join(", ");
    let what = match left.first() {
        Some(Leftover::Replicas) => {
            let pods = observed.pods.keys().map(|name| name.as_str());
            format!("replicas do not go; pods: {}", names(pods.collect()))
        }
        Some(Leftover::Pods) => {
            let pods = observed.pods.keys().map(|name| name.as_str());
            format!("pod {} does not end", names(pods.collect()))
        }
        Some(Leftover::Repository) => "the repository of backups does not go".to_owned(),
        Some(Leftover::Data) => {
            let claims = observed.claims.keys().map(|name| name.as_str());
            format!(
                "PersistentVolumeClaim {} does not go",
                names(claims.collect())
            )
        }
        Some(Leftover::Backups) => {
            let backups = observed.backups.keys().map(|(_, name)| name.as_str());
            format!("{}, with backups, does not go", names(backups.collect()))
        }
        Some(Leftover::Fixtures) => "objects of the cluster do not go".to_owned(),
        Some(Leftover::Tasks) => "its tasks do not go".to_owned(),
        None => "the Pgcluster does not go".to_owned(),
    };
    let minutes = DELETION_DEADLINE.as_mins();
    format!(
        "after {minutes} min {what}: look at its finalizers and events with kubectl describe; the deletion goes on"
    )
}

/// Place of what is told of the data among [`removed`].
const DATA_STEP: usize = 1;

/// From which step on a deletion is told anew that is asked to remove more: that the data stays may have been told; that it
/// has gone is told after it.
fn retold_from(before: DeleteOptions, asked: DeleteOptions) -> usize {
    if asked.data && !before.data {
        DATA_STEP
    } else {
        usize::MAX
    }
}

/// What a person reads of a deletion that has this left to remove.
fn removed(left: &BTreeSet<Leftover>, options: DeleteOptions) -> Vec<&'static str> {
    let data = match (left.contains(&Leftover::Data), options.data) {
        (true, _) => None,
        (false, true) => Some("data removed"),
        (false, false) => Some("data kept"),
    };
    if left.contains(&Leftover::Pods) || left.contains(&Leftover::Replicas) {
        return Vec::new();
    }
    let backups = data.filter(|_| options.backups && !left.contains(&Leftover::Backups));
    let backups = backups.map(|_| "backups removed");
    let told = ["database stopped"].into_iter();
    told.chain(data).chain(backups).collect()
}
