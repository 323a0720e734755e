//! Backups by pg_basebackup and what is restored from them: each told to its end once, and nothing touched that is there.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pgo_core::{
    Backup, BackupRemoval, DumpKind, DumpMade, DumpRequest, DumpResult, DumpState, DumpWish,
    Removed, Step, cancel,
    dump::base::{BaseEnd, BaseOptions, BaseWal},
};
use pgo_events::EventType;
use pgo_ids::OperationId;
use serde_json::{Value, json};

use crate::world::World;

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const REMOVAL: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";
const CLAIM: &str = "hippo-backup";

fn served() -> World {
    let mut world = World::new();
    world.settle();
    world
}

fn ask(world: &mut World, kind: DumpKind, claim: Option<&str>, wanted: DumpWish) -> OperationId {
    let operation: OperationId = ID.parse().expect("an id");
    world.cluster.dumps.push(DumpRequest {
        operation,
        actor: "alice".to_owned(),
        kind,
        claim: claim.map(str::to_owned),
        wanted: Ok(wanted),
    });
    operation
}

fn copy() -> DumpWish {
    DumpWish::BaseBackup {
        options: BaseOptions::parse("--max-rate=10M").expect("options"),
        storage: World::new().wanted().storage.clone(),
    }
}

fn restore(to: &str) -> DumpWish {
    DumpWish::BaseRestore {
        backup: Some("2026-10-15-10-11-12".to_owned()),
        to: to.parse().expect("a name"),
        node_label: Some("zone=a".to_owned()),
    }
}

fn say(world: &mut World, state: DumpState) {
    world.observed.dump.as_mut().expect("a pod").state = state;
    world.reconcile();
}

fn done() -> DumpState {
    let name = "2026-10-15-10-11-12";
    DumpState::Done(DumpResult {
        name: name.to_owned(),
        path: format!("/pgdata/hippo-backups/{name}"),
        bytes: 4096,
        wal: Some(BaseWal {
            start: "000000010000000000000002".to_owned(),
            stop: "000000010000000000000003".to_owned(),
        }),
        end: Some(BaseEnd {
            lsn: "0/4000028".to_owned(),
            timeline: 1,
        }),
        note: None,
    })
}

/// The last event of the operation.
fn last(world: &World, id: OperationId) -> Value {
    let told = world.told();
    let last = told.iter().rfind(|event| event.operationid == id);
    serde_json::to_value(last.expect("an event")).expect("JSON")
}

#[test]
fn a_copy_is_made_of_the_primary_where_it_is_alone_and_told_as_4_1_does() {
    let mut world = served();
    let id = ask(&mut world, DumpKind::BaseBackup, None, copy());
    let steps = world.reconcile().steps;
    let [
        Step::MakeDumpClaim { claim, kind, .. },
        Step::MakeDumpPod { order, .. },
    ] = &*steps
    else {
        panic!("{steps:?}");
    };
    assert_eq!((claim.as_str(), *kind), (CLAIM, DumpKind::BaseBackup));
    let order = serde_json::to_value(order).expect("JSON");
    assert_eq!(order["work"], "baseBackup", "{order}");
    assert_eq!(order["source"]["instance"], "hippo", "{order}");
    assert_eq!(order["options"], json!(["--max-rate=10M"]));
    let begun = last(&world, id);
    assert_eq!(begun["backuptype"], "pgbasebackup", "{begun}");
    say(&mut world, done());
    let told = last(&world, id);
    for (key, value) in [
        ("backuptype", json!("pgbasebackup")),
        ("path", json!("/pgdata/hippo-backups/2026-10-15-10-11-12")),
        ("sizebytes", json!(4096)),
        ("startwal", json!("000000010000000000000002")),
        ("stopwal", json!("000000010000000000000003")),
    ] {
        assert_eq!(told[key], value, "{key}: {told}");
    }
    assert!(world.status.dumps[0].base);
    world.cluster.dumps.clear();
    world.settle();
    assert_eq!(world.observed.dump, None, "its pod is gone");
    world.check_stream();
}

#[test]
fn a_restore_makes_a_claim_of_its_own_and_touches_nothing() {
    let mut world = served();
    let backups = &mut world.observed.backups;
    backups.insert((Backup::Claim, CLAIM.to_owned()), "u".to_owned());
    let before = (
        world.observed.claims.clone(),
        world.status.instances.clone(),
    );
    let id = ask(
        &mut world,
        DumpKind::BaseRestore,
        None,
        restore("hippo-abcd"),
    );
    let steps = world.reconcile().steps;
    let [
        Step::MakeRestoredClaim { claim },
        Step::MakeDumpPod { order, claim: from },
    ] = &*steps
    else {
        panic!("{steps:?}");
    };
    assert_eq!((claim.as_str(), from.as_str()), ("hippo-abcd", CLAIM));
    assert_eq!(
        serde_json::to_value(order).expect("JSON"),
        json!({
            "operation": ID, "work": "baseRestore", "backup": "2026-10-15-10-11-12", "to": "hippo-abcd",
            "nodeLabel": "zone=a", "options": [],
        })
    );
    say(&mut world, done());
    let told = last(&world, id);
    for (key, value) in [
        ("volume", json!("hippo-abcd")),
        ("sizebytes", json!(4096)),
        ("startwal", json!("000000010000000000000002")),
        ("stopwal", json!("000000010000000000000003")),
        ("lsn", json!("0/4000028")),
        ("timeline", json!(1)),
    ] {
        assert_eq!(told[key], value, "{key}: {told}");
    }
    assert_eq!(told["backuptype"], "pgbasebackup", "{told}");
    let after = (
        world.observed.claims.clone(),
        world.status.instances.clone(),
    );
    assert_eq!(before, after);
    assert_eq!(world.status.dumps, [], "nothing new lies on the claim");
    world.check_stream();
}

#[test]
fn what_cannot_be_restored_makes_nothing() {
    for (to, claim, part) in [
        ("hippo", CLAIM, "is the name of an instance of hippo"),
        (
            "hippo-abcd",
            "nosuch",
            "there is no claim nosuch with backups",
        ),
        (
            "hippo-abcd",
            "hippo",
            "claim hippo holds the data of an instance",
        ),
    ] {
        let mut world = served();
        let backups = &mut world.observed.backups;
        backups.insert((Backup::Claim, CLAIM.to_owned()), "u".to_owned());
        let id = ask(&mut world, DumpKind::BaseRestore, Some(claim), restore(to));
        assert_eq!(world.reconcile().steps, []);
        let told = last(&world, id);
        let cause = told["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(part), "{told}");
    }
}

#[test]
fn a_claim_of_somebody_else_ends_a_restore() {
    let mut world = served();
    let backups = &mut world.observed.backups;
    backups.insert((Backup::Claim, CLAIM.to_owned()), "u".to_owned());
    let id = ask(
        &mut world,
        DumpKind::BaseRestore,
        None,
        restore("hippo-abcd"),
    );
    world.reconcile_cut_off(0);
    let whose = "PersistentVolumeClaim hippo-abcd belongs to cluster rhino";
    world.observed.refused = Some(whose.to_owned());
    world.reconcile();
    assert_eq!(last(&world, id)["cause"], whose);
}

#[test]
fn what_is_cancelled_fails_once_and_its_pod_goes() {
    for (kind, wanted) in [
        (DumpKind::BaseBackup, copy()),
        (DumpKind::BaseRestore, restore("hippo-abcd")),
    ] {
        let mut world = served();
        let backups = &mut world.observed.backups;
        backups.insert((Backup::Claim, CLAIM.to_owned()), "u".to_owned());
        let id = ask(&mut world, kind, None, wanted);
        world.reconcile();
        say(&mut world, DumpState::Working);
        assert_eq!(cancel::refusal(&world.status, id), None, "{kind:?}");
        world.cluster.cancelled.insert(id, "bob".to_owned());
        world.reconcile();
        let told = last(&world, id);
        assert_eq!(told["cause"], "cancelled by bob", "{kind:?}: {told}");
        assert_eq!((&world.observed.dump, &world.status.dump), (&None, &None));
        world.check_stream();
    }
}

#[test]
fn what_is_cancelled_before_it_began_makes_nothing_and_is_told_as_what_it_is() {
    for (kind, wanted) in [
        (DumpKind::BaseBackup, copy()),
        (DumpKind::BaseRestore, restore("hippo-abcd")),
    ] {
        let mut world = served();
        let id = ask(&mut world, kind, None, wanted);
        world.cluster.cancelled.insert(id, "bob".to_owned());
        assert_eq!(world.reconcile().steps, [], "{kind:?}");
        let told = last(&world, id);
        let before = "cancelled by bob before it began";
        assert_eq!(told["cause"], before, "{kind:?}: {told}");
        assert_eq!(told["backuptype"], "pgbasebackup", "{kind:?}: {told}");
    }
}

/// A cluster with copies on its claim.
fn copied() -> World {
    let mut world = served();
    let backups = &mut world.observed.backups;
    backups.insert((Backup::Claim, CLAIM.to_owned()), "u".to_owned());
    for (claim, base) in [(CLAIM, true), ("others", true)] {
        world.status.dumps.push(DumpMade {
            name: "2026-10-15-10-11-12".to_owned(),
            claim: claim.to_owned(),
            path: "/pgdata/hippo-backups/2026-10-15-10-11-12".to_owned(),
            finished: world.now,
            size_bytes: 1,
            base,
        });
    }
    world
}

fn remove(world: &mut World) -> OperationId {
    remove_all(world, Removed::Copies)
}

fn remove_all(world: &mut World, what: Removed) -> OperationId {
    let operation: OperationId = REMOVAL.parse().expect("an id");
    world.cluster.removals.push(BackupRemoval {
        operation,
        actor: "alice".to_owned(),
        what,
    });
    operation
}

#[test]
fn dumps_are_removed_as_copies_are() {
    let mut world = copied();
    let claim = "backup-hippo-pgdump-pvc";
    let backups = &mut world.observed.backups;
    backups.insert((Backup::Claim, claim.to_owned()), "v".to_owned());
    let id = remove_all(&mut world, Removed::Dumps);
    world.settle();
    let told = last(&world, id);
    assert_eq!(
        told["eventheader"]["EventType"], "DeleteBackupCompleted",
        "{told}"
    );
    assert_eq!(told["backuptype"], "pgdump", "{told}");
    assert_eq!(told["sizebytes"], Value::Null, "none is known: {told}");
    let left: Vec<_> = world
        .observed
        .backups
        .keys()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(left, [CLAIM]);
    assert_eq!(world.status.dumps.len(), 2, "those are on other claims");
}

#[test]
fn a_removal_ends_when_the_claim_is_gone_and_what_was_on_it_is_forgotten() {
    let mut world = copied();
    let id = remove(&mut world);
    let steps = world.reconcile().steps;
    let gone = Step::RemoveBackup {
        backup: Backup::Claim,
        name: CLAIM.to_owned(),
        uid: "u".to_owned(),
    };
    assert_eq!(steps, [gone]);
    let begun = last(&world, id);
    assert_eq!(begun["eventheader"]["EventType"], "DeleteBackup", "{begun}");
    assert_eq!(begun["backuptype"], "pgbasebackup", "{begun}");
    world.settle();
    let told = last(&world, id);
    assert_eq!(
        told["eventheader"]["EventType"], "DeleteBackupCompleted",
        "{told}"
    );
    assert_eq!(told["volume"], CLAIM, "{told}");
    assert_eq!(told["sizebytes"], 1, "of the one on it: {told}");
    let left: Vec<_> = world.status.dumps.iter().map(|made| &made.claim).collect();
    assert_eq!(left, ["others"]);
    world.check_stream();
}

#[test]
fn nothing_is_copied_while_copies_go_and_none_goes_while_one_is_made() {
    let mut world = copied();
    let removal = remove(&mut world);
    world.reconcile_cut_off(0);
    let copying = ask(&mut world, DumpKind::BaseBackup, None, copy());
    world.reconcile_cut_off(0);
    let told = last(&world, copying);
    let cause = told["cause"].as_str().unwrap_or_default();
    assert!(
        cause.contains("the removal of backups is going on"),
        "{told}"
    );
    assert_eq!(
        last(&world, removal)["eventheader"]["EventType"],
        "DeleteBackup"
    );

    let mut world = copied();
    ask(&mut world, DumpKind::BaseBackup, None, copy());
    world.reconcile();
    let removal = remove(&mut world);
    world.reconcile();
    let told = last(&world, removal);
    let cause = told["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("is going on, operation"), "{told}");
    let claim = (Backup::Claim, CLAIM.to_owned());
    assert!(world.observed.backups.contains_key(&claim));
}

#[test]
fn a_claim_that_does_not_go_ends_a_removal_and_so_does_the_cluster() {
    let mut world = copied();
    let id = remove(&mut world);
    world.reconcile_cut_off(0);
    world.now += SignedDuration::from_mins(10);
    world.reconcile_cut_off(0);
    let told = last(&world, id);
    assert_eq!(
        told["eventheader"]["EventType"], "DeleteBackupFailure",
        "{told}"
    );
    assert_eq!(world.status.dumps.len(), 2);

    let mut world = copied();
    let id = remove(&mut world);
    world.reconcile_cut_off(0);
    world.cluster.deleting = true;
    world.reconcile_cut_off(0);
    assert_eq!(last(&world, id)["cause"], "the cluster was deleted before");
}

#[test]
fn where_no_claim_is_a_removal_says_so() {
    let mut world = served();
    let id = remove(&mut world);
    assert_eq!(world.reconcile().steps, []);
    let told = last(&world, id);
    let cause = told["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("there is no claim hippo-backup"), "{told}");
}

/// Types of events that restores and removals of copies tell.
pub fn told() -> BTreeSet<EventType> {
    let mut types = BTreeSet::new();
    for mut world in [copied(), served()] {
        remove(&mut world);
        world.settle();
        types.extend(world.told().iter().map(|event| event.event_type()));
    }
    for (said, to) in [(Some(done()), "hippo-abcd"), (None, "hippo")] {
        let mut world = served();
        let backups = &mut world.observed.backups;
        backups.insert((Backup::Claim, CLAIM.to_owned()), "u".to_owned());
        ask(&mut world, DumpKind::BaseRestore, None, restore(to));
        world.reconcile();
        if let Some(said) = said {
            say(&mut world, said);
        }
        types.extend(world.told().iter().map(|event| event.event_type()));
    }
    types
}
