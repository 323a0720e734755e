//! The catalogue says of each type whether it is published: what the core can tell is so, and nothing else is.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    AgentPhase, DeleteOptions, DeleteRequest,
    installation::{InstallationStatus, Wanted, commit},
};
use pgo_events::{Event, EventType, Published};

use crate::{
    backups, base_backups, crash, drills, dumps, failover,
    installation::{config, pgo},
    jobs, policies, protection, reload, replicas, restart, restores, scheduled, scheduling,
    services::{lease, process},
    settings, slots, synchronous, takeover, upgrade, volumes,
    world::{World, on},
};

/// A cluster whose database does not answer for a while, and whose certificate is renewed, late.
fn of_running_clusters() -> BTreeSet<EventType> {
    let mut world = World::new();
    world.settle();
    world.observed.pods.clear();
    world.reconcile();
    world.settle();
    world.observed.certificate_until = Some(world.now + SignedDuration::from_hours(1));
    world.reconcile_cut_off(0);
    world.settle();
    world.told().iter().map(Event::event_type).collect()
}

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

    world.cluster.delete_requests = vec![DeleteRequest {
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        actor: "pgoadmin".to_owned(),
        options: DeleteOptions::default(),
    }];
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

/// Events that are not stored for a while, and eventing that is off for a while.
fn of_outages() -> BTreeSet<EventType> {
    let mut world = World::new();
    world.storing = false;
    world.settle();
    world.wait(60);
    world.reconcile();
    world.storing = true;
    world.store();
    world.reconcile();
    world.publishing = false;
    world.cluster.deleting = true;
    world.reconcile();
    world.publishing = true;
    world.reconcile();
    world.told().iter().map(Event::event_type).collect()
}

/// PGO that comes up late, comes up, and is stopped, late.
fn of_pgo() -> BTreeSet<EventType> {
    let now: Timestamp = "2026-10-15T10:11:12Z".parse().expect("a time");
    let mut installation = pgo();
    installation.processes = vec![process("apiserver", "uid-1")];
    installation.leases = vec![lease("scheduler", Some("scheduler-1"))];
    let status = commit(&InstallationStatus::default(), &installation, on(0), now);
    installation.processes.clear();
    installation.leases = vec![lease("scheduler", None)];
    let late = now + SignedDuration::from_mins(4);
    let status = commit(&status, &installation, on(0), late);
    installation.not_ready.clear();
    installation.config = config("changed");
    let status = commit(&status, &installation, on(0), late);
    installation.wanted = Wanted::Stopped;
    installation.at_work = vec!["pod apiserver-1".to_owned()];
    let status = commit(&status, &installation, on(0), late);
    let later = late + SignedDuration::from_mins(1);
    let status = commit(&status, &installation, on(0), later);
    installation.at_work.clear();
    let status = commit(&status, &installation, on(0), later);
    let told = status.journal.outbox.entries.iter();
    told.map(|event| event.event_type()).collect()
}

/// Those without a publisher are listed in `docs/events.md`, which is made from the catalogue.
#[test]
fn what_is_said_to_be_published_is_told_and_nothing_else() {
    let told = [
        of_clusters(),
        of_running_clusters(),
        of_outages(),
        of_pgo(),
        replicas::told(),
        protection::told(),
        crash::told(),
        slots::told(),
        settings::told(),
        takeover::told(),
        failover::told(),
        upgrade::told(),
        reload::told(),
        dumps::told(),
        base_backups::told(),
        jobs::told(),
        policies::told(),
        policies::told_of_pgo(),
        restart::told(),
        scheduled::told(),
        scheduling::told(),
        synchronous::of_fallback(),
        backups::told(),
        restores::told(),
        drills::told(),
        volumes::told(),
    ];
    let told: BTreeSet<EventType> = told.into_iter().flatten().collect();
    let all = EventType::ALL.iter().copied();
    let (now, later): (BTreeSet<EventType>, BTreeSet<EventType>) =
        all.partition(|event_type| event_type.about().published == Published::Now);
    let never = later.iter().copied();
    let never = never.filter(|event_type| event_type.about().published == Published::Never);
    let expected = [EventType::PrimaryDeleted];
    assert_eq!(never.collect::<Vec<_>>(), expected);
    let names = |types: &BTreeSet<EventType>| {
        let names: Vec<&str> = types.iter().map(|event_type| event_type.as_str()).collect();
        names.join(", ")
    };
    let (said, found) = (names(&now), names(&told));
    assert_eq!(said, found);
}
