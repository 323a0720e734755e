//! Benchmarks and loads: each told to its end once, whatever becomes of its pod.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pgo_core::{
    BenchmarkWork, JobFacts, JobKind, JobRequest, JobResult, JobState, JobWish, JobWork, LoadWork,
    Step, job_name,
};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::OperationId;

use crate::{deletion::finish, world::World};

/// What a step for a job does to what is there.
pub fn carry_out(world: &mut World, step: &Step) {
    match step {
        Step::MakeJobPod { order } => {
            let (uid, cluster) = (world.uid("job"), world.cluster.name.clone());
            world.observed.job.get_or_insert_with(|| JobFacts {
                uid,
                name: job_name(&cluster, order.kind(), order.operation),
                operation: order.operation.to_string(),
                terminating: false,
                state: JobState::Waiting(None),
            });
        }
        Step::RemoveJobPod { name, uid } => {
            let there = world.observed.job.take();
            let there = there.expect("nobody removes what is not there");
            assert_eq!((&there.name, &there.uid), (name, uid));
        }
        other => panic!("{other:?} is about no job"),
    }
}

fn served() -> World {
    let mut world = World::new();
    world.settle();
    world
}

/// An id of its own for each number.
fn id(number: u32) -> OperationId {
    let text = format!("25927091-b343-4017-be4b-{number:012}");
    text.parse().expect("an id")
}

fn benchmark() -> Result<JobWish, String> {
    let work = BenchmarkWork {
        database: "postgres".to_owned(),
        clients: 2,
        threads: 1,
        scale: 1,
        transactions: 10,
        ..BenchmarkWork::default()
    };
    Ok(JobWish {
        work: JobWork::Benchmark(work),
        port: None,
    })
}

fn load(claim: &str, port: u16) -> Result<JobWish, String> {
    let work = LoadWork {
        database: "userdb".to_owned(),
        role: "testuser".to_owned(),
        table: "people".to_owned(),
        claim: claim.to_owned(),
        file: "people.csv".to_owned(),
        ..LoadWork::default()
    };
    Ok(JobWish {
        work: JobWork::Load(work),
        port: Some(port),
    })
}

fn ask(world: &mut World, number: u32, wanted: Result<JobWish, String>) -> OperationId {
    let kind = match &wanted {
        Ok(JobWish {
            work: JobWork::Benchmark(_),
            ..
        }) => JobKind::Benchmark,
        _ => JobKind::Load,
    };
    world.cluster.jobs.push(JobRequest {
        operation: id(number),
        actor: "alice".to_owned(),
        kind,
        wanted,
    });
    id(number)
}

fn say(world: &mut World, state: JobState) {
    let pod = world.observed.job.as_mut().expect("a pod");
    pod.state = state;
    world.reconcile();
}

fn done(summary: &str) -> JobState {
    JobState::Done(JobResult {
        summary: summary.to_owned(),
        output: Some("tps = 85.1\n".to_owned()),
        rows: None,
        bytes: None,
    })
}

fn of(world: &World, id: OperationId) -> Vec<Event> {
    let told = world.told().into_iter();
    told.filter(|event| event.operationid == id).collect()
}

fn story(world: &World, id: OperationId) -> Vec<&'static str> {
    let told = of(world, id);
    told.iter()
        .map(|event| event.event_type().as_str())
        .collect()
}

/// Why it failed.
fn cause(world: &World, id: OperationId) -> String {
    let told = of(world, id);
    let last = told.last().expect("an event");
    assert!(last.event_type().as_str().ends_with("Failure"), "{last:?}");
    last.cause.clone().unwrap_or_default()
}

#[test]
fn a_benchmark_is_made_by_a_pod_and_told_once_with_its_figures() {
    let mut world = served();
    let id = ask(&mut world, 1, benchmark());
    let steps = world.reconcile().steps;
    let [Step::MakeJobPod { order }] = &*steps else {
        panic!("{steps:?}");
    };
    let order = serde_json::to_value(order).expect("JSON");
    let expected = serde_json::json!({
        "operation": id.to_string(), "work": "benchmark", "database": "postgres", "init": [], "options": [],
        "clients": 2, "threads": 1, "scale": 1, "transactions": 10,
    });
    assert_eq!(order, expected);
    say(&mut world, JobState::Working);
    world.now += SignedDuration::from_hours(5);
    assert_eq!(world.reconcile().steps, []);
    say(&mut world, done("tps = 85.1"));
    // 4.1 told it again with each later change of its Job.
    world.reconcile();
    world.reconcile();
    assert_eq!(story(&world, id), ["Benchmark", "BenchmarkCompleted"]);
    let told = of(&world, id);
    let json = serde_json::to_value(&told[1]).expect("JSON");
    assert_eq!(
        (&json["cause"], &json["eventheader"]["username"]),
        (&"tps = 85.1".into(), &"alice".into()),
        "{json}"
    );
    assert_eq!(json["durationms"], 5 * 3600 * 1000, "{json}");
    let operations = &world.status.journal.operations;
    let operation = operations
        .iter()
        .find(|one| one.id == id)
        .expect("it is remembered");
    assert_eq!(operation.result.as_deref(), Some("tps = 85.1\n"));
    assert_eq!(world.observed.job, None, "its pod is gone");
    assert_eq!(world.status.job, None);
    world.check_stream();
}

#[test]
fn a_load_is_told_with_its_table() {
    let mut world = served();
    let id = ask(&mut world, 1, load("files", 5432));
    world.reconcile();
    say(&mut world, JobState::Working);
    say(
        &mut world,
        JobState::Done(JobResult {
            summary: "3 rows".to_owned(),
            output: None,
            rows: Some(3),
            bytes: Some(4096),
        }),
    );
    assert_eq!(story(&world, id), ["Load", "LoadCompleted"]);
    let end = of(&world, id).pop().expect("an event");
    for (field, number) in [(Field::Rows, 3), (Field::SizeBytes, 4096)] {
        let told = end.payload.get(field);
        assert_eq!(told, Some(&Datum::Number(number)), "{field}");
    }
    for event in of(&world, id) {
        let json = serde_json::to_value(&event).expect("JSON");
        assert_eq!(json["loadconfig"], "people", "{json}");
    }
    world.check_stream();
}

#[test]
fn what_is_cancelled_ends_and_its_pod_goes() {
    let mut world = served();
    let [first, second, third] = [
        ask(&mut world, 1, load("files", 5432)),
        ask(&mut world, 2, benchmark()),
        ask(&mut world, 3, benchmark()),
    ];
    world.reconcile();
    say(&mut world, JobState::Working);
    let cancel = |world: &mut World, id| {
        world.cluster.cancelled.insert(id, "bob".to_owned());
        world.reconcile();
    };
    cancel(&mut world, third);
    assert_eq!(cause(&world, third), "cancelled by bob before it began");
    cancel(&mut world, first);
    let told = cause(&world, first);
    assert!(
        told.starts_with("cancelled by bob; whether the rows are in the table is not known"),
        "{told}"
    );
    assert_eq!(story(&world, first), ["Load", "LoadFailure"]);
    // The next one has its turn.
    world.reconcile();
    let pod = world.observed.job.as_ref().expect("a pod");
    assert_eq!(pod.operation, second.to_string());
    say(&mut world, JobState::Working);
    cancel(&mut world, second);
    assert_eq!(cause(&world, second), "cancelled by bob");
    world.reconcile();
    assert_eq!((&world.observed.job, &world.status.job), (&None, &None));
    world.check_stream();
}

#[test]
fn the_others_wait_for_their_turn() {
    let mut world = served();
    let first = ask(&mut world, 1, benchmark());
    let second = ask(&mut world, 2, load("files", 5432));
    world.reconcile();
    say(&mut world, JobState::Working);
    assert_eq!(story(&world, second), [""; 0]);
    say(&mut world, done("tps = 85.1"));
    assert_eq!(story(&world, first).len(), 2);
    assert_eq!(story(&world, second), ["Load"]);
    // The pod of the first makes way.
    world.reconcile();
    let pod = world.observed.job.as_ref().expect("a pod");
    assert_eq!(pod.operation, second.to_string());
    say(&mut world, done("3 rows"));
    assert_eq!(story(&world, second), ["Load", "LoadCompleted"]);
    world.check_stream();
}

#[test]
fn a_pod_that_is_gone_before_it_said_so_is_not_made_again() {
    for (number, wanted, part) in [
        (1, benchmark(), "nothing was measured"),
        (
            2,
            load("files", 5432),
            "whether the rows are in the table is not known",
        ),
    ] {
        let mut world = served();
        let killed = ask(&mut world, number, wanted.clone());
        world.reconcile();
        say(&mut world, JobState::Working);
        say(&mut world, JobState::Lost("it was killed".to_owned()));
        let why = cause(&world, killed);
        assert!(why.contains(part) && why.contains("it was killed"), "{why}");
        let garbled = ask(&mut world, number + 20, wanted.clone());
        world.reconcile();
        world.reconcile();
        say(&mut world, JobState::Garbled("no JSON".to_owned()));
        let why = cause(&world, garbled);
        assert!(why.contains(part) && why.contains("no JSON"), "{why}");
        let removed = ask(&mut world, number + 10, wanted);
        world.reconcile();
        world.reconcile();
        say(&mut world, JobState::Working);
        world.observed.job = None;
        let steps = world.reconcile().steps;
        assert_eq!(steps, [], "rows are loaded once");
        let why = cause(&world, removed);
        assert!(
            why.contains(part) && why.contains("it was removed"),
            "{why}"
        );
        world.check_stream();
    }
}

#[test]
fn what_the_pod_says_is_the_cause_and_what_does_not_begin_has_one() {
    let mut world = served();
    let said = ask(&mut world, 1, load("files", 5432));
    world.reconcile();
    say(
        &mut world,
        JobState::Failed("relation \"people\" does not exist".to_owned()),
    );
    assert_eq!(cause(&world, said), "relation \"people\" does not exist");
    let stuck = ask(&mut world, 2, load("nosuch", 5432));
    world.reconcile();
    world.reconcile();
    say(
        &mut world,
        JobState::Waiting(Some(
            "persistentvolumeclaim \"nosuch\" not found".to_owned(),
        )),
    );
    world.wait(590);
    world.reconcile();
    assert_eq!(story(&world, stuck), ["Load"]);
    world.wait(20);
    world.reconcile();
    let why = cause(&world, stuck);
    assert_eq!(
        why,
        "its pod did not begin to work within 10 min: persistentvolumeclaim \"nosuch\" not found"
    );
    let long = ask(&mut world, 3, benchmark());
    world.reconcile();
    world.reconcile();
    say(&mut world, JobState::Working);
    world.now += SignedDuration::from_hours(24);
    world.reconcile();
    assert_eq!(cause(&world, long), "it was not done within 24 h");
    world.reconcile();
    assert_eq!(world.observed.job, None);
}

#[test]
fn one_whose_task_is_deleted_ends_and_its_pod_goes() {
    let mut world = served();
    let id = ask(&mut world, 1, benchmark());
    world.reconcile();
    say(&mut world, JobState::Working);
    world.cluster.jobs.clear();
    // Who has just begun may not see the task yet.
    world.reconcile();
    assert_eq!(story(&world, id), ["Benchmark"]);
    world.wait(10);
    world.reconcile();
    let why = cause(&world, id);
    assert_eq!(
        why,
        "the task that asked for it was deleted before it was done"
    );
    world.reconcile();
    assert_eq!(world.observed.job, None);
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_made() {
    let mut world = served();
    for (number, wanted, part) in [
        (
            1,
            Err("DbUser is not supplied".to_owned()),
            "DbUser is not supplied",
        ),
        (2, load("hippo", 5432), "is part of cluster hippo itself"),
        (
            3,
            load("hippo-pgbr-repo", 5432),
            "is part of cluster hippo itself",
        ),
        (
            4,
            load("files", 5433),
            "port 5433 is not that of cluster hippo, which is 5432",
        ),
    ] {
        let id = ask(&mut world, number, wanted);
        assert_eq!(world.reconcile().steps, [], "{part}");
        let why = cause(&world, id);
        assert!(why.contains(part), "{why}");
    }
    world.check_stream();
}

#[test]
fn a_cluster_that_goes_takes_its_benchmark_with_it() {
    let mut world = served();
    let id = ask(&mut world, 1, benchmark());
    let waits = ask(&mut world, 2, load("files", 5432));
    world.reconcile();
    world.cluster.deleting = true;
    finish(&mut world);
    assert_eq!(story(&world, id), ["Benchmark", "BenchmarkFailure"]);
    assert_eq!(story(&world, waits), ["Load", "LoadFailure"]);
    assert_eq!(world.observed.job, None);
}

/// All that is told of benchmarks and loads.
pub fn told() -> BTreeSet<EventType> {
    let mut world = served();
    for (number, wanted) in [(1, benchmark()), (3, load("files", 5432))] {
        for (number, state) in [
            (number, done("it is")),
            (number + 1, JobState::Failed("no".to_owned())),
        ] {
            ask(&mut world, number, wanted.clone());
            world.reconcile();
            world.reconcile();
            say(&mut world, state);
            world.reconcile();
        }
    }
    world.told().iter().map(Event::event_type).collect()
}
