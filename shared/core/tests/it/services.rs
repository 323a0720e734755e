//! Processes of PGO and their leaders: each start and end is told once, with its cause.

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    installation::{Installation, InstallationStatus, Wanted, commit},
    services::{Ending, LeaseFacts, ProcessFacts},
};
use pgo_events::{Event, Field};
use proptest::prelude::*;

use crate::{installation::pgo, world::on};

fn at(seconds: i64) -> Timestamp {
    let begin: Timestamp = "2026-10-15T10:11:12Z".parse().expect("a time");
    begin + SignedDuration::from_secs(seconds)
}

/// A process that runs.
pub fn process(service: &str, uid: &str) -> ProcessFacts {
    ProcessFacts {
        service: service.to_owned(),
        pod: format!("{service}-{uid}"),
        uid: uid.to_owned(),
        running: Some(at(0)),
        ended: None,
    }
}

pub fn lease(service: &str, holder: Option<&str>) -> LeaseFacts {
    LeaseFacts {
        service: service.to_owned(),
        holder: holder.map(str::to_owned),
        until: None,
    }
}

fn killed(began: i64, ended: i64) -> Option<Ending> {
    Some(Ending {
        began: Some(at(began)),
        at: Some(at(ended)),
        exit_code: 137,
        reason: "OOMKilled".to_owned(),
    })
}

/// PGO, what was told of it, and the time.
struct Pgo {
    facts: Installation,
    status: InstallationStatus,
    now: Timestamp,
}

impl Pgo {
    fn new() -> Self {
        let mut facts = pgo();
        facts.not_ready.clear();
        let mut pgo = Self {
            facts,
            status: InstallationStatus::default(),
            now: at(0),
        };
        pgo.look();
        pgo
    }

    /// What a look tells that was not told before.
    fn look(&mut self) -> Vec<Event> {
        let before = self.status.journal.outbox.last;
        let next = commit(&self.status, &self.facts, on(before.0), self.now);
        let again = commit(&next, &self.facts, on(before.0), self.now);
        assert_eq!(next, again, "told twice");
        self.status = next;
        self.status.journal.outbox.entries.clone()
    }
}

fn lines(told: &[Event]) -> Vec<String> {
    told.iter()
        .map(|event| {
            let cause = event.cause.as_deref().unwrap_or_default();
            format!("{} {cause}", event.event_type())
        })
        .collect()
}

#[test]
fn a_process_is_told_when_it_begins_and_when_its_pod_is_gone() {
    let mut pgo = Pgo::new();
    pgo.facts.processes = vec![process("apiserver", "a")];
    let told = pgo.look();
    assert_eq!(lines(&told), ["ServiceStarted apiserver-a runs"]);
    assert_eq!(told[0].payload.text(Field::Service), Some("apiserver"));
    assert_eq!(told[0].payload.text(Field::Pod), Some("apiserver-a"));
    pgo.facts.processes = vec![process("apiserver", "b")];
    assert_eq!(
        lines(&pgo.look()),
        [
            "ServiceStopped apiserver-a: its pod is gone",
            "ServiceStarted apiserver-b runs"
        ]
    );
}

#[test]
fn a_restart_that_nobody_saw_is_told_with_its_cause_and_its_times() {
    let mut pgo = Pgo::new();
    pgo.facts.processes = vec![process("event", "a")];
    pgo.look();
    pgo.now = at(60);
    let event = &mut pgo.facts.processes[0];
    (event.ended, event.running) = (killed(0, 40), Some(at(42)));
    let told = pgo.look();
    assert_eq!(
        lines(&told),
        [
            "ServiceStopped event-a: exit code 137, signal 9 (OOMKilled: out of memory)",
            "ServiceStarted event-a runs"
        ]
    );
    let times: Vec<_> = told.iter().map(|e| e.eventheader.timestamp).collect();
    assert_eq!(times, [at(40), at(42)]);
}

#[test]
fn an_end_that_is_seen_before_the_next_begin_is_told_once() {
    let mut pgo = Pgo::new();
    pgo.facts.processes = vec![process("nsqd", "a")];
    pgo.look();
    (pgo.facts.processes[0].ended, pgo.facts.processes[0].running) = (killed(0, 40), None);
    assert_eq!(pgo.look().len(), 1);
    pgo.facts.processes[0].running = Some(at(50));
    assert_eq!(lines(&pgo.look()), ["ServiceStarted nsqd-a runs"]);
    // It ended again, and runs again, between two looks at it while it did not run.
    pgo.facts.processes[0].running = None;
    pgo.facts.processes[0].ended = killed(50, 60);
    pgo.look();
    pgo.facts.processes[0].ended = killed(62, 64);
    let told = lines(&pgo.look());
    assert_eq!(told[0], "ServiceStarted nsqd-a runs");
    assert!(told[1].starts_with("ServiceStopped"), "{told:?}");
}

#[test]
fn a_leader_that_gives_its_lease_back_loses_it_and_the_next_is_elected() {
    let mut pgo = Pgo::new();
    pgo.facts.leases = vec![lease("scheduler", Some("one"))];
    assert_eq!(lines(&pgo.look()), ["LeaderElected one leads"]);
    pgo.facts.leases = vec![lease("scheduler", Some(""))];
    assert_eq!(lines(&pgo.look()), ["LeaderLost it gave its Lease back"]);
    pgo.facts.leases = vec![lease("scheduler", Some("two"))];
    assert_eq!(lines(&pgo.look()), ["LeaderElected two leads"]);
    pgo.facts.leases = vec![lease("scheduler", Some("one"))];
    assert_eq!(
        lines(&pgo.look()),
        ["LeaderLost one leads now", "LeaderElected one leads"]
    );
}

#[test]
fn a_leader_that_does_not_renew_its_lease_has_lost_it() {
    let mut pgo = Pgo::new();
    let mut held = lease("scheduler", Some("one"));
    held.until = Some(at(15));
    pgo.facts.leases = vec![held];
    pgo.look();
    pgo.now = at(20);
    assert!(pgo.look().is_empty());
    pgo.now = at(21);
    assert_eq!(
        lines(&pgo.look()),
        ["LeaderLost it does not renew its Lease"]
    );
}

#[test]
fn a_stop_of_pgo_tells_of_the_services_that_ended_before_and_its_next_start_of_all() {
    let mut pgo = Pgo::new();
    pgo.facts.processes = vec![process("apiserver", "a")];
    pgo.look();
    pgo.facts.wanted = Wanted::Stopped;
    pgo.facts.processes.clear();
    let told = lines(&pgo.look());
    assert_eq!(told[1], "ServiceStopped apiserver-a: its pod is gone");
    assert!(told[2].starts_with("PGOStopCompleted"), "{told:?}");
    pgo.facts.wanted = Wanted::Running;
    pgo.facts.processes = vec![process("apiserver", "b")];
    let told = lines(&pgo.look());
    assert!(
        told.contains(&"ServiceStarted apiserver-b runs".to_owned()),
        "{told:?}"
    );
    assert!(!told.iter().any(|line| line.starts_with("ServiceStopped")));
}

/// What may become of the pod of a service between two looks.
#[derive(Clone, Debug)]
enum Fate {
    Restarts,
    Ends,
    Begins,
    Replaced,
    Gone,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Restarts),
        Just(Fate::Ends),
        Just(Fate::Begins),
        Just(Fate::Replaced),
        Just(Fate::Gone),
    ]
}

proptest! {
    #[test]
    fn starts_and_stops_of_a_pod_alternate_whatever_becomes_of_it(
        fates in prop::collection::vec((fate(), any::<bool>()), 0..30),
    ) {
        let mut pgo = Pgo::new();
        let mut told = Vec::new();
        let mut seconds = 0;
        for (number, (fate, looks)) in fates.into_iter().enumerate() {
            seconds += 10;
            pgo.now = at(seconds);
            let present = pgo.facts.processes.first_mut();
            match (fate, present) {
                (Fate::Restarts, Some(process)) => {
                    process.ended = killed(seconds - 9, seconds - 5);
                    process.running = Some(at(seconds));
                }
                (Fate::Ends, Some(process)) if process.running.is_some() => {
                    process.ended = killed(seconds - 9, seconds - 5);
                    process.running = None;
                }
                (Fate::Begins, Some(process)) => process.running = process.running.or(Some(at(seconds))),
                (Fate::Replaced, _) | (Fate::Begins, None) => {
                    let fresh = process("apiserver", &format!("u{number}"));
                    pgo.facts.processes = vec![ProcessFacts { running: Some(at(seconds)), ..fresh }];
                }
                (Fate::Gone, _) => pgo.facts.processes.clear(),
                _ => {}
            }
            if looks {
                told.extend(pgo.look());
            }
        }
        told.extend(pgo.look());
        let mut runs = std::collections::BTreeMap::new();
        for event in &told {
            let Some(pod) = event.payload.text(Field::Pod) else { continue };
            let starts = event.event_type().as_str() == "ServiceStarted";
            let before = runs.insert(pod.to_owned(), starts).unwrap_or(false);
            prop_assert!(before != starts, "{} after the same of {pod}", event.event_type());
        }
        let running = pgo.facts.processes.first().is_some_and(|p| p.running.is_some());
        prop_assert_eq!(runs.values().filter(|runs| **runs).count(), usize::from(running));
    }
}
