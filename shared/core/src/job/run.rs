//! A benchmark, or a load, from its begin to its end.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Field};

use super::{
    JobFacts, JobKind, JobOrder, JobRequest, JobResult, JobRun, JobState, JobWish, JobWork, left,
};
use crate::{
    Cluster, ClusterStatus, Desired, Observed, Operation, Outcome, Plan, Step, backup, silence,
    worker::{self, START_DEADLINE},
};

/// What is not known of a load that ended before it said so.
const UNKNOWN: &str =
    "whether the rows are in the table is not known; look, and load again where they are not";

/// How long one may take in all.
const DEADLINE: SignedDuration = SignedDuration::from_hours(24);

/// So long what is asked for is taken to be asked for yet, though no task is seen that does: it may be newer than what is seen.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);

/// Goes on with what goes on; begins what is asked for next, or says why not. The others wait for their turn.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    advance(next, cluster, observed, now);
    for request in &cluster.jobs {
        if next.journal.knows(request.operation) {
            continue;
        }
        let is_clear = silence::is_clear(observed, now);
        if next.job.is_some() || !is_clear || !cluster.has_room(&next.journal) {
            break;
        }
        begin(next, cluster, observed, request, now);
    }
}

fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &JobRequest,
    now: Timestamp,
) {
    let (subject, id) = (cluster.subject(), request.operation);
    let of = (request.kind.operation(), None);
    let operation = Operation {
        table: request.table(),
        ..Operation::begun(of, id, &request.actor, cluster.generation, now)
    };
    let judged = request.wanted.as_ref().map_err(Clone::clone);
    let judged = judged.and_then(|wish| {
        let desired = worker::understood(cluster)?;
        worker::serves(next, observed)?;
        check(wish, desired, observed)?;
        Ok(wish.work.clone())
    });
    let work = match judged {
        Ok(work) => work,
        Err(reason) => {
            next.journal.refuse(subject, operation, &reason, now);
            return;
        }
    };
    next.journal.begin(subject, operation, Some(asked(&work)));
    next.job = Some(JobRun {
        order: JobOrder {
            operation: id,
            work,
        },
        since: now,
        pod: None,
    });
}

/// What is told of its begin.
fn asked(work: &JobWork) -> String {
    match work {
        JobWork::Benchmark(work) => format!(
            "it was asked for, in database {}, with {} clients, scale {}",
            work.database, work.clients, work.scale
        ),
        JobWork::Load(work) => format!(
            "it was asked for, of file {} on claim {}, into database {}",
            work.file, work.claim, work.database
        ),
    }
}

/// What is wrong with what is asked for of this cluster.
fn check(wish: &JobWish, desired: &Desired, observed: &Observed) -> Result<(), String> {
    let (name, port) = (&desired.name, desired.port);
    if let Some(said) = wish.port.filter(|said| *said != port) {
        return Err(format!(
            "port {said} is not that of cluster {name}, which is {port}"
        ));
    }
    let JobWork::Load(load) = &wish.work else {
        return Ok(());
    };
    let claim = load.claim.as_str();
    let is_instance = observed.claims.keys().any(|one| one.as_str() == claim);
    if is_instance || claim == name.as_str() || claim == backup::repository_claim_name(name) {
        return Err(format!(
            "claim {claim} is part of cluster {name} itself; name one with files to load"
        ));
    }
    Ok(())
}

/// The pod of this run, where it is there.
fn pod<'a>(run: &JobRun, observed: &'a Observed) -> Option<&'a JobFacts> {
    JobFacts::of(observed.job.as_ref(), run.order.operation)
}

/// What became of what goes on.
fn advance(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let Some(mut run) = next.job.clone() else {
        return;
    };
    let pod = pod(&run, observed);
    let cause = match pod.map(|pod| &pod.state) {
        Some(JobState::Done(done)) => {
            conclude(next, cluster, (&run, done), now);
            return;
        }
        Some(JobState::Failed(cause)) => Some(cause.clone()),
        Some(JobState::Lost(how)) => Some(lost(&run, how)),
        Some(JobState::Garbled(why)) => {
            let how = format!("it said something that is not understood: {why}");
            Some(lost(&run, &how))
        }
        _ => {
            cancelled(&run, pod, cluster).or_else(|| hopeless(&run, pod, (cluster, observed), now))
        }
    };
    if let Some(cause) = cause {
        fail(next, cluster, cause, now);
        return;
    }
    if let Some(pod) = pod {
        run.pod = Some(pod.uid.clone());
    }
    next.job = Some(run);
}

/// Why it ends where somebody has cancelled it; a load may have been done the moment before.
fn cancelled(run: &JobRun, pod: Option<&JobFacts>, cluster: &Cluster) -> Option<String> {
    let cause = cluster.cancelled(run.order.operation)?;
    let may_be_done = run.order.kind() == JobKind::Load && pod.is_some_and(JobFacts::works);
    Some(match may_be_done {
        true => format!("{cause}; {UNKNOWN}"),
        false => cause,
    })
}

/// Why nothing more is to be waited for, where that is so.
fn hopeless(
    run: &JobRun,
    pod: Option<&JobFacts>,
    (cluster, observed): (&Cluster, &Observed),
    now: Timestamp,
) -> Option<String> {
    if let Some(seen) = &run.pod
        && pod.is_none_or(|pod| pod.uid != *seen)
    {
        return Some(lost(run, "it was removed"));
    }
    let took = now.duration_since(run.since);
    let mut asked = cluster.jobs.iter();
    let is_asked = asked.any(|request| request.operation == run.order.operation);
    if !is_asked && took >= SETTLED {
        return Some("the task that asked for it was deleted before it was done".to_owned());
    }
    let works = pod.is_some_and(JobFacts::works);
    if !works && took >= START_DEADLINE {
        return Some(worker::unbegun(pod, observed));
    }
    (took >= DEADLINE).then(|| format!("it was not done within {} h", DEADLINE.as_hours()))
}

/// A pod went before it said what became of it.
fn lost(run: &JobRun, how: &str) -> String {
    let then = match run.order.kind() {
        JobKind::Benchmark => "nothing was measured; ask again",
        JobKind::Load => UNKNOWN,
    };
    format!("its pod ended before it said what became of it: {how}; {then}")
}

fn conclude(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (run, done): (&JobRun, &JobResult),
    now: Timestamp,
) {
    next.job = None;
    let id = run.order.operation;
    let known = [(Field::SizeBytes, done.bytes), (Field::Rows, done.rows)];
    let known = known.into_iter();
    let details: Vec<_> = known
        .filter_map(|(field, number)| Some((field, Datum::Number(number?))))
        .collect();
    let journal = &mut next.journal;
    journal.complete(cluster.subject(), id, (&done.summary, &details), now);
    journal.note_result(id, done.output.clone());
}

fn fail(next: &mut ClusterStatus, cluster: &Cluster, cause: String, now: Timestamp) {
    let Some(run) = next.job.take() else {
        return;
    };
    let failed = (Outcome::Failed, Some(cause));
    next.journal
        .finish_one(cluster.subject(), run.order.operation, failed, now);
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let cause = "the cluster was deleted before".to_owned();
    fail(next, cluster, cause, now);
}

/// The pod of what goes on; a pod of what is over goes.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    let mut waiting = cluster.jobs.iter();
    if waiting.any(|request| !status.journal.knows(request.operation)) {
        plan.waiting_for = Some("the turn of a benchmark or a load");
    }
    let Some(run) = &status.job else {
        plan.steps.extend(left(observed));
        return;
    };
    plan.waiting_for = Some("a benchmark, or a load");
    match (&observed.job, pod(run, observed)) {
        (None, _) if run.pod.is_none() => plan.steps.push(Step::MakeJobPod {
            order: run.order.clone(),
        }),
        (None, _) | (Some(_), Some(_)) => {}
        (Some(_), None) => plan.steps.extend(left(observed)),
    }
}
