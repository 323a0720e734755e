//! A replica that commits wait for, or that is the last one to fail over to, goes no more than it can be missed, whoever asks.

use pgo_core::ScaleDownRequest;
use pgo_events::EventType;
use pgo_ids::{InstanceName, OperationId};

use crate::{
    following::replica,
    replicas::{names, objects, project, remove, settle, with_replicas},
    world::World,
};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const OTHER: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

fn ask(world: &mut World, replica: &InstanceName, id: &str) -> OperationId {
    let operation: OperationId = id.parse().expect("an id");
    world.cluster.scale_down.push(ScaleDownRequest {
        replica: replica.clone(),
        operation,
        actor: "alice".to_owned(),
        data: true,
    });
    operation
}

/// Why this was refused.
fn refused(world: &World, id: OperationId) -> String {
    let told = world.told().into_iter();
    let story: Vec<_> = told.filter(|event| event.operationid == id).collect();
    let types: Vec<EventType> = story.iter().map(|event| event.event_type()).collect();
    let expected = [
        EventType::ScaleDownCluster,
        EventType::ScaleDownClusterFailure,
    ];
    assert_eq!(types, expected);
    story[1].cause.clone().expect("a cause")
}

/// Deletes a Pgreplica, which stays and says why.
fn stays(world: &mut World, name: &InstanceName, why: &str) {
    remove(world, name);
    for _ in 0..30 {
        world.reconcile();
        project(world);
        world.progress();
        world.wait(1);
    }
    let mut known = world.status.replicas.iter();
    let known = known.find(|known| known.name == *name).expect("it stays");
    assert_eq!((known.leaving, known.reason.as_str()), (false, "Needed"));
    assert_eq!(known.message, why);
    assert!(known.ready, "it follows on");
    assert!(world.observed.pods.contains_key(name));
    assert!(world.reconcile().waiting_for.is_some());
}

#[test]
fn replicas_that_commits_wait_for_stay_whoever_wants_them_removed() {
    let mut world = with_replicas(2);
    world.wanted().synchronous = 1;
    settle(&mut world);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    // Of two that are asked for at once one can be missed.
    let done = ask(&mut world, &one, ID);
    let refusal = ask(&mut world, &other, OTHER);
    settle(&mut world);
    let why = format!(
        "commits of cluster hippo wait for 1 replicas, and without {other} there are 0; lower synchronousStandbys of its \
         Pgcluster first"
    );
    assert_eq!(refused(&world, refusal), why);
    let mut told = world
        .told()
        .into_iter()
        .filter(|event| event.operationid == done);
    assert!(told.any(|event| event.event_type() == EventType::ScaleDownClusterCompleted));
    assert_eq!(
        (names(&world), world.cluster.replica_count),
        (vec![other.clone()], 1)
    );

    stays(&mut world, &other, &why);
    assert_eq!(world.cluster.replica_count, 1);
    world.wanted().synchronous = 0;
    settle(&mut world);
    assert_eq!((objects(&world), world.cluster.replica_count), (vec![], 0));
    world.check_stream();
}

#[test]
fn the_last_replica_of_a_cluster_with_autofail_stays_until_another_one_comes() {
    let mut world = with_replicas(1);
    world.wanted().autofail = true;
    settle(&mut world);
    let last = names(&world)[0].clone();
    let refusal = ask(&mut world, &last, ID);
    settle(&mut world);
    let why = format!(
        "{last} is the last replica of cluster hippo, which fails over by itself; switch that off first: pgo update cluster \
         hippo --autofail=false"
    );
    assert_eq!(refused(&world, refusal), why);
    stays(&mut world, &last, &why);

    let more = replica("hippo-mine", "r-9", false);
    let mine = more.name.clone();
    world.cluster.replicas.push(more);
    settle(&mut world);
    assert_eq!(
        (objects(&world), world.cluster.replica_count),
        (vec![mine], 1)
    );
    world.check_stream();
}

#[test]
fn what_was_asked_for_last_counts_while_the_spec_is_not_understood() {
    let mut world = with_replicas(1);
    world.wanted().synchronous = 1;
    settle(&mut world);
    let last = names(&world)[0].clone();
    world.cluster.desired = Err("spec.port: 70000 is no port".to_owned());
    let refusal = ask(&mut world, &last, ID);
    world.reconcile();
    let why = refused(&world, refusal);
    assert!(
        why.starts_with("commits of cluster hippo wait for 1 replicas"),
        "{why}"
    );
    assert_eq!(names(&world), [last]);
}
