//! PGO itself: whether it is up, told as events of the one PgInstallation.

pub mod certificates;
pub mod policies;

use std::collections::BTreeMap;

use certificates::{CertificateFacts, ToldCertificate};
use jiff::{SignedDuration, Timestamp};
use pgo_events::{EventType, Eventing};
use pgo_ids::{Namespace, OperationId, StreamId};
use policies::PolicyFacts;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, ConditionStatus, Journal, Kind, Operation, Outcome, RESULT_READY, backlog,
    journal::{Notice, Subject},
    services::{LeaseFacts, Process, ProcessFacts, Told},
    status::set_condition,
};

/// Name of the condition that says whether a service has fewer replicas than it is to have.
pub const RESULT_DEGRADED: &str = "Degraded";

/// How long the services may take to be ready; images are pulled in that time.
const START_DEADLINE: SignedDuration = SignedDuration::from_mins(3);

/// How long what does PGO's work may take to end: longer than the 15 s after which Kubernetes kills it, shorter than the
/// 60 s that who takes PGO away waits for the word.
const STOP_DEADLINE: SignedDuration = SignedDuration::from_secs(40);

/// Whether PGO is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// It is.
    #[default]
    Running,
    /// It is about to be removed or scaled to nothing.
    Stopped,
}

/// What is there of PGO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Uid of the PgInstallation.
    pub stream: StreamId,
    /// The operator's namespace.
    pub namespace: Namespace,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether it is to run.
    pub wanted: Wanted,
    /// Version of the reconciler that asks.
    pub version: String,
    /// An id of what `pgo.yaml` says, and what the installer has set beside it.
    pub config: OperationId,
    /// Services that are not ready, with what is wrong.
    pub not_ready: Vec<String>,
    /// Services that are ready with fewer replicas than they are to have, with how many.
    pub reduced: Vec<String>,
    /// What of PGO still works, or is to: everything but those by which its stop is told (reconciler, nsqd, event). Looked
    /// at while it is to stop.
    pub at_work: Vec<String>,
    /// Whether nobody reconciled before this process: PGO was down.
    pub was_down: bool,
    /// Processes of its services.
    pub processes: Vec<ProcessFacts>,
    /// Leases of those that have a leader.
    pub leases: Vec<LeaseFacts>,
    /// Certificates of its services; none where they could not be read.
    pub certificates: Option<Vec<CertificateFacts>>,
    /// The policies of its namespaces; none where they could not be read.
    pub policies: Option<Vec<PolicyFacts>>,
}

/// The status of a PgInstallation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstallationStatus {
    /// `Starting`, `Running`, `Degraded`, `Stopping` or `Stopped`.
    pub phase: String,
    /// Version that runs.
    pub version: String,
    /// The `pgo.yaml` that was in force last; none before one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<OperationId>,
    /// `metadata.generation` this status is about.
    pub observed_generation: i64,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Processes of its services, as they were told last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// Who leads, by service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub leaders: BTreeMap<String, String>,
    /// What was told of the certificates of its services, by Secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, ToldCertificate>,
    /// Makings and deletions of policies that were told, as long as the policies do not show that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told_policies: Vec<OperationId>,
    /// Operations and outbox.
    #[serde(flatten)]
    pub journal: Journal,
}

/// The status that follows.
#[must_use]
pub fn commit(
    status: &InstallationStatus,
    installation: &Installation,
    eventing: Eventing,
    now: Timestamp,
) -> InstallationStatus {
    let mut next = status.clone();
    backlog::open(&mut next.journal, subject(installation), eventing, now);
    next.observed_generation = installation.generation;
    match installation.wanted {
        Wanted::Running => start(&mut next, installation, now),
        Wanted::Stopped => stop(&mut next, installation, now),
    }
    next.journal.forget(|_| false);
    backlog::close(&mut next.journal, subject(installation), eventing, now);
    let (condition, reason, message) = backlog::condition(&next.journal.outbox);
    let at = (installation.generation, now);
    set_condition(&mut next.conditions, condition, reason, &message, at);
    next
}

fn subject(installation: &Installation) -> Subject<'_> {
    Subject {
        stream: &installation.stream,
        namespace: &installation.namespace,
        cluster: None,
    }
}

fn operation(
    installation: &Installation,
    journal: &Journal,
    kind: Kind,
    now: Timestamp,
) -> Operation {
    let what = format!("{kind:?} after {}", journal.outbox.last);
    let id = OperationId::derived(&installation.stream, &what);
    Operation::begun((kind, None), id, "", installation.generation, now)
}

fn start(next: &mut InstallationStatus, installation: &Installation, now: Timestamp) {
    let subject = subject(installation);
    let again = "PGO was started again before all of it had stopped".to_owned();
    let interrupted = (Outcome::Failed, Some(again));
    next.journal
        .finish(subject, (Kind::StopPgo, None), interrupted, now);
    let newest = next.journal.operations.last();
    let never_or_stopped = newest.is_none_or(|newest| newest.kind == Kind::StopPgo);
    let failed = newest.is_some_and(|newest| newest.outcome == Some(Outcome::Failed));
    let cause = if never_or_stopped {
        Some(None)
    } else if next.version != installation.version {
        Some(Some(format!(
            "version {} follows {}",
            installation.version, next.version
        )))
    } else if installation.was_down && newest.is_some_and(|newest| !newest.is_running()) {
        Some(Some("nothing of PGO ran for a while".to_owned()))
    } else if failed && installation.not_ready.is_empty() {
        Some(Some("what was missing is there now".to_owned()))
    } else {
        None
    };
    if let Some(cause) = cause {
        // An operation that runs already goes on under the new version.
        if next.journal.running(Kind::StartPgo).is_none() {
            let operation = operation(installation, &next.journal, Kind::StartPgo, now);
            next.journal.begin(subject, operation, cause);
        }
    }
    tell_of_config(next, installation, now);
    next.version.clone_from(&installation.version);
    tell_of_services(next, installation, now);
    tell_of_certificates(next, installation, now);
    tell_of_policies(next, installation, now);
    let missing = installation.not_ready.join("; ");
    let late = next
        .journal
        .running(Kind::StartPgo)
        .is_some_and(|starting| now.duration_since(starting.started) >= START_DEADLINE);
    let (phase, ready) = if installation.not_ready.is_empty() {
        let completed = (Outcome::Completed, None);
        next.journal
            .finish(subject, (Kind::StartPgo, None), completed, now);
        ("Running", ConditionStatus::True)
    } else if late {
        let failed = (Outcome::Failed, Some(format!("not ready: {missing}")));
        next.journal
            .finish(subject, (Kind::StartPgo, None), failed, now);
        ("Degraded", ConditionStatus::False)
    } else if next.journal.running(Kind::StartPgo).is_some() {
        ("Starting", ConditionStatus::False)
    } else {
        ("Degraded", ConditionStatus::False)
    };
    let message = if missing.is_empty() {
        "every service is ready".to_owned()
    } else {
        format!("not ready: {missing}")
    };
    describe(next, installation, (phase, ready), &message, now);
    describe_replicas(next, installation, now);
}

/// Whether a service serves without all of its replicas: it is ready, and yet one more failure away from not being so.
fn describe_replicas(next: &mut InstallationStatus, installation: &Installation, now: Timestamp) {
    let (status, reason, message) = if installation.reduced.is_empty() {
        let message = "every service that is ready has all its replicas".to_owned();
        (ConditionStatus::False, "AllReplicas", message)
    } else {
        let message = installation.reduced.join("; ");
        (ConditionStatus::True, "FewerReplicas", message)
    };
    set_condition(
        &mut next.conditions,
        (RESULT_DEGRADED, status),
        reason,
        &message,
        (installation.generation, now),
    );
}

/// Another version may read more of the same file: that is no change of it.
fn tell_of_config(next: &mut InstallationStatus, installation: &Installation, now: Timestamp) {
    let former = next.config.replace(installation.config);
    let is_another = former.is_some_and(|former| former != installation.config);
    if !is_another || next.version != installation.version {
        return;
    }
    let notice = Notice {
        event_type: EventType::PgoUpdateConfig,
        about: format!("pgo.yaml after {}", next.journal.outbox.last),
        time: None,
        cause: "what ConfigMap pgo-config and the images set by the installer say has changed"
            .to_owned(),
        since: None,
        details: Vec::new(),
    };
    next.journal.tell(subject(installation), notice, now);
}

fn tell_of_services(next: &mut InstallationStatus, installation: &Installation, now: Timestamp) {
    let mut told = Told {
        journal: &mut next.journal,
        subject: subject(installation),
        now,
    };
    next.processes = told.processes(&next.processes, &installation.processes);
    next.leaders = told.leaders(&next.leaders, &installation.leases);
}

fn tell_of_policies(next: &mut InstallationStatus, installation: &Installation, now: Timestamp) {
    if let Some(found) = &installation.policies {
        let known = (&mut next.journal, next.told_policies.as_slice());
        next.told_policies = policies::tell(known, &installation.stream, found, now);
    }
}

fn tell_of_certificates(
    next: &mut InstallationStatus,
    installation: &Installation,
    now: Timestamp,
) {
    let Some(found) = &installation.certificates else {
        return;
    };
    let known = (&next.certificates, found.as_slice());
    next.certificates = certificates::tell(&mut next.journal, subject(installation), known, now);
    let generation = installation.generation;
    certificates::describe(&mut next.conditions, found, generation, now);
}

/// A stop is completed when nothing of PGO works any more but those by which it is told: they go after it, since nobody
/// could tell of it then.
fn stop(next: &mut InstallationStatus, installation: &Installation, now: Timestamp) {
    begin_stop(next, installation, now);
    let stopping = next.journal.running(Kind::StopPgo);
    let late = stopping.is_some_and(|stop| now.duration_since(stop.started) >= STOP_DEADLINE);
    let told = next.journal.newest(Kind::StopPgo);
    let completed = told.is_some_and(|stop| stop.outcome == Some(Outcome::Completed));
    if !completed {
        tell_of_services(next, installation, now);
    }
    let works = format!("still at work: {}", installation.at_work.join("; "));
    let how = if installation.at_work.is_empty() {
        Some((Outcome::Completed, None))
    } else if late {
        Some((Outcome::Failed, Some(works.clone())))
    } else {
        None
    };
    if let Some(how) = how {
        let subject = subject(installation);
        next.journal
            .finish(subject, (Kind::StopPgo, None), how, now);
    }
    if installation.at_work.is_empty() {
        // What is left ends now; who begins again is told anew.
        next.processes.clear();
        next.leaders.clear();
    }
    let outbox = &next.journal.outbox;
    let (phase, message) = if !installation.at_work.is_empty() {
        ("Stopping", works.as_str())
    } else if !outbox.waits() || outbox.unpublished.is_some() {
        ("Stopped", "everything was told; what is left may go")
    } else {
        ("Stopping", "the last events are being stored")
    };
    let ready = ConditionStatus::False;
    describe(next, installation, (phase, ready), message, now);
}

/// A stop begins once, and again where one failed and what worked on then does so no more.
fn begin_stop(next: &mut InstallationStatus, installation: &Installation, now: Timestamp) {
    let subject = subject(installation);
    let newest = next.journal.operations.last();
    let cause = match newest.filter(|newest| newest.kind == Kind::StopPgo) {
        None => None,
        Some(stop) if stop.outcome == Some(Outcome::Failed) && installation.at_work.is_empty() => {
            Some("what was still at work has ended".to_owned())
        }
        Some(_) => return,
    };
    let interrupted = "PGO was stopped before it was ready".to_owned();
    let failed = (Outcome::Failed, Some(interrupted));
    next.journal
        .finish(subject, (Kind::StartPgo, None), failed, now);
    let operation = operation(installation, &next.journal, Kind::StopPgo, now);
    next.journal.begin(subject, operation, cause);
}

fn describe(
    next: &mut InstallationStatus,
    installation: &Installation,
    (phase, ready): (&str, ConditionStatus),
    message: &str,
    now: Timestamp,
) {
    phase.clone_into(&mut next.phase);
    set_condition(
        &mut next.conditions,
        (RESULT_READY, ready),
        phase,
        message,
        (installation.generation, now),
    );
}
