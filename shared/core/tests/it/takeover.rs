//! Changes of the primary are told from what its agent wrote down, each once, whenever it is seen.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{Step, Takeover, TakeoverCause, plan};
use pgo_events::{Event, EventType, Field};
use pgo_ids::Term;

use crate::world::{World, desired};

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
    told.iter().map(Event::event_type).collect()
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
