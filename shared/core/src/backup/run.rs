//! A backup: begun when it is asked for, handed to the repository's agent until that knows it, ended by what that tells.
//!
//! ```text
//! BackupRequest ─► judge ─┬─► refused: begun and failed at once
//!                         └─► steps: Begin, until the agent knows the operation ─► it runs ─► Done ─► completed, or failed: also where pages in it are damaged
//!                                                     └─ repository or primary away for too long ─► failed
//! ```

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, Field};
use pgo_ids::{InstanceName, OperationId};
use serde::{Deserialize, Serialize};

use super::{BackupSet, Done, damage, host, options::BackupOptions, primary, trouble};
use crate::{
    Cluster, ClusterStatus, Fixture, Kind, Observed, Operation, Outcome, Plan, Step, cancel,
    journal::Of, restore, silence, upgrade, volumes,
};

/// A request for a backup by pgBackRest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// Options for pgBackRest, or why what is asked for cannot be done.
    pub options: Result<BackupOptions, String>,
}

/// The backup that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupRun {
    /// Its operation.
    pub operation: OperationId,
    /// Arguments for pgBackRest.
    pub options: Vec<String>,
    /// The replica that its files are copied from; the primary where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<InstanceName>,
    /// Since when it could have begun.
    pub since: Timestamp,
    /// Whether the repository was seen at it.
    #[serde(default, skip_serializing_if = "crate::status::is_false")]
    pub begun: bool,
    /// Since when the repository cannot be heard, or not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Timestamp>,
}

/// How long a backup may wait until the repository begins it.
const BEGIN_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// How long it may wait for one whose volume is full, which cannot note what it begins.
const FULL_DEADLINE: SignedDuration = SignedDuration::from_secs(30);

/// How long a repository may be away: Kubernetes gives up a node after five minutes, and a pod comes up again on another one.
const AWAY_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

const BACKUP: Of<'static> = (Kind::CreateBackup, None);

/// Begins what is asked for, or says why not; goes on with what goes on.
pub(super) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    advance(next, cluster, observed, now);
    for request in &cluster.backups {
        if next.journal.knows(request.operation) {
            continue;
        }
        if !is_clear(observed, now) || !cluster.has_room(&next.journal) {
            break;
        }
        begin(next, cluster, observed, request, now);
        advance(next, cluster, observed, now);
    }
}

/// Who has just begun to listen cannot say that nobody serves.
fn is_clear(observed: &Observed, now: Timestamp) -> bool {
    observed.serving_primary().is_some() || !silence::is_brief(observed, now)
}

fn begin(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    request: &BackupRequest,
    now: Timestamp,
) {
    let (subject, id) = (cluster.subject(), request.operation);
    let operation = Operation::begun(BACKUP, id, &request.actor, cluster.generation, now);
    let judged = request.options.as_ref().map_err(Clone::clone);
    let judged = judged.and_then(|options| {
        let refusal = refusal(next, cluster, observed);
        match refusal.or_else(|| elsewhere(cluster, options)) {
            Some(reason) => Err(reason),
            None => Ok(options),
        }
    });
    let options = match judged {
        Ok(options) => options,
        Err(reason) => {
            next.journal.refuse(subject, operation, &reason, now);
            return;
        }
    };
    let asked = match options.arguments().as_slice() {
        [] => "it was asked for".to_owned(),
        _ => format!("it was asked for, with {options}"),
    };
    next.journal.begin(subject, operation, Some(asked));
    next.backup = Some(BackupRun {
        operation: id,
        options: options.arguments(),
        replica: replica(cluster, observed, options.from_primary(), None),
        since: now,
        begun: false,
        away: None,
    });
}

/// Why there can be no backup where it is to be.
fn elsewhere(cluster: &Cluster, options: &BackupOptions) -> Option<String> {
    let desired = cluster.desired.as_ref().ok()?;
    let backups = desired.backups.as_ref()?;
    backups.places.refusal(&options.arguments())
}

/// Why no backup can begin now.
fn refusal(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Option<String> {
    let name = &cluster.name;
    let desired = match &cluster.desired {
        Ok(desired) => desired,
        Err(invalid) => return Some(format!("the spec of {name} is not understood: {invalid}")),
    };
    if desired.backups.is_none() {
        return Some(format!("{name} does not have pgbackrest enabled"));
    }
    if !status.was_ready() {
        return Some("the cluster has not been ready yet".to_owned());
    }
    if let Some(running) = &status.backup {
        return Some(format!(
            "another backup is going on, operation {}; wait for its end, then ask again",
            running.operation
        ));
    }
    if let Some(reason) = restore::in_the_way(status) {
        return Some(reason);
    }
    if !observed.has(&[Fixture::Repository]) {
        return Some(format!("backrestrepo pod not found for cluster {name}"));
    }
    let Some(serving) = observed.serving_primary() else {
        return Some("primary pod is not in Ready state".to_owned());
    };
    if primary(cluster, observed).is_none() {
        return Some(format!(
            "pod {serving} was made before pgBackRest was asked for, and is to be made anew first: kubectl delete pod \
             {serving} -n {}",
            cluster.namespace
        ));
    }
    None
}

/// The replica that files are best copied from, so that the primary has less to do: one that follows closely. `now` is chosen
/// already, and stays while it can.
fn replica(
    cluster: &Cluster,
    observed: &Observed,
    from_primary: bool,
    now: Option<&InstanceName>,
) -> Option<InstanceName> {
    if from_primary {
        return None;
    }
    let mut fit = near(observed);
    fit.retain(|instance| host(cluster, observed, instance).is_some());
    let stays = fit.iter().find(|instance| Some(**instance) == now);
    stays.or(fit.first()).map(|instance| (*instance).clone())
}

/// The replicas that follow closely, the nearest first.
pub(crate) fn near(observed: &Observed) -> Vec<&InstanceName> {
    let serving = observed.serving_primary();
    let fit = observed.pods.keys().filter_map(|instance| {
        let agent = observed.agent(instance)?;
        let is_near = agent.follows() && agent.lag_bytes < upgrade::NEAR && !agent.volume_hangs;
        (is_near && Some(instance) != serving).then_some((agent.lag_bytes, instance))
    });
    let mut fit: Vec<_> = fit.collect();
    fit.sort();
    fit.into_iter().map(|(_, instance)| instance).collect()
}

/// What became of the backup that goes on.
fn advance(next: &mut ClusterStatus, cluster: &Cluster, observed: &Observed, now: Timestamp) {
    let Some(run) = next.backup.clone() else {
        return;
    };
    let agent = observed.repository.heard();
    if let Some(done) = agent.and_then(|agent| agent.end_of(run.operation)) {
        conclude(next, cluster, &run, done, now);
        return;
    }
    if let Some(cause) = cluster.cancelled(run.operation).filter(|_| !run.begun)
        && !agent.is_some_and(|agent| agent.works_for(run.operation))
    {
        fail(next, cluster, cancel::before(&cause), now);
        return;
    }
    let running = agent.and_then(|agent| agent.running.as_ref());
    if let Some(work) = running.filter(|work| work.operation == run.operation) {
        tell(next, cluster, (&run, work.percent), now);
        next.backup = Some(BackupRun {
            begun: true,
            away: None,
            ..run
        });
        return;
    }
    if observed.repository.works().is_none() {
        let since = run.away.unwrap_or(now);
        if now.duration_since(since) >= AWAY_DEADLINE {
            let why = trouble(observed, now).unwrap_or_default();
            let minutes = AWAY_DEADLINE.as_mins();
            fail(next, cluster, format!("after {minutes} min {why}"), now);
            return;
        }
        next.backup = Some(BackupRun {
            away: Some(since),
            ..run
        });
        return;
    }
    if run.begun {
        let cause =
            "the repository does not know of it any more: its volume was made anew meanwhile";
        fail(next, cluster, cause.to_owned(), now);
        return;
    }
    let since = if run.away.is_some() { now } else { run.since };
    if let Some(cause) = overdue(next, cluster, observed, now.duration_since(since)) {
        fail(next, cluster, cause, now);
        return;
    }
    let from_primary = run.options.iter().any(|one| one == "--no-backup-standby");
    let replica = replica(cluster, observed, from_primary, run.replica.as_ref());
    next.backup = Some(BackupRun {
        replica,
        since,
        away: None,
        ..run
    });
}

/// Why one is given up that could have begun so long ago; none while it may still begin.
fn overdue(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    waits: SignedDuration,
) -> Option<String> {
    let full = volumes::full_repository(cluster, observed).filter(|_| waits >= FULL_DEADLINE);
    if let Some(volume) = full {
        return Some(format!(
            "it could not begin: volume {volume} of the repository is full"
        ));
    }
    (waits >= BEGIN_DEADLINE).then(|| {
        let minutes = BEGIN_DEADLINE.as_mins();
        let why = unbegun(status, cluster, observed);
        format!("it could not begin within {minutes} min: {why}")
    })
}

/// Why a repository that can work has not begun.
fn unbegun(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> String {
    let stanza = status.stanza.as_ref();
    if !stanza.is_some_and(|stanza| stanza.made) {
        let error = stanza.and_then(|stanza| stanza.error.as_deref());
        return match error {
            Some(error) => {
                format!("the repository cannot be made ready for this database: {error}")
            }
            None => "the repository is not ready for this database yet".to_owned(),
        };
    }
    if primary(cluster, observed).is_none() {
        return "no instance serves as the primary and archives".to_owned();
    }
    let agent = observed.repository.works();
    match agent.and_then(|agent| agent.running.as_ref()) {
        Some(work) => format!("the repository is at work for operation {}", work.operation),
        None => "the repository does not take it; see the log of its pod".to_owned(),
    }
}

/// Tells that it runs, and each quarter of it.
fn tell(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    (run, percent): (&BackupRun, u32),
    now: Timestamp,
) {
    let from = match &run.replica {
        Some(replica) => format!("files are copied from replica {replica}"),
        None => "files are copied from the primary".to_owned(),
    };
    let quarters = [
        (25, "25 % copied"),
        (50, "50 % copied"),
        (75, "75 % copied"),
    ];
    let reached = quarters.iter().filter(|(at, _)| percent >= *at);
    let texts: Vec<&str> = core::iter::once(from.as_str())
        .chain(reached.map(|(_, text)| *text))
        .collect();
    let subject = cluster.subject();
    next.journal.progress(subject, BACKUP, (&texts, &[]), now);
}

fn conclude(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    run: &BackupRun,
    done: &Done,
    now: Timestamp,
) {
    if let Some(error) = &done.error {
        let stopped = cluster.stopped(run.operation, error);
        fail(next, cluster, stopped.unwrap_or_else(|| error.clone()), now);
        return;
    }
    let none = BackupSet::default();
    let backup = done.backup.as_ref().unwrap_or(&none);
    let source = match (backup.source.as_str(), &run.replica) {
        ("", Some(replica)) => replica.as_str(),
        ("", None) => "the primary",
        (source, _) => source,
    };
    let sets = core::iter::once(backup).chain(&done.more);
    let labels: Vec<&str> = sets.clone().map(|set| set.label.as_str()).collect();
    let told: Vec<String> = sets.clone().map(made).collect();
    let cause = format!(
        "{} backup {}, copied from {source}",
        backup.kind,
        told.join(" and ")
    );
    let text = |field, text: &str| (field, Datum::Text(text.to_owned()));
    let details = [
        text(Field::Path, &labels.join(",")),
        (Field::SizeBytes, Datum::Number(backup.size)),
        text(Field::StartWal, &backup.start_wal),
        text(Field::StopWal, &backup.stop_wal),
    ];
    let (subject, id) = (cluster.subject(), run.operation);
    next.backup = None;
    let Some(damaged) = sets.clone().find(|set| set.damaged) else {
        next.journal.complete(subject, id, (&cause, &details), now);
        return;
    };
    let cause = format!("{cause}: {}", damage::advice(damaged));
    let details = [&details[..], &[(Field::Damaged, Datum::Flag(true))]].concat();
    let how = (Outcome::Failed, Some(cause));
    next.journal
        .finish_one_with(subject, id, how, &details, now);
}

/// A backup, for people; that it is on the volume goes without saying.
fn made(set: &BackupSet) -> String {
    match set.place.as_str() {
        "s3" => format!("{} in s3", set.label),
        _ => set.label.clone(),
    }
}

fn fail(next: &mut ClusterStatus, cluster: &Cluster, cause: String, now: Timestamp) {
    let Some(run) = next.backup.take() else {
        return;
    };
    let failed = (Outcome::Failed, Some(cause));
    let subject = cluster.subject();
    next.journal.finish_one(subject, run.operation, failed, now);
}

/// The cluster goes: what is under way ends with it.
pub(super) fn break_off(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let cause = "the cluster was deleted before".to_owned();
    fail(next, cluster, cause, now);
}

/// Hands the backup to the repository, until that knows it.
pub(super) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    let mut waiting = cluster.backups.iter();
    if waiting.any(|request| !status.journal.knows(request.operation)) {
        plan.waiting_for = Some("the agents to be heard");
    }
    let Some(run) = &status.backup else {
        return;
    };
    let agent = observed.repository.works();
    if !run.begun || agent.is_none() {
        plan.waiting_for = Some("the repository to begin a backup");
    }
    let knows =
        agent.is_none_or(|agent| agent.running.is_some() || agent.end_of(run.operation).is_some());
    let stanza = status.stanza.as_ref();
    if run.begun || knows || !stanza.is_some_and(|stanza| stanza.made) {
        return;
    }
    let Some(primary) = primary(cluster, observed) else {
        return;
    };
    let replica = run.replica.as_ref();
    let desired = cluster.desired.as_ref().ok();
    let backups = desired.and_then(|desired| desired.backups.as_ref());
    let stays = backups.map(|backups| backups.retention.arguments());
    plan.steps.push(Step::Backup {
        operation: run.operation,
        primary,
        replica: replica.and_then(|replica| host(cluster, observed, replica)),
        options: [run.options.clone(), stays.unwrap_or_default()].concat(),
    });
}
