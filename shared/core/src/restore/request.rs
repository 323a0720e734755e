//! Whether a restore can begin.

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{InstanceName, OperationId, Term};

use super::{
    RESTORE, Reached, RestoreOrder, RestoreRequest, RestoreRun, RestoreStage, in_the_way,
    instance_name, options::RestoreOptions,
};
use crate::{Cluster, ClusterStatus, DumpWork, Fixture, JobKind, Observed, Operation, StorageKind};

/// How long what a former restore has left may take to go before whoever asks for another one is told to wait.
const CLEARING_GRACE: SignedDuration = SignedDuration::from_mins(2);

/// Whether what a former restore has made is gone, or will not go soon.
pub(super) fn is_clear(status: &ClusterStatus, now: Timestamp) -> bool {
    status.restore.as_ref().is_none_or(|run| {
        run.stage != RestoreStage::Clearing || now.duration_since(run.since) >= CLEARING_GRACE
    })
}

/// Begins a restore; one that cannot be done ends at once, with the reason.
pub(super) fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &RestoreRequest,
    now: Timestamp,
) {
    let (subject, id) = (cluster.subject(), request.operation);
    let operation = Operation::begun(RESTORE, id, &request.actor, cluster.generation, now);
    let judged = request.options.as_ref().map_err(Clone::clone);
    let judged = judged.and_then(|options| {
        if let Some(reason) = refusal(next, cluster, observed) {
            return Err(reason);
        }
        if let Some(reason) = elsewhere(cluster, options) {
            return Err(reason);
        }
        Ok((options, instance(next, cluster, observed, request)?))
    });
    let (options, instance) = match judged {
        Ok(judged) => judged,
        Err(reason) => {
            next.journal.refuse(subject, operation, &reason, now);
            return;
        }
    };
    let target = options.target();
    let asked = format!("it was asked for, up to {target}, in the new instance {instance}");
    next.journal.begin(subject, operation, Some(asked));
    next.restore = Some(RestoreRun {
        order: RestoreOrder {
            operation: id,
            options: options.arguments(),
        },
        instance,
        node_label: request.node_label.clone(),
        target,
        stage: RestoreStage::Checking,
        since: now,
        begun: false,
        away: None,
        mark: None,
        term: Term::default(),
        reached: Reached::default(),
        told: false,
    });
}

/// Why there is nothing where the backup is to come from.
fn elsewhere(cluster: &Cluster, options: &RestoreOptions) -> Option<String> {
    let desired = cluster.desired.as_ref().ok()?;
    let backups = desired.backups.as_ref()?;
    backups.places.refusal(&options.arguments())
}

/// Why no restore can begin now. The primary need not serve: a restore may be what brings one back.
fn refusal(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Option<String> {
    let name = &cluster.name;
    let desired = match &cluster.desired {
        Ok(desired) => desired,
        Err(invalid) => return Some(format!("the spec of {name} is not understood: {invalid}")),
    };
    if desired.backups.is_none() {
        return Some(
            "can't restore, cluster restoring from does not have backrest enabled".to_owned(),
        );
    }
    if desired.storage.kind == StorageKind::EmptyDir {
        return Some(format!(
            "the data of {name} is in its pods (storage type emptydir), and would be lost with them"
        ));
    }
    if !status.was_ready() {
        return Some("the cluster has not been ready yet".to_owned());
    }
    if !observed.has(&[Fixture::Repository]) {
        return Some(format!("backrestrepo pod not found for cluster {name}"));
    }
    in_the_way(status).or_else(|| under_way(status))
}

/// What goes on that must end first.
fn under_way(status: &ClusterStatus) -> Option<String> {
    let going = |what: &str, id: OperationId| {
        Some(format!(
            "{what} is going on, operation {id}; wait for its end, then ask again"
        ))
    };
    if let Some(run) = &status.restore
        && run.stage == RestoreStage::Clearing
    {
        return Some(format!(
            "what a former restore has made, pod and claim {}, does not go; look at its finalizers and events with kubectl \
             describe",
            run.instance
        ));
    }
    if let Some(backup) = &status.backup {
        return going("a backup", backup.operation);
    }
    if let Some((what, id)) = at_the_database(status) {
        return Some(format!(
            "{what} is going on, operation {id}, and would be broken off; wait for its end or end it with pgo cancel {id}, then ask \
             again"
        ));
    }
    if let Some(upgrade) = status.upgrading() {
        return going("an upgrade", upgrade.operation);
    }
    if let Some(restart) = &status.restart {
        return going("a restart", restart.operation);
    }
    let change = status.journal.running_change().map(|change| change.id);
    let promotion = status.promotion.as_ref().map(|one| one.operation);
    change
        .or(promotion)
        .and_then(|id| going("a change of the primary", id))
}

/// What works with the database from a pod of its own, and would lose its connection in the middle.
fn at_the_database(status: &ClusterStatus) -> Option<(&'static str, OperationId)> {
    let dump = status.dump.as_ref().and_then(|run| {
        let what = match run.order.work {
            DumpWork::Make { .. } => "a dump",
            DumpWork::Load { .. } => "a restore of a dump",
            DumpWork::BaseBackup { .. } => "a copy by pg_basebackup",
            // It is about another volume.
            DumpWork::BaseRestore { .. } => return None,
        };
        Some((what, run.order.operation))
    });
    let job = status.job.as_ref().map(|run| {
        let what = match run.order.kind() {
            JobKind::Benchmark => "a benchmark",
            JobKind::Load => "a load",
        };
        (what, run.order.operation)
    });
    dump.or(job)
}

/// The new instance: nothing has its name.
fn instance(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &RestoreRequest,
) -> Result<InstanceName, String> {
    let name = &cluster.name;
    let asked = match &request.to {
        Some(to) => to.clone(),
        None => instance_name(name.as_str(), request.operation),
    };
    let letters = asked.strip_prefix(&format!("{name}-"));
    let is_usual = letters.is_some_and(|letters| {
        letters.len() == 4 && letters.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    let instance = asked.parse::<InstanceName>().ok().filter(|_| is_usual);
    let Some(instance) = instance else {
        return Err(format!(
            "{asked:?} cannot be the name of the new instance: it is {name}-, and four lower-case letters"
        ));
    };
    let mut known = status.replicas.iter().map(|known| &known.name);
    let mut objects = cluster.replicas.iter().map(|object| &object.name);
    let is_taken = observed.claims.contains_key(&instance)
        || observed.pods.contains_key(&instance)
        || known.any(|one| *one == instance)
        || objects.any(|one| *one == instance)
        || status.retired.contains(&instance)
        || status.first(name) == instance;
    if is_taken {
        return Err(format!(
            "cluster {name} has an instance or a claim {instance} already; ask again with another name"
        ));
    }
    Ok(instance)
}
