//! The catalogue says of each type whether it is published: what the core can tell is so, and nothing else is.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    AgentPhase, DeleteOptions, DeleteRequest,
    installation::{Installation, InstallationStatus, Wanted, commit},
};
use pgo_events::{EventType, Published};
use pgo_ids::Seq;

use crate::world::World;

/// A cluster that fails, recovers, serves and goes.
fn of_clusters() -> BTreeSet<EventType> {
    let mut world = World::new();
    world.settle();
    let mut told: Vec<EventType> = world
        .told()
        .iter()
        .map(|event| event.event_type())
        .collect();

    let mut failing = World::new();
    failing.reconcile();
    failing.progress();
    failing.reconcile();
    failing.say(AgentPhase::Failed, Some("initdb: no space left on device"));
    failing.reconcile();
    told.extend(failing.told().iter().map(|event| event.event_type()));

    world.cluster.delete_request = Some(DeleteRequest {
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        actor: "pgoadmin".to_owned(),
        options: DeleteOptions::default(),
    });
    world.reconcile();
    world.wait(5 * 60);
    for _ in 0..40 {
        world.reconcile();
        world.progress();
        world.wait(1);
    }
    assert!(world.gone, "{:?}", world.status);
    told.extend(world.told().iter().map(|event| event.event_type()));
    told.into_iter().collect()
}

/// PGO that comes up late, comes up, and is stopped.
fn of_pgo() -> BTreeSet<EventType> {
    let now: Timestamp = "2026-10-15T10:11:12Z".parse().expect("a time");
    let mut installation = Installation {
        stream: "uid-pgo".parse().expect("a stream"),
        namespace: "pgo".parse().expect("a namespace"),
        generation: 1,
        wanted: Wanted::Running,
        version: "4.1.0".to_owned(),
        not_ready: vec!["event".to_owned()],
        was_down: false,
    };
    let status = commit(&InstallationStatus::default(), &installation, Seq(0), now);
    let late = now + SignedDuration::from_mins(4);
    let status = commit(&status, &installation, Seq(0), late);
    installation.not_ready.clear();
    let status = commit(&status, &installation, Seq(0), late);
    installation.wanted = Wanted::Stopped;
    let status = commit(&status, &installation, Seq(0), late);
    let told = status.journal.outbox.entries.iter();
    told.map(|event| event.event_type()).collect()
}

#[test]
fn what_is_said_to_be_published_is_told_and_nothing_else() {
    let told: BTreeSet<EventType> = of_clusters().union(&of_pgo()).copied().collect();
    let all = EventType::ALL.iter().copied();
    let (now, later): (BTreeSet<EventType>, BTreeSet<EventType>) =
        all.partition(|event_type| event_type.about().published == Published::Now);
    let never = later.iter().copied();
    let never = never.filter(|event_type| event_type.about().published == Published::Never);
    assert_eq!(never.collect::<Vec<_>>(), [EventType::PgoStopFailure]);
    let names = |types: &BTreeSet<EventType>| {
        let names: Vec<&str> = types.iter().map(|event_type| event_type.as_str()).collect();
        names.join(", ")
    };
    println!("types that nothing publishes yet: {}", names(&later));
    let (said, found) = (names(&now), names(&told));
    assert_eq!(said, found);
}
