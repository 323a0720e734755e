//! A database that does not answer any more, and one that answers again.

use pgo_core::{AgentPhase, Phase};
use pgo_events::{Datum, EventType, Field};
use proptest::prelude::*;

use crate::world::{World, types};

fn lose_the_pod(world: &mut World) {
    world.observed.pods.clear();
    let endpoints = world.observed.endpoints.as_mut();
    endpoints.expect("an EndpointSlice").addresses.clear();
}

/// What was told since `before` events.
fn since(world: &World, before: usize) -> Vec<&'static str> {
    types(&world.told()[before..])
}

#[test]
fn a_pod_that_is_lost_later_is_made_again_and_told_as_an_interruption_not_as_a_creation() {
    let mut world = World::new();
    world.settle();
    let before = world.told().len();
    lose_the_pod(&mut world);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::NotReady);
    assert_eq!(since(&world, before), ["PrimaryNotReady"]);
    world.wait(3);
    world.settle();
    assert_eq!(since(&world, before), ["PrimaryNotReady", "PrimaryReady"]);
    let told = world.told();
    let [lost, back] = &told[before..] else {
        panic!("{told:?}")
    };
    assert_eq!(lost.operationid, back.operationid);
    assert!(back.durationms.expect("how long") >= 3000);
    assert_eq!(lost.payload.text(Field::ClusterName), Some("hippo"));
    for event in [lost, back] {
        assert_eq!(event.payload.text(Field::Primary), Some("hippo"));
    }
    let timeline = back.payload.get(Field::Timeline);
    assert_eq!(timeline, Some(&Datum::Number(1)));
}

#[test]
fn the_cause_of_an_interruption_is_what_the_agent_says() {
    let mut world = World::new();
    world.settle();
    world.say(AgentPhase::Failed, Some("no space left on device"));
    world.reconcile();
    let told = world.told();
    let lost = told.last().expect("an event");
    assert_eq!(lost.event_type(), EventType::PrimaryNotReady);
    let cause = lost.cause.as_deref().expect("a cause");
    assert!(cause.contains("no space left on device"), "{cause}");
}

#[test]
fn a_deletion_is_no_interruption() {
    let mut world = World::new();
    world.settle();
    world.cluster.deleting = true;
    for _ in 0..20 {
        world.reconcile();
        world.progress();
        world.wait(1);
    }
    assert_eq!(world.count("PrimaryNotReady"), 0);
}

proptest! {
    #[test]
    fn interruptions_and_their_ends_alternate(
        acts in prop::collection::vec((0u8..4, 0usize..8), 0..20),
    ) {
        let mut world = World::new();
        world.settle();
        for (act, rounds) in acts {
            match act {
                0 => lose_the_pod(&mut world),
                1 => world.say(AgentPhase::Failed, Some("broken")),
                2 => world.fall_silent(),
                _ => {}
            }
            for _ in 0..rounds {
                world.reconcile();
                world.progress();
                world.wait(4);
            }
        }
        world.settle();
        world.check_stream();
        let told = world.told();
        let told = types(&told);
        let story = told.iter().filter(|t| t.starts_with("Primary"));
        let expected = ["PrimaryNotReady", "PrimaryReady"].into_iter().cycle();
        for (told, expected) in story.clone().zip(expected) {
            prop_assert_eq!(*told, expected);
        }
        prop_assert_eq!(story.count() % 2, 0);
    }
}
