//! Whether a cluster is protected as was asked for: what is told, and what is too short to be.

use std::collections::BTreeSet;

use pgo_core::AgentPhase;
use pgo_events::{Event, EventType, Field};
use pgo_ids::InstanceName;
use proptest::prelude::*;

use crate::{
    replicas::{names, settle, with_replicas},
    restart,
    world::World,
};

/// Reconciles once a second for so long.
fn pass(world: &mut World, seconds: usize) {
    for _ in 0..seconds {
        world.wait(1);
        world.reconcile();
    }
}

fn falls(world: &mut World, name: &InstanceName) {
    world.say_of(name, AgentPhase::Recovering, Some("it recovers"));
    seen_by_the_primary(world, name, false);
    world.reconcile();
}

fn follows(world: &mut World, name: &InstanceName) {
    world.say_of(name, AgentPhase::Running, None);
    seen_by_the_primary(world, name, true);
    world.reconcile();
}

fn seen_by_the_primary(world: &mut World, name: &InstanceName, streaming: bool) {
    let primary = world.primary.clone();
    let primary = world.observed.agents.get_mut(&primary).expect("an agent");
    for follower in &mut primary.followers {
        if follower.slot == name.slot() {
            follower.streaming = streaming;
        }
    }
}

/// How a replica answers commits, in PostgreSQL's word.
fn answers(world: &mut World, name: &InstanceName, word: &str) {
    let primary = world.primary.clone();
    let primary = world.observed.agents.get_mut(&primary).expect("an agent");
    for follower in &mut primary.followers {
        if follower.slot == name.slot() {
            word.clone_into(&mut follower.sync);
        }
    }
}

fn story(world: &World) -> Vec<Event> {
    let types = [EventType::ClusterDegraded, EventType::ClusterRecovered];
    let told = world.told().into_iter();
    told.filter(|event| types.contains(&event.event_type()))
        .collect()
}

fn types(world: &World) -> Vec<&'static str> {
    let story = story(world);
    story
        .iter()
        .map(|event| event.event_type().as_str())
        .collect()
}

#[test]
fn a_replica_that_is_away_is_told_and_its_return_too() {
    let mut world = with_replicas(2);
    let name = names(&world)[0].clone();
    falls(&mut world, &name);
    pass(&mut world, 9);
    assert!(types(&world).is_empty(), "it may be a restart");
    pass(&mut world, 1);
    assert_eq!(types(&world), ["ClusterDegraded"]);
    let degraded = story(&world).remove(0);
    assert_eq!(degraded.payload.text(Field::Instance), Some(name.as_str()));
    let cause = format!("instance {name} does not follow the primary: it recovers");
    assert_eq!(degraded.cause, Some(cause));
    follows(&mut world, &name);
    pass(&mut world, 10);
    assert_eq!(types(&world), ["ClusterDegraded", "ClusterRecovered"]);
    let recovered = &story(&world)[1];
    assert_eq!(recovered.operationid, degraded.operationid);
    assert_eq!(recovered.durationms, Some(20_000));
    assert!(world.status.protection.is_whole());
    pass(&mut world, 60);
    assert_eq!(types(&world).len(), 2);
    world.check_stream();
}

#[test]
fn what_comes_and_goes_is_told_once() {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    for _ in 0..5 {
        falls(&mut world, &name);
        pass(&mut world, 8);
        follows(&mut world, &name);
        pass(&mut world, 8);
    }
    assert!(types(&world).is_empty(), "each time it is a restart");
    for _ in 0..5 {
        falls(&mut world, &name);
        pass(&mut world, 12);
        follows(&mut world, &name);
        pass(&mut world, 5);
    }
    assert_eq!(types(&world), ["ClusterDegraded"], "it begins on and on");
}

#[test]
fn a_second_one_that_is_away_is_told_with_the_first() {
    let mut world = with_replicas(2);
    let all = names(&world);
    for name in &all {
        falls(&mut world, name);
        pass(&mut world, 12);
    }
    assert_eq!(types(&world), ["ClusterDegraded"; 2]);
    let last = &story(&world)[1];
    let cause = last.cause.as_deref().expect("a cause");
    assert!(
        all.iter().all(|name| cause.contains(name.as_str())),
        "{cause}"
    );
    // The first comes back: it is not whole yet.
    follows(&mut world, &all[0]);
    pass(&mut world, 30);
    assert_eq!(types(&world).len(), 2);
    follows(&mut world, &all[1]);
    pass(&mut world, 11);
    assert_eq!(types(&world).last(), Some(&"ClusterRecovered"));
}

#[test]
fn a_cluster_without_replicas_and_one_that_gets_them_lack_nothing() {
    let mut alone = with_replicas(0);
    pass(&mut alone, 60);
    assert!(types(&alone).is_empty());
    // A new one copies for long.
    alone.cluster.replica_count = 1;
    for _ in 0..4 {
        alone.reconcile();
        alone.progress();
    }
    pass(&mut alone, 600);
    assert!(types(&alone).is_empty(), "{:?}", story(&alone));
    settle(&mut alone);
    assert!(types(&alone).is_empty());
}

#[test]
fn an_instance_whose_turn_it_is_in_a_restart_is_not_missed() {
    let mut world = with_replicas(2);
    for name in names(&world) {
        answers(&mut world, &name, "quorum");
    }
    world.wanted().synchronous = 2;
    pass(&mut world, 2);
    let name = restart::begin(&mut world);
    answers(&mut world, &name, "async");
    falls(&mut world, &name);
    pass(&mut world, 60);
    assert!(types(&world).is_empty(), "the restart tells of it");
    // Nobody goes on with it.
    pass(&mut world, 10 * 60);
    assert_eq!(world.status.restart, None, "it has failed");
    assert_eq!(types(&world), ["ClusterDegraded"]);
}

#[test]
fn a_primary_whose_volume_hangs_is_told_though_it_answers() {
    let mut world = World::new();
    world.settle();
    let primary = world.primary.clone();
    let hangs = |world: &mut World, hangs| {
        let agent = world.observed.agents.get_mut(&primary);
        agent.expect("an agent").volume_hangs = hangs;
        pass(world, 12);
    };
    hangs(&mut world, true);
    let cause = "the data volume of instance hippo hangs";
    assert_eq!(story(&world)[0].cause.as_deref(), Some(cause));
    hangs(&mut world, false);
    assert_eq!(types(&world), ["ClusterDegraded", "ClusterRecovered"]);
}

#[test]
fn a_replica_that_is_removed_is_not_missing_any_more() {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    falls(&mut world, &name);
    pass(&mut world, 11);
    world.cluster.replica_count = 0;
    pass(&mut world, 12);
    assert_eq!(types(&world), ["ClusterDegraded", "ClusterRecovered"]);
}

#[test]
fn without_a_primary_nothing_is_judged() {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    world.say(AgentPhase::Recovering, None);
    falls(&mut world, &name);
    pass(&mut world, 60);
    assert!(types(&world).is_empty(), "that is PrimaryNotReady");
    world.say(AgentPhase::Running, None);
    pass(&mut world, 5);
    follows(&mut world, &name);
    pass(&mut world, 60);
    assert!(types(&world).is_empty(), "it was away because of that");
}

#[test]
fn a_replica_whose_agent_alone_is_silent_is_not_missed_while_the_primary_sees_it() {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    world.observed.agents.remove(&name);
    world.observed.silent.insert(name.clone(), world.now);
    seen_by_the_primary(&mut world, &name, true);
    pass(&mut world, 60);
    assert!(types(&world).is_empty());
    seen_by_the_primary(&mut world, &name, false);
    pass(&mut world, 12);
    let cause = story(&world)[0].cause.clone();
    assert_eq!(cause, Some(format!("instance {name} does not answer")));
}

#[test]
fn commits_that_wait_for_too_few_are_told() {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    answers(&mut world, &name, "async");
    world.wanted().synchronous = 1;
    pass(&mut world, 12);
    assert_eq!(types(&world), ["ClusterDegraded"]);
    let cause = "commits wait for the answers of 0 replicas, not of 1";
    assert_eq!(story(&world)[0].cause.as_deref(), Some(cause));
    assert_eq!(story(&world)[0].payload.text(Field::Instance), None);
    answers(&mut world, &name, "quorum");
    pass(&mut world, 12);
    assert_eq!(types(&world), ["ClusterDegraded", "ClusterRecovered"]);
}

/// What is told of a cluster that loses a replica for a while.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    falls(&mut world, &name);
    pass(&mut world, 11);
    follows(&mut world, &name);
    pass(&mut world, 11);
    world.told().iter().map(Event::event_type).collect()
}

proptest! {
    /// However instances come and go: degraded and recovered take turns, but for what is added to it, and in the end it is
    /// told how it is.
    #[test]
    fn what_was_told_last_is_so(happenings in prop::collection::vec((0..2_usize, any::<bool>(), 0..20_usize), 1..12)) {
        let mut world = with_replicas(2);
        let all = names(&world);
        for (which, up, seconds) in happenings {
            if up { follows(&mut world, &all[which]) } else { falls(&mut world, &all[which]) }
            pass(&mut world, seconds);
        }
        pass(&mut world, 21);
        let away = all.iter().any(|name| !world.observed.agents[name].follows());
        let told = types(&world);
        let expected = if away { Some("ClusterDegraded") } else { told.last().map(|_| "ClusterRecovered") };
        prop_assert_eq!(told.last().copied(), expected);
        prop_assert!(told.windows(2).all(|pair| pair != ["ClusterRecovered"; 2]));
        prop_assert_ne!(told.first(), Some(&"ClusterRecovered"));
        world.check_stream();
    }
}
