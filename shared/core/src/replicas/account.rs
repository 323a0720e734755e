//! The number of replicas and the Pgreplicas, each brought to the other.

use jiff::{SignedDuration, Timestamp};
use pgo_events::EventType;
use pgo_ids::{ClusterName, InstanceName, OperationId, StreamId};

use super::{
    Replica, ReplicaCount, ReplicaStatus, ScaleDownRequest, keeps_votes, needed::refusal, tell,
};
use crate::{
    Cluster, ClusterStatus, ConditionStatus, Kind, Observed, Operation, Outcome, RESULT_READY, wal,
};

/// How long a cluster may be without a primary before a removal of a replica is refused: a few times what a failover takes.
const PRIMARY_GRACE: SignedDuration = SignedDuration::from_secs(15);

/// Name of the `n`th replica that PGO makes for a cluster: 4.1's four letters, the same whenever it is asked for.
fn name(cluster: &ClusterName, stream: &StreamId, n: u32) -> Option<InstanceName> {
    let id = OperationId::derived(stream, &format!("replica {n}"));
    format!("{cluster}-{}", letters(id)).parse().ok()
}

/// Four lower-case letters that follow from an id.
pub(crate) fn letters(id: OperationId) -> String {
    let id = id.to_string();
    let digits: String = id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(12)
        .collect();
    let mut rest = u64::from_str_radix(&digits, 16).unwrap_or_default();
    (0..4)
        .map(|_| {
            let letter = u8::try_from(rest % 26).unwrap_or_default();
            rest /= 26;
            char::from(b'a' + letter)
        })
        .collect()
}

/// Takes over a change of `spec.replicaCount`; what is still to be projected there is none.
pub(super) fn count(next: &mut ClusterStatus, cluster: &Cluster) {
    let asked = cluster.replica_count;
    let count = next.replica_count.get_or_insert(ReplicaCount {
        asked,
        wanted: asked,
        made: 0,
    });
    if asked != count.asked && asked != count.wanted {
        count.wanted = asked;
    }
    count.asked = asked;
}

fn wanted(next: &mut ClusterStatus) -> &mut u32 {
    &mut next.replica_count.get_or_insert_default().wanted
}

/// Pgreplicas that nobody has seen yet.
pub(super) fn notice_new(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    for replica in &cluster.replicas {
        let known = next.replicas.iter_mut().find(|k| k.name == replica.name);
        match known {
            Some(known) if known.uid.is_empty() => known.uid.clone_from(&replica.uid),
            // One that is made anew while the former one is not gone is seen when it is.
            Some(_) => {}
            None if replica.deleting => {}
            None => {
                if !replica.derived {
                    *wanted(next) += 1;
                }
                let id = addition(cluster, replica);
                let how = (id, replica.actor.as_str());
                let which = (&replica.name, replica.uid.as_str());
                add(next, cluster, observed, which, how, now);
            }
        }
    }
}

/// Id of the operation that a Pgreplica asks for.
pub(crate) fn addition(cluster: &Cluster, replica: &Replica) -> OperationId {
    OperationId::derived(&cluster.stream, &format!("add {}", replica.uid))
}

/// Whether this very Pgreplica was seen, or is about to be.
pub(crate) fn is_known(status: &ClusterStatus, replica: &Replica) -> bool {
    let mut replicas = status.replicas.iter();
    replicas.any(|known| {
        known.name == replica.name && (known.uid.is_empty() || known.uid == replica.uid)
    })
}

/// Takes down a Pgreplica of a cluster that goes: nothing begins with it.
pub(crate) fn know(next: &mut ClusterStatus, replica: &Replica) {
    next.replicas.retain(|known| known.name != replica.name);
    let mut known = unseen(&replica.name, &replica.uid);
    known.leaving = true;
    known.reason = "Leaving".to_owned();
    known.message = "being removed".to_owned();
    next.replicas.push(known);
    next.replicas
        .sort_by(|one, other| one.name.cmp(&other.name));
}

/// A replica as it begins.
fn unseen(name: &InstanceName, uid: &str) -> ReplicaStatus {
    ReplicaStatus {
        name: name.clone(),
        uid: uid.to_owned(),
        joined: false,
        leaving: false,
        data: false,
        behind: false,
        ready: false,
        reason: "Creating".to_owned(),
        message: "being made".to_owned(),
    }
}

fn add(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (name, uid): (&InstanceName, &str),
    (id, actor): (OperationId, &str),
    now: Timestamp,
) {
    next.replicas.push(unseen(name, uid));
    next.replicas
        .sort_by(|one, other| one.name.cmp(&other.name));
    let operation = Operation::begun(
        (Kind::ScaleCluster, Some(name)),
        id,
        actor,
        cluster.generation,
        now,
    );
    let primary = wal::primary(observed);
    next.journal
        .begin_with(cluster.subject(), operation, None, primary);
}

/// Replicas whose Pgreplica somebody has removed, or a task asks to remove. The primary stays: who removes its Pgreplica
/// waits until another one is primary, and who asks by a task is refused. While nobody is the primary that holds for all, and
/// always for those that the cluster cannot do without ([`super::Needs`]).
pub(super) fn notice_gone(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let primary = observed.primary(&next.first(&cluster.name));
    refuse(next, cluster, (observed, &primary), now);
    if keeps_votes(next, observed) {
        if has_lasted(next, now) {
            refuse_all(next, cluster, observed, now);
        }
        return;
    }
    for at in 0..next.replicas.len() {
        let known = &next.replicas[at];
        if known.leaving || known.name == primary {
            continue;
        }
        let mut requests = cluster.scale_down.iter();
        // One that was refused is over.
        let request = requests
            .find(|asked| asked.replica == known.name && !next.journal.knows(asked.operation));
        let object = cluster.replicas.iter().find(|one| one.uid == known.uid);
        let present = object.is_some_and(|replica| !replica.deleting);
        if request.is_none() && (present || known.uid.is_empty()) {
            continue;
        }
        // One whose Pgreplica has gone already is held by nothing any more.
        let is_held = object.is_some() || known.uid.is_empty();
        if let Some(cause) = refusal(next, cluster, &known.name).filter(|_| is_held) {
            if let Some(request) = request {
                refuse_one(next, cluster, (observed, request), &cause, now);
            }
            continue;
        }
        let id = request.map_or_else(
            || OperationId::derived(&cluster.stream, &format!("remove {}", known.uid)),
            |request| request.operation,
        );
        let actor = request.map_or("", |request| request.actor.as_str());
        let count = wanted(next);
        *count = count.saturating_sub(1);
        next.replicas[at].data = request.is_some_and(|request| request.data);
        leave(next, at, (id, actor), (cluster, observed), now);
    }
}

/// Refuses to remove the primary, and the first instance, which is the cluster's own and no Pgreplica.
fn refuse(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (observed, primary): (&Observed, &InstanceName),
    now: Timestamp,
) {
    let first = next.first(&cluster.name);
    for request in &cluster.scale_down {
        let instance = &request.replica;
        let cause = if instance == primary {
            format!(
                "{instance} is the primary; have another instance take over first: pgo failover {} --target=NAME",
                cluster.name
            )
        } else if *instance == first {
            format!(
                "{instance} is the cluster's first instance and stays as long as the cluster; remove another replica"
            )
        } else {
            continue;
        };
        refuse_one(next, cluster, (observed, request), &cause, now);
    }
}

/// Whether the cluster has had no primary for more than a moment: a restart, a change of the primary and an agent that is not
/// heard are over sooner, and whoever asks meanwhile waits.
fn has_lasted(status: &ClusterStatus, now: Timestamp) -> bool {
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.name == RESULT_READY);
    ready.is_some_and(|ready| {
        ready.status == ConditionStatus::False
            && now.duration_since(ready.last_transition_time) >= PRIMARY_GRACE
    })
}

/// Refuses to remove any replica: nobody serves as the primary.
fn refuse_all(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    for request in &cluster.scale_down {
        let replica = &request.replica;
        let mut replicas = next.replicas.iter();
        if replicas.any(|known| known.name == *replica && !known.leaving) {
            let cause = format!(
                "no instance of {} serves as the primary, and an election may need the vote of {replica}; ask again when one \
                 serves",
                cluster.name
            );
            refuse_one(next, cluster, (observed, request), &cause, now);
        }
    }
}

/// Answers the requests for a replica that goes already, which is their end as well, and for one that the cluster has not.
pub(super) fn answer_others(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    for request in &cluster.scale_down {
        let replica = &request.replica;
        if next.journal.knows(request.operation) || !cluster.has_room(&next.journal) {
            continue;
        }
        match next.replicas.iter_mut().find(|one| one.name == *replica) {
            Some(known) if known.leaving => {
                known.data |= request.data;
                let of = (Kind::ScaleDownCluster, Some(replica));
                let (id, actor) = (request.operation, &request.actor);
                let operation = Operation::begun(of, id, actor, cluster.generation, now);
                let primary = wal::primary(observed);
                next.journal
                    .begin_with(cluster.subject(), operation, None, primary);
            }
            Some(_) => {}
            None => {
                let name = &cluster.name;
                let cause = format!(
                    "cluster {name} has no replica {replica}; see those that it has: pgo show cluster {name}"
                );
                refuse_one(next, cluster, (observed, request), &cause, now);
            }
        }
    }
}

fn refuse_one(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (observed, request): (&Observed, &ScaleDownRequest),
    cause: &str,
    now: Timestamp,
) {
    if next.journal.knows(request.operation) || !cluster.has_room(&next.journal) {
        return;
    }
    let of = (Kind::ScaleDownCluster, Some(&request.replica));
    let (id, actor) = (request.operation, &request.actor);
    let operation = Operation::begun(of, id, actor, cluster.generation, now);
    let subject = cluster.subject();
    let primary = wal::primary(observed);
    next.journal
        .refuse_with(subject, operation, (cause, &primary), now);
}

fn leave(
    next: &mut ClusterStatus,
    at: usize,
    (id, actor): (OperationId, &str),
    (cluster, observed): (&Cluster, &Observed),
    now: Timestamp,
) {
    let known = &mut next.replicas[at];
    known.leaving = true;
    known.ready = false;
    known.reason = "Leaving".to_owned();
    known.message = "being removed".to_owned();
    let instance = known.name.clone();
    let primary = wal::primary(observed);
    let ended = (
        Outcome::Failed,
        Some("the replica was removed before it followed the primary".to_owned()),
    );
    for kind in [Kind::ScaleCluster, Kind::RewindReplica] {
        let of = (kind, Some(&instance));
        next.journal
            .finish_with(cluster.subject(), of, ended.clone(), &primary, now);
    }
    let operation = Operation::begun(
        (Kind::ScaleDownCluster, Some(&instance)),
        id,
        actor,
        cluster.generation,
        now,
    );
    next.journal
        .begin_with(cluster.subject(), operation, None, primary);
}

/// Brings the number of replicas to what is wanted.
pub(super) fn make_up(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let staying = |next: &ClusterStatus| {
        let staying = next.replicas.iter().filter(|known| !known.leaving);
        u32::try_from(staying.count()).unwrap_or(u32::MAX)
    };
    let count = next.replica_count.unwrap_or_default();
    for _ in staying(next)..count.wanted {
        let made = &mut next.replica_count.get_or_insert_default().made;
        let n = *made;
        *made += 1;
        let Some(name) = name(&cluster.name, &cluster.stream, n) else {
            return;
        };
        if next.replicas.iter().any(|known| known.name == name) {
            continue;
        }
        let id = OperationId::derived(&cluster.stream, &format!("add {name}"));
        let is_first = next.journal.running(Kind::CreateCluster).is_some();
        let actor = match is_first {
            true => cluster.actor.as_str(),
            false => cluster.changed_by.replicas.as_str(),
        };
        add(next, cluster, observed, (&name, ""), (id, actor), now);
    }
    if keeps_votes(next, observed) {
        return;
    }
    for _ in count.wanted..staying(next) {
        let Some(at) = worst(next, cluster, observed) else {
            return;
        };
        let known = &next.replicas[at];
        let what = format!("take away {} {}", known.name, known.uid);
        let id = OperationId::derived(&cluster.stream, &what);
        let actor = cluster.changed_by.replicas.as_str();
        leave(next, at, (id, actor), (cluster, observed), now);
    }
}

/// The replica that is missed least; the primary never.
fn worst(next: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Option<usize> {
    let primary = observed.primary(&next.first(&cluster.name));
    let places = next.replicas.iter().enumerate();
    places
        .filter(|(_, known)| !known.leaving && primary != known.name)
        .min_by_key(|(_, known)| {
            let agent = observed.agent(&known.name);
            (
                known.joined,
                agent.is_some_and(|agent| agent.streaming),
                core::cmp::Reverse(known.name.clone()),
            )
        })
        .map(|(at, _)| at)
}

/// Replicas of which nothing is left; whether there are any.
pub(super) fn bid_farewell(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> bool {
    let gone: Vec<ReplicaStatus> = next
        .replicas
        .iter()
        .filter(|known| known.leaving && !remains(known, cluster, observed))
        .cloned()
        .collect();
    let any = !gone.is_empty();
    for known in gone {
        let subject = cluster.subject();
        let of = (Kind::ScaleDownCluster, Some(&known.name));
        let primary = wal::primary(observed);
        next.journal
            .finish_with(subject, of, (Outcome::Completed, None), &primary, now);
        if known.joined {
            let data = if known.data {
                "with its data"
            } else {
                "its data is kept"
            };
            let cause = format!("it was removed; {data}");
            tell::notice(
                next,
                subject,
                (EventType::ReplicaRemoved, &known.name),
                (cause, wal::primary_and_timeline(observed)),
                now,
            );
        }
        next.replicas.retain(|other| other.name != known.name);
    }
    any
}

/// Whether anything is left of a replica that goes.
fn remains(known: &ReplicaStatus, cluster: &Cluster, observed: &Observed) -> bool {
    let object = cluster
        .replicas
        .iter()
        .any(|replica| replica.uid == known.uid);
    let data = known.data && observed.claims.contains_key(&known.name);
    object || data || observed.pods.contains_key(&known.name)
}
