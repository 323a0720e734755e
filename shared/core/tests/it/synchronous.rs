//! For whose answers commits wait: what the status says, and that each fallback and each return is told once.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pgo_core::{Commits, Step};
use pgo_events::{Event, EventType, Field};

use crate::{
    replicas::{names, with_replicas},
    world::World,
};

/// What is told of a fallback and of the return from it.
pub fn of_fallback() -> BTreeSet<EventType> {
    let mut world = world();
    let (since, until) = (world.now, world.now);
    says(&mut world, 1, (Some(since), Some(until)));
    world.reconcile();
    world.told().iter().map(Event::event_type).collect()
}

/// A cluster whose commits are to wait for one of two replicas.
fn world() -> World {
    let mut world = with_replicas(2);
    world.wanted().synchronous = 1;
    world.wanted().sync_fallback = true;
    world
}

/// The primary's agent says for how many commits wait, of a rule of 1.
fn says(world: &mut World, wait_for: u32, times: (Option<Timestamp>, Option<Timestamp>)) {
    let primary = world.primary.clone();
    let agent = world.observed.agents.get_mut(&primary).expect("heard");
    let (fell_back, came_back) = times;
    agent.commits = Some(Commits {
        rule: 1,
        of: 2,
        wait_for,
        fell_back,
        came_back,
    });
}

fn told(world: &World) -> Vec<Event> {
    let mut told = world.told();
    told.retain(|event| {
        let name = event.event_type().about().name;
        ["SyncFallbackBegan", "SyncFallbackEnded"].contains(&name)
    });
    told
}

#[test]
fn what_the_user_chose_reaches_the_agents_by_the_lease() {
    let mut world = world();
    let steps = world.reconcile().steps;
    assert!(steps.contains(&Step::SetSyncFallback(true)), "{steps:?}");
    assert!(steps.contains(&Step::SetSynchronous(1)), "{steps:?}");
    let again = world.reconcile().steps;
    assert!(!again.contains(&Step::SetSyncFallback(true)), "{again:?}");
}

#[test]
fn a_fallback_and_the_return_from_it_are_told_once_with_how_long_it_took() {
    let mut world = world();
    says(&mut world, 1, (None, None));
    world.reconcile();
    assert!(told(&world).is_empty());
    let is = world.status.synchronous.clone().expect("said");
    assert_eq!((is.asked, is.rule, is.of, is.wait_for), (1, 1, 2, 1));

    let since = world.now;
    world.wait(1);
    says(&mut world, 0, (Some(since), None));
    world.reconcile();
    world.reconcile();
    assert_eq!(world.count("SyncFallbackBegan"), 1);
    assert_eq!(
        world.status.synchronous.as_ref().map(|is| is.wait_for),
        Some(0)
    );
    world.wait(9);
    let until = world.now;
    says(&mut world, 1, (Some(since), Some(until)));
    world.reconcile();
    world.reconcile();
    let told = told(&world);
    assert_eq!(told.len(), 2);
    assert_eq!(
        told[0].operationid, told[1].operationid,
        "they belong together"
    );
    assert_eq!(told[1].durationms, Some(10_000));
    for event in &told {
        let primary = event.payload.text(Field::Primary);
        assert_eq!(primary, Some(world.primary.as_str()));
    }
    world.check_stream();
}

#[test]
fn a_fallback_that_was_over_before_anybody_looked_is_told_all_the_same() {
    let mut world = world();
    let since = world.now;
    world.wait(60);
    let until = world.now;
    world.wait(60);
    says(&mut world, 1, (Some(since), Some(until)));
    world.reconcile();
    let told = told(&world);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].eventheader.timestamp, since);
    assert_eq!(told[1].eventheader.timestamp, until);
    assert_eq!(told[1].durationms, Some(60_000));
    world.reconcile();
    assert_eq!(world.count("SyncFallbackBegan"), 1);
}

#[test]
fn another_primary_goes_by_the_whole_rule_and_ends_the_fallback() {
    let mut world = world();
    let now = world.now;
    says(&mut world, 0, (Some(now), None));
    world.reconcile();
    let to = names(&world)[0].clone();
    world.primary_is_lost();
    world.reconcile();
    assert_eq!(world.count("SyncFallbackEnded"), 0);
    world.takes_over(&to, pgo_core::TakeoverCause::Lost);
    says(&mut world, 1, (None, None));
    world.reconcile();
    assert_eq!(world.count("SyncFallbackEnded"), 1);
    // It falls back itself, and that is another one.
    world.wait(5);
    let now = world.now;
    says(&mut world, 0, (Some(now), None));
    world.reconcile();
    assert_eq!(world.count("SyncFallbackBegan"), 2);
    world.check_stream();
}
