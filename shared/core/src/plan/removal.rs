//! What a deletion removes, in the order it goes.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_ids::InstanceName;

use super::{Plan, Step};
use crate::{
    Cluster, ClusterStatus, DeleteOptions, Fixture, Kind, Observed, Outcome, drill, dump, job,
    restore,
};

/// How long the last events of a removed cluster may stay in its own outbox before they are copied to a page in the
/// operator's namespace, so that a deletion never hangs on the event service.
const LAST_EVENTS_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// What a deletion still has to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leftover {
    Replicas,
    Pods,
    /// After the last primary, which archives until it ends; before the claim, which its pod holds.
    Repository,
    Data,
    Backups,
    Fixtures,
    Tasks,
}

/// What is left to remove, in the order it goes.
pub(crate) fn leftovers(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    options: DeleteOptions,
) -> BTreeSet<Leftover> {
    let primary = observed.primary(&status.first(&cluster.name));
    let replicas = observed.pods.keys().any(|instance| *instance != primary)
        || cluster.replicas.iter().any(|one| one.name != primary);
    let last = !(observed.pods.is_empty() && cluster.replicas.is_empty());
    let repository = observed.has(&[Fixture::Repository]) || observed.repository.pod.is_some();
    let data = options.data && !(observed.claims.is_empty() && observed.user_secrets.is_empty());
    [
        (Leftover::Replicas, replicas),
        (Leftover::Pods, last),
        (Leftover::Repository, repository),
        (Leftover::Data, data),
        (
            Leftover::Backups,
            options.backups && !observed.backups.is_empty(),
        ),
        (Leftover::Fixtures, !observed.fixtures.is_empty()),
        (Leftover::Tasks, !observed.tasks.is_empty()),
    ]
    .into_iter()
    .filter_map(|(what, left)| left.then_some(what))
    .collect()
}

/// What nothing else waits for.
fn at_once(status: &ClusterStatus, observed: &Observed) -> impl Iterator<Item = Step> {
    let marked = restore::mark(status, observed);
    let pods = drill::removal(observed).into_iter();
    marked
        .into_iter()
        .chain(pods)
        .chain(dump::left(observed))
        .chain(job::left(observed))
}

/// What is to be done next of a deletion.
pub(super) fn plan(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    options: DeleteOptions,
    now: Timestamp,
) -> Plan {
    let mut steps = Vec::new();
    if !cluster.deleting {
        if observed.finalizer {
            steps.push(Step::RemoveCluster);
        } else {
            steps.push(Step::AddFinalizer);
        }
    }
    steps.extend(at_once(status, observed));
    let waiting_for = match leftovers(status, cluster, observed, options).first() {
        Some(Leftover::Replicas) => {
            // What the primary has written by then, nobody needs to be told.
            let primary = observed.primary(&status.first(&cluster.name));
            remove_instances(&mut steps, cluster, observed, |name| *name != primary);
            Some("the replicas to stop")
        }
        Some(Leftover::Pods) => {
            remove_instances(&mut steps, cluster, observed, |_| true);
            Some("the database to stop")
        }
        Some(Leftover::Repository) => {
            let fixture = Fixture::Repository;
            let present = observed.fixtures.get(&fixture);
            steps.extend(present.map(|uid| Step::RemoveFixture {
                fixture,
                uid: uid.clone(),
            }));
            Some("the repository of backups to stop")
        }
        Some(Leftover::Data) => {
            steps.extend(of_data(observed));
            Some("the volumes to be removed")
        }
        Some(Leftover::Backups) => {
            let backups = observed.backups.iter();
            steps.extend(backups.map(|((backup, name), uid)| Step::RemoveBackup {
                backup: *backup,
                name: name.clone(),
                uid: uid.clone(),
            }));
            Some("the backups to be removed")
        }
        Some(Leftover::Fixtures) => {
            let fixtures = observed.fixtures.iter();
            steps.extend(fixtures.map(|(fixture, uid)| Step::RemoveFixture {
                fixture: *fixture,
                uid: uid.clone(),
            }));
            None
        }
        Some(Leftover::Tasks) => {
            let tasks = observed.tasks.iter();
            steps.extend(tasks.map(|(name, uid)| Step::RemoveTask {
                name: name.clone(),
                uid: uid.clone(),
            }));
            None
        }
        None => return last_events(status, cluster, steps, now),
    };
    Plan::of(steps, waiting_for)
}

fn remove_pods(
    observed: &Observed,
    which: impl Fn(&InstanceName) -> bool,
) -> impl Iterator<Item = Step> {
    let pods = observed.pods.iter();
    pods.filter(move |(instance, pod)| which(instance) && !pod.terminating)
        .map(|(instance, pod)| Step::RemovePod {
            instance: instance.clone(),
            uid: pod.uid.clone(),
        })
}

/// Removes these instances, and the requests for them when they are gone.
fn remove_instances(
    steps: &mut Vec<Step>,
    cluster: &Cluster,
    observed: &Observed,
    which: impl Fn(&InstanceName) -> bool,
) {
    steps.extend(remove_pods(observed, &which));
    for replica in cluster.replicas.iter().filter(|one| which(&one.name)) {
        let (name, uid) = (replica.name.clone(), replica.uid.clone());
        if !replica.deleting {
            steps.push(Step::RemoveReplica { name, uid });
        } else if replica.finalizer && !observed.pods.contains_key(&name) {
            steps.push(Step::ReleaseReplica { name, uid });
        }
    }
}

/// Removes the claims of the instances and the passwords that open their data.
fn of_data(observed: &Observed) -> impl Iterator<Item = Step> {
    let claims = observed.claims.iter();
    let claims = claims.filter(|(_, claim)| !claim.terminating);
    let claims = claims.map(|(instance, claim)| Step::RemoveClaim {
        instance: instance.clone(),
        uid: claim.uid.clone(),
    });
    let secrets = observed.user_secrets.iter();
    claims.chain(secrets.map(|(name, uid)| Step::RemoveUserSecret {
        name: name.clone(),
        uid: uid.clone(),
    }))
}

fn last_events(
    status: &ClusterStatus,
    cluster: &Cluster,
    mut steps: Vec<Step>,
    now: Timestamp,
) -> Plan {
    let ended = status
        .journal
        .newest(Kind::DeleteCluster)
        .filter(|deletion| deletion.outcome == Some(Outcome::Completed))
        .and_then(|deletion| deletion.finished);
    let Some(ended) = ended.filter(|_| cluster.deleting) else {
        return Plan::of(steps, Some("the deletion to be recorded"));
    };
    if !status.journal.outbox.is_empty() {
        if now.duration_since(ended) < LAST_EVENTS_WAIT {
            return Plan::of(steps, Some("the event service to store the last events"));
        }
        steps.push(Step::CopyEvents);
    }
    steps.push(Step::RemoveFinalizer);
    Plan::of(steps, None)
}
