//! Deletions: what stays, what goes, and that each ends once.

use pgo_core::{ClusterStatus, DeleteOptions, DeleteRequest, Plan, plan};
use proptest::prelude::*;

use crate::world::{World, all_secrets, types};

fn ask(world: &mut World, data: bool) {
    world.cluster.delete_request = Some(DeleteRequest {
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        actor: "pgoadmin".to_owned(),
        options: DeleteOptions {
            data,
            backups: false,
        },
    });
    let names = ["hippo-createcluster", "hippo-rmdata"];
    world.observed.tasks = names
        .map(|name| (name.to_owned(), format!("uid of {name}")))
        .into();
}

fn finish(world: &mut World) {
    for _ in 0..40 {
        world.reconcile();
        if world.gone {
            return;
        }
        world.progress();
        world.wait(1);
    }
    panic!(
        "the cluster is not gone: {:?} {:?}",
        world.status, world.observed
    );
}

#[test]
fn data_stays_unless_it_was_asked_for() {
    let mut world = World::new();
    world.settle();
    ask(&mut world, false);
    finish(&mut world);
    assert_eq!(world.observed.claims.len(), 1);
    assert_eq!(world.observed.user_secrets.len(), all_secrets());
    assert!(world.observed.fixtures.is_empty() && world.observed.tasks.is_empty());
    let told = world.told();
    assert!(
        told.iter()
            .any(|event| event.step.as_deref() == Some("data kept"))
    );
    assert_eq!(types(&told).last(), Some(&"DeleteClusterCompleted"));
    world.check_stream();
}

#[test]
fn data_goes_where_it_was_asked_for() {
    let mut world = World::new();
    world.settle();
    ask(&mut world, true);
    finish(&mut world);
    assert!(world.observed.claims.is_empty() && world.observed.user_secrets.is_empty());
    world.check_stream();
}

#[test]
fn a_deletion_on_the_object_itself_keeps_the_data() {
    let mut world = World::new();
    world.settle();
    world.cluster.deleting = true;
    finish(&mut world);
    assert_eq!(world.observed.claims.len(), 1);
    world.check_stream();
}

/// What was told of the steps of deletions.
fn steps(world: &World) -> Vec<String> {
    let told = world.told().into_iter();
    let told = told.filter(|event| event.event_type().as_str() == "DeleteClusterProgress");
    told.filter_map(|event| event.step).collect()
}

#[test]
fn a_later_request_has_a_deletion_that_goes_on_remove_the_data_too() {
    let mut world = World::new();
    world.settle();
    world.cluster.deleting = true;
    world.reconcile();
    ask(&mut world, true);
    finish(&mut world);
    assert!(world.observed.claims.is_empty() && world.observed.user_secrets.is_empty());
    // Who asked later is told the end as well.
    assert_eq!(world.count("DeleteCluster"), 2);
    assert_eq!(world.count("DeleteClusterCompleted"), 2);
    assert_eq!(steps(&world), ["database stopped", "data removed"]);
    world.check_stream();
}

#[test]
fn data_that_was_told_to_stay_is_told_to_have_gone_where_it_goes_after_all() {
    let mut world = World::new();
    world.settle();
    world.cluster.deleting = true;
    world.reconcile();
    world.progress();
    // Its pod is gone; the rest goes with the next steps.
    world.reconcile_cut_off(0);
    assert_eq!(steps(&world), ["database stopped", "data kept"]);
    ask(&mut world, true);
    finish(&mut world);
    assert!(world.observed.claims.is_empty());
    let told = ["database stopped", "data kept", "data removed"];
    assert_eq!(steps(&world), told);
    assert_eq!(world.count("DeleteClusterCompleted"), 2);
    world.check_stream();
}

#[test]
fn a_deletion_that_was_told_as_completed_is_told_anew_where_more_is_asked_while_it_can_be() {
    let mut world = World::new();
    world.settle();
    world.storing = false;
    world.cluster.deleting = true;
    while world.count("DeleteClusterCompleted") == 0 {
        world.reconcile();
        world.progress();
    }
    assert!(!world.gone && world.observed.claims.len() == 1);
    ask(&mut world, true);
    finish(&mut world);
    assert!(world.observed.claims.is_empty());
    assert_eq!(world.count("DeleteCluster"), 2);
    assert_eq!(world.count("DeleteClusterCompleted"), 2);
    world.check_stream();
}

#[test]
fn no_later_request_keeps_what_an_earlier_one_removes() {
    let mut world = World::new();
    world.settle();
    ask(&mut world, true);
    world.reconcile();
    ask(&mut world, false);
    finish(&mut world);
    assert!(world.observed.claims.is_empty());
}

#[test]
fn a_creation_that_is_interrupted_ends_as_failed_before_the_deletion_begins() {
    let mut world = World::new();
    world.reconcile();
    world.progress();
    ask(&mut world, true);
    finish(&mut world);
    let story = types(&world.told());
    let failed = story.iter().position(|t| *t == "CreateClusterFailure");
    let deleted = story.iter().position(|t| *t == "DeleteCluster");
    assert!(failed.is_some() && failed < deleted, "{story:?}");
    world.check_stream();
}

#[test]
fn the_last_events_are_copied_where_the_event_service_does_not_answer() {
    let mut world = World::new();
    world.settle();
    world.storing = false;
    ask(&mut world, false);
    finish(&mut world);
    assert_eq!(types(&world.copied).last(), Some(&"DeleteClusterCompleted"));
    world.check_stream();
}

#[test]
fn a_cluster_nobody_understands_can_be_deleted() {
    let mut world = World::new();
    world.cluster.desired = Err("spec.port: wrong".to_owned());
    world.reconcile();
    ask(&mut world, true);
    finish(&mut world);
    world.check_stream();
}

#[test]
fn passwords_go_with_the_data_of_a_cluster_that_nobody_understands_any_more() {
    let mut world = World::new();
    world.settle();
    let former = ("hippo-former-secret".to_owned(), "secret-0".to_owned());
    world.observed.user_secrets.extend([former]);
    world.cluster.desired = Err("spec.port: wrong".to_owned());
    ask(&mut world, true);
    finish(&mut world);
    assert!(world.observed.user_secrets.is_empty() && world.observed.claims.is_empty());
    assert!(world.observed.fixtures.is_empty());
    world.check_stream();
}

#[test]
fn passwords_that_somebody_else_provides_are_used_and_left_to_him() {
    let mut world = World::new();
    let lent = "hippo-testuser-secret".to_owned();
    world.observed.lent_secrets.insert(lent.clone());
    world.settle();
    assert_eq!(world.observed.user_secrets.len(), all_secrets() - 1);
    ask(&mut world, true);
    finish(&mut world);
    assert!(world.observed.user_secrets.is_empty() && world.observed.lent_secrets.contains(&lent));
}

#[test]
fn a_deletion_that_comes_before_the_finalizer_begins_nothing() {
    let mut world = World::unseen();
    world.cluster.deleting = true;
    assert_eq!(world.reconcile(), Plan::default());
    assert_eq!(world.status, ClusterStatus::default());
}

#[test]
fn a_deletion_that_is_asked_for_before_the_finalizer_is_there_is_told_to_its_end() {
    let mut world = World::unseen();
    ask(&mut world, true);
    finish(&mut world);
    let story = types(&world.told());
    assert_eq!(
        story,
        [
            "CreateCluster",
            "CreateClusterFailure",
            "DeleteCluster",
            "DeleteClusterProgress",
            "DeleteClusterProgress",
            "DeleteClusterCompleted"
        ]
    );
    world.check_stream();
}

proptest! {
    #[test]
    fn data_goes_where_that_is_asked_for_at_any_moment_before_the_end(
        before in 0usize..20,
        cuts in prop::collection::vec((0usize..6, any::<bool>(), any::<bool>()), 0..12),
    ) {
        let mut world = World::new();
        world.settle();
        world.cluster.deleting = true;
        for _ in 0..before {
            world.reconcile_cut_off(1);
            world.progress();
        }
        if world.gone {
            return Ok(());
        }
        ask(&mut world, true);
        for (steps, progress, storing) in cuts {
            world.storing = storing;
            world.reconcile_cut_off(steps);
            if progress {
                world.progress();
            }
            world.wait(1);
        }
        world.storing = true;
        finish(&mut world);
        prop_assert!(world.observed.claims.is_empty() && world.observed.user_secrets.is_empty());
        world.check_stream();
    }

    #[test]
    fn a_deletion_at_any_moment_cut_off_anywhere_ends_and_is_told_once(
        before in 0usize..8,
        cuts in prop::collection::vec((0usize..6, any::<bool>(), any::<bool>()), 0..25),
        data in any::<bool>(),
    ) {
        let mut world = World::unseen();
        for _ in 0..before {
            world.reconcile();
            world.progress();
            world.wait(1);
        }
        ask(&mut world, data);
        for (steps, progress, storing) in cuts {
            world.storing = storing;
            world.reconcile_cut_off(steps);
            if progress {
                world.progress();
            }
            world.wait(1);
        }
        world.storing = true;
        finish(&mut world);
        world.check_stream();
        let story = types(&world.told());
        prop_assert_eq!(story.last(), Some(&"DeleteClusterCompleted"));
    }
}

#[test]
fn a_deletion_that_something_holds_up_fails_with_what_it_is_and_ends_all_the_same() {
    let mut world = World::new();
    world.settle();
    ask(&mut world, true);
    world.reconcile();
    // Its pod is there and does not go.
    world.wait(5 * 60);
    world.reconcile();
    let told = world.told();
    let failure = told.last().expect("an event");
    assert_eq!(failure.event_type().as_str(), "DeleteClusterFailure");
    let cause = failure.cause.clone().expect("a cause");
    assert!(cause.contains("pod hippo does not end"), "{cause}");
    assert_eq!(world.status.reason, cause);
    finish(&mut world);
    let mut told = types(&world.told());
    told.retain(|event_type| *event_type != "DeleteClusterProgress");
    let ends = [
        "DeleteClusterFailure",
        "DeleteCluster",
        "DeleteClusterCompleted",
    ];
    assert_eq!(told[told.len() - 3..], ends);
    world.check_stream();
}

#[test]
fn a_removal_that_kubernetes_refuses_is_the_cause_of_the_failure() {
    let mut world = World::new();
    world.settle();
    ask(&mut world, false);
    world.reconcile();
    world.observed.refused = Some("cannot remove pod hippo: forbidden".to_owned());
    world.wait(5 * 60);
    world.reconcile();
    let told = world.told();
    assert_eq!(
        told.last().and_then(|event| event.cause.as_deref()),
        Some("cannot remove pod hippo: forbidden")
    );
}

#[test]
fn nothing_of_a_request_is_removed_before_it_is_recorded() {
    let mut world = World::new();
    world.settle();
    world.cluster.deleting = true;
    world.reconcile();
    let before = world.status.clone();
    ask(&mut world, true);
    // Written by who has not seen the request.
    let next = plan(&before, &world.cluster, &world.observed, world.now);
    assert!(next.steps.is_empty(), "{next:?}");
}
