//! Start and stop of PGO itself.

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    Condition, ConditionStatus,
    installation::{
        Installation, InstallationStatus, RESULT_DEGRADED, Wanted,
        certificates::{CertificateFacts, RESULT_CERTIFICATES, Renewal},
        commit,
    },
};
use pgo_events::Field;
use pgo_ids::OperationId;

use crate::{
    services::process,
    world::{on, types},
};

pub fn pgo() -> Installation {
    Installation {
        stream: "uid-pgo".parse().expect("a stream"),
        namespace: "pgo".parse().expect("a namespace"),
        generation: 1,
        wanted: Wanted::Running,
        version: "4.1.0".to_owned(),
        config: config("at first"),
        not_ready: vec!["event".to_owned()],
        reduced: Vec::new(),
        at_work: Vec::new(),
        was_down: false,
        processes: Vec::new(),
        leases: Vec::new(),
        certificates: None,
        policies: None,
    }
}

/// The id of a `pgo.yaml`.
pub fn config(text: &str) -> OperationId {
    OperationId::derived(&"uid-pgo".parse().expect("a stream"), text)
}

fn now() -> Timestamp {
    "2026-10-15T10:11:12Z".parse().expect("a time")
}

fn of<'a>(status: &'a InstallationStatus, name: &str) -> &'a Condition {
    let mut all = status.conditions.iter();
    let found = all.find(|condition| condition.name == name);
    found.unwrap_or_else(|| panic!("no condition {name}"))
}

fn story(status: &InstallationStatus) -> Vec<&'static str> {
    types(&status.journal.outbox.entries)
}

#[test]
fn a_start_is_completed_when_every_service_is_ready() {
    let mut installation = pgo();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    assert_eq!(
        (story(&status), status.phase.as_str()),
        (vec!["PGOStart"], "Starting")
    );
    installation.not_ready.clear();
    let status = commit(&status, &installation, on(0), now());
    assert_eq!(story(&status), ["PGOStart", "PGOStartCompleted"]);
    let again = commit(&status, &installation, on(0), now());
    assert_eq!(again, status);
}

#[test]
fn a_changed_configuration_is_told_once_and_that_of_another_version_is_none() {
    let mut installation = pgo();
    installation.not_ready.clear();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    assert_eq!(story(&status), ["PGOStart", "PGOStartCompleted"]);
    installation.config = config("changed");
    let status = commit(&status, &installation, on(2), now());
    assert_eq!(story(&status), ["PGOUpdateConfig"]);
    assert_eq!(commit(&status, &installation, on(2), now()), status);
    // Another version reads the same file otherwise.
    installation.version = "4.1.1".to_owned();
    installation.config = config("read by another version");
    let status = commit(&status, &installation, on(3), now());
    assert_eq!(story(&status), ["PGOStart", "PGOStartCompleted"]);
    assert_eq!(status.config, Some(installation.config));
}

#[test]
fn a_start_that_takes_too_long_fails_with_what_is_missing_and_is_taken_up_again() {
    let mut installation = pgo();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    let late = now() + SignedDuration::from_mins(4);
    let status = commit(&status, &installation, on(1), late);
    let failure = status.journal.outbox.entries.last().expect("an event");
    assert_eq!(
        failure.payload.text(Field::ErrorMessage),
        Some("not ready: event")
    );
    installation.not_ready.clear();
    let status = commit(&status, &installation, on(1), late);
    assert_eq!(
        story(&status),
        ["PGOStartFailure", "PGOStart", "PGOStartCompleted"]
    );
}

#[test]
fn a_stop_is_told_before_pgo_goes_and_a_later_start_is_one_of_its_own() {
    let mut installation = pgo();
    installation.not_ready.clear();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    installation.wanted = Wanted::Stopped;
    let status = commit(&status, &installation, on(2), now());
    assert_eq!(story(&status), ["PGOStop", "PGOStopCompleted"]);
    assert_eq!(status.phase, "Stopping");
    let status = commit(&status, &installation, on(4), now());
    assert_eq!(status.phase, "Stopped");
    installation.wanted = Wanted::Running;
    let status = commit(&status, &installation, on(4), now());
    assert_eq!(story(&status), ["PGOStart", "PGOStartCompleted"]);
    let ids: Vec<_> = status.journal.operations.iter().map(|o| o.id).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
}

/// PGO that ran and is to stop, with its apiserver still at work.
fn stopping() -> (Installation, InstallationStatus) {
    let mut installation = pgo();
    installation.not_ready.clear();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    installation.wanted = Wanted::Stopped;
    installation.at_work = vec!["pod apiserver-1".to_owned()];
    let status = commit(&status, &installation, on(2), now());
    (installation, status)
}

#[test]
fn a_stop_is_completed_only_when_nothing_is_at_work_any_more() {
    let (mut installation, status) = stopping();
    assert_eq!(story(&status), ["PGOStop"]);
    let ready = of(&status, "Ready");
    assert_eq!(
        (status.phase.as_str(), ready.message.as_str()),
        ("Stopping", "still at work: pod apiserver-1")
    );
    let again = commit(&status, &installation, on(2), now());
    assert_eq!(again, status, "nothing is told twice");
    installation.at_work.clear();
    let status = commit(&status, &installation, on(3), now());
    assert_eq!(story(&status), ["PGOStopCompleted"]);
    assert_eq!(status.phase, "Stopping", "it is not stored yet");
    let status = commit(&status, &installation, on(4), now());
    assert_eq!(status.phase, "Stopped");
}

#[test]
fn a_stop_fails_with_what_is_still_at_work_and_is_taken_up_again_when_that_has_ended() {
    let (mut installation, status) = stopping();
    let late = now() + SignedDuration::from_secs(41);
    let status = commit(&status, &installation, on(3), late);
    assert_eq!(story(&status), ["PGOStopFailure"]);
    let failure = &status.journal.outbox.entries[0];
    assert_eq!(
        failure.payload.text(Field::ErrorMessage),
        Some("still at work: pod apiserver-1")
    );
    assert_eq!(status.phase, "Stopping");
    let again = commit(&status, &installation, on(3), late);
    assert_eq!(again, status, "it has failed once");
    installation.at_work.clear();
    let status = commit(&status, &installation, on(4), late);
    assert_eq!(story(&status), ["PGOStop", "PGOStopCompleted"]);
}

#[test]
fn a_stop_that_is_called_off_fails_and_the_start_is_one_of_its_own() {
    let (mut installation, status) = stopping();
    installation.wanted = Wanted::Running;
    let status = commit(&status, &installation, on(3), now());
    assert_eq!(
        story(&status),
        ["PGOStopFailure", "PGOStart", "PGOStartCompleted"]
    );
    assert!(status.journal.operations.iter().all(|o| !o.is_running()));
}

#[test]
fn what_ends_during_a_stop_is_told_and_what_is_left_then_is_not() {
    let mut installation = pgo();
    installation.not_ready.clear();
    installation.processes = vec![process("apiserver", "uid-1"), process("event", "uid-2")];
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    installation.wanted = Wanted::Stopped;
    installation.at_work = vec!["pod apiserver-0".to_owned()];
    let status = commit(&status, &installation, on(4), now());
    assert_eq!(story(&status), ["PGOStop"]);
    installation.at_work.clear();
    installation.processes.remove(0);
    let status = commit(&status, &installation, on(5), now());
    assert_eq!(story(&status), ["ServiceStopped", "PGOStopCompleted"]);
    let again = commit(&status, &installation, on(7), now());
    assert_eq!(story(&again), Vec::<&str>::new(), "event is no news");
}

#[test]
fn fewer_replicas_are_told_beside_being_ready() {
    let mut installation = pgo();
    installation.not_ready.clear();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    assert_eq!(of(&status, RESULT_DEGRADED).status, ConditionStatus::False);
    let lacking = "event has 1 of 2 replicas ready";
    installation.reduced = vec![lacking.to_owned()];
    let status = commit(&status, &installation, on(2), now());
    assert_eq!(of(&status, "Ready").status, ConditionStatus::True);
    let degraded = of(&status, RESULT_DEGRADED);
    assert_eq!(
        (degraded.status, degraded.message.as_str()),
        (ConditionStatus::True, lacking)
    );
}

#[test]
fn a_new_version_is_a_new_start() {
    let mut installation = pgo();
    installation.not_ready.clear();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    installation.version = "4.2.0".to_owned();
    let status = commit(&status, &installation, on(2), now());
    assert_eq!(story(&status), ["PGOStart", "PGOStartCompleted"]);
    let cause = status.journal.outbox.entries[0].cause.clone();
    assert_eq!(cause.as_deref(), Some("version 4.2.0 follows 4.1.0"));
}

/// What was told of certificates, with the cause.
fn of_certificates(status: &InstallationStatus) -> Vec<(&'static str, String)> {
    let about = status.journal.outbox.entries.iter();
    about
        .filter(|event| event.payload.text(Field::Certificate).is_some())
        .map(|event| {
            let cause = event.cause.clone().unwrap_or_default();
            (event.event_type().as_str(), cause)
        })
        .collect()
}

fn condition(status: &InstallationStatus) -> (ConditionStatus, String) {
    let found = of(status, RESULT_CERTIFICATES);
    (found.status, found.message.clone())
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn certificate(secret: &str, until: Timestamp, renewal: Renewal) -> CertificateFacts {
    CertificateFacts {
        secret: secret.to_owned(),
        until,
        renewal,
    }
}

#[test]
fn that_a_certificate_of_a_service_ends_is_told_three_times_and_that_it_was_renewed() {
    let mut installation = pgo();
    installation.not_ready.clear();
    let until = now() + days(365);
    let event = |until| certificate("pgo-event-tls", until, Renewal::ByInstaller);
    installation.certificates = Some(vec![event(until)]);
    let mut status = commit(&InstallationStatus::default(), &installation, on(0), now());
    assert_eq!(of_certificates(&status), [], "the first is no news");
    assert_eq!(condition(&status).0, ConditionStatus::False);
    let mut at = Vec::new();
    for day in 0..400 {
        let before = of_certificates(&status).len();
        status = commit(&status, &installation, on(0), now() + days(day));
        if of_certificates(&status).len() > before {
            at.push(365 - day);
        }
    }
    assert_eq!(at, [30, 7, 1]);
    let told = of_certificates(&status);
    for (event_type, cause) in &told {
        assert_eq!(*event_type, "CertificateWarning");
        assert!(
            cause.starts_with("Secret pgo-event-tls ends 2027-10-15"),
            "{cause}"
        );
        assert!(
            cause.ends_with("run the installer again, which renews it"),
            "{cause}"
        );
    }
    let (state, message) = condition(&status);
    assert_eq!(state, ConditionStatus::True);
    assert!(
        message.starts_with("Secret pgo-event-tls ended "),
        "{message}"
    );

    installation.certificates = Some(vec![event(until + days(365))]);
    let renewed = commit(&status, &installation, on(0), now() + days(400));
    assert_eq!(of_certificates(&renewed)[3].0, "CertificateRenewed");
    assert_eq!(condition(&renewed).0, ConditionStatus::False);
    let again = commit(&renewed, &installation, on(0), now() + days(400));
    assert_eq!(again, renewed);
}

#[test]
fn who_first_looks_late_is_told_once_and_of_a_secret_made_anew_that_it_was_renewed() {
    let mut installation = pgo();
    installation.not_ready.clear();
    let of = |days_left| {
        let until = now() + days(days_left);
        vec![certificate("pgo.tls", until, Renewal::ByRemoval)]
    };
    installation.certificates = Some(of(5));
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    let told = of_certificates(&status);
    assert_eq!(told.len(), 1);
    assert!(told[0].1.contains("delete that Secret"), "{}", told[0].1);
    for unread in [None, Some(Vec::new())] {
        installation.certificates = unread;
        let gone = commit(&status, &installation, on(0), now());
        installation.certificates = Some(of(365));
        let renewed = commit(&gone, &installation, on(0), now());
        assert_eq!(of_certificates(&renewed)[1].0, "CertificateRenewed");
    }
}
