//! Which backup is tried when, and what becomes of it.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Field};
use pgo_ids::OperationId;

use super::{
    DrillFacts, DrillFound, DrillPlace, DrillPolicy, DrillReport, DrillRun, DrillUntried,
    DrillVerdict, Drills, ProvenRestore, RESULT_PROVEN, UntriedBackup, request,
};
use crate::{
    BackupSet, Cluster, ClusterStatus, ConditionStatus, Kind, Observed, Operation, Outcome, Plan,
    Step, journal::Of, status::set_condition,
};

/// How long the pod may take to begin: its image is pulled and its volume made in that time.
const START_DEADLINE: SignedDuration = SignedDuration::from_mins(30);

/// How long all of it may take. The pod ends itself before.
const DEADLINE: SignedDuration = SignedDuration::from_hours(26);

/// How long pods are made anew that end without a verdict, since the first of them did: a node that is drained takes one with it,
/// and a repository may be away for hours.
const TRYING: SignedDuration = SignedDuration::from_hours(6);

/// Pause before the third one; the second one comes at once, and each later pause is twice as long as the one before.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// The longest such pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(30);

/// How long a backup that could not be tried is left alone by those who try each.
const LEFT_ALONE: SignedDuration = SignedDuration::from_hours(24);

/// Between the beginnings of two, where one a day is wanted.
const DAY: SignedDuration = SignedDuration::from_hours(24);

pub(super) const DRILL: Of<'static> = (Kind::VerifyRestore, None);

/// Whether a backup is being tried.
#[must_use]
pub fn is_drilled(status: &ClusterStatus) -> bool {
    status.drills.run.is_some()
}

/// Whether a cluster wants to begin a drill.
#[must_use]
pub fn wants_drill(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) -> bool {
    request::wants(status, cluster, observed) || due(status, cluster, observed, now).is_some()
}

/// The policy that is in force; none where it is not known, or there are no backups.
fn policy(cluster: &Cluster) -> Option<DrillPolicy> {
    let desired = cluster.desired.as_ref().ok()?;
    desired.backups.as_ref().map(|backups| backups.drills)
}

/// Whether a drill has to wait: its instance would take what the cluster needs itself.
pub(super) fn is_held(status: &ClusterStatus) -> bool {
    status.restore.is_some() || status.upgrading().is_some()
}

/// The backup that is to be tried now.
fn due<'a>(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &'a Observed,
    now: Timestamp,
) -> Option<&'a BackupSet> {
    let is_clear = status.was_ready()
        && status.drills.run.is_none()
        && status.backup.is_none()
        && !is_held(status);
    let agent = observed.repository.works().filter(|_| is_clear)?;
    let at = (timeline(observed), now);
    chosen(policy(cluster)?, &status.drills, &agent.backups, at)
}

/// The timeline of the primary; none while none is heard.
fn timeline(observed: &Observed) -> Option<u32> {
    let primary = observed.agent(observed.serving_primary()?)?;
    Some(primary.timeline)
}

/// The backup that is to be tried, of those that are there, the newest last; on this timeline of the primary, where it is known.
fn chosen<'a>(
    policy: DrillPolicy,
    drills: &Drills,
    backups: &'a [BackupSet],
    (timeline, now): (Option<u32>, Timestamp),
) -> Option<&'a BackupSet> {
    let tried = |backup: &BackupSet| drills.verdicts.contains_key(&backup.label);
    let untried = |backup: &BackupSet| drills.untried.get(&backup.label);
    let is_superseded = |backup: &BackupSet| {
        let on = untried(backup).and_then(|one| one.superseded_on);
        on.is_some_and(|on| timeline.is_none_or(|timeline| timeline == on))
    };
    let is_left_alone = |backup: &&BackupSet| {
        let untried = untried(backup).filter(|one| one.superseded_on.is_none());
        let lately = untried.is_some_and(|one| now.duration_since(one.at) < LEFT_ALONE);
        lately || is_superseded(backup)
    };
    let newest = backups.last()?;
    match policy {
        DrillPolicy::Never => None,
        DrillPolicy::Each => {
            let is_known = |backup: &BackupSet| tried(backup) || untried(backup).is_some();
            // Those from before the first one are not gone through.
            let from = backups.iter().position(is_known);
            let from = from.unwrap_or(backups.len() - 1);
            let mut rest = backups.iter().skip(from);
            rest.find(|backup| !tried(backup) && !is_left_alone(backup))
        }
        DrillPolicy::Daily => {
            let is_time = |last: Timestamp| now.duration_since(last) >= DAY;
            let is_due = !tried(newest) && !is_superseded(newest);
            (is_due && drills.last.is_none_or(is_time)).then_some(newest)
        }
    }
}

/// What is known of backups that retention took goes with them: of those that are older than each that is there, as labels begin
/// with their time. A repository that has just started lists none yet, and one of which a place is away fewer than there are.
fn forget(drills: &mut Drills, backups: &[BackupSet]) {
    let oldest = backups.iter().map(|backup| &backup.label).min();
    if let Some(oldest) = oldest {
        drills.verdicts.retain(|label, _| label >= oldest);
        drills.untried.retain(|label, _| label >= oldest);
    }
}

/// Goes on with the drill that goes on, and begins the one that is due.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    advance(next, cluster, observed, now);
    if let Some(agent) = observed.repository.works() {
        forget(&mut next.drills, &agent.backups);
    }
    request::commit(next, cluster, observed, now);
    if observed.drill_place != DrillPlace::Taken || !cluster.has_room(&next.journal) {
        return;
    }
    let due = due(next, cluster, observed, now).map(|backup| backup.label.clone());
    if let (Some(backup), Some(policy)) = (due, policy(cluster)) {
        let id = OperationId::derived(&cluster.stream, &format!("drill of {backup} at {now}"));
        let wanted = Wanted {
            operation: Operation {
                backup: Some(backup.clone()),
                ..Operation::begun(DRILL, id, "", cluster.generation, now)
            },
            backup,
            why: match policy {
                DrillPolicy::Each => "each backup is tried",
                DrillPolicy::Daily | DrillPolicy::Never => "a backup is tried each day",
            },
            asked: false,
        };
        next.drills.last = Some(now);
        begin(next, cluster, wanted, now);
    }
}

/// A drill that is to begin.
pub(super) struct Wanted {
    pub operation: Operation,
    pub backup: String,
    /// For people.
    pub why: &'static str,
    pub asked: bool,
}

pub(super) fn begin(next: &mut ClusterStatus, cluster: &Cluster, wanted: Wanted, now: Timestamp) {
    let id = wanted.operation.id;
    let (subject, why) = (cluster.subject(), Some(wanted.why.to_owned()));
    next.journal.begin(subject, wanted.operation, why);
    next.drills.run = Some(DrillRun {
        operation: id,
        backup: wanted.backup,
        asked: wanted.asked,
        since: Some(now),
        lost: 0,
        troubled: None,
        not_before: None,
        ended: None,
    });
}

/// What became of the drill that goes on.
fn advance(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let Some(run) = next.drills.run.clone() else {
        return;
    };
    if let Some(cause) = unwanted(cluster, &run) {
        end(next, cluster, &run, cause, now);
        return;
    }
    if is_held(next) {
        next.drills.run = Some(DrillRun { since: None, ..run });
        return;
    }
    if run.not_before.is_some_and(|at| now < at) {
        return;
    }
    let since = run.since.unwrap_or(now);
    let took = now.duration_since(since);
    let pod = observed.drill.as_ref().filter(|pod| is_its(&run, pod));
    let uid = pod.map_or("", |pod| pod.uid.as_str());
    let trouble = match pod.map(|pod| &pod.found) {
        Some(DrillFound::Report(report)) if report.backup == run.backup => {
            conclude(next, cluster, (&run, uid, report), observed, now);
            return;
        }
        Some(DrillFound::Report(_)) => Some("it tells of another backup".to_owned()),
        Some(DrillFound::Ended(why)) => Some(why.clone()),
        Some(DrillFound::Running) => None,
        Some(DrillFound::Nothing(why)) => late(("its pod does not begin", why.as_deref()), took),
        None => late(("its pod is not made", observed.refused.as_deref()), took),
    };
    if let Some(why) = trouble {
        lose(next, cluster, (&run, uid), &why, now);
        return;
    }
    if took >= DEADLINE {
        let cause = format!("it did not end within {} hours", DEADLINE.as_hours());
        give_up(next, cluster, &run, (&cause, None), now);
        return;
    }
    next.drills.run = Some(DrillRun {
        since: Some(since),
        ..run
    });
}

/// Why a drill goes on no longer; none where it does.
fn unwanted(cluster: &Cluster, run: &DrillRun) -> Option<String> {
    let is_never = |policy| policy == DrillPolicy::Never && !run.asked;
    let is_over = cluster.desired.is_ok() && policy(cluster).is_none_or(is_never);
    let over = is_over.then(|| "backups are not to be tried any more".to_owned());
    cluster.cancelled(run.operation).or(over)
}

/// What is wrong with a pod that has not begun after so long; nothing where it has time left.
fn late((what, why): (&str, Option<&str>), took: SignedDuration) -> Option<String> {
    let minutes = START_DEADLINE.as_mins();
    let why = why.unwrap_or("Kubernetes does not say why");
    let late = format!("it did not begin within {minutes} min: {what}: {why}");
    (took >= START_DEADLINE).then_some(late)
}

/// Whether a pod is that of this drill, and was not given up.
fn is_its(run: &DrillRun, pod: &DrillFacts) -> bool {
    pod.operation == run.operation.to_string() && run.ended.as_ref() != Some(&pod.uid)
}

/// A pod has ended without a verdict: another one tries it, after a pause.
fn lose(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (run, uid): (&DrillRun, &str),
    why: &str,
    now: Timestamp,
) {
    let lost = run.lost + 1;
    let troubled = run.troubled.unwrap_or(now);
    if now.duration_since(troubled) >= TRYING {
        let hours = TRYING.as_hours();
        let cause = format!("{lost} pods have tried it for {hours} hours, the last one: {why}");
        give_up(next, cluster, run, (&cause, None), now);
        return;
    }
    let not_before = now + pause(lost);
    next.drills.run = Some(DrillRun {
        since: Some(not_before),
        lost,
        troubled: Some(troubled),
        not_before: Some(not_before),
        ended: if uid.is_empty() {
            run.ended.clone()
        } else {
            Some(uid.to_owned())
        },
        ..run.clone()
    });
}

/// How long no other pod is made after so many.
fn pause(lost: u32) -> SignedDuration {
    let Some(doublings) = lost.checked_sub(2) else {
        return SignedDuration::ZERO;
    };
    let pause = PAUSE.checked_mul(1 << doublings.min(10));
    pause.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// It cannot be tried: that says nothing of the backup, which stays as little known as it was; for how long that stays so, where it is
/// superseded.
fn give_up(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    run: &DrillRun,
    (cause, superseded_on): (&str, Option<u32>),
    now: Timestamp,
) {
    let cause = format!("could not be tried: {cause}");
    let untried = UntriedBackup {
        at: now,
        cause: cause.clone(),
        superseded_on,
    };
    next.drills.untried.insert(run.backup.clone(), untried);
    let cause = format!("backup {}: not proven, {cause}", run.backup);
    end(next, cluster, run, cause, now);
}

fn conclude(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (run, uid, report): (&DrillRun, &str, &DrillReport),
    observed: &Observed,
    now: Timestamp,
) {
    if let Some(error) = &report.error {
        let cause = format!("{}: {error}", report.stage.failing());
        match report.untried {
            None | Some(DrillUntried::Superseded) if is_gone(run, observed) => {
                let backup = &run.backup;
                let cause = format!("backup {backup} is not in the repository any more: {cause}");
                end(next, cluster, run, cause, now);
            }
            None => judge(next, cluster, run, cause, now),
            Some(DrillUntried::Unreachable) => lose(next, cluster, (run, uid), error, now),
            Some(DrillUntried::Late) => give_up(next, cluster, run, (error, None), now),
            Some(DrillUntried::Superseded) => {
                let on = timeline(observed);
                give_up(next, cluster, run, (error, on), now);
            }
        }
        return;
    }
    let operation = next.journal.running_of(DRILL);
    let began = operation.map_or(now, |operation| operation.started);
    let took = u64::try_from(now.duration_since(began).as_millis()).unwrap_or_default();
    next.last_proven_restore = Some(ProvenRestore {
        backup: run.backup.clone(),
        at: now,
        duration_ms: took,
        size_bytes: report.size,
        lsn: report.lsn.clone(),
        last_commit: report.last_commit,
        checksums: report.checksums,
        structure: report.structure,
    });
    let verdict = DrillVerdict {
        at: now,
        proven: true,
        cause: None,
    };
    next.drills.untried.remove(&run.backup);
    next.drills.verdicts.insert(run.backup.clone(), verdict);
    next.drills.run = None;
    let cause = proven(run, report);
    let at = (cluster.generation, now);
    let condition = (RESULT_PROVEN, ConditionStatus::True);
    set_condition(&mut next.conditions, condition, "Proven", &cause, at);
    let mut details = vec![
        (Field::SizeBytes, Datum::Number(report.size)),
        (Field::Lsn, Datum::Text(report.lsn.clone())),
        (Field::Timeline, Datum::Number(report.timeline.into())),
    ];
    details.extend(wal(&run.backup, observed));
    let (subject, id) = (cluster.subject(), run.operation);
    next.journal.complete(subject, id, (&cause, &details), now);
}

/// The first and the last WAL file that a backup needs, where the repository says so.
fn wal(backup: &str, observed: &Observed) -> Vec<(Field, Datum)> {
    let agent = observed.repository.works();
    let mut sets = agent.map_or(&[][..], |agent| &agent.backups[..]).iter();
    let Some(set) = sets.find(|set| set.label == backup) else {
        return Vec::new();
    };
    let ends = [
        (Field::StartWal, &set.start_wal),
        (Field::StopWal, &set.stop_wal),
    ];
    let ends = ends.into_iter().filter(|(_, file)| !file.is_empty());
    ends.map(|(field, file)| (field, Datum::Text(file.clone())))
        .collect()
}

/// What was shown, for people.
fn proven(run: &DrillRun, report: &DrillReport) -> String {
    let mut text = format!("backup {} was restored", run.backup);
    if !report.lsn.is_empty() {
        text.push_str(&format!(", replayed up to {}", report.lsn));
    }
    if let Some(commit) = report.last_commit {
        text.push_str(&format!(" with the last commit at {commit}"));
    }
    text.push_str(" and read in full");
    let unseen = [
        (
            report.checksums,
            "the cluster has no checksums of its pages",
        ),
        (
            report.structure,
            "the image has no pg_amcheck to hold tables and indexes against each other",
        ),
    ];
    for (_, why) in unseen.iter().filter(|(seen, _)| !seen) {
        text.push_str("; ");
        text.push_str(why);
    }
    text
}

/// Whether a backup has gone meanwhile: that one is not judged.
fn is_gone(run: &DrillRun, observed: &Observed) -> bool {
    let agent = observed.repository.works();
    agent.is_some_and(|agent| agent.backups.iter().all(|one| one.label != run.backup))
}

/// The backup is not proven: whatever kept it from that.
fn judge(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    run: &DrillRun,
    cause: String,
    now: Timestamp,
) {
    let cause = format!("backup {}: {cause}", run.backup);
    let at = (cluster.generation, now);
    let condition = (RESULT_PROVEN, ConditionStatus::False);
    set_condition(&mut next.conditions, condition, "DrillFailed", &cause, at);
    let verdict = DrillVerdict {
        at: now,
        proven: false,
        cause: Some(cause.clone()),
    };
    next.drills.untried.remove(&run.backup);
    next.drills.verdicts.insert(run.backup.clone(), verdict);
    end(next, cluster, run, cause, now);
}

/// Ends it without a word on the backup but its cause.
fn end(next: &mut ClusterStatus, cluster: &Cluster, run: &DrillRun, cause: String, now: Timestamp) {
    let failed = (Outcome::Failed, Some(cause));
    let subject = cluster.subject();
    next.journal.finish_one(subject, run.operation, failed, now);
    next.drills.run = None;
}

/// The cluster goes: what is under way ends with it.
pub(crate) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    if let Some(run) = next.drills.run.clone() {
        let cause = "the cluster was deleted before".to_owned();
        end(next, cluster, &run, cause, now);
    }
}

/// The pod goes with its cluster.
pub(crate) fn removal(observed: &Observed) -> Option<Step> {
    let pod = observed.drill.as_ref().filter(|pod| !pod.terminating)?;
    let uid = pod.uid.clone();
    Some(Step::RemoveDrill { uid })
}

/// The pod is there while its report is waited for.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    // Where others have to end first that may take hours: it is looked at again now and then.
    let asks = observed.drill_place == DrillPlace::Unknown;
    if asks && plan.waiting_for.is_none() && wants_drill(status, cluster, observed, now) {
        plan.waiting_for = Some("a place among the restore drills of all clusters");
    }
    if cluster
        .drills
        .iter()
        .any(|asked| !status.journal.knows(asked.operation))
        && asks
    {
        plan.waiting_for = Some("what a restore drill has to wait for");
    }
    let run = status.drills.run.as_ref();
    let wanted = run.filter(|_| !is_held(status) && !cluster.is_to_go());
    match (&observed.drill, wanted) {
        (None, Some(run)) if policy(cluster).is_some() => match run.not_before {
            Some(at) if now < at => plan.look_at = Some(at),
            _ => plan.steps.push(Step::MakeDrill {
                operation: run.operation,
                backup: run.backup.clone(),
            }),
        },
        (Some(pod), wanted) if !pod.terminating && !wanted.is_some_and(|run| is_its(run, pod)) => {
            let uid = pod.uid.clone();
            plan.steps.push(Step::RemoveDrill { uid });
        }
        _ => {}
    }
}
