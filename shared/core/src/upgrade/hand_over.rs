//! The primary's turn, the last one: it hands over to an instance that is through, or stays where it is.

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{InstanceName, OperationId};

use super::{
    UpgradeStage, instances,
    run::{INSTANCE_DEADLINE, begin_instance, choose_next, fail, tell},
};
use crate::{
    Cluster, ClusterStatus, Desired, FailoverRequest, Observed, Operation, Outcome, failover, wal,
};

/// Whether it is the primary, and has replicas.
pub(super) fn is_followed(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    instance: &InstanceName,
) -> bool {
    observed.serving_primary() == Some(instance) && instances(status, cluster).len() > 1
}

/// Whether an instance has to give up being the primary before its pod is replaced: where autofail is on another one would
/// take over without its word, and who asked for an upgrade has not asked for a failover.
pub(super) fn hands_over(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    instance: &InstanceName,
) -> bool {
    !stays(cluster) && is_followed(status, cluster, observed, instance)
}

/// Whether the primary stays where it is unless somebody asks for another one, so that its pod is replaced while it serves.
fn stays(cluster: &Cluster) -> bool {
    let is_off = |desired: &Desired| !desired.autofail;
    cluster.desired.as_ref().is_ok_and(is_off)
}

/// The primary is asked to hand over to whoever is nearest to it; all others are through.
pub(super) fn begin_change(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    instance: &InstanceName,
    now: Timestamp,
) {
    let Some(upgrade) = &mut next.upgrade else {
        return;
    };
    let about = format!("{} hands over at {now}", upgrade.operation);
    let operation = OperationId::derived(&cluster.stream, &about);
    upgrade.stage = UpgradeStage::HandingOver {
        instance: instance.clone(),
        operation,
    };
    upgrade.since = now;
    let request = FailoverRequest {
        operation,
        actor: String::new(),
        target: None,
        planned: true,
    };
    failover::begin(next, cluster, observed, &request, now);
}

/// What became of the change of the primary; whether anything has.
pub(super) fn handed_over(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (instance, operation): (&InstanceName, OperationId),
    took: SignedDuration,
    now: Timestamp,
) -> bool {
    let mut operations = next.journal.operations.iter();
    let change = operations.find(|change| change.id == operation);
    if change.is_some_and(Operation::is_running) {
        return false;
    }
    let has_changed = observed
        .serving_primary()
        .is_some_and(|primary| primary != instance);
    let failed = change.filter(|change| change.outcome == Some(Outcome::Failed));
    let why = failed.map(|failed| failed.cause.clone().unwrap_or_default());
    match why {
        _ if has_changed => choose_next(next, now),
        Some(why) => {
            let cause = format!("the primary {instance} could not hand over: {why}");
            if stays(cluster) && observed.serving_primary() == Some(instance) {
                let text = format!("{cause}; autofail is off, so it is replaced where it is");
                tell(next, cluster, observed, &text, now);
                begin_instance(next, cluster, observed, (instance, true), now);
            } else {
                fail(
                    next,
                    cluster,
                    (cause, wal::primary_and_timeline(observed)),
                    now,
                );
            }
        }
        None if took >= INSTANCE_DEADLINE => {
            let cause = format!("nobody serves after {instance} has handed over");
            fail(
                next,
                cluster,
                (cause, wal::primary_and_timeline(observed)),
                now,
            );
        }
        None => return false,
    }
    true
}
