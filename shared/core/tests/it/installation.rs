//! Start and stop of PGO itself.

use jiff::{SignedDuration, Timestamp};
use pgo_core::installation::{Installation, InstallationStatus, Wanted, commit};

use crate::world::{on, types};

pub fn pgo() -> Installation {
    Installation {
        stream: "uid-pgo".parse().expect("a stream"),
        namespace: "pgo".parse().expect("a namespace"),
        generation: 1,
        wanted: Wanted::Running,
        version: "4.1.0".to_owned(),
        not_ready: vec!["event".to_owned()],
        was_down: false,
        processes: Vec::new(),
        leases: Vec::new(),
    }
}

fn now() -> Timestamp {
    "2026-10-15T10:11:12Z".parse().expect("a time")
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
fn a_start_that_takes_too_long_fails_with_what_is_missing_and_is_taken_up_again() {
    let mut installation = pgo();
    let status = commit(&InstallationStatus::default(), &installation, on(0), now());
    let late = now() + SignedDuration::from_mins(4);
    let status = commit(&status, &installation, on(1), late);
    let failure = status.journal.outbox.entries.last().expect("an event");
    assert_eq!(
        failure.payload.text(pgo_events::Field::ErrorMessage),
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
