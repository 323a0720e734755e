//! What becomes of the restore that goes on.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Field};
use pgo_ids::{InstanceName, Term};

use super::{
    RESTORE, Reached, RestoreFacts, RestoreMark, RestoreRun, RestoreStage, Restored, steps::others,
};
use crate::{
    AgentFacts, Cluster, ClusterStatus, Observed, Outcome, RepositoryFacts, backup, problem,
};

/// How long the check may wait until the repository begins it.
const BEGIN_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// How long the check may take: it looks at what is there.
const CHECK_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// How long who works on it may be away: Kubernetes gives up a node after five minutes, and a pod comes up again on another one.
/// An image is pulled in that time, too.
const AWAY_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// How long the new instance may get no further. One percent of a large backup takes minutes.
const STALL_DEADLINE: SignedDuration = SignedDuration::from_mins(30);

/// The same where it says that something fails, and tries again.
const FAILING_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// That it gets further is noted so often: each note is a write.
const MARK_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// How long the other instances may take to stop: the kubelet kills what has not ended after two minutes.
const STOP_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// How long the new instance may take to serve: it writes a checkpoint before.
const GIVE_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// Goes on with the restore as far as it can be seen.
pub(crate) fn advance(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    while let Some(run) = next.restore.clone() {
        let before = run.stage;
        // A restore that has the others stop is gone through with.
        let serves = matches!(before, RestoreStage::Checking | RestoreStage::Replaying);
        if let Some(cause) = cluster.cancelled(run.order.operation).filter(|_| serves) {
            fail(next, cluster, &run, cause, now);
            continue;
        }
        match before {
            RestoreStage::Checking => check(next, cluster, observed, (run, now)),
            RestoreStage::Replaying => replay(next, cluster, observed, (run, now)),
            RestoreStage::Stopping => stop(next, cluster, observed, (run, now)),
            RestoreStage::Giving => give(next, cluster, observed, (run, now)),
            RestoreStage::Clearing => {
                let name = &run.instance;
                let remains =
                    observed.pods.contains_key(name) || observed.claims.contains_key(name);
                next.restore = Some(run).filter(|_| remains);
            }
        }
        if next.restore.as_ref().is_none_or(|run| run.stage == before) {
            break;
        }
    }
    let is_there = |name: &InstanceName| {
        observed.claims.contains_key(name) || observed.pods.contains_key(name)
    };
    next.retired.retain(is_there);
    // From then on terms are those of the new Lease.
    let running = next.restore.as_mut();
    if let Some(run) = running.filter(|run| run.stage != RestoreStage::Giving) {
        let told = next.instances.iter().map(|instance| instance.term);
        let heard = observed.agents.values().map(|agent| agent.term);
        let takeovers = observed.takeovers.iter().map(|takeover| takeover.term);
        let seen = told.chain(heard).chain(takeovers);
        run.term = seen.fold(run.term.max(next.term), Term::max);
    }
}

/// Goes over to the next stage.
fn turn(next: &mut ClusterStatus, run: RestoreRun, stage: RestoreStage, now: Timestamp) {
    next.restore = Some(RestoreRun {
        stage,
        since: now,
        away: None,
        mark: None,
        ..run
    });
}

/// Tells the steps up to this one; each has its place.
fn tell(next: &mut ClusterStatus, cluster: &Cluster, texts: &[&str], now: Timestamp) {
    let subject = cluster.subject();
    next.journal.progress(subject, RESTORE, (texts, &[]), now);
}

/// What the repository has found.
fn check(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (run, now): (RestoreRun, Timestamp),
) {
    let agent = observed.repository.heard();
    if let Some(done) = agent.and_then(|agent| agent.end_of(run.order.operation)) {
        if let Some(error) = &done.error {
            let cause = format!("{error}; nothing was changed");
            fail(next, cluster, &run, cause, now);
            return;
        }
        let reached = done.backup.as_ref().map(Reached::of).unwrap_or_default();
        let text = first_text(&RestoreRun {
            reached: reached.clone(),
            ..run.clone()
        });
        tell(next, cluster, &[&text], now);
        turn(
            next,
            RestoreRun { reached, ..run },
            RestoreStage::Replaying,
            now,
        );
        return;
    }
    let Some(agent) = observed.repository.works() else {
        let since = run.away.unwrap_or(now);
        if now.duration_since(since) >= AWAY_DEADLINE {
            let why = backup::trouble(observed, now).unwrap_or_default();
            let minutes = AWAY_DEADLINE.as_mins();
            let cause = format!("after {minutes} min {why}; nothing was changed");
            fail(next, cluster, &run, cause, now);
            return;
        }
        next.restore = Some(RestoreRun {
            away: Some(since),
            ..run
        });
        return;
    };
    match looks(&run, agent, now) {
        Ok(run) => next.restore = Some(run),
        Err(cause) => fail(
            next,
            cluster,
            &run,
            format!("{cause}; nothing was changed"),
            now,
        ),
    }
}

/// How the check goes on that a repository which can work has not ended, or why nothing comes of it.
fn looks(run: &RestoreRun, agent: &RepositoryFacts, now: Timestamp) -> Result<RestoreRun, String> {
    let running = agent.running.as_ref();
    let is_ours = running.is_some_and(|work| work.operation == run.order.operation);
    // One that it does not know of any more is begun again: its pod ended, or its volume was made anew meanwhile.
    let is_forgotten = run.begun && !is_ours;
    let since = match run.away.is_some() || is_forgotten {
        true => now,
        false => run.since,
    };
    let lasts = now.duration_since(since);
    match is_ours {
        true if lasts >= CHECK_DEADLINE => Err(
            "the repository does not come to an end with the check of its backups; see the log of its pod"
                .to_owned(),
        ),
        false if lasts >= BEGIN_DEADLINE => {
            let why = match running {
                Some(work) => format!("it is at work for operation {}", work.operation),
                None => "it does not take it; see the log of its pod".to_owned(),
            };
            let minutes = BEGIN_DEADLINE.as_mins();
            Err(format!(
                "the repository could not begin the check of its backups within {minutes} min: {why}"
            ))
        }
        _ => Ok(RestoreRun {
            begun: is_ours,
            away: None,
            since,
            ..run.clone()
        }),
    }
}

fn first_text(run: &RestoreRun) -> String {
    let backup = match run.reached.backup.as_str() {
        "" => "the backups".to_owned(),
        backup => format!("backup {backup}{}", run.reached.flaw()),
    };
    format!(
        "{backup} can be restored up to {}; it is copied to instance {}, while the cluster serves",
        run.target, run.instance
    )
}

/// What the agent of the new instance says of its restore.
fn facts<'a>(run: &RestoreRun, observed: &'a Observed) -> Option<&'a RestoreFacts> {
    let restore = observed.agent(&run.instance)?.restore.as_ref()?;
    (restore.operation == Some(run.order.operation)).then_some(restore)
}

/// How far the new instance is.
fn replay(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (run, now): (RestoreRun, Timestamp),
) {
    let Some(facts) = facts(&run, observed) else {
        let since = run.away.unwrap_or(now);
        if now.duration_since(since) >= AWAY_DEADLINE {
            let cause = unheard(cluster, observed, &run.instance, now);
            fail(next, cluster, &run, cause, now);
            return;
        }
        next.restore = Some(RestoreRun {
            away: Some(since),
            ..run
        });
        return;
    };
    // Where the instance took another one than was found before, nothing more is known of that.
    let backup = match facts.backup.as_str() {
        label if label.is_empty() || label == run.reached.backup => run.reached.clone(),
        label => Reached {
            backup: label.to_owned(),
            ..Reached::default()
        },
    };
    copied(next, cluster, &run, facts, now);
    if facts.reached {
        let reached = Reached {
            last_commit: facts.last_commit,
            lsn: facts.lsn.clone(),
            ..backup
        };
        turn(
            next,
            RestoreRun { reached, ..run },
            RestoreStage::Stopping,
            now,
        );
        return;
    }
    if facts.hopeless {
        let error = facts.error.as_deref();
        let why = error.unwrap_or("its agent gave no reason; see the log of its pod");
        fail(next, cluster, &run, unchanged(&run, why), now);
        return;
    }
    let mark = marked(&run, facts, now);
    if let Some(why) = stalled(&mark, facts, now) {
        fail(next, cluster, &run, unchanged(&run, &why), now);
        return;
    }
    next.restore = Some(RestoreRun {
        mark: Some(mark),
        away: None,
        ..run
    });
}

/// Why an instance counts as one that comes to nothing.
fn stalled(mark: &RestoreMark, facts: &RestoreFacts, now: Timestamp) -> Option<String> {
    let error = facts.error.as_deref();
    let deadline = match error {
        Some(_) => FAILING_DEADLINE,
        None => STALL_DEADLINE,
    };
    let at = match facts.lsn.as_str() {
        "" => "no WAL",
        lsn => lsn,
    };
    (now.duration_since(mark.at) >= deadline).then(|| {
        format!(
            "it has got no further for {} min, at {} % of the backup and {at}: {}",
            deadline.as_mins(),
            facts.percent,
            error.unwrap_or("see the log of its pod")
        )
    })
}

/// Since when the new instance is where it is, to about a minute.
fn marked(run: &RestoreRun, facts: &RestoreFacts, now: Timestamp) -> RestoreMark {
    let commit = facts.last_commit.map(|at| at.to_string());
    let what = format!(
        "{} % {} {}",
        facts.percent,
        facts.lsn,
        commit.unwrap_or_default()
    );
    match &run.mark {
        Some(mark) if mark.what == what || now.duration_since(mark.at) < MARK_EVERY => mark.clone(),
        _ => RestoreMark { at: now, what },
    }
}

fn unchanged(run: &RestoreRun, why: &str) -> String {
    format!("instance {}: {why}; nothing was changed", run.instance)
}

/// Tells each quarter of the copy, and that WAL is replayed.
fn copied(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    run: &RestoreRun,
    facts: &RestoreFacts,
    now: Timestamp,
) {
    let first = first_text(run);
    let (percent, target) = (facts.percent, &run.target);
    let replays = facts.reached || !facts.lsn.is_empty();
    let at = match facts.lsn.as_str() {
        "" => String::new(),
        lsn => format!(" at {lsn},"),
    };
    let replaying = format!("copied; WAL is replayed,{at} up to {target}");
    let reached = match facts.last_commit {
        Some(commit) => format!("{target} is reached: the last commit was at {commit}"),
        None => format!("{target} is reached"),
    };
    let reached = format!("{reached}; the other instances stop");
    let texts = [
        (true, first.as_str()),
        (percent >= 25 || replays, "25 % copied"),
        (percent >= 50 || replays, "50 % copied"),
        (percent >= 75 || replays, "75 % copied"),
        (replays, replaying.as_str()),
        (facts.reached, reached.as_str()),
    ];
    let told = texts.iter().take_while(|(is_so, _)| *is_so);
    let told: Vec<&str> = told.map(|(_, text)| *text).collect();
    tell(next, cluster, &told, now);
}

/// How many steps are told before the other instances are gone.
const BEFORE_GIVING: usize = 6;

/// Why nothing is heard of the new instance.
fn unheard(
    cluster: &Cluster,
    observed: &Observed,
    instance: &InstanceName,
    now: Timestamp,
) -> String {
    let claim = observed.claims.get(instance);
    let of_claim = claim.and_then(|claim| problem::of_claim(instance.as_str(), claim));
    let pod = observed.pods.get(instance);
    let of_pod = || problem::of_pod(instance.as_str(), pod?, now);
    let found = of_claim.or_else(of_pod).map(|problem| problem.cause);
    let agent = observed.agent(instance).map(|agent| agent.error.as_deref());
    let why = match (&observed.refused, found, &cluster.desired) {
        (Some(refused), ..) => refused.clone(),
        (_, Some(cause), _) => cause,
        (_, _, Err(invalid)) => format!("the spec is not understood: {invalid}"),
        _ => match (pod, agent) {
            (None, _) => format!("pod {instance} is not made"),
            (_, Some(Some(error))) => format!("instance {instance}: {error}"),
            (_, Some(None)) => {
                format!("the agent of instance {instance} does not restore; see the log of its pod")
            }
            (_, None) => {
                format!("the agent in pod {instance} does not answer; see the log of its pod")
            }
        },
    };
    let minutes = AWAY_DEADLINE.as_mins();
    format!("after {minutes} min {why}; nothing was changed")
}

/// Whether the others are gone.
fn stop(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (run, now): (RestoreRun, Timestamp),
) {
    let left: Vec<&str> = others(&run, observed)
        .map(|(name, _)| name.as_str())
        .collect();
    if left.is_empty() {
        give_over(next, cluster, run, now);
        return;
    }
    if now.duration_since(run.since) >= STOP_DEADLINE {
        let minutes = STOP_DEADLINE.as_mins();
        let cause = format!(
            "pod {} has not ended within {minutes} min; its data is untouched, and the instances come up again as they were",
            left.join(", ")
        );
        fail(next, cluster, &run, cause, now);
        return;
    }
    next.restore = Some(run);
}

/// Nobody else is there: from now on the new instance is the first one. There is no way back by itself.
fn give_over(next: &mut ClusterStatus, cluster: &Cluster, run: RestoreRun, now: Timestamp) {
    let former = next.first(&cluster.name);
    next.retired.retain(|one| *one != former);
    next.retired.push(former.clone());
    next.restored = Some(Restored {
        order: run.order.clone(),
        instance: run.instance.clone(),
        node_label: run.node_label.clone(),
        former: former.clone(),
        reached: run.reached.clone(),
        at: None,
    });
    let text = format!(
        "the former instances have stopped; {} is to take writes, and the data as it was stays in PersistentVolumeClaim {former}",
        run.instance
    );
    let texts: Vec<&str> = core::iter::repeat_n("", BEFORE_GIVING)
        .chain([text.as_str()])
        .collect();
    tell(next, cluster, &texts, now);
    turn(next, run, RestoreStage::Giving, now);
}

/// Whether the new instance serves.
fn give(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    (run, now): (RestoreRun, Timestamp),
) {
    let name = &run.instance;
    let is_given = observed.lease_restore == Some(run.order.operation);
    if is_given && observed.serving_primary() == Some(name) {
        let agent = observed.agent(name);
        complete(next, cluster, &run, agent, now);
        return;
    }
    if !run.told && now.duration_since(run.since) >= GIVE_DEADLINE {
        let minutes = GIVE_DEADLINE.as_mins();
        let error = observed
            .agent(name)
            .and_then(|agent| agent.error.as_deref());
        let why = error.map(|error| format!(": {error}")).unwrap_or_default();
        let cause = format!(
            "instance {name} has reached the target and does not take writes within {minutes} min{why}; it goes on trying. The \
             data as it was before is in PersistentVolumeClaim {}. Look at the log of pod {name}, or restore again",
            former(next)
        );
        let failed = (Outcome::Failed, Some(cause));
        let (subject, id) = (cluster.subject(), run.order.operation);
        next.journal.finish_one(subject, id, failed, now);
        next.restore = Some(RestoreRun { told: true, ..run });
        return;
    }
    next.restore = Some(run);
}

fn former(status: &ClusterStatus) -> &str {
    let restored = status.restored.as_ref();
    restored.map_or("", |restored| restored.former.as_str())
}

fn complete(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    run: &RestoreRun,
    agent: Option<&AgentFacts>,
    now: Timestamp,
) {
    let timeline = agent.map_or(0, |agent| agent.timeline);
    let reached = run.reached.text();
    let cause = format!(
        "restored to {} from {reached}; instance {} takes writes on timeline {timeline}; the data as it was before is in \
         PersistentVolumeClaim {}",
        run.target,
        run.instance,
        former(next)
    );
    let mut details = run.reached.details();
    details.extend([
        (Field::Volume, Datum::Text(former(next).to_owned())),
        (Field::Timeline, Datum::Number(u64::from(timeline))),
    ]);
    let (subject, id) = (cluster.subject(), run.order.operation);
    next.journal.complete(subject, id, (&cause, &details), now);
    if let Some(restored) = &mut next.restored {
        restored.at = Some(now);
    }
    next.restore = None;
}

/// Ends it before anything was taken from the cluster, or so that that comes again.
fn fail(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    run: &RestoreRun,
    cause: String,
    now: Timestamp,
) {
    let failed = (Outcome::Failed, Some(cause));
    let (subject, id) = (cluster.subject(), run.order.operation);
    next.journal.finish_one(subject, id, failed, now);
    // A check has made nothing.
    if run.stage == RestoreStage::Checking {
        next.restore = None;
    } else {
        turn(next, run.clone(), RestoreStage::Clearing, now);
    }
}
