//! Deletions: what stays, what goes, and that each ends once.

use pgo_core::{Backup, ClusterStatus, DeleteOptions, DeleteRequest, Journal, Kind, Plan, plan};
use pgo_events::Stage;
use pgo_ids::OperationId;
use proptest::prelude::*;

use crate::world::{World, all_secrets, types};

fn ask(world: &mut World, data: bool) {
    world.asked.clear();
    ask_also(world, "hippo-rmdata", data);
    world.see(1);
    let workflow = "hippo-createcluster".to_owned();
    world.observed.tasks.insert(workflow, "uid-w".to_owned());
}

/// A further Pgtask, which no cache shows yet.
fn ask_also(world: &mut World, name: &str, data: bool) -> OperationId {
    let operation = OperationId::derived(&world.cluster.stream, name);
    let request = DeleteRequest {
        operation,
        actor: "pgoadmin".to_owned(),
        options: DeleteOptions {
            data,
            backups: false,
        },
    };
    world.asked.push((name.to_owned(), request));
    operation
}

/// What was told of an operation, without its steps: type and cause.
pub fn story_of(world: &World, operation: OperationId) -> Vec<(&'static str, Option<String>)> {
    let told = world.told().into_iter();
    told.filter(|event| event.operationid == operation && event.stage != Stage::Progress)
        .map(|event| (event.event_type().as_str(), event.cause))
        .collect()
}

pub fn finish(world: &mut World) {
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

/// What goes with data and what goes with backups, in all four ways to ask.
#[test]
fn data_and_backups_go_each_where_it_was_asked_for() {
    for (data, backups) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = World::new();
        world.settle();
        let repository = (Backup::Claim, "hippo-pgbr-repo".to_owned());
        let key = (Backup::Secret, "hippo-backrest-repo-config".to_owned());
        let held = [(repository, "uid-r".to_owned()), (key, "uid-k".to_owned())];
        world.observed.backups = held.into();
        ask_also(&mut world, "hippo-rmdata", data);
        world.asked[0].1.options.backups = backups;
        world.see(1);
        finish(&mut world);
        assert_eq!(world.observed.claims.is_empty(), data);
        assert_eq!(world.observed.user_secrets.is_empty(), data);
        let left = if backups { 0 } else { 2 };
        assert_eq!(world.observed.backups.len(), left, "{data} {backups}");
        let of_data = if data { "data removed" } else { "data kept" };
        let mut told = vec!["database stopped", of_data];
        told.extend(backups.then_some("backups removed"));
        assert_eq!(steps(&world), told);
        world.check_stream();
    }
}

#[test]
fn a_later_request_has_the_backups_go_too() {
    let mut world = World::new();
    world.settle();
    let repository = (Backup::Claim, "hippo-pgbr-repo".to_owned());
    world.observed.backups = [(repository, "uid-r".to_owned())].into();
    world.storing = false;
    world.cluster.deleting = true;
    while world.count("DeleteClusterCompleted") == 0 {
        world.reconcile();
        world.progress();
    }
    ask_also(&mut world, "hippo-rmdata", false);
    world.asked[0].1.options.backups = true;
    world.see(1);
    finish(&mut world);
    assert!(world.observed.backups.is_empty() && !world.observed.claims.is_empty());
    let told = ["database stopped", "data kept", "backups removed"];
    assert_eq!(steps(&world), told);
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
fn each_of_several_requests_is_told_its_end_under_its_own_id() {
    let mut world = World::new();
    world.settle();
    let first = ask_also(&mut world, "hippo-rmdata", false);
    let second = ask_also(&mut world, "hippo-rmdata-too", false);
    world.see(2);
    finish(&mut world);
    let alone = [("DeleteCluster", None), ("DeleteClusterCompleted", None)];
    assert_eq!(story_of(&world, first), alone);
    let same = format!("asks for the same deletion as operation {first}");
    let together = format!("done together with operation {first}");
    let joined = [
        ("DeleteCluster", Some(same)),
        ("DeleteClusterCompleted", Some(together)),
    ];
    assert_eq!(story_of(&world, second), joined);
    // What both did was done once, and is told once.
    assert_eq!(steps(&world), ["database stopped", "data kept"]);
    world.check_stream();
}

#[test]
fn a_request_that_no_cache_has_shown_keeps_the_cluster_until_its_end_is_told() {
    let mut world = World::new();
    world.settle();
    world.cluster.deleting = true;
    let unseen = ask_also(&mut world, "hippo-rmdata", false);
    for _ in 0..20 {
        world.reconcile();
        world.progress();
    }
    assert!(!world.gone && world.count("DeleteClusterCompleted") == 1);
    world.see(1);
    finish(&mut world);
    let ends = story_of(&world, unseen);
    assert_eq!(ends.last().map(|end| end.0), Some("DeleteClusterCompleted"));
    world.check_stream();
}

#[test]
fn who_joins_late_does_not_put_off_that_a_deletion_is_held_up() {
    let mut world = World::new();
    world.settle();
    let first = ask_also(&mut world, "hippo-rmdata", true);
    world.see(1);
    world.reconcile();
    world.wait(4 * 60);
    let second = ask_also(&mut world, "hippo-rmdata-too", true);
    world.see(2);
    world.reconcile();
    world.wait(60);
    world.reconcile();
    for operation in [first, second] {
        let story = story_of(&world, operation);
        let (end, cause) = story.last().expect("an end");
        assert_eq!(*end, "DeleteClusterFailure");
        let cause = cause.as_deref().expect("a cause");
        assert!(cause.contains("pod hippo does not end"), "{cause}");
    }
    finish(&mut world);
    world.check_stream();
}

#[test]
fn a_flood_of_requests_neither_fills_the_status_nor_is_told_twice_and_removes_what_any_asks_for() {
    let mut world = World::new();
    world.settle();
    for number in 0..200 {
        ask_also(&mut world, &format!("task-{number}"), number == 199);
    }
    world.see(200);
    let mut most = 0;
    while !world.gone {
        world.reconcile();
        let deletions = world.status.journal.all(Kind::DeleteCluster).count();
        most = most.max(deletions);
        world.progress();
        world.wait(1);
    }
    // The one that asks for more has its place all the same.
    assert_eq!(most, 17);
    assert!(most + Journal::REMEMBERED < 30);
    assert!(world.observed.claims.is_empty());
    assert_eq!(world.count("DeleteCluster"), 17);
    assert_eq!(world.count("DeleteClusterCompleted"), 17);
    world.check_stream();
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
    fn each_request_that_was_ever_made_is_told_one_end_whenever_it_comes_and_is_seen(
        on_the_object in any::<bool>(),
        moments in prop::collection::vec(
            (any::<bool>(), any::<bool>(), 0usize..4, 0usize..6, any::<bool>(), any::<bool>(), 0i64..200),
            1..40,
        ),
    ) {
        let mut world = World::new();
        world.settle();
        world.cluster.deleting = on_the_object;
        let mut accepted = Vec::new();
        for (asks, data, hidden, steps, progress, storing, seconds) in moments {
            if asks && !world.gone && accepted.len() < 10 {
                let name = format!("task-{}", accepted.len());
                accepted.push((ask_also(&mut world, &name, data), data));
            }
            // A cache shows what came first; what it has shown it goes on showing.
            let seen = world.cluster.delete_requests.len();
            let shown = world.asked.len().saturating_sub(hidden).max(seen);
            world.see(shown);
            world.storing = storing;
            world.reconcile_cut_off(steps);
            if progress {
                world.progress();
            }
            world.wait(seconds);
        }
        if accepted.is_empty() && !on_the_object {
            return Ok(());
        }
        world.storing = true;
        world.see(usize::MAX);
        finish(&mut world);
        world.check_stream();
        for (operation, _) in &accepted {
            let story = story_of(&world, *operation);
            prop_assert_eq!(story.len(), 2, "{:?}", story);
            prop_assert_eq!(story[0].0, "DeleteCluster");
        }
        let asks_for_data = accepted.iter().any(|(_, data)| *data);
        prop_assert_eq!(world.observed.claims.is_empty(), asks_for_data);
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
