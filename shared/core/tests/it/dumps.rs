//! Dumps and what is restored from them: each told to its end once, whatever becomes of its pod.

mod cancelled;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pgo_core::{
    Backup, DumpFacts, DumpKind, DumpRequest, DumpResult, DumpState, DumpWish, Step,
    dump::options::{DumpOptions, LoadOptions},
    dump_claim_name, dump_pod_name,
};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::OperationId;

use crate::{deletion::finish, world::World};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const OTHER: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

const CLAIM: &str = "backup-hippo-pgdump-pvc";

/// What a step for a dump does to what is there.
pub fn carry_out(world: &mut World, step: &Step) {
    match step {
        Step::MakeDumpClaim { claim, .. } => {
            let uid = world.uid("claim");
            let backups = &mut world.observed.backups;
            backups.entry((Backup::Claim, claim.clone())).or_insert(uid);
        }
        Step::MakeDumpPod { order, .. } => {
            let (uid, cluster) = (world.uid("dump"), world.cluster.name.clone());
            let kind = order.work.kind();
            world.observed.dump.get_or_insert_with(|| DumpFacts {
                uid,
                name: dump_pod_name(&cluster, kind, order.operation),
                operation: order.operation.to_string(),
                terminating: false,
                state: DumpState::Waiting(None),
            });
        }
        Step::RemoveDumpPod { name, uid } => {
            let there = world.observed.dump.take();
            let there = there.expect("nobody removes what is not there");
            assert_eq!((&there.name, &there.uid), (name, uid));
        }
        other => panic!("{other:?} is about no dump"),
    }
}

fn served() -> World {
    let mut world = World::new();
    world.settle();
    world
}

fn make(options: &str) -> Result<DumpWish, String> {
    let storage = World::new().wanted().storage.clone();
    let options = DumpOptions::parse(options).map_err(|error| error.to_string())?;
    Ok(DumpWish::Make {
        database: None,
        options,
        storage,
    })
}

fn load(dump: Option<&str>) -> Result<DumpWish, String> {
    Ok(DumpWish::Load {
        dump: dump.map(str::to_owned),
        database: None,
        options: LoadOptions::parse("").expect("options"),
        node_label: Some("zone=a".to_owned()),
    })
}

fn ask(
    world: &mut World,
    id: &str,
    kind: DumpKind,
    claim: Option<&str>,
    wanted: Result<DumpWish, String>,
) -> OperationId {
    let operation: OperationId = id.parse().expect("an id");
    world.cluster.dumps.push(DumpRequest {
        operation,
        actor: "alice".to_owned(),
        kind,
        claim: claim.map(str::to_owned),
        wanted,
    });
    operation
}

/// An id of its own for each number.
fn numbered(number: u32) -> String {
    format!("25927091-b343-4017-be4b-{number:012}")
}

fn say(world: &mut World, state: DumpState) {
    let pod = world.observed.dump.as_mut().expect("a pod");
    pod.state = state;
    world.reconcile();
}

fn done(name: &str) -> DumpState {
    DumpState::Done(DumpResult {
        name: name.to_owned(),
        path: format!("/pgdata/hippo-backups/{name}"),
        bytes: 4096,
        wal: None,
        end: None,
        note: None,
    })
}

fn story(world: &World, id: OperationId) -> Vec<&'static str> {
    let told = world.told();
    let of_it = told.iter().filter(|event| event.operationid == id);
    of_it.map(|event| event.event_type().as_str()).collect()
}

/// Why it failed.
fn cause(world: &World, id: OperationId) -> String {
    let told = world.told();
    let last = told.iter().rfind(|event| event.operationid == id);
    let last = last.expect("an event");
    assert!(last.event_type().as_str().ends_with("Failure"), "{last:?}");
    last.cause.clone().unwrap_or_default()
}

#[test]
fn a_dump_is_made_by_a_pod_on_its_claim_and_told_with_its_size() {
    let mut world = served();
    let id = ask(&mut world, ID, DumpKind::Make, None, make("--clean"));
    let steps = world.reconcile().steps;
    let made: Vec<&Step> = steps.iter().collect();
    let [
        Step::MakeDumpClaim { claim, .. },
        Step::MakeDumpPod { order, claim: on },
    ] = *made
    else {
        panic!("{made:?}");
    };
    assert_eq!((claim.as_str(), on.as_str()), (CLAIM, CLAIM));
    assert_eq!(dump_claim_name(&world.cluster.name), CLAIM);
    let order = serde_json::to_value(order).expect("JSON");
    let expected = serde_json::json!({
        "operation": ID, "work": "make", "database": "userdb", "format": "custom", "options": ["--clean"],
    });
    assert_eq!(order, expected);
    say(&mut world, DumpState::Working);
    // It may take as long as it takes.
    world.now += SignedDuration::from_hours(5);
    assert_eq!(world.reconcile().steps, []);
    say(&mut world, done("2026-10-15-10-11-12"));
    assert_eq!(story(&world, id), ["CreateDump", "CreateDumpCompleted"]);
    let told = world.told();
    let json = serde_json::to_value(told.last().expect("an event")).expect("JSON");
    assert_eq!(json["backuptype"], "pgdump", "{json}");
    assert_eq!(json["sizebytes"], 4096, "{json}");
    assert_eq!(json["path"], "/pgdata/hippo-backups/2026-10-15-10-11-12");
    assert_eq!(json["durationms"], 5 * 3600 * 1000, "{json}");
    assert_eq!(world.status.dumps.len(), 1);
    world.cluster.dumps.clear();
    world.settle();
    assert_eq!(world.observed.dump, None, "its pod is gone");
    world.check_stream();
}

#[test]
fn a_pod_that_is_ended_is_made_again_a_few_times() {
    let mut world = served();
    let id = ask(&mut world, ID, DumpKind::Make, None, make(""));
    world.reconcile();
    say(&mut world, DumpState::Working);
    // Removed: another one comes.
    world.observed.dump = None;
    let steps = world.reconcile().steps;
    assert!(matches!(*steps, [Step::MakeDumpPod { .. }]), "{steps:?}");
    // Killed: it is cleared away first.
    say(&mut world, DumpState::Lost("killed".to_owned()));
    world.reconcile();
    world.reconcile();
    assert_eq!(story(&world, id), ["CreateDump"]);
    assert_eq!(
        world.status.dump.as_ref().map(|run| run.lost.len()),
        Some(2)
    );
    let pod = world.observed.dump.as_ref().expect("a third one");
    assert_eq!(pod.state, DumpState::Waiting(None));
    say(&mut world, DumpState::Lost("killed".to_owned()));
    let cause = cause(&world, id);
    assert_eq!(
        cause,
        "its pod was ended 3 times before it was done; last: killed"
    );
    assert_eq!(world.status.dumps, []);
    world.check_stream();
}

#[test]
fn what_the_pod_says_is_the_cause() {
    let mut world = served();
    let id = ask(&mut world, ID, DumpKind::Make, None, make("--table=nosuch"));
    world.reconcile();
    let said = "pg_dump: error: no matching tables were found";
    say(&mut world, DumpState::Failed(said.to_owned()));
    assert_eq!(cause(&world, id), said);
    world.reconcile();
    assert_eq!(world.observed.dump, None, "its pod is gone");
    let id = ask(&mut world, &numbered(1), DumpKind::Make, None, make(""));
    world.reconcile();
    say(&mut world, DumpState::Garbled("no JSON".to_owned()));
    assert_eq!(
        cause(&world, id),
        "its pod said something that is not understood: no JSON"
    );
}

#[test]
fn one_that_does_not_begin_fails_with_the_reason() {
    let mut world = served();
    let id = ask(&mut world, ID, DumpKind::Make, None, make(""));
    world.reconcile();
    say(&mut world, DumpState::Waiting(Some("no volume".to_owned())));
    world.wait(590);
    world.reconcile();
    assert_eq!(story(&world, id), ["CreateDump"]);
    world.wait(20);
    world.reconcile();
    let told = cause(&world, id);
    assert_eq!(
        told,
        "its pod did not begin to work within 10 min: no volume"
    );
    // A claim that is another's is told at once.
    let other = ask(
        &mut world,
        OTHER,
        DumpKind::Make,
        Some("rhino-backup"),
        make(""),
    );
    world.reconcile();
    world.observed.dump = None;
    world.observed.refused = Some("claim rhino-backup belongs to cluster rhino".to_owned());
    world.reconcile();
    assert!(cause(&world, other).contains("belongs to cluster rhino"));
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_made() {
    let (mut world, mut number) = (served(), 0);
    let mut refused = |kind, claim: Option<&str>, wanted, part: &str| {
        number += 1;
        let id = ask(&mut world, &numbered(number), kind, claim, wanted);
        let steps = world.reconcile().steps;
        assert_eq!(steps, [], "{part}");
        let cause = cause(&world, id);
        assert!(cause.contains(part), "{cause}");
        world.cluster.dumps.clear();
    };
    refused(
        DumpKind::Make,
        None,
        make("--host=evil"),
        "Flag --host is not",
    );
    refused(DumpKind::Make, Some("hippo"), make(""), "holds the data");
    let repository = Some("hippo-pgbr-repo");
    refused(
        DumpKind::Make,
        repository,
        make(""),
        "repository of pgBackRest",
    );
    refused(DumpKind::Load, None, load(None), "there is no claim");

    let id = ask(&mut world, ID, DumpKind::Make, None, make(""));
    world.reconcile();
    let other = ask(&mut world, OTHER, DumpKind::Make, None, make(""));
    world.reconcile();
    assert!(cause(&world, other).contains(&id.to_string()));
    assert_eq!(story(&world, id), ["CreateDump"]);
}

#[test]
fn a_dump_is_restored_into_the_cluster_as_it_runs() {
    let mut world = served();
    ask(&mut world, ID, DumpKind::Make, None, make(""));
    world.reconcile();
    say(&mut world, done("a"));
    world.reconcile();
    let id = ask(&mut world, OTHER, DumpKind::Load, None, load(Some("a")));
    let steps = world.reconcile().steps;
    let [Step::MakeDumpPod { order, claim }] = &*steps else {
        panic!("{steps:?}");
    };
    let order = serde_json::to_value(order).expect("JSON");
    let expected = serde_json::json!({
        "operation": OTHER, "work": "load", "dump": "a", "nodeLabel": "zone=a",
        "options": ["--single-transaction"],
    });
    assert_eq!((order, claim.as_str()), (expected, CLAIM));
    say(&mut world, done("a"));
    assert_eq!(story(&world, id), ["RestoreDump", "RestoreDumpCompleted"]);
    let told = world.told();
    let end = told.last().expect("an event");
    let size = end.payload.get(Field::SizeBytes);
    assert_eq!(size, Some(&Datum::Number(4096)), "of the dump: {end:?}");
    assert_eq!(world.status.dumps.len(), 1, "it is no new one");
    world.check_stream();
}

#[test]
fn a_cluster_that_goes_takes_its_dump_with_it() {
    let mut world = served();
    let id = ask(&mut world, ID, DumpKind::Make, None, make(""));
    world.reconcile();
    world.cluster.deleting = true;
    finish(&mut world);
    assert_eq!(story(&world, id), ["CreateDump", "CreateDumpFailure"]);
    assert_eq!(world.observed.dump, None);
}

/// All that is told of dumps.
pub fn told() -> BTreeSet<EventType> {
    let mut world = served();
    for (number, kind, wanted) in [
        (1, DumpKind::Make, make("")),
        (2, DumpKind::Load, load(None)),
    ] {
        ask(&mut world, &numbered(number), kind, None, wanted);
        world.reconcile();
        say(&mut world, done("a"));
        world.reconcile();
        ask(
            &mut world,
            &numbered(number + 2),
            kind,
            None,
            Err("no".to_owned()),
        );
        world.reconcile();
    }
    world.told().iter().map(Event::event_type).collect()
}
