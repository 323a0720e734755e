//! What follows a change of the primary: labels, Services, replicas, and who may be removed.

use pgo_core::{AgentPhase, Lost, PodPhase, Role, ScaleDownRequest, Step, TakeoverCause};
use pgo_events::{Datum, EventType, Field};
use pgo_ids::{InstanceName, OperationId};

use crate::{
    replicas::{names, objects, project, remove, settle, with_replicas},
    world::World,
};

/// A cluster with so many replicas, the first of which has become the primary.
fn after_takeover(count: u32) -> (World, InstanceName) {
    let mut world = with_replicas(count);
    let to = names(&world)[0].clone();
    world.takes_over(&to, TakeoverCause::Lost);
    (world, to)
}

fn service(world: &World, instance: &InstanceName) -> String {
    let pod = &world.observed.pods[instance];
    pod.service.clone().expect("a label")
}

fn ask(world: &mut World, replica: &InstanceName, id: &str) -> OperationId {
    let operation: OperationId = id.parse().expect("an id");
    world.cluster.scale_down = vec![ScaleDownRequest {
        replica: replica.clone(),
        operation,
        actor: "alice".to_owned(),
        data: false,
    }];
    operation
}

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

#[test]
fn pods_are_for_the_clients_of_what_they_are() {
    let (mut world, to) = after_takeover(2);
    let other = names(&world)[1].clone();
    assert_eq!(service(&world, &to), "hippo-replica", "not reconciled yet");
    settle(&mut world);
    assert_eq!(service(&world, &to), "hippo");
    assert_eq!(service(&world, &World::instance()), "hippo-replica");
    assert_eq!(service(&world, &other), "hippo-replica");
    assert_eq!(world.status.current_primary, Some(to.clone()));

    // A pod that is made anew is right from the beginning: clients of the replicas never meet the primary.
    world.observed.pods.remove(&to);
    world.observed.agents.remove(&to);
    let steps = world.reconcile().steps;
    let made = Step::MakePod {
        instance: to,
        role: Role::Primary,
    };
    assert!(steps.contains(&made), "{steps:?}");
}

#[test]
fn a_replica_that_is_primary_says_so() {
    let (mut world, to) = after_takeover(1);
    settle(&mut world);
    let known = &world.status.replicas[0];
    assert_eq!((known.name.clone(), known.ready), (to, true));
    assert_eq!(known.reason, "Primary");
    assert!(world.status.is_ready());
    assert_eq!(world.count("ReplicaAdded"), 1);
    world.check_stream();
}

#[test]
fn the_primary_is_not_scaled_down_and_the_reason_is_told() {
    let (mut world, to) = after_takeover(2);
    settle(&mut world);
    let id = ask(&mut world, &to, ID);
    for _ in 0..3 {
        settle(&mut world);
    }
    assert_eq!(world.observed.pods.len(), 3);
    assert_eq!(world.count("ScaleDownCluster"), 1);
    let told = world.told();
    let failed = told.iter().find(|event| event.operationid == id);
    assert!(failed.is_some());
    let cause = told.iter().rev().find(|event| event.operationid == id);
    let cause = cause.and_then(|event| event.cause.clone());
    let cause = cause.expect("a cause");
    assert!(cause.contains("is the primary"), "{cause}");

    // It was refused once and for all: another primary does not make it a wish again.
    world.takes_over(&World::instance(), TakeoverCause::Released);
    settle(&mut world);
    assert_eq!(world.observed.pods.len(), 3);
    world.check_stream();
}

#[test]
fn the_first_instance_is_not_scaled_down_either() {
    let (mut world, _) = after_takeover(1);
    settle(&mut world);
    ask(&mut world, &World::instance(), ID);
    settle(&mut world);
    assert_eq!(world.observed.pods.len(), 2);
    assert_eq!(world.count("ScaleDownClusterFailure"), 1);
}

#[test]
fn a_primary_whose_request_is_removed_goes_when_another_one_is_primary() {
    let (mut world, to) = after_takeover(1);
    settle(&mut world);
    remove(&mut world, &to);
    for _ in 0..5 {
        world.reconcile();
        project(&mut world);
        world.progress();
        assert!(!world.observed.pods[&to].terminating);
    }
    world.takes_over(&World::instance(), TakeoverCause::Released);
    settle(&mut world);
    assert!(!world.observed.pods.contains_key(&to));
    assert_eq!(objects(&world), []);
    world.check_stream();
}

#[test]
fn fewer_replicas_never_means_without_the_primary() {
    let (mut world, to) = after_takeover(3);
    settle(&mut world);
    world.cluster.replica_count = 1;
    settle(&mut world);
    assert_eq!(names(&world), std::slice::from_ref(&to));
    assert!(world.observed.pods.contains_key(&to));
    let primary = &world.observed.agents[&to];
    assert_eq!(primary.followers.len(), 1, "no WAL is kept for who is gone");
}

#[test]
fn a_deleted_cluster_loses_its_primary_last_whatever_that_is_called() {
    let (mut world, to) = after_takeover(2);
    settle(&mut world);
    world.cluster.deleting = true;
    world.reconcile();
    for (name, pod) in &world.observed.pods {
        assert_eq!(pod.terminating, *name != to, "{name}");
    }
    for _ in 0..30 {
        world.reconcile();
        world.progress();
        world.wait(1);
    }
    assert!(world.gone);
    assert_eq!(objects(&world), []);
    world.check_stream();
}

#[test]
fn a_former_primary_that_is_rewound_is_told_like_any_replica() {
    let (mut world, to) = after_takeover(1);
    let first = World::instance();
    world.say_of(&first, AgentPhase::Rewinding, None);
    let agent = world.observed.agents.get_mut(&first).expect("heard");
    agent.lost.push(Lost {
        term: agent.term,
        timeline: 1,
        fork: 0x300_0148,
        end: 0x300_01F8,
        commits: Some(1),
        synchronous: false,
        unknown: false,
    });
    world.reconcile();
    assert_eq!(world.count("RewindReplica"), 1);
    let told = world.told();
    let began = told
        .iter()
        .find(|event| event.event_type() == EventType::RewindReplica);
    let what = &began.expect("told").payload;
    assert_eq!(what.text(Field::Primary), Some(to.as_str()));
    assert_eq!(what.text(Field::Lsn), Some("0/3000148"));
    for (field, number) in [(Field::Timeline, 1), (Field::LostBytes, 176)] {
        assert_eq!(what.get(field), Some(&Datum::Number(number)));
    }
    for _ in 0..4 {
        world.progress();
        world.reconcile();
    }
    assert_eq!(world.count("RewindReplicaCompleted"), 1);
    let told = world.told();
    let ended = EventType::RewindReplicaCompleted;
    let ended = told.iter().find(|event| event.event_type() == ended);
    let what = &ended.expect("told").payload;
    assert_eq!(what.get(Field::Timeline), Some(&Datum::Number(2)));
    assert_eq!(what.text(Field::Lsn), Some("0/3000148"));
    // Its beginning as primary was no such thing.
    assert_eq!(world.count("RewindReplica"), 1);
    world.check_stream();
}

#[test]
fn what_brings_an_instance_back_ends_with_its_pod_where_no_other_is_made() {
    for (is_first, ended) in [(true, false), (false, false), (true, true), (false, true)] {
        let (mut world, to) = after_takeover(1);
        settle(&mut world);
        let instance = if is_first {
            World::instance()
        } else {
            world.takes_over(&World::instance(), TakeoverCause::Lost);
            settle(&mut world);
            to
        };
        world.say_of(&instance, AgentPhase::Rewinding, None);
        world.reconcile();
        assert_eq!(world.count("RewindReplica"), 1, "{instance}");
        let wanted = world.cluster.desired.clone();
        world.cluster.desired = Err("spec.port: 70000 is no port".to_owned());
        world.cluster.generation += 1;
        world.reconcile();
        assert_eq!(world.count("RewindReplicaFailure"), 0, "it is at work");
        if ended {
            let pod = world.observed.pods.get_mut(&instance);
            pod.expect("its pod").phase = PodPhase::Ended;
            world.observed.agents.remove(&instance);
        } else {
            world.pod_is_gone(&instance);
        }
        world.reconcile();
        assert_eq!(world.count("RewindReplicaFailure"), 1, "{instance}");
        let told = world.told();
        let failure = told.last().and_then(|event| event.cause.clone());
        let cause = failure.unwrap_or_default();
        assert!(cause.contains("70000 is no port"), "{cause}");
        // Whatever comes later is another operation.
        world.cluster.desired = wanted;
        world.cluster.generation += 1;
        settle(&mut world);
        assert_eq!(world.count("RewindReplicaFailure"), 1, "{instance}");
        world.check_stream();
    }
}
