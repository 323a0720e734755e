//! WAL that is kept for a replica has a bound: what becomes of it is told once, and again only when it is worse, or new.

use std::collections::BTreeSet;

use pgo_core::{KeptWal, WalStatus};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::InstanceName;
use proptest::prelude::*;

use crate::{
    replicas::{names, remove, settle, with_replicas},
    world::World,
};

/// The primary says this of the WAL that it keeps for an instance.
fn keeps(world: &mut World, instance: &InstanceName, wal: WalStatus) {
    let primary = world.primary.clone();
    let primary = world.observed.agents.get_mut(&primary).expect("an agent");
    for follower in &mut primary.followers {
        if follower.slot == instance.slot() {
            follower.wal = wal;
            follower.kept_bytes = 3 << 30;
        }
    }
    world.reconcile();
}

fn story(world: &World) -> Vec<Event> {
    let types = [EventType::ReplicaWalAtRisk, EventType::ReplicaWalLost];
    let told = world.told().into_iter();
    told.filter(|event| types.contains(&event.event_type()))
        .collect()
}

fn types(world: &World) -> Vec<EventType> {
    story(world).iter().map(Event::event_type).collect()
}

#[test]
fn wal_that_is_about_to_go_and_wal_that_is_gone_are_told_once_each_and_anew_after_a_return() {
    let mut world = with_replicas(2);
    let instance = names(&world)[0].clone();
    keeps(&mut world, &instance, WalStatus::Extended);
    assert!(types(&world).is_empty());
    for wal in [
        WalStatus::Unreserved,
        WalStatus::Extended,
        WalStatus::Unreserved,
    ] {
        keeps(&mut world, &instance, wal);
        assert_eq!(types(&world), [EventType::ReplicaWalAtRisk]);
    }
    let told = story(&world).remove(0);
    let name = told.payload.text(Field::ReplicaName);
    assert_eq!(name, Some(instance.as_str()));
    for told in story(&world) {
        let payload = &told.payload;
        assert_eq!(payload.text(Field::Primary), Some("hippo"));
        assert_eq!(payload.get(Field::Timeline), Some(&Datum::Number(1)));
        assert_eq!(payload.text(Field::Lsn), Some("0/3000148"));
    }
    let cause = told.cause.unwrap_or_default();
    assert!(cause.contains("keeps 3072 MiB"), "{cause}");
    for _ in 0..2 {
        keeps(&mut world, &instance, WalStatus::Lost);
    }
    let both = [EventType::ReplicaWalAtRisk, EventType::ReplicaWalLost];
    assert_eq!(types(&world), both);
    assert_eq!(world.status.kept_wal.get(&instance), Some(&KeptWal::Lost));

    keeps(&mut world, &instance, WalStatus::Kept);
    assert!(world.status.kept_wal.is_empty());
    // Of one that is away nobody says how far it has come.
    world.observed.agents.remove(&instance);
    keeps(&mut world, &instance, WalStatus::Lost);
    assert_eq!(types(&world).len(), 3);
    let payload = story(&world).remove(2).payload;
    assert_eq!(payload.get(Field::Timeline), Some(&Datum::Number(1)));
    assert_eq!(payload.text(Field::Lsn), None);
    world.check_stream();
}

#[test]
fn without_a_primary_nothing_is_told_and_nothing_is_forgotten() {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    keeps(&mut world, &instance, WalStatus::Lost);
    world.primary_is_lost();
    world.reconcile();
    assert_eq!(world.status.kept_wal.get(&instance), Some(&KeptWal::Lost));
    assert_eq!(types(&world).len(), 1);
}

#[test]
fn a_replica_that_is_removed_is_told_no_more() {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    keeps(&mut world, &instance, WalStatus::Unreserved);
    remove(&mut world, &instance);
    settle(&mut world);
    assert!(world.status.kept_wal.is_empty());
}

proptest! {
    /// Nothing is told twice in a row of one instance.
    #[test]
    fn what_is_told_is_new(words in prop::collection::vec(0_usize..4, 0..40)) {
        let mut world = with_replicas(1);
        let instance = names(&world)[0].clone();
        let all = ["reserved", "extended", "unreserved", "lost"].map(WalStatus::read);
        let mut before = None;
        for word in words {
            let told = types(&world).len();
            keeps(&mut world, &instance, all[word]);
            let now = world.status.kept_wal.get(&instance).copied();
            let is_news = now.is_some() && now != before;
            prop_assert_eq!(types(&world).len() - told, usize::from(is_news));
            before = now;
        }
        world.check_stream();
    }
}

/// What is told of WAL that is kept.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    keeps(&mut world, &instance, WalStatus::Unreserved);
    keeps(&mut world, &instance, WalStatus::Lost);
    types(&world).into_iter().collect()
}
