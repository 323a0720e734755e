//! Agents that are not heard: for a moment that says nothing, for longer it does.

use pgo_core::{AgentPhase, Phase};
use proptest::prelude::*;

use crate::world::{World, types};

/// A cluster that is ready and whose events are all confirmed.
fn at_rest() -> World {
    let mut world = World::new();
    world.settle();
    world.reconcile();
    world
}

/// The same, and its agent has just fallen silent.
fn silent() -> World {
    let mut world = at_rest();
    world.fall_silent();
    world
}

#[test]
fn who_has_heard_nobody_yet_leaves_the_verdict_as_it_is() {
    let mut world = silent();
    let before = world.status.clone();
    world.wait(9);
    world.reconcile();
    assert_eq!(world.status, before);
    world.say(AgentPhase::Running, None);
    world.reconcile();
    assert_eq!(world.status, before);
}

#[test]
fn a_cluster_is_not_ready_when_its_agent_stays_silent() {
    let mut world = silent();
    world.wait(10);
    let plan = world.reconcile();
    assert_eq!(world.status.phase, Phase::NotReady);
    assert_eq!(world.status.current_primary, None);
    assert!(!world.status.instances[0].ready);
    assert!(plan.waiting_for.is_some(), "it is looked at again");
}

#[test]
fn while_the_verdict_rests_on_a_former_word_the_cluster_is_looked_at_again() {
    let mut world = silent();
    assert!(world.reconcile().waiting_for.is_some());
}

#[test]
fn an_agent_that_says_that_it_does_not_serve_is_believed_at_once() {
    let mut world = silent();
    world.say(AgentPhase::Recovering, None);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::NotReady);
}

#[test]
fn another_pod_has_to_speak_for_itself() {
    let mut world = silent();
    let pod = world.observed.pods.get_mut(&World::instance());
    pod.expect("a pod").uid = "another".to_owned();
    world.reconcile();
    assert_eq!(world.status.phase, Phase::NotReady);
    assert_eq!(world.status.instances[0].postgres_version, None);
}

#[test]
fn a_service_that_leads_elsewhere_speaks_against_a_silent_primary() {
    let mut world = silent();
    let endpoints = world.observed.endpoints.as_mut();
    endpoints.expect("an EndpointSlice").addresses.clear();
    world.reconcile();
    assert_eq!(world.status.phase, Phase::NotReady);
    assert_eq!(world.status.current_primary, None);
}

#[test]
fn a_failure_stays_one_while_the_agent_that_told_it_is_silent() {
    let mut world = World::new();
    for _ in 0..3 {
        world.reconcile();
        world.progress();
    }
    world.say(AgentPhase::Failed, Some("initdb: no space left on device"));
    world.reconcile();
    world.reconcile();
    let before = world.status.clone();
    assert_eq!(before.phase, Phase::Failed);
    world.fall_silent();
    world.wait(2);
    world.reconcile();
    assert_eq!(world.status, before);
    world.settle();
    world.check_stream();
}

#[test]
fn a_creation_that_takes_long_is_not_late_because_its_agent_is_silent_for_a_moment() {
    let mut world = World::new();
    for _ in 0..3 {
        world.reconcile();
        world.progress();
    }
    world.say(AgentPhase::Recovering, None);
    world.wait(3600);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Creating);
    world.fall_silent();
    world.wait(9);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Creating);
    world.wait(1);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Failed);
}

proptest! {
    #[test]
    fn silences_shorter_than_the_grace_change_nothing(seconds in prop::collection::vec(0i64..10, 1..20)) {
        let mut world = at_rest();
        let before = world.status.clone();
        let told = types(&world.told());
        for silence in seconds {
            world.fall_silent();
            world.reconcile();
            world.wait(silence);
            world.reconcile();
            prop_assert_eq!(&world.status, &before);
            world.say(AgentPhase::Running, None);
            world.reconcile();
        }
        prop_assert_eq!(&world.status, &before);
        prop_assert_eq!(types(&world.told()), told);
    }
}
