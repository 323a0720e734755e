//! What Pgtasks and Pgreplicas ask for, of every kind but deletions: each request is told to its end once, also where its
//! cluster goes before it began.
//!
//! ```text
//! request ─► begun: in the journal for as long as the request is there ─► ended, noted in its Pgtask: asks no more
//!    └─ the cluster goes ─► begun and failed at once; nothing is removed before ─┘
//! ```
//!
//! Of a request that asks no more nothing is remembered for long, and a cache may show it as it was before its end, or an open
//! one not yet. So what is taken up and what is forgotten rests on its Pgtask as Kubernetes itself shows it ([`rests_on`]), read
//! after the status. The Pgtask of a forgotten operation said before that it is over, or was gone; neither is taken back.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pgo_ids::{InstanceName, OperationId};

use crate::{
    Cluster, ClusterStatus, Journal, Kind, Observed, Operation, cancel,
    replicas::{self, addition},
};

/// So many operations stay for the sake of requests that are still there; more requests wait until what became of these is
/// noted in their Pgtasks. Each has a place in the status, and whoever can make Pgtasks could fill it.
const MOST_AT_ONCE: usize = 64;

/// What became of what had not begun.
const GOES: &str = "the cluster is being deleted";

/// A request that has not begun.
struct Unbegun<'a> {
    kind: Kind,
    instance: Option<InstanceName>,
    id: OperationId,
    actor: &'a str,
    policy: Option<String>,
    backup: Option<String>,
    table: Option<String>,
    tool: Option<String>,
}

impl Unbegun<'_> {
    fn begun(self, cluster: &Cluster, now: Timestamp) -> Operation {
        let of = (self.kind, self.instance.as_ref());
        Operation {
            policy: self.policy,
            backup: self.backup,
            table: self.table,
            tool: self.tool,
            ..Operation::begun(of, self.id, self.actor, cluster.generation, now)
        }
    }
}

impl Cluster {
    /// Whether a Pgtask that is not over asks for this operation: a journal that forgets it would have it begun again. What
    /// was told of deletions and Pgreplicas is remembered otherwise.
    pub(crate) fn asks_for(&self, id: OperationId) -> bool {
        let mut failover = self.failover.iter();
        let mut scale_down = self.scale_down.iter();
        let mut reloads = self.reloads.iter();
        let mut restarts = self.restarts.iter();
        let mut upgrades = self.upgrades.iter();
        let mut backups = self.backups.iter();
        let mut drills = self.drills.iter();
        let mut restores = self.restores.iter();
        let mut dumps = self.dumps.iter();
        let mut removals = self.removals.iter();
        let mut jobs = self.jobs.iter();
        let mut policies = self.policies.iter();
        failover.any(|asked| asked.operation == id)
            || scale_down.any(|asked| asked.operation == id)
            || reloads.any(|asked| asked.operation == id)
            || restarts.any(|asked| asked.operation == id)
            || upgrades.any(|asked| asked.operation == id)
            || backups.any(|asked| asked.operation == id)
            || drills.any(|asked| asked.operation == id)
            || restores.any(|asked| asked.operation == id)
            || dumps.any(|asked| asked.operation == id)
            || removals.any(|asked| asked.operation == id)
            || jobs.any(|asked| asked.operation == id)
            || policies.any(|asked| asked.operation == id)
    }

    /// Whether a further request can be taken up.
    pub(crate) fn has_room(&self, journal: &Journal) -> bool {
        let operations = journal.operations.iter();
        let held = operations.filter(|operation| self.asks_for(operation.id));
        held.count() < MOST_AT_ONCE
    }
}

/// One that is about an instance, or the whole cluster.
fn one(kind: Kind, instance: Option<InstanceName>, id: OperationId, actor: &str) -> Unbegun<'_> {
    Unbegun {
        kind,
        instance,
        id,
        actor,
        policy: None,
        backup: None,
        table: None,
        tool: None,
    }
}

/// The requests that have not begun. `change` is what a request for another primary would be.
fn unbegun<'a>(
    status: &'a ClusterStatus,
    cluster: &'a Cluster,
    change: Kind,
) -> impl Iterator<Item = Unbegun<'a>> {
    let failover = cluster.failover.iter().map(move |asked| {
        let target = asked.target.as_ref().and_then(|name| name.parse().ok());
        one(change, target, asked.operation, asked.actor.as_str())
    });
    let scale_down = cluster.scale_down.iter().map(move |asked| {
        let replica = Some(asked.replica.clone());
        let kind = Kind::ScaleDownCluster;
        one(kind, replica, asked.operation, asked.actor.as_str())
    });
    let reloads = cluster.reloads.iter();
    let reloads = reloads.map(move |asked| {
        let kind = Kind::ReloadCluster;
        one(kind, None, asked.operation, asked.actor.as_str())
    });
    let restarts = cluster.restarts.iter();
    let restarts = restarts.map(move |asked| {
        let kind = Kind::RestartCluster;
        one(kind, None, asked.operation, asked.actor.as_str())
    });
    let backups = cluster.backups.iter();
    let backups = backups.map(move |asked| {
        let kind = Kind::CreateBackup;
        one(kind, None, asked.operation, asked.actor.as_str())
    });
    let restores = cluster.restores.iter();
    let restores = restores.map(move |asked| {
        let kind = Kind::RestoreCluster;
        one(kind, None, asked.operation, asked.actor.as_str())
    });
    let upgrades = cluster.upgrades.iter();
    let upgrades = upgrades.map(move |asked| {
        let kind = Kind::UpgradeCluster;
        one(kind, None, asked.operation, asked.actor.as_str())
    });
    let tasks = failover.chain(scale_down).chain(reloads);
    let tasks = tasks.chain(restarts).chain(upgrades);
    let tasks = tasks
        .chain(backups)
        .chain(restores)
        .chain(drills(cluster))
        .chain(dumps(cluster))
        .chain(removals(cluster))
        .chain(jobs(cluster))
        .chain(policies(cluster));
    let tasks = tasks.filter(|asked| !status.journal.knows(asked.id));
    let replicas = cluster.replicas.iter();
    let replicas =
        replicas.filter(|replica| !replica.deleting && !replicas::is_known(status, replica));
    let replicas = replicas.map(move |replica| {
        let (kind, name) = (Kind::ScaleCluster, Some(replica.name.clone()));
        let id = addition(cluster, replica);
        one(kind, name, id, replica.actor.as_str())
    });
    tasks.chain(replicas)
}

/// The restore drills that are asked for.
fn drills(cluster: &Cluster) -> impl Iterator<Item = Unbegun<'_>> {
    let asked = cluster.drills.iter();
    asked.map(|asked| Unbegun {
        backup: asked.backup.clone(),
        ..one(Kind::VerifyRestore, None, asked.operation, &asked.actor)
    })
}

/// The dumps, and restores of some, that are asked for.
fn dumps(cluster: &Cluster) -> impl Iterator<Item = Unbegun<'_>> {
    let asked = cluster.dumps.iter();
    asked.map(|asked| Unbegun {
        kind: asked.kind.operation(),
        instance: None,
        id: asked.operation,
        actor: asked.actor.as_str(),
        policy: None,
        backup: None,
        table: None,
        tool: asked.kind.tool(),
    })
}

/// The removals of copies that are asked for.
fn removals(cluster: &Cluster) -> impl Iterator<Item = Unbegun<'_>> {
    let asked = cluster.removals.iter();
    asked.map(|asked| Unbegun {
        kind: Kind::DeleteBackup,
        instance: None,
        id: asked.operation,
        actor: asked.actor.as_str(),
        policy: None,
        backup: None,
        table: None,
        tool: Some(asked.what.tool().to_owned()),
    })
}

/// The benchmarks and loads that are asked for.
fn jobs(cluster: &Cluster) -> impl Iterator<Item = Unbegun<'_>> {
    let asked = cluster.jobs.iter();
    asked.map(|asked| Unbegun {
        kind: asked.kind.operation(),
        instance: None,
        id: asked.operation,
        actor: asked.actor.as_str(),
        policy: None,
        backup: None,
        table: asked.table(),
        tool: None,
    })
}

/// The policies that are asked for.
fn policies(cluster: &Cluster) -> impl Iterator<Item = Unbegun<'_>> {
    let asked = cluster.policies.iter();
    asked.map(|asked| Unbegun {
        kind: Kind::ApplyPolicy,
        instance: None,
        id: asked.operation,
        actor: asked.actor.as_str(),
        policy: Some(asked.policy.clone().unwrap_or_default()),
        backup: None,
        table: None,
        tool: None,
    })
}

/// The Pgtasks on which the step from a status to the next one rests, by name: those whose requests it takes up, and those of
/// the operations that it forgets. Unless each was read from Kubernetes itself after the status was, and says what the step
/// takes for granted, the step is not to be made.
#[must_use]
pub fn rests_on(status: &ClusterStatus, next: &ClusterStatus) -> BTreeSet<String> {
    let of_only = |one: &Journal, other: &Journal| {
        let operations = one.operations.iter();
        let only = operations.filter(|operation| !other.knows(operation.id));
        let tasks = only.filter_map(|operation| operation.task.clone());
        tasks.collect::<BTreeSet<String>>()
    };
    let (before, after) = (&status.journal, &next.journal);
    let mut tasks = of_only(after, before);
    tasks.append(&mut of_only(before, after));
    tasks
}

/// What is cancelled and has not begun is told as failed.
pub(crate) fn refuse_cancelled(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let status = next.clone();
    for asked in unbegun(&status, cluster, Kind::FailoverCluster) {
        let cause = cluster.cancelled(asked.id);
        let Some(cause) = cause.filter(|_| cancel::can_be_cancelled(asked.kind)) else {
            continue;
        };
        if next.journal.knows(asked.id) {
            continue;
        }
        if !cluster.has_room(&next.journal) {
            break;
        }
        let operation = asked.begun(cluster, now);
        let (subject, cause) = (cluster.subject(), cancel::before(&cause));
        next.journal.refuse(subject, operation, &cause, now);
    }
}

/// The first request of a cluster that goes of which nothing was told.
pub(crate) fn first_unbegun(status: &ClusterStatus, cluster: &Cluster) -> Option<OperationId> {
    let mut waiting = unbegun(status, cluster, Kind::FailoverCluster);
    waiting.next().map(|asked| asked.id)
}

/// The cluster goes: what has not begun is told as failed.
pub(crate) fn refuse(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let change = crate::failover::kind(observed);
    let status = next.clone();
    for asked in unbegun(&status, cluster, change) {
        // Two Pgtasks may have one id.
        if !next.journal.knows(asked.id) {
            if cluster.asks_for(asked.id) && !cluster.has_room(&next.journal) {
                break;
            }
            let operation = asked.begun(cluster, now);
            next.journal.refuse(cluster.subject(), operation, GOES, now);
        }
    }
    for replica in &cluster.replicas {
        let is_told = next.journal.knows(addition(cluster, replica));
        if is_told && !replicas::is_known(next, replica) {
            replicas::know(next, replica);
        }
    }
}
