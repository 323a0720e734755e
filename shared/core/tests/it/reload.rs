//! Reloads of the configuration: every instance is asked, and the operation ends once, whoever answers what.

use std::collections::{BTreeMap, BTreeSet};

use pgo_core::{AgentPhase, ReloadRequest, Reloads, Step};
use pgo_events::{Event, EventType};
use pgo_ids::{InstanceName, OperationId};

use crate::{
    replicas::{names, with_replicas},
    world::World,
};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn ask(world: &mut World) -> OperationId {
    let operation: OperationId = ID.parse().expect("an id");
    world.cluster.reloads.push(ReloadRequest {
        operation,
        actor: "alice".to_owned(),
    });
    operation
}

/// The instances that are asked.
fn asked(world: &mut World) -> Vec<InstanceName> {
    let steps = world.reconcile().steps.into_iter();
    steps
        .filter_map(|step| match step {
            Step::Reload { instance, .. } => Some(instance),
            _ => None,
        })
        .collect()
}

fn answers(world: &mut World, instance: &InstanceName, answer: Result<Vec<String>, String>) {
    let operation: OperationId = ID.parse().expect("an id");
    let answers = world.observed.reloads.get_or_insert_with(|| Reloads {
        operation,
        answers: BTreeMap::new(),
    });
    answers.answers.insert(instance.clone(), answer);
}

fn story(world: &World, id: OperationId) -> Vec<Event> {
    let told = world.told();
    let of_it = told.into_iter().filter(|event| event.operationid == id);
    of_it.collect()
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(Event::event_type).collect()
}

#[test]
fn every_instance_is_asked_until_it_has_answered_and_what_waits_for_a_restart_is_told() {
    let mut world = with_replicas(2);
    let id = ask(&mut world);
    assert_eq!(asked(&mut world).len(), 3);
    assert_eq!(asked(&mut world).len(), 3, "twice is harmless");
    let replicas = names(&world);
    for replica in &replicas {
        answers(&mut world, replica, Ok(Vec::new()));
    }
    assert_eq!(asked(&mut world), [World::instance()]);
    assert_eq!(types(&story(&world, id)), [EventType::ReloadClusterStarted]);
    let pending = ["max_connections", "shared_buffers"].map(str::to_owned);
    answers(&mut world, &World::instance(), Ok(pending.to_vec()));
    assert!(asked(&mut world).is_empty());
    let story = story(&world, id);
    assert_eq!(
        types(&story),
        [EventType::ReloadClusterStarted, EventType::ReloadCluster]
    );
    assert_eq!(
        story[1].cause.as_deref(),
        Some("these settings wait for a restart: hippo (max_connections, shared_buffers)")
    );
    assert_eq!(story[1].eventheader.username, "alice");
    world.reconcile();
    assert_eq!(world.count("ReloadCluster"), 1);
    world.check_stream();
}

#[test]
fn a_fault_on_one_instance_fails_it_once_all_have_answered() {
    let mut world = with_replicas(1);
    let id = ask(&mut world);
    asked(&mut world);
    let replica = names(&world)[0].clone();
    answers(&mut world, &replica, Err("a fault in line 2".to_owned()));
    assert_eq!(asked(&mut world), [World::instance()]);
    answers(&mut world, &World::instance(), Ok(Vec::new()));
    world.reconcile();
    let story = story(&world, id);
    let last = story.last().expect("told");
    assert_eq!(last.event_type(), EventType::ReloadClusterFailure);
    let cause = last.cause.as_deref().unwrap_or_default();
    assert_eq!(cause, format!("{replica}: a fault in line 2"));
}

#[test]
fn who_does_not_run_is_not_waited_for_and_who_is_silent_is_named() {
    let mut world = with_replicas(2);
    let [first, second] = <[InstanceName; 2]>::try_from(names(&world)).expect("two");
    world.say_of(&first, AgentPhase::Cloning, None);
    world.observed.agents.remove(&second);
    world.observed.silent.insert(second.clone(), world.now);
    let id = ask(&mut world);
    assert_eq!(asked(&mut world), [World::instance()]);
    answers(&mut world, &World::instance(), Ok(Vec::new()));
    world.wait(29);
    world.reconcile();
    assert_eq!(story(&world, id).len(), 1);
    world.wait(1);
    world.reconcile();
    let cause = story(&world, id)[1].cause.clone().unwrap_or_default();
    let named = format!("no answer from {second} within 30 s");
    assert!(cause.contains(&named), "{cause}");
}

#[test]
fn before_a_cluster_was_ready_a_reload_is_refused_and_a_deletion_ends_it() {
    let mut world = World::new();
    let id = ask(&mut world);
    world.reconcile();
    let refused = story(&world, id);
    assert_eq!(refused[1].event_type(), EventType::ReloadClusterFailure);

    let mut world = with_replicas(1);
    let id = ask(&mut world);
    world.reconcile();
    world.cluster.deleting = true;
    world.reconcile();
    let story = story(&world, id);
    assert_eq!(story[1].event_type(), EventType::ReloadClusterFailure);
    world.check_stream();
}

/// What is told of one that all answer well, and of one that is refused.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with_replicas(0);
    ask(&mut world);
    asked(&mut world);
    answers(&mut world, &World::instance(), Ok(Vec::new()));
    world.reconcile();
    let mut unready = World::new();
    ask(&mut unready);
    unready.reconcile();
    let both = [world.told(), unready.told()].concat();
    both.iter().map(Event::event_type).collect()
}
