//! Settings that change while a cluster runs, by request and without, and tests of connections: what is told of each.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pgo_core::{Plan, Step, Test, Update};
use pgo_events::{Event, EventType, Stage};
use pgo_ids::OperationId;
use proptest::prelude::*;

use crate::world::World;

fn ready() -> World {
    let mut world = World::new();
    world.settle();
    world
}

fn id(n: u64) -> OperationId {
    let stream = "uid-1".parse().expect("a stream");
    OperationId::derived(&stream, &format!("note {n}"))
}

/// `pgo update cluster`: the setting and the note are one write.
fn asks(world: &mut World, autofail: bool) -> OperationId {
    world.wanted().autofail = autofail;
    let operation = id(world.cluster.generation.unsigned_abs());
    world.cluster.notes.updates.push(Update {
        operation,
        actor: "alice".to_owned(),
    });
    operation
}

fn told_of(world: &World, types: [EventType; 3]) -> Vec<Event> {
    let told = world.told().into_iter();
    told.filter(|event| types.contains(&event.event_type()))
        .collect()
}

/// What was told of changed settings.
fn story(world: &World) -> Vec<Event> {
    told_of(
        world,
        [
            EventType::UpdateCluster,
            EventType::UpdateClusterCompleted,
            EventType::UpdateClusterFailure,
        ],
    )
}

fn words(story: &[Event]) -> Vec<(Stage, &str, &str)> {
    let words = story.iter().map(|event| {
        let cause = event.cause.as_deref().unwrap_or_default();
        (event.stage, event.eventheader.username.as_str(), cause)
    });
    words.collect()
}

#[test]
fn a_change_by_request_is_told_once_with_who_asked_and_ends_when_the_agents_know_it() {
    let mut world = ready();
    let operation = asks(&mut world, true);
    let plan = world.reconcile_cut_off(0);
    assert_eq!(plan.steps, [Step::SetAutofail(true)]);
    assert_eq!(story(&world).len(), 1, "it is not in force yet");
    world.wait(2);
    world.settle();
    let story = story(&world);
    let expected = [
        (Stage::Started, "alice", "autofail is switched on"),
        (Stage::Completed, "alice", ""),
    ];
    assert_eq!(words(&story), expected);
    assert!(story.iter().all(|event| event.operationid == operation));
    assert!(story[1].durationms >= Some(2000), "{:?}", story[1]);
    // The note is remembered for as long as it is there.
    assert_eq!(world.status.told_notes, [operation]);
    world.cluster.notes.updates.clear();
    world.settle();
    assert!(world.status.told_notes.is_empty());
    world.check_stream();
}

#[test]
fn a_change_without_a_request_names_who_made_it() {
    let mut world = ready();
    world.cluster.changed_by.settings = "kubectl".to_owned();
    world.wanted().autofail = true;
    world.wanted().synchronous = 1;
    world.settle();
    let change = "autofail is switched on; commits wait for the answers of 1 replicas, not of 0";
    let expected = [
        (Stage::Started, "kubectl", change),
        (Stage::Completed, "kubectl", ""),
    ];
    assert_eq!(words(&story(&world)), expected);
    world.check_stream();
}

#[test]
fn the_fallback_from_the_synchronous_mode_is_a_setting_as_others_are() {
    let mut world = ready();
    let changes = [(true, "go on"), (false, "wait")];
    for (falls_back, _) in changes {
        world.wanted().sync_fallback = falls_back;
        let plan = world.reconcile_cut_off(0);
        assert_eq!(plan.steps, [Step::SetSyncFallback(falls_back)]);
        world.settle();
    }
    let story = story(&world);
    let begun = story.iter().filter(|event| event.stage == Stage::Started);
    let causes: Vec<_> = begun.filter_map(|event| event.cause.clone()).collect();
    let expected =
        changes.map(|(_, writes)| format!("where replicas are missing, writes {writes}"));
    assert_eq!(causes, expected);
    assert_eq!(story.len(), 4, "{story:?}");
    world.check_stream();
}

#[test]
fn who_asks_for_what_is_so_already_is_told_so() {
    let mut world = ready();
    asks(&mut world, false);
    world.settle();
    let expected = [
        (Stage::Started, "alice", "it is so already"),
        (Stage::Completed, "alice", ""),
    ];
    assert_eq!(words(&story(&world)), expected);
}

#[test]
fn what_is_asked_for_at_the_creation_is_no_change() {
    let mut world = World::unseen();
    world.wanted().autofail = true;
    world.settle();
    assert!(story(&world).is_empty());
}

#[test]
fn a_change_that_is_asked_for_differently_before_it_is_in_force_has_failed() {
    let mut world = ready();
    asks(&mut world, true);
    world.reconcile_cut_off(0);
    asks(&mut world, false);
    world.settle();
    let story = story(&world);
    let early = "it was asked for differently before it was in force";
    let expected = [
        (Stage::Started, "alice", "autofail is switched on"),
        (Stage::Failed, "alice", early),
        (Stage::Started, "alice", "autofail is switched off"),
        (Stage::Completed, "alice", ""),
    ];
    assert_eq!(words(&story), expected);
    world.check_stream();
}

#[test]
fn a_change_that_kubernetes_refuses_fails_and_is_told_again_when_it_does_not() {
    let mut world = ready();
    asks(&mut world, true);
    world.observed.refused = Some("no writes today".to_owned());
    world.reconcile_cut_off(0);
    world.reconcile_cut_off(0);
    assert_eq!(
        words(&story(&world))[1..],
        [(Stage::Failed, "alice", "no writes today")]
    );
    world.observed.refused = None;
    world.settle();
    let again = "tried again: what made it fail has changed";
    assert_eq!(
        words(&story(&world))[2..],
        [
            (Stage::Started, "alice", again),
            (Stage::Completed, "alice", "")
        ]
    );
    world.check_stream();
}

#[test]
fn a_spec_that_nobody_understands_is_told_once() {
    let mut world = ready();
    world.cluster.changed_by.settings = "kubectl".to_owned();
    let understood = world.cluster.desired.clone();
    let invalid = "metadata.labels.autofail: \"perhaps\" is not true or false";
    world.cluster.desired = Err(invalid.to_owned());
    for _ in 0..3 {
        world.reconcile();
        world.wait(1);
    }
    let expected = [
        (Stage::Started, "kubectl", ""),
        (Stage::Failed, "kubectl", invalid),
    ];
    assert_eq!(words(&story(&world)), expected);
    world.cluster.desired = understood;
    world.settle();
    assert_eq!(story(&world).len(), 4, "it is told that all is well again");
    world.check_stream();
}

#[test]
fn a_change_of_a_cluster_that_goes_fails() {
    let mut world = ready();
    asks(&mut world, true);
    world.reconcile_cut_off(0);
    world.cluster.deleting = true;
    world.reconcile_cut_off(0);
    asks(&mut world, false);
    world.reconcile_cut_off(0);
    let story = story(&world);
    let causes: Vec<&str> = words(&story).iter().map(|(.., cause)| *cause).collect();
    let expected = [
        "autofail is switched on",
        "the cluster was deleted before",
        "",
        "the cluster is being deleted",
    ];
    assert_eq!(causes, expected);
    world.check_stream();
}

/// `pgo test` has tried four connections.
fn tests(world: &mut World, broken: &[&str]) -> OperationId {
    let operation = id(1000 + world.cluster.notes.tests.len() as u64);
    world.cluster.notes.tests.push(Test {
        operation,
        actor: "alice".to_owned(),
        began: world.now,
        ended: world.now + SignedDuration::from_millis(250),
        tried: 4,
        broken: broken.iter().map(|one| (*one).to_owned()).collect(),
    });
    operation
}

fn story_of_tests(world: &World) -> Vec<Event> {
    told_of(
        world,
        [
            EventType::TestClusterStarted,
            EventType::TestCluster,
            EventType::TestClusterFailure,
        ],
    )
}

#[test]
fn a_test_is_told_once_with_what_does_not_work() {
    let mut world = ready();
    let first = tests(&mut world, &[]);
    world.settle();
    let second = tests(&mut world, &["psql -p 5432 -h 10.0.0.1 -U postgres userdb"]);
    world.settle();
    let story = story_of_tests(&world);
    let broken = "1 of 4 connections do not work: psql -p 5432 -h 10.0.0.1 -U postgres userdb";
    let expected = [
        (Stage::Started, "alice", ""),
        (Stage::Completed, "alice", "all 4 connections work"),
        (Stage::Started, "alice", ""),
        (Stage::Failed, "alice", broken),
    ];
    assert_eq!(words(&story), expected);
    let ids: Vec<OperationId> = story.iter().map(|event| event.operationid).collect();
    assert_eq!(ids, [first, first, second, second]);
    assert_eq!(story[1].durationms, Some(250));
    // It only looked: nothing of it is remembered besides the notes that are still there.
    assert_eq!(world.status.journal.operations.len(), 1);
    assert_eq!(world.status.told_notes, [first, second]);
    world.check_stream();
}

#[test]
fn a_test_of_a_cluster_that_goes_is_told_before_its_end() {
    let mut world = ready();
    tests(&mut world, &[]);
    world.cluster.deleting = true;
    for _ in 0..40 {
        world.reconcile();
        world.progress();
        world.wait(1);
    }
    assert_eq!(story_of_tests(&world).len(), 2);
    let told = world.told();
    let last = told.last().expect("told").event_type();
    assert_eq!(last, EventType::DeleteClusterCompleted);
    world.check_stream();
}

/// What is told of settings and tests.
pub fn told() -> BTreeSet<EventType> {
    let mut world = ready();
    asks(&mut world, true);
    world.reconcile_cut_off(0);
    asks(&mut world, false);
    tests(&mut world, &[]);
    tests(&mut world, &["psql"]);
    world.settle();
    world.told().iter().map(Event::event_type).collect()
}

proptest! {
    /// Whatever is asked for, however often and whenever Kubernetes takes it: each change has one end, and the agents know
    /// the last one.
    #[test]
    fn each_change_has_one_end(happenings in prop::collection::vec(0..7_u8, 1..20)) {
        let mut world = ready();
        for happening in happenings {
            match happening {
                0 | 1 => {
                    asks(&mut world, happening == 0);
                }
                2 => {
                    let autofail = !world.wanted().autofail;
                    world.wanted().autofail = autofail;
                }
                3 => world.cluster.notes.updates.clear(),
                4 => world.observed.refused = Some("no".to_owned()),
                5 => world.observed.refused = None,
                _ => {
                    world.reconcile();
                }
            }
            world.reconcile_cut_off(usize::from(happening % 2));
            world.wait(1);
        }
        world.observed.refused = None;
        for _ in 0..5 {
            world.reconcile();
        }
        let wanted = world.wanted().autofail;
        prop_assert_eq!(world.observed.autofail, Some(wanted));
        prop_assert_eq!(world.reconcile(), Plan::default());
        let story = story(&world);
        let begun = story.iter().filter(|event| event.stage == Stage::Started).count();
        prop_assert_eq!(story.len(), 2 * begun);
        world.check_stream();
    }
}
