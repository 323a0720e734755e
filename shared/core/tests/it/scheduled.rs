//! Runs of schedules that the scheduler notes on a Pgcluster: each is told once, however often it is noted.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{RunVerdict, ScheduledRun};
use pgo_events::{Event, EventType, Field};
use pgo_ids::OperationId;

use crate::world::World;

const TYPES: [EventType; 3] = [
    EventType::ScheduleRun,
    EventType::ScheduleRunSkipped,
    EventType::ScheduleRunMissed,
];

fn due(minute: i64) -> Timestamp {
    let first: Timestamp = "2026-10-15T10:00:00Z".parse().expect("a time");
    first + SignedDuration::from_mins(minute)
}

fn run(uid: &str, minute: i64, verdict: RunVerdict) -> ScheduledRun {
    let stream = uid.parse().expect("a stream");
    ScheduledRun {
        operation: OperationId::derived(&stream, &due(minute).to_string()),
        schedule: "nightly".to_owned(),
        uid: uid.to_owned(),
        due: due(minute),
        verdict,
    }
}

fn ready() -> World {
    let mut world = World::new();
    world.settle();
    world
}

fn story(world: &World) -> Vec<Event> {
    let told = world.told().into_iter();
    told.filter(|event| TYPES.contains(&event.event_type()))
        .collect()
}

fn noted(world: &mut World, runs: &[ScheduledRun]) {
    world.cluster.notes.runs = runs.to_vec();
    world.settle();
    let told = &world.status.told_notes;
    assert!(runs.iter().all(|run| told.contains(&run.operation)));
    // As the projection does.
    world.cluster.notes.runs.clear();
    world.settle();
}

#[test]
fn what_became_of_a_run_is_told_with_its_id_its_schedule_and_when_it_was_due() {
    let mut world = ready();
    let begun = run("uid-a", 3, RunVerdict::Begun);
    let missed = run("uid-a", 2, RunVerdict::Missed(2));
    let skipped = run("uid-b", 1, RunVerdict::Skipped("a backup runs".to_owned()));
    noted(
        &mut world,
        &[begun.clone(), missed.clone(), skipped.clone()],
    );
    let story = story(&world);
    let told: Vec<_> = story
        .iter()
        .map(|event| {
            (
                event.event_type(),
                event.operationid,
                event.cause.as_deref(),
            )
        })
        .collect();
    let expected = [
        (
            EventType::ScheduleRunSkipped,
            skipped.operation,
            Some("a backup runs"),
        ),
        (
            EventType::ScheduleRunMissed,
            missed.operation,
            Some("nobody was there to begin 2 runs in time; this is the last of them"),
        ),
        (
            EventType::ScheduleRun,
            begun.operation,
            Some("schedule nightly was due"),
        ),
    ];
    assert_eq!(told, expected);
    let field = |field: Field| story[0].payload.text(field);
    assert_eq!(field(Field::Schedule), Some("nightly"));
    assert_eq!(field(Field::Due), Some(due(1).to_string().as_str()));
    world.check_stream();
}

#[test]
fn a_run_that_is_noted_again_is_not_told_again() {
    let mut world = ready();
    let first = run("uid-a", 1, RunVerdict::Begun);
    noted(&mut world, std::slice::from_ref(&first));
    // The scheduler did not hear that it was noted, and the note was told and taken away meanwhile.
    noted(&mut world, std::slice::from_ref(&first));
    assert_eq!(story(&world).len(), 1);
    // Another schedule of the same name is another one, and a later run is another run.
    noted(
        &mut world,
        &[
            run("uid-b", 1, RunVerdict::Begun),
            run("uid-a", 2, RunVerdict::Begun),
        ],
    );
    assert_eq!(story(&world).len(), 3);
    world.check_stream();
}

#[test]
fn of_many_schedules_those_that_were_told_last_are_remembered() {
    let mut world = ready();
    for n in 0..100 {
        noted(
            &mut world,
            &[run(&format!("uid-{n}"), n, RunVerdict::Begun)],
        );
    }
    assert_eq!(world.status.told_runs.len(), 64);
    assert_eq!(world.status.told_runs.get("uid-99"), Some(&due(99)));
    assert_eq!(world.status.told_runs.get("uid-35"), None);
}

/// What is told of runs.
pub fn told() -> BTreeSet<EventType> {
    let mut world = ready();
    let verdicts = [
        RunVerdict::Missed(1),
        RunVerdict::Skipped("no".to_owned()),
        RunVerdict::Begun,
    ];
    let runs: Vec<_> = (1..)
        .zip(verdicts)
        .map(|(n, verdict)| run("uid", n, verdict))
        .collect();
    noted(&mut world, &runs);
    story(&world).iter().map(Event::event_type).collect()
}
