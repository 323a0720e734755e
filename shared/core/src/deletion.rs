//! The deletion of a cluster: who asked for it, what it removes, how it ends.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_ids::OperationId;

use crate::{
    Cluster, ClusterStatus, DeleteOptions, Kind, Milestone, Observed, Operation, Outcome, Phase,
    commit::{begin_creation, describe},
    plan::{Leftover, leftovers},
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
        next.journal.finish(
            subject,
            Kind::CreateCluster,
            (Outcome::Failed, Some(interrupted)),
            now,
        );
    }
    begin_deletion(next, cluster, now);
    widen_deletion(next, cluster);
    take_up_deletion(next, cluster, observed, now);
    if let Some(running) = next.journal.running(Kind::DeleteCluster) {
        let (options, began) = (running.delete.unwrap_or_default(), running.started);
        let left = leftovers(observed, options);
        let told = removed(&left, options);
        let journal = &mut next.journal;
        journal.progress(subject, Kind::DeleteCluster, &told, now);
        if left.is_empty() && cluster.deleting {
            let completed = (Outcome::Completed, None);
            journal.finish(subject, Kind::DeleteCluster, completed, now);
        } else if now.duration_since(began) >= DELETION_DEADLINE {
            let failed = (Outcome::Failed, Some(in_the_way(&left, observed)));
            journal.finish(subject, Kind::DeleteCluster, failed, now);
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

/// A deletion begins with the request, or with that of the object itself. A request that comes to one under way, as its
/// task is seen later than what the object says, is an operation of its own, with what it asks for.
fn begin_deletion(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let request = cluster.delete_request.clone();
    let is_begun = match &request {
        Some(request) => next.journal.knows(request.operation),
        None => next.journal.newest(Kind::DeleteCluster).is_some(),
    };
    if is_begun {
        return;
    }
    let asked = request.as_ref().map(|request| request.options);
    let former = next.journal.newest(Kind::DeleteCluster);
    // That the data stays may have been told; that it has gone is told after it.
    let steps = former.map_or(0, |former| former.steps.min(DATA_STEP));
    let former = former.and_then(|deletion| deletion.delete);
    let operation = Operation {
        id: request.as_ref().map_or_else(
            || OperationId::derived(&cluster.stream, "delete"),
            |request| request.operation,
        ),
        kind: Kind::DeleteCluster,
        actor: request
            .as_ref()
            .map(|request| request.actor.clone())
            .unwrap_or_default(),
        started: now,
        finished: None,
        outcome: None,
        cause: None,
        steps,
        generation: cluster.generation,
        delete: Some(former.unwrap_or_default().with(asked.unwrap_or_default())),
    };
    next.journal.begin(cluster.subject(), operation, None);
}

/// A later request can have a deletion remove more while it goes on, never less.
fn widen_deletion(next: &mut ClusterStatus, cluster: &Cluster) {
    let Some(request) = &cluster.delete_request else {
        return;
    };
    let operations = next.journal.operations.iter_mut().rev();
    let mut deletions = operations.filter(|o| o.kind == Kind::DeleteCluster);
    let Some(deletion) = deletions.next() else {
        return;
    };
    let options = deletion.delete.unwrap_or_default();
    if deletion.outcome != Some(Outcome::Completed) && !options.covers(request.options) {
        deletion.delete = Some(options.with(request.options));
        // That the data stays may have been told; that it has gone is told after it.
        deletion.steps = deletion.steps.min(DATA_STEP);
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
    let asked = cluster.delete_request.as_ref();
    let asked = asked.map_or(options, |request| options.with(request.options));
    let (steps, cause) = match ended.outcome {
        Some(Outcome::Failed) if leftovers(observed, options).is_empty() => {
            (ended.steps, "what was in the way is gone")
        }
        Some(Outcome::Completed) if observed.finalizer && !options.covers(asked) => {
            (DATA_STEP, "asked to remove more than before")
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
        Some(Leftover::Pods) => {
            let pods = observed.pods.keys().map(|name| name.as_str());
            format!("pod {} does not end", names(pods.collect()))
        }
        Some(Leftover::Data) => {
            let claims = observed.claims.keys().map(|name| name.as_str());
            format!(
                "PersistentVolumeClaim {} does not go",
                names(claims.collect())
            )
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

/// What a person reads of a deletion that has this left to remove.
fn removed(left: &BTreeSet<Leftover>, options: DeleteOptions) -> Vec<&'static str> {
    let data = match (left.contains(&Leftover::Data), options.data) {
        (true, _) => None,
        (false, true) => Some("data removed"),
        (false, false) => Some("data kept"),
    };
    if left.contains(&Leftover::Pods) {
        return Vec::new();
    }
    ["database stopped"].into_iter().chain(data).collect()
}
