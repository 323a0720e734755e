//! Requests that have not begun when their cluster goes, and crowds of requests: each is told to its end, once.

use std::collections::BTreeSet;

use pgo_core::{
    BackupRequest, FailoverRequest, Image, Kind, Outcome, PolicyPlace, PolicyRequest,
    ReloadRequest, RestartRequest, ScaleDownRequest, UpgradeRequest,
    backup::options::BackupOptions, rests_on,
};
use pgo_events::Event;
use pgo_ids::OperationId;
use proptest::prelude::*;

use crate::{
    deletion::{finish, story_of},
    following::replica,
    replicas::with_replicas,
    world::{World, types},
};

const GOES: &str = "the cluster is being deleted";

/// Everything that can be asked for by a Pgtask besides a deletion.
const KINDS: usize = 7;

/// A Pgtask that asks for something of the kind with this number.
fn ask(world: &mut World, kind: usize, name: &str) -> OperationId {
    let operation = OperationId::derived(&world.cluster.stream, name);
    let actor = "alice".to_owned();
    let cluster = &mut world.cluster;
    match kind {
        0 => cluster.restarts.push(RestartRequest {
            operation,
            actor,
            target: None,
        }),
        1 => cluster.reloads.push(ReloadRequest { operation, actor }),
        2 => cluster.failover.push(FailoverRequest {
            operation,
            actor,
            target: Some("hippo-abcd".to_owned()),
            planned: false,
        }),
        3 => cluster.scale_down.push(ScaleDownRequest {
            replica: "hippo".parse().expect("a name"),
            operation,
            actor,
            data: false,
        }),
        4 => cluster.upgrades.push(UpgradeRequest {
            operation,
            actor,
            made: Some(world.now),
            image: Ok(Image("p/crunchy-postgres:15.20".to_owned())),
        }),
        5 => cluster.policies.push(PolicyRequest {
            operation,
            actor,
            policy: Ok("gold".to_owned()),
            place: PolicyPlace::default(),
        }),
        _ => cluster.backups.push(BackupRequest {
            operation,
            actor,
            options: BackupOptions::parse("").map_err(|error| error.to_string()),
        }),
    }
    operation
}

/// What became of Pgtasks is noted in them: those ask for nothing any more.
fn note(world: &mut World) {
    let operations = world.status.journal.operations.iter();
    let ended = operations.filter(|operation| !operation.is_running());
    let ended: Vec<OperationId> = ended.map(|operation| operation.id).collect();
    let asks = |id: &OperationId| !ended.contains(id);
    let cluster = &mut world.cluster;
    cluster.restarts.retain(|asked| asks(&asked.operation));
    cluster.reloads.retain(|asked| asks(&asked.operation));
    cluster.failover.retain(|asked| asks(&asked.operation));
    cluster.scale_down.retain(|asked| asks(&asked.operation));
    cluster.upgrades.retain(|asked| asks(&asked.operation));
    cluster.backups.retain(|asked| asks(&asked.operation));
    cluster.policies.retain(|asked| asks(&asked.operation));
}

fn refused(kind: Kind) -> Vec<(&'static str, Option<String>)> {
    let (began, failed) = (kind.started().as_str(), kind.failed().as_str());
    vec![(began, None), (failed, Some(GOES.to_owned()))]
}

#[test]
fn what_was_asked_of_a_cluster_and_had_not_begun_when_it_goes_is_told_as_failed() {
    let mut world = World::new();
    world.settle();
    let kinds = [
        Kind::RestartCluster,
        Kind::ReloadCluster,
        Kind::SwitchoverCluster,
        Kind::ScaleDownCluster,
        Kind::UpgradeCluster,
        Kind::ApplyPolicy,
        Kind::CreateBackup,
    ];
    let mut asked = Vec::new();
    for (number, kind) in kinds.into_iter().enumerate() {
        asked.push((ask(&mut world, number, &format!("task-{number}")), kind));
    }
    world
        .cluster
        .replicas
        .push(replica("hippo-abcd", "uid-r", false));
    let addition = OperationId::derived(&world.cluster.stream, "add uid-r");
    asked.push((addition, Kind::ScaleCluster));
    world.cluster.deleting = true;
    finish(&mut world);
    for (id, kind) in asked {
        assert_eq!(story_of(&world, id), refused(kind), "{kind:?}");
    }
    let told = world.told();
    let by_alice = |event: &Event| event.eventheader.username == "alice";
    assert_eq!(told.iter().filter(|event| by_alice(event)).count(), 16);
    let last_refusal = told.iter().rposition(by_alice);
    let deletion = types(&told)
        .iter()
        .position(|told| *told == "DeleteCluster");
    assert!(last_refusal < deletion, "{:?}", types(&told));
    world.check_stream();
}

#[test]
fn an_upgrade_that_waits_for_its_turn_is_told_as_failed_where_its_cluster_goes() {
    let mut world = World::new();
    world.settle();
    world.observed.upgrades_full = true;
    let id = ask(&mut world, 4, "upgrade");
    world.reconcile();
    assert_eq!(story_of(&world, id), []);
    world.cluster.deleting = true;
    finish(&mut world);
    assert_eq!(story_of(&world, id), refused(Kind::UpgradeCluster));
    world.check_stream();
}

#[test]
fn what_is_asked_of_a_cluster_whose_deletion_goes_on_or_was_told_is_told_as_failed() {
    for end in ["DeleteCluster", "DeleteClusterCompleted"] {
        let mut world = World::new();
        world.settle();
        world.storing = false;
        world.cluster.deleting = true;
        while world.count(end) == 0 {
            world.reconcile();
            world.progress();
        }
        assert!(!world.gone);
        let id = ask(&mut world, 0, "restart");
        finish(&mut world);
        assert_eq!(story_of(&world, id), refused(Kind::RestartCluster));
        world.check_stream();
    }
}

#[test]
fn twelve_restarts_that_are_asked_for_at_once_are_told_once_each_however_often_it_is_looked() {
    let mut world = with_replicas(1);
    let asked: Vec<_> = (0..12)
        .map(|number| ask(&mut world, 0, &format!("task-{number}")))
        .collect();
    for _ in 0..5 {
        world.reconcile();
    }
    let begun: Vec<_> = asked.iter().map(|id| story_of(&world, *id).len()).collect();
    assert_eq!(begun[0], 1);
    assert!(begun[1..].iter().all(|told| *told == 2), "{begun:?}");
    world.check_stream();
}

#[test]
fn what_is_taken_up_and_what_is_forgotten_rests_on_its_task() {
    for kind in 0..KINDS {
        let mut world = World::new();
        world.settle();
        let id = ask(&mut world, kind, "the first");
        world.cluster.tasks.insert(id, "hippo-asks".to_owned());
        let looked = |world: &mut World| {
            let before = world.status.clone();
            world.reconcile();
            rests_on(&before, &world.status)
        };
        let task = BTreeSet::from(["hippo-asks".to_owned()]);
        let begins = loop {
            let found = looked(&mut world);
            if world.status.journal.knows(id) {
                break found;
            }
            assert!(found.is_empty(), "it is not taken up yet");
            world.wait(10);
        };
        assert_eq!(begins, task, "kind {kind}");
        assert_eq!(looked(&mut world), BTreeSet::new(), "it is taken up");
        world.cluster.tasks.clear();
        let forgets = loop {
            // By then it is too late for whatever has begun.
            world.wait(700);
            let found = looked(&mut world);
            if !world.status.journal.knows(id) {
                break found;
            }
            assert!(found.is_empty(), "it is remembered");
            note(&mut world);
            let name = format!("after {}", world.now);
            ask(&mut world, kind, &name);
        };
        assert_eq!(forgets, task, "kind {kind}");
    }
}

proptest! {
    #[test]
    fn each_of_a_crowd_of_requests_is_told_one_end_whenever_its_cluster_goes(
        crowd in prop::collection::vec((0..KINDS, 1usize..90), 1..5),
        before in 0usize..4,
        notes in any::<bool>(),
        cuts in prop::collection::vec((0usize..6, any::<bool>()), 0..6),
    ) {
        let mut world = World::new();
        world.settle();
        let mut asked = Vec::new();
        for (at, (kind, count)) in crowd.into_iter().enumerate() {
            for number in 0..count {
                asked.push(ask(&mut world, kind, &format!("task-{at}-{number}")));
            }
            for _ in 0..before {
                world.reconcile();
                if notes {
                    note(&mut world);
                }
            }
        }
        world.cluster.deleting = true;
        for (steps, noted) in cuts {
            world.reconcile_cut_off(steps);
            prop_assert!(world.status.journal.operations.len() < 90, "a status holds too much");
            if noted {
                note(&mut world);
            }
            world.progress();
        }
        for _ in 0..20 {
            world.reconcile();
            note(&mut world);
        }
        finish(&mut world);
        for id in asked {
            prop_assert_eq!(story_of(&world, id).len(), 2);
        }
        let failed = world.status.journal.operations.iter();
        prop_assert!(failed.filter(|o| o.outcome == Some(Outcome::Failed)).count() < 90);
        world.check_stream();
    }
}
