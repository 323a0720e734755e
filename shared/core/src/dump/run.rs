//! A dump, or a restore of one, from its begin to its end.

use jiff::Timestamp;
use pgo_events::{Datum, Field};

use super::{
    DumpFacts, DumpKind, DumpMade, DumpOrder, DumpRequest, DumpResult, DumpRun, DumpState,
    DumpWish, DumpWork, base, base_claim_name, dump_claim_name, left, removal,
};
use crate::{
    Backup, Cluster, ClusterStatus, Observed, Operation, Outcome, Plan, Step, StorageKind, backup,
    silence,
    worker::{self, NOT_READY, START_DEADLINE},
};

/// So many pods may be ended before they say what became of it.
const MOST_LOST: usize = 3;

/// So many dumps are remembered; the volume has all.
const REMEMBERED: usize = 20;

/// Begins what is asked for, or says why not; goes on with what goes on.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    advance(next, cluster, observed, now);
    removal::advance(next, cluster, observed, now);
    for request in &cluster.dumps {
        if next.journal.knows(request.operation) {
            continue;
        }
        if !silence::is_clear(observed, now) || !cluster.has_room(&next.journal) {
            break;
        }
        begin(next, cluster, observed, request, now);
    }
    removal::begin(next, cluster, observed, now);
}

fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &DumpRequest,
    now: Timestamp,
) {
    let (subject, id) = (cluster.subject(), request.operation);
    let of = (request.kind.operation(), None);
    let operation = Operation {
        tool: request.kind.tool(),
        ..Operation::begun(of, id, &request.actor, cluster.generation, now)
    };
    let judged = request.wanted.as_ref().map_err(Clone::clone);
    let judged = judged.and_then(|wish| {
        refusal(next, cluster, observed, request.kind)?;
        let claim = claim(cluster, observed, request)?;
        Ok((work(wish, cluster, observed)?, claim))
    });
    let (work, claim) = match judged {
        Ok(judged) => judged,
        Err(reason) => {
            next.journal.refuse(subject, operation, &reason, now);
            return;
        }
    };
    next.journal
        .begin(subject, operation, Some(asked(&work, &claim)));
    next.dump = Some(DumpRun {
        order: DumpOrder {
            operation: id,
            work,
        },
        claim,
        since: now,
        pod: None,
        lost: Vec::new(),
    });
}

/// What is asked for, for people.
fn asked(work: &DumpWork, claim: &str) -> String {
    match work {
        DumpWork::Make { all: true, .. } => {
            format!("it was asked for, of all databases, on claim {claim}")
        }
        DumpWork::Make { database, .. } => {
            format!("it was asked for, of database {database}, on claim {claim}")
        }
        DumpWork::Load { dump, .. } => {
            let which = dump.as_deref().unwrap_or("the newest dump");
            format!("it was asked for, of {which} on claim {claim}")
        }
        DumpWork::BaseBackup { source, .. } => {
            let from = source.iter().map(|source| source.instance.to_string());
            let from: String = from.collect();
            format!("it was asked for, from {from}, on claim {claim}")
        }
        DumpWork::BaseRestore { backup, to, .. } => {
            let which = backup.as_deref().unwrap_or("the newest backup");
            format!("it was asked for, of {which} on claim {claim}, to claim {to}")
        }
    }
}

/// What the pod is to do, or why that cannot be done now.
fn work(wish: &DumpWish, cluster: &Cluster, observed: &Observed) -> Result<DumpWork, String> {
    let desired = cluster.desired.as_ref().map_err(ToString::to_string)?;
    Ok(match wish {
        DumpWish::Make {
            database, options, ..
        } => DumpWork::Make {
            database: database.clone().unwrap_or_else(|| desired.database.clone()),
            all: options.all(),
            format: options.format(),
            options: options.arguments(),
        },
        DumpWish::Load {
            dump,
            database,
            options,
            node_label,
        } => DumpWork::Load {
            dump: dump.clone(),
            database: database.clone(),
            node_label: node_label.clone(),
            options: options.arguments(),
        },
        DumpWish::BaseBackup { options, .. } => DumpWork::BaseBackup {
            source: Some(base::source(cluster, observed).ok_or(NOT_READY)?),
            options: options.arguments(),
        },
        DumpWish::BaseRestore {
            backup,
            to,
            node_label,
        } => {
            let is_taken = |name: &str| name == to.as_str();
            let taken = observed.claims.keys().any(|one| is_taken(one.as_str()));
            if taken || *to == cluster.name {
                return Err(format!(
                    "{to} is the name of an instance of {}; restore to a claim of another name",
                    cluster.name
                ));
            }
            if desired.storage.kind == StorageKind::EmptyDir {
                return Err(format!(
                    "the storage of {} is emptydir: what is restored would go with the pod that does it",
                    cluster.name
                ));
            }
            DumpWork::BaseRestore {
                backup: backup.clone(),
                to: to.to_string(),
                node_label: node_label.clone(),
                options: Vec::new(),
            }
        }
    })
}

/// Why nothing can begin now.
fn refusal(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    kind: DumpKind,
) -> Result<(), String> {
    worker::understood(cluster)?;
    if let Some(running) = &status.dump {
        return Err(format!(
            "another dump or restore of one is going on, operation {}; wait for its end, then ask again",
            running.order.operation
        ));
    }
    if let Some(reason) = removal::in_the_way(status) {
        return Err(reason);
    }
    if kind == DumpKind::BaseRestore {
        // It needs nothing but the claim with the backups.
        return Ok(());
    }
    worker::serves(status, observed)
}

/// The claim, where it is none of those that hold something else.
fn claim(cluster: &Cluster, observed: &Observed, request: &DumpRequest) -> Result<String, String> {
    let of_cluster = match request.kind.is_base() {
        true => base_claim_name(&cluster.name),
        false => dump_claim_name(&cluster.name),
    };
    let claim = request.claim.clone().unwrap_or(of_cluster);
    let holds_data = observed.claims.keys().any(|one| one.as_str() == claim);
    if holds_data || claim == cluster.name.as_str() {
        return Err(format!(
            "claim {claim} holds the data of an instance; name another one"
        ));
    }
    if claim == backup::repository_claim_name(&cluster.name) {
        return Err(format!(
            "claim {claim} holds the repository of pgBackRest; name another one"
        ));
    }
    let is_there = observed
        .backups
        .contains_key(&(Backup::Claim, claim.clone()));
    match &request.wanted {
        Ok(DumpWish::Load { .. }) if !is_there => Err(format!(
            "there is no claim {claim} with dumps of cluster {}",
            cluster.name
        )),
        Ok(DumpWish::BaseRestore { .. }) if !is_there => Err(format!(
            "there is no claim {claim} with backups of cluster {}",
            cluster.name
        )),
        _ => Ok(claim),
    }
}

/// The pod of this run, where it is there.
fn pod<'a>(run: &DumpRun, observed: &'a Observed) -> Option<&'a DumpFacts> {
    DumpFacts::of(observed.dump.as_ref(), run.order.operation)
}

/// What became of what goes on.
fn advance(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let Some(mut run) = next.dump.clone() else {
        return;
    };
    let pod = pod(&run, observed);
    match pod.map(|pod| &pod.state) {
        Some(DumpState::Done(done)) => {
            conclude(next, cluster, (&run, done), now);
            return;
        }
        Some(DumpState::Failed(cause)) => {
            fail(next, cluster, cause.clone(), now);
            return;
        }
        Some(DumpState::Garbled(why)) => {
            let cause = format!("its pod said something that is not understood: {why}");
            fail(next, cluster, cause, now);
            return;
        }
        _ => {}
    }
    if let Some(cause) = cluster.cancelled(run.order.operation) {
        fail(next, cluster, cause, now);
        return;
    }
    note(&mut run, pod, now);
    if run.lost.len() >= MOST_LOST {
        let how = match pod.map(|pod| &pod.state) {
            Some(DumpState::Lost(how)) => how,
            _ => "it was removed",
        };
        let cause = format!("its pod was ended {MOST_LOST} times before it was done; last: {how}");
        fail(next, cluster, cause, now);
        return;
    }
    if let Some(refused) = observed.refused.as_ref().filter(|_| pod.is_none())
        && claims(&run).any(|claim| refused.contains(claim))
    {
        fail(next, cluster, refused.clone(), now);
        return;
    }
    let works = pod.is_some_and(DumpFacts::works);
    if !works && now.duration_since(run.since) >= START_DEADLINE {
        let cause = worker::unbegun(pod, observed);
        fail(next, cluster, cause, now);
        return;
    }
    next.dump = Some(run);
}

/// The claims that are made for it.
fn claims(run: &DumpRun) -> impl Iterator<Item = &str> {
    let target = match &run.order.work {
        DumpWork::BaseRestore { to, .. } => Some(to.as_str()),
        _ => None,
    };
    [run.claim.as_str()].into_iter().chain(target)
}

/// Notes which pod is there, and which ones were lost: a pod that was seen and is not there any more, or was ended.
fn note(run: &mut DumpRun, pod: Option<&DumpFacts>, now: Timestamp) {
    let is_other = |seen: &String| pod.is_none_or(|pod| pod.uid != *seen);
    let gone = run.pod.clone().filter(is_other);
    let ended = pod.filter(|pod| pod.is_lost()).map(|pod| pod.uid.clone());
    for uid in gone.into_iter().chain(ended) {
        if !run.lost.contains(&uid) {
            run.lost.push(uid);
            run.since = now;
        }
    }
    if let Some(pod) = pod {
        run.pod = Some(pod.uid.clone());
    }
}

/// What is told of what was done.
fn told(run: &DumpRun, done: &DumpResult) -> (String, Vec<(Field, Datum)>) {
    let text = |field, text: &str| (field, Datum::Text(text.to_owned()));
    let (claim, name) = (&run.claim, &done.name);
    let note = done.note.iter().map(|note| format!("; {note}"));
    let note: String = note.collect();
    let mut details = vec![
        text(Field::Path, &done.path),
        (Field::SizeBytes, Datum::Number(done.bytes)),
    ];
    if let Some(wal) = &done.wal {
        details.push(text(Field::StartWal, &wal.start));
        details.push(text(Field::StopWal, &wal.stop));
    }
    let cause = match &run.order.work {
        DumpWork::Make { .. } => format!("dump {name} on claim {claim}{note}"),
        DumpWork::Load { .. } => format!("dump {name} of claim {claim} was restored{note}"),
        DumpWork::BaseBackup { source, .. } => {
            let from = source.iter().map(|source| source.instance.to_string());
            let from: String = from.collect();
            format!("backup {name} of {from} on claim {claim}{note}")
        }
        DumpWork::BaseRestore { to, .. } => {
            details.push(text(Field::Volume, to));
            if let Some(end) = &done.end {
                details.push(text(Field::Lsn, &end.lsn));
                details.push((Field::Timeline, Datum::Number(end.timeline.into())));
            }
            format!(
                "backup {name} of claim {claim} is the data of claim {to}: pgo create cluster {to} goes on with it"
            )
        }
    };
    (cause, details)
}

fn conclude(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (run, done): (&DumpRun, &DumpResult),
    now: Timestamp,
) {
    let (subject, claim) = (cluster.subject(), &run.claim);
    let (cause, details) = told(run, done);
    let kind = run.order.work.kind();
    if matches!(kind, DumpKind::Make | DumpKind::BaseBackup) {
        let made = DumpMade {
            name: done.name.clone(),
            claim: claim.clone(),
            path: done.path.clone(),
            finished: now,
            size_bytes: done.bytes,
            base: kind.is_base(),
        };
        remember(&mut next.dumps, made);
    }
    next.dump = None;
    next.journal
        .complete(subject, run.order.operation, (&cause, &details), now);
}

fn remember(dumps: &mut Vec<DumpMade>, made: DumpMade) {
    dumps.retain(|one| (&one.claim, &one.path) != (&made.claim, &made.path));
    let base = made.base;
    dumps.push(made);
    let alike = dumps.iter().filter(|one| one.base == base).count();
    if alike > REMEMBERED
        && let Some(oldest) = dumps.iter().position(|one| one.base == base)
    {
        dumps.remove(oldest);
    }
}

fn fail(next: &mut ClusterStatus, cluster: &Cluster, cause: String, now: Timestamp) {
    let Some(run) = next.dump.take() else {
        return;
    };
    let failed = (Outcome::Failed, Some(cause));
    let subject = cluster.subject();
    next.journal
        .finish_one(subject, run.order.operation, failed, now);
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let cause = "the cluster was deleted before".to_owned();
    removal::break_off(next, cluster, &cause, now);
    fail(next, cluster, cause, now);
}

/// Claim and pod of what goes on; a pod of what is over goes.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    let mut waiting = cluster.dumps.iter();
    if waiting.any(|request| !status.journal.knows(request.operation)) {
        plan.waiting_for = Some("the agents to be heard");
    }
    if let Some(step) = removal::step(status, cluster, observed) {
        plan.steps.push(step);
        plan.waiting_for = Some("the copies to be removed");
    }
    let Some(run) = &status.dump else {
        plan.steps.extend(left(observed));
        return;
    };
    plan.waiting_for = Some("a dump, or the restore of one");
    match (&observed.dump, pod(run, observed)) {
        (None, _) => {
            let claim = (Backup::Claim, run.claim.clone());
            if !observed.backups.contains_key(&claim) {
                plan.steps.extend(make_claim(cluster, run));
            }
            if let DumpWork::BaseRestore { to, .. } = &run.order.work
                && let Ok(claim) = to.parse()
            {
                plan.steps.push(Step::MakeRestoredClaim { claim });
            }
            plan.steps.push(Step::MakeDumpPod {
                order: run.order.clone(),
                claim: run.claim.clone(),
            });
        }
        (Some(_), Some(pod)) if !pod.is_lost() => {}
        _ => plan.steps.extend(left(observed)),
    }
}

/// What the claim is made of stands in the request alone.
fn make_claim(cluster: &Cluster, run: &DumpRun) -> Option<Step> {
    let mut requests = cluster.dumps.iter();
    let request = requests.find(|request| request.operation == run.order.operation)?;
    let Ok(DumpWish::Make { storage, .. } | DumpWish::BaseBackup { storage, .. }) = &request.wanted
    else {
        return None;
    };
    Some(Step::MakeDumpClaim {
        claim: run.claim.clone(),
        kind: run.order.work.kind(),
        storage: storage.clone(),
    })
}
