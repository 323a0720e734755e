//! Changes of the primary are told from what its agent wrote down, each once, whenever it is seen.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{Lost, Step, Takeover, TakeoverCause, plan};
use pgo_events::{Event, EventType, Field};
use pgo_ids::Term;

use crate::{
    replicas::with_replicas,
    world::{World, desired},
};

fn takeover(term: u64, cause: TakeoverCause, at: Timestamp) -> Takeover {
    Takeover {
        term: Term(term),
        from: "hippo".to_owned(),
        to: "hippo-abcd".to_owned(),
        cause,
        timeline: 2,
        lsn: "0/3000148".to_owned(),
        heard: Some(at - SignedDuration::from_secs(4)),
        at,
    }
}

fn told_after(world: &mut World, seen: Takeover) -> Vec<Event> {
    let before = world.told().len();
    world.observed.takeover = Some(seen);
    world.reconcile();
    world.reconcile();
    world.told().split_off(before)
}

/// Types that tell of changes of the primary.
pub fn told() -> BTreeSet<EventType> {
    let mut world = World::new();
    world.settle();
    let now = world.now;
    let mut told = told_after(&mut world, takeover(2, TakeoverCause::Lost, now));
    told.extend(told_after(
        &mut world,
        takeover(3, TakeoverCause::Released, now),
    ));
    for (term, commits) in [(2, 3), (3, 0)] {
        told.extend(told_of_lost(&mut world, lost(term, Some(commits), false)));
    }
    told.iter().map(Event::event_type).collect()
}

fn lost(term: u64, commits: Option<u64>, synchronous: bool) -> Lost {
    Lost {
        term: Term(term),
        timeline: 1,
        fork: 0x300_0148,
        end: 0x300_01F8,
        commits,
        synchronous,
    }
}

/// What is told when the agent of the former primary says this.
fn told_of_lost(world: &mut World, lost: Lost) -> Vec<Event> {
    let before = world.told().len();
    let mut agents = world.observed.agents.values_mut();
    agents.next().expect("an agent").lost = Some(lost);
    world.reconcile();
    world.reconcile();
    world.told().split_off(before)
}

#[test]
fn what_a_former_primary_had_more_is_told_once_and_so_is_that_it_had_nothing() {
    let mut world = World::new();
    world.settle();
    let told = told_of_lost(&mut world, lost(2, Some(3), false));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].event_type(), EventType::CommitsLost);
    let wire = String::from_utf8(told[0].to_wire().expect("JSON")).expect("text");
    for words in [
        "\"lostbytes\": 176",
        "3 commits more",
        "0/30001F8",
        "0/3000148",
    ] {
        assert!(wire.contains(words), "{words} is not in {wire}");
    }
    let nothing = Lost {
        end: 0x300_0148,
        ..lost(5, Some(0), false)
    };
    for (says, expected) in [
        (lost(3, Some(3), true), EventType::NoCommitsLost),
        (lost(4, None, false), EventType::CommitsLost),
        (nothing, EventType::NoCommitsLost),
    ] {
        let told = told_of_lost(&mut world, says);
        let types: Vec<_> = told.iter().map(Event::event_type).collect();
        assert_eq!(types, [expected]);
    }
}

#[test]
fn each_of_two_former_primaries_that_are_back_is_told_though_both_follow_the_same() {
    let mut world = with_replicas(1);
    let before = world.told().len();
    let all: Vec<_> = world.observed.agents.keys().cloned().collect();
    for name in &all {
        let agent = world.observed.agents.get_mut(name).expect("an agent");
        agent.lost = Some(lost(3, Some(3), false));
        world.reconcile();
        world.reconcile();
    }
    assert_eq!(all.len(), 2);
    let told = world.told().split_off(before);
    let formers: Vec<_> = told
        .iter()
        .filter(|event| event.event_type() == EventType::CommitsLost)
        .map(|event| event.payload.text(Field::FormerPrimary).map(str::to_owned))
        .collect();
    let all: Vec<_> = all.iter().map(|name| Some(name.to_string())).collect();
    assert_eq!(formers, all);
}

#[test]
fn a_failover_is_told_once_with_who_why_how_long_and_from_where_on() {
    let mut world = World::new();
    world.settle();
    let at = world.now;
    let told = told_after(&mut world, takeover(2, TakeoverCause::Lost, at));
    let types: Vec<EventType> = told.iter().map(Event::event_type).collect();
    let expected = [
        EventType::FailoverCluster,
        EventType::FailoverClusterProgress,
        EventType::FailoverClusterCompleted,
    ];
    assert_eq!(types, expected);
    let (first, last) = (&told[0], &told[2]);
    assert_eq!(first.operationid, last.operationid);
    assert_eq!(
        first.eventheader.timestamp,
        at - SignedDuration::from_secs(4)
    );
    assert_eq!(
        (last.eventheader.timestamp, last.durationms),
        (at, Some(4000))
    );
    assert_eq!(last.cause.as_deref(), Some("hippo was not heard any more"));
    let payload = &last.payload;
    assert_eq!(payload.text(Field::Target), Some("hippo-abcd"));
    assert_eq!(payload.text(Field::FormerPrimary), Some("hippo"));
    let wire = String::from_utf8(last.to_wire().expect("JSON")).expect("text");
    assert!(wire.contains("\"timeline\": 2"), "{wire}");
    // Nobody knows before the former primary is back.
    assert!(!wire.contains("lostbytes"), "{wire}");
    assert_eq!(world.status.term, Term(2));
}

#[test]
fn a_switchover_has_lost_nothing_and_an_older_term_is_not_told_again() {
    let mut world = World::new();
    world.settle();
    let at = world.now;
    let told = told_after(&mut world, takeover(3, TakeoverCause::Released, at));
    let last = told.last().expect("told");
    assert_eq!(last.event_type(), EventType::SwitchoverClusterCompleted);
    let wire = String::from_utf8(last.to_wire().expect("JSON")).expect("text");
    assert!(wire.contains("\"lostbytes\": 0"), "{wire}");
    assert!(told_after(&mut world, takeover(2, TakeoverCause::Lost, at)).is_empty());
}

#[test]
fn the_lease_says_what_is_wanted_of_the_agents() {
    let mut world = World::new();
    world.settle();
    let mut wanted = desired();
    wanted.autofail = true;
    wanted.synchronous = 2;
    world.cluster.desired = Ok(wanted);
    let says = |world: &World, step: Step| {
        plan(&world.status, &world.cluster, &world.observed, world.now)
            .steps
            .contains(&step)
    };
    assert!(says(&world, Step::SetAutofail(true)) && says(&world, Step::SetSynchronous(2)));
    world.observed.autofail = Some(true);
    assert!(!says(&world, Step::SetAutofail(true)) && says(&world, Step::SetSynchronous(2)));
    world.observed.synchronous = Some(2);
    assert!(!says(&world, Step::SetSynchronous(2)));
}
