//! Restarts in place: replicas first, then the primary; each once, refused or stopped with the reason.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pgo_core::{AgentPhase, FailoverRequest, RestartRequest, Step, Unwilling};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::{InstanceName, OperationId};
use proptest::prelude::*;

use crate::{
    replicas::{names, with_replicas},
    world::World,
};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const OTHER: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

fn ask(world: &mut World, target: Option<&str>, id: &str) -> OperationId {
    let operation: OperationId = id.parse().expect("an id");
    world.cluster.restarts.push(RestartRequest {
        operation,
        actor: "alice".to_owned(),
        target: target.map(str::to_owned),
    });
    operation
}

/// Whom an agent is asked to restart now.
fn asked(world: &mut World) -> Option<InstanceName> {
    let steps = world.reconcile().steps;
    let mut restarts = steps.iter().filter_map(|step| match step {
        Step::Restart {
            instance, started, ..
        } => Some((instance.clone(), *started)),
        _ => None,
    });
    let first = restarts.next();
    assert_eq!(restarts.next(), None, "one after another");
    let (instance, started) = first?;
    let agent = world.observed.agents.get(&instance).expect("heard");
    assert_eq!(agent.started, Some(started), "the server that runs");
    Some(instance)
}

/// Asks for a restart of all instances; whose turn it is first.
pub fn begin(world: &mut World) -> InstanceName {
    ask(world, None, ID);
    asked(world).expect("one is asked")
}

fn stops(world: &mut World, instance: &InstanceName) {
    world.say_of(instance, AgentPhase::Stopping, None);
}

/// The next server of an instance serves.
fn starts(world: &mut World, instance: &InstanceName) {
    world.wait(1);
    let now = world.now;
    let agent = world.observed.agents.get_mut(instance).expect("heard");
    agent.started = Some(now);
    world.say_of(instance, AgentPhase::Running, None);
}

fn story(world: &World, id: OperationId) -> Vec<Event> {
    let told = world.told();
    let of_it = told.into_iter().filter(|event| event.operationid == id);
    of_it.collect()
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(Event::event_type).collect()
}

fn failure(world: &World, id: OperationId) -> String {
    let story = story(world, id);
    let last = story.last().expect("told");
    assert_eq!(last.event_type(), EventType::RestartClusterFailure);
    last.cause.clone().expect("a cause")
}

#[test]
fn replicas_are_restarted_one_after_another_and_the_primary_last() {
    let mut world = with_replicas(2);
    let replicas = names(&world);
    let id = ask(&mut world, None, ID);
    let mut order = Vec::new();
    while let Some(instance) = asked(&mut world) {
        assert_eq!(
            asked(&mut world).as_ref(),
            Some(&instance),
            "twice is harmless"
        );
        stops(&mut world, &instance);
        assert_eq!(asked(&mut world), None, "it has begun");
        starts(&mut world, &instance);
        order.push(instance);
    }
    let expected = [replicas.as_slice(), &[World::instance()]].concat();
    assert_eq!(order, expected);
    let story = story(&world, id);
    let progress = EventType::RestartClusterProgress;
    assert_eq!(
        types(&story),
        [
            EventType::RestartCluster,
            progress,
            progress,
            progress,
            EventType::RestartClusterCompleted
        ]
    );
    for event in &story {
        assert_eq!(event.payload.text(Field::Primary), Some("hippo"));
        let timeline = event.payload.get(Field::Timeline);
        assert_eq!(timeline, Some(&Datum::Number(1)));
    }
    let last = story[3].step.clone().unwrap_or_default();
    assert!(last.contains("the primary hippo was restarted"), "{last}");
    assert_eq!(world.status.restart, None);
    assert_eq!(asked(&mut world), None, "it is over");
    // The primary is the same, and nobody was elected.
    assert_eq!(
        world.count("SwitchoverCluster") + world.count("FailoverCluster"),
        0
    );
    world.check_stream();
}

#[test]
fn one_instance_alone_can_be_restarted_also_the_primary() {
    let mut world = with_replicas(1);
    for (target, id) in [("hippo", ID), (names(&world)[0].as_str(), OTHER)] {
        let id = ask(&mut world, Some(target), id);
        let instance = asked(&mut world).expect("asked");
        assert_eq!(instance.as_str(), target);
        stops(&mut world, &instance);
        world.reconcile();
        starts(&mut world, &instance);
        assert_eq!(asked(&mut world), None);
        let told = types(&story(&world, id));
        assert_eq!(told.last(), Some(&EventType::RestartClusterCompleted));
    }
}

/// The replicas are restarted, and the primary is all that is left.
fn replicas_are_through(world: &mut World) -> [InstanceName; 2] {
    for _ in 0..2 {
        let instance = asked(world).expect("asked");
        stops(world, &instance);
        world.reconcile();
        starts(world, &instance);
    }
    [names(world)[0].clone(), names(world)[1].clone()]
}

fn steps_of(world: &World, id: OperationId) -> Vec<String> {
    let told = story(world, id).into_iter();
    told.filter_map(|event| event.step).collect()
}

#[test]
fn a_replica_that_is_away_or_far_behind_holds_the_next_restart_and_that_is_told() {
    for (streaming, lag, says) in [
        (false, 0, "does not follow the primary"),
        (true, 16 << 20, "16 MiB of WAL or more behind"),
    ] {
        let mut world = with_replicas(2);
        let id = ask(&mut world, None, ID);
        let [first, _] = replicas_are_through(&mut world);
        let agent = world.observed.agents.get_mut(&first).expect("heard");
        (agent.streaming, agent.lag_bytes) = (streaming, lag);
        for _ in 0..5 {
            assert_eq!(asked(&mut world), None, "it waits");
            world.wait(60);
        }
        let steps = steps_of(&world, id);
        let waits: Vec<&String> = steps.iter().filter(|step| step.contains("waits")).collect();
        assert_eq!(waits.len(), 1, "{steps:?}");
        assert!(waits[0].contains(says), "{waits:?}");
        let restart = world.status.restart.as_ref().expect("it goes on");
        let held = restart.held.clone().unwrap_or_default();
        assert!(
            held.contains(first.as_str()) && held.contains(says),
            "{held}"
        );
        world.say_of(&first, AgentPhase::Running, None);
        assert_eq!(asked(&mut world), Some(World::instance()));
        let restart = world.status.restart.as_ref().expect("it goes on");
        assert_eq!(restart.held, None);
        world.check_stream();
    }
}

#[test]
fn one_that_stays_away_ends_it_in_time_with_the_reason_and_who_is_left() {
    let mut world = with_replicas(2);
    let id = ask(&mut world, None, ID);
    let [first, _] = replicas_are_through(&mut world);
    let agent = world.observed.agents.get_mut(&first).expect("heard");
    agent.streaming = false;
    assert_eq!(asked(&mut world), None);
    world.wait(599);
    assert_eq!(asked(&mut world), None);
    assert!(world.status.restart.is_some());
    world.wait(1);
    assert_eq!(asked(&mut world), None);
    let cause = failure(&world, id);
    let says = [first.as_str(), "does not follow", "not restarted: hippo"];
    assert!(says.iter().all(|word| cause.contains(word)), "{cause}");
    world.check_stream();
}

#[test]
fn one_that_goes_at_the_last_moment_is_not_joined_by_whose_turn_it_is() {
    let mut world = with_replicas(2);
    let id = ask(&mut world, None, ID);
    let first = asked(&mut world).expect("asked");
    let second = names(&world)[1].clone();
    world.say_of(&second, AgentPhase::Recovering, None);
    for _ in 0..10 {
        assert_eq!(asked(&mut world), None);
        world.wait(60);
    }
    assert_eq!(asked(&mut world), None);
    let cause = failure(&world, id);
    let says = format!("instance {first} was not restarted within 10 min: instance {second}");
    assert!(cause.starts_with(&says), "{cause}");
}

#[test]
fn an_instance_that_is_named_is_restarted_however_the_others_are() {
    let mut world = with_replicas(2);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    world.say_of(&other, AgentPhase::Failed, Some("no disk"));
    ask(&mut world, Some(one.as_str()), ID);
    assert_eq!(asked(&mut world), Some(one));
}

#[test]
fn an_instance_that_does_not_come_up_ends_it_and_nobody_else_is_touched() {
    let mut world = with_replicas(2);
    let id = ask(&mut world, None, ID);
    let instance = asked(&mut world).expect("asked");
    stops(&mut world, &instance);
    world.reconcile();
    world.say_of(&instance, AgentPhase::Failed, Some("FATAL: no memory"));
    world.wait(19);
    assert_eq!(asked(&mut world), None);
    assert_eq!(story(&world, id).len(), 1, "it tries again itself");
    world.wait(1);
    assert_eq!(asked(&mut world), None);
    let cause = failure(&world, id);
    let says = [
        "does not come up: FATAL: no memory",
        "not restarted: ",
        "hippo",
    ];
    assert!(says.iter().all(|word| cause.contains(word)), "{cause}");
    assert_eq!(world.status.restart, None);
    world.check_stream();
}

#[test]
fn an_agent_that_goes_on_refusing_ends_it() {
    let mut world = with_replicas(1);
    let id = ask(&mut world, Some("hippo"), ID);
    asked(&mut world).expect("asked");
    world.observed.unwilling = Some(Unwilling {
        operation: id,
        since: world.now,
        reason: "PostgreSQL does not serve here now".to_owned(),
    });
    world.wait(19);
    assert!(asked(&mut world).is_some());
    world.wait(1);
    assert_eq!(asked(&mut world), None);
    assert!(failure(&world, id).contains("does not serve here now"));
}

#[test]
fn what_cannot_be_restarted_is_refused_and_nothing_is_asked() {
    let refused = |world: &mut World, target: Option<&str>| {
        let id = ask(world, target, ID);
        assert_eq!(asked(world), None);
        assert_eq!(story(world, id).len(), 2);
        assert_eq!(world.status.restart, None);
        failure(world, id)
    };
    let mut world = with_replicas(1);
    let cause = refused(&mut world, Some("hippo-nosuch"));
    assert!(
        cause.contains("hippo has no instance hippo-nosuch: its instances are"),
        "{cause}"
    );

    let mut world = with_replicas(1);
    world.primary_is_lost();
    world.wait(60);
    let cause = refused(&mut world, None);
    assert!(cause.contains("not during a failover"), "{cause}");

    let mut world = with_replicas(1);
    let replica = names(&world)[0].clone();
    world.say_of(&replica, AgentPhase::Failed, Some("no disk"));
    let cause = refused(&mut world, None);
    assert!(cause.contains("does not run now: no disk"), "{cause}");

    let mut world = with_replicas(1);
    world.cluster.failover.push(FailoverRequest {
        operation: OTHER.parse().expect("an id"),
        actor: String::new(),
        target: None,
        planned: true,
    });
    let cause = refused(&mut world, None);
    assert!(cause.contains("a planned change of the primary"), "{cause}");

    let mut world = World::new();
    let cause = refused(&mut world, None);
    assert!(cause.contains("has not been ready yet"), "{cause}");
}

#[test]
fn a_second_restart_waits_for_nothing_and_is_refused() {
    let mut world = with_replicas(1);
    let first = ask(&mut world, None, ID);
    let instance = asked(&mut world).expect("asked");
    let second = ask(&mut world, None, OTHER);
    assert_eq!(asked(&mut world), Some(instance));
    assert!(failure(&world, second).contains("a restart"));
    assert_eq!(story(&world, first).len(), 1, "the first goes on");
}

#[test]
fn while_nobody_was_heard_yet_nothing_is_said() {
    let mut world = with_replicas(0);
    world.fall_silent();
    let id = ask(&mut world, None, ID);
    let plan = world.reconcile();
    assert!(plan.waiting_for.is_some());
    assert!(story(&world, id).is_empty());
    world.wait(11);
    world.reconcile();
    assert!(failure(&world, id).contains("no instance of hippo serves"));
}

proptest! {
    /// Whatever happens to the instances meanwhile, it ends once, and only servers of before it are ended.
    #[test]
    fn a_restart_ends_once_whatever_happens(happens in prop::collection::vec((0_usize..3, 0_u8..5), 0..25)) {
        let mut world = with_replicas(2);
        let mut all = names(&world);
        all.push(World::instance());
        let id = ask(&mut world, None, ID);
        let mut ended = Vec::new();
        for (of, what) in happens {
            let instance = all[of].clone();
            match what {
                0 => stops(&mut world, &instance),
                1 => starts(&mut world, &instance),
                2 => world.say_of(&instance, AgentPhase::Failed, Some("no memory")),
                3 => world.wait(7),
                _ => {
                    if let Some(asked) = asked(&mut world) {
                        let away = |other: &&InstanceName| {
                            let agent = &world.observed.agents[*other];
                            **other != asked && agent.phase != AgentPhase::Running
                        };
                        prop_assert_eq!(all.iter().find(away), None, "two are away");
                        let started = world.observed.agents[&asked].started;
                        if !ended.contains(&(asked.clone(), started)) {
                            prop_assert!(!ended.iter().any(|(one, _)| *one == asked), "twice");
                            ended.push((asked, started));
                        }
                    }
                }
            }
            asked(&mut world);
        }
        // Each instance has its turn and runs out of time, at the latest.
        for _ in 0..5 {
            asked(&mut world);
            world.wait(SignedDuration::from_hours(1).as_secs());
        }
        asked(&mut world);
        let story = story(&world, id);
        let ends = story.iter().filter(|event| event.stage == pgo_events::Stage::Failed
            || event.stage == pgo_events::Stage::Completed);
        prop_assert_eq!(ends.count(), 1);
        prop_assert_eq!(&world.status.restart, &None);
        world.check_stream();
    }
}

/// What is told of one that goes well, and of one that is refused.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with_replicas(0);
    ask(&mut world, None, ID);
    let instance = asked(&mut world).expect("asked");
    stops(&mut world, &instance);
    world.reconcile();
    starts(&mut world, &instance);
    world.reconcile();
    ask(&mut world, Some("hippo-nosuch"), OTHER);
    world.reconcile();
    world.told().iter().map(Event::event_type).collect()
}
