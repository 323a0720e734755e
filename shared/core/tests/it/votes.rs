//! While nobody serves as the primary no replica goes: an election may need its vote.

use pgo_core::{Plan, ScaleDownRequest, Step, TakeoverCause};
use pgo_events::{EventType, Stage};
use pgo_ids::{InstanceName, OperationId};
use proptest::prelude::*;

use crate::{
    replicas::{names, project, remove, settle, with_replicas},
    world::World,
};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const OTHER: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

fn ask(world: &mut World, replica: &InstanceName, id: &str) -> OperationId {
    let operation: OperationId = id.parse().expect("an id");
    world.cluster.scale_down = vec![ScaleDownRequest {
        replica: replica.clone(),
        operation,
        actor: "alice".to_owned(),
        data: true,
    }];
    operation
}

/// A cluster of three whose primary is gone, and its replicas.
fn without_primary() -> (World, [InstanceName; 2]) {
    let mut world = with_replicas(2);
    let replicas = [names(&world)[0].clone(), names(&world)[1].clone()];
    world.primary_is_lost();
    world.reconcile();
    (world, replicas)
}

fn takes_away(plan: &Plan, instance: &InstanceName) -> bool {
    plan.steps.iter().any(|step| {
        let (Step::RemovePod { instance: one, .. }
        | Step::RemoveClaim { instance: one, .. }
        | Step::RemoveReplica { name: one, .. }) = step
        else {
            return false;
        };
        one == instance
    })
}

/// Reconciles once a second for so long; nothing of an instance is taken away.
fn stays(world: &mut World, instance: &InstanceName, seconds: usize) {
    for _ in 0..seconds {
        let plan = world.reconcile();
        project(world);
        assert!(!takes_away(&plan, instance), "{plan:?}");
        world.wait(1);
    }
}

#[test]
fn a_scaledown_while_the_primary_is_gone_is_refused_and_changes_nothing() {
    let (mut world, [one, other]) = without_primary();
    let id = ask(&mut world, &one, ID);
    stays(&mut world, &one, 10);
    assert_eq!(
        world.count("ScaleDownCluster"),
        0,
        "a failover may be under way"
    );
    stays(&mut world, &one, 20);
    let told = world.told().into_iter();
    let story: Vec<_> = told.filter(|event| event.operationid == id).collect();
    let types: Vec<EventType> = story.iter().map(|event| event.event_type()).collect();
    let expected = [
        EventType::ScaleDownCluster,
        EventType::ScaleDownClusterFailure,
    ];
    assert_eq!(types, expected);
    let cause = story[1].cause.clone().unwrap_or_default();
    assert!(cause.contains("no instance of hippo serves"), "{cause}");
    assert!(cause.contains(&format!("the vote of {one}")), "{cause}");
    assert_eq!(world.cluster.replica_count, 2);

    world.takes_over(&other, TakeoverCause::Lost);
    world.reconcile();
    assert!(names(&world).contains(&one), "it was refused");
    ask(&mut world, &one, OTHER);
    world.reconcile();
    assert_eq!(world.count("ScaleDownCluster"), 2);
    world.check_stream();
}

#[test]
fn a_scaledown_during_a_change_of_the_primary_waits_for_its_end() {
    let (mut world, [one, other]) = without_primary();
    ask(&mut world, &one, ID);
    stays(&mut world, &one, 4);
    world.takes_over(&other, TakeoverCause::Lost);
    world.reconcile();
    assert_eq!(world.count("ScaleDownCluster"), 1);
    assert_eq!(world.count("ScaleDownClusterFailure"), 0);
}

#[test]
fn a_pgreplica_that_is_deleted_while_the_primary_is_gone_waits_and_says_so() {
    let (mut world, [one, other]) = without_primary();
    remove(&mut world, &one);
    stays(&mut world, &one, 60);
    assert_eq!(world.count("ScaleDownCluster"), 0);
    let mut known = world.status.replicas.iter();
    let known = known.find(|known| known.name == one).expect("it stays");
    assert_eq!(known.reason, "WaitsForPrimary");
    assert!(world.reconcile().waiting_for.is_some());

    world.takes_over(&other, TakeoverCause::Lost);
    world.reconcile();
    assert_eq!(world.count("ScaleDownCluster"), 1);
    assert_eq!(world.count("ScaleDownClusterFailure"), 0);
    world.check_stream();
}

#[test]
fn a_number_that_is_lowered_while_the_primary_is_gone_waits() {
    let (mut world, [one, other]) = without_primary();
    world.cluster.replica_count = 1;
    for instance in [&one, &other] {
        stays(&mut world, instance, 20);
    }
    assert_eq!(names(&world).len(), 2);
    world.takes_over(&other, TakeoverCause::Lost);
    world.reconcile();
    assert_eq!(world.count("ScaleDownCluster"), 1);
}

#[test]
fn a_removal_that_has_begun_waits_too_where_the_primary_dies_before_the_pod_goes() {
    let mut world = with_replicas(2);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    ask(&mut world, &one, ID);
    world.reconcile_cut_off(0);
    world.primary_is_lost();
    stays(&mut world, &one, 60);
    world.takes_over(&other, TakeoverCause::Lost);
    let plan = world.reconcile();
    assert!(takes_away(&plan, &one), "{plan:?}");
}

#[test]
fn before_a_cluster_was_ready_there_is_nobody_to_elect() {
    let mut world = World::unseen();
    world.cluster.replica_count = 1;
    world.reconcile();
    world.reconcile();
    project(&mut world);
    world.cluster.replica_count = 0;
    settle(&mut world);
    assert!(names(&world).is_empty());
}

proptest! {
    /// Whatever is asked for and whoever dies: nothing that could vote is taken away while nobody serves.
    #[test]
    fn no_vote_goes_while_nobody_serves(happens in prop::collection::vec((0_u8..7, 0_usize..2), 1..40)) {
        let mut world = with_replicas(2);
        let all = names(&world);
        for (what, of) in happens {
            let instance = &all[of];
            let is_there = names(&world).contains(instance);
            match what {
                0 if is_there => { ask(&mut world, instance, ID); }
                1 if world.cluster.replicas.iter().any(|one| one.name == *instance) => remove(&mut world, instance),
                2 => world.cluster.replica_count = 1,
                3 if world.observed.pods.contains_key(&world.primary) => world.primary_is_lost(),
                4 if world.observed.agents.contains_key(instance) && !world.observed.pods[instance].terminating => {
                    world.takes_over(&instance.clone(), TakeoverCause::Lost);
                }
                5 => world.progress(),
                _ => world.wait(8),
            }
            let serves = world.observed.serving_primary().is_some();
            let plan = world.reconcile();
            project(&mut world);
            for one in &all {
                prop_assert!(serves || !takes_away(&plan, one), "{plan:?}");
            }
        }
        let told = world.told();
        let begun = told.iter().filter(|event| event.stage == Stage::Started).count();
        let ended = told.iter().filter(|event| event.stage.is_terminal()).count();
        prop_assert!(ended <= begun);
        world.check_stream();
    }
}
