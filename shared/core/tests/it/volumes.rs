//! A volume that fills is told at each level once, and again only after it had room.

use std::collections::BTreeSet;

use pgo_core::{ConditionStatus, Fill, Level, RESULT_ROOM};
use pgo_events::{Datum, Event, EventType, Field};
use proptest::prelude::*;

use crate::world::{World, backups};

const MIB: u64 = 1 << 20;

fn ready() -> World {
    let mut world = World::new();
    world.settle();
    world
}

/// The agent of the first instance says that so many of a hundred MiB are used.
fn fill(world: &mut World, percent: u64) {
    let agent = world.observed.agents.get_mut(&World::instance());
    agent.expect("an agent").volume = Some(Fill {
        bytes: 100 * MIB,
        used: percent * MIB,
    });
    world.reconcile();
}

fn story(world: &World) -> Vec<Event> {
    let types = [EventType::DiskWarning, EventType::DiskRecovered];
    let told = world.told().into_iter();
    told.filter(|event| types.contains(&event.event_type()))
        .collect()
}

fn types(world: &World) -> Vec<EventType> {
    story(world).iter().map(Event::event_type).collect()
}

fn condition(world: &World) -> Option<(ConditionStatus, String, String)> {
    let mut conditions = world.status.conditions.iter();
    let found = conditions.find(|condition| condition.name == RESULT_ROOM)?;
    Some((found.status, found.reason.clone(), found.message.clone()))
}

#[test]
fn each_level_is_told_once_with_the_time_that_is_left_and_so_is_the_return() {
    let mut world = ready();
    assert_eq!(condition(&world), None, "nothing was measured");
    fill(&mut world, 50);
    let (status, ..) = condition(&world).expect("judged");
    assert_eq!(status, ConditionStatus::True);
    for percent in [60, 69] {
        world.wait(60);
        fill(&mut world, percent);
    }
    assert!(story(&world).is_empty());

    // 12 MiB in two minutes, and 28 are left.
    world.wait(60);
    fill(&mut world, 72);
    let told = story(&world).remove(0);
    assert_eq!(told.payload.text(Field::Volume), Some("hippo"));
    assert_eq!(told.payload.text(Field::Instance), Some("hippo"));
    let number = |field| told.payload.get(field).cloned();
    assert_eq!(number(Field::UsedPercent), Some(Datum::Number(72)));
    assert_eq!(number(Field::FullInSeconds), Some(Datum::Number(280)));
    let cause = told.cause.clone().unwrap_or_default();
    let expected =
        "volume hippo is 72% used: 72 of 100 MiB; at the present rate it is full in 4 min";
    assert_eq!(cause, expected);
    let (status, reason, message) = condition(&world).expect("judged");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "Filling")
    );
    assert_eq!(message, expected);

    for percent in [69, 66, 84, 70, 65] {
        fill(&mut world, percent);
    }
    assert_eq!(types(&world), [EventType::DiskWarning]);
    fill(&mut world, 96);
    let (_, reason, message) = condition(&world).expect("judged");
    assert_eq!(reason, "AlmostFull");
    assert!(
        message.contains("; at the present rate it is full in "),
        "{message}"
    );
    assert_eq!(types(&world).len(), 2, "what is passed at once is one");
    fill(&mut world, 64);
    assert_eq!(types(&world)[2..], [EventType::DiskRecovered]);
    assert_eq!(condition(&world).expect("judged").0, ConditionStatus::True);
    fill(&mut world, 71);
    assert_eq!(types(&world)[3..], [EventType::DiskWarning]);
    world.check_stream();
}

#[test]
fn a_volume_that_does_not_grow_has_no_time_left_to_tell() {
    let mut world = ready();
    fill(&mut world, 90);
    world.wait(60);
    fill(&mut world, 96);
    let told = story(&world);
    assert_eq!(
        told[0].payload.get(Field::FullInSeconds),
        None,
        "no rate yet"
    );
    assert!(told[1].payload.get(Field::FullInSeconds).is_some());
    world.wait(60);
    fill(&mut world, 80);
    world.wait(60);
    let status = &world.status.volumes["hippo"];
    assert_eq!(status.full_in_seconds(), None, "it has shrunk");
}

#[test]
fn a_calm_before_does_not_make_the_rate_seem_slow() {
    let mut world = ready();
    fill(&mut world, 10);
    world.wait(3 * 86_400);
    for percent in [68, 69, 70] {
        world.wait(10);
        fill(&mut world, percent);
    }
    let left = world.status.volumes["hippo"].full_in_seconds();
    assert_eq!(left, Some(300), "1 MiB in 10 s, and 30 are left");
}

#[test]
fn what_was_said_stays_while_nobody_measures_and_goes_with_the_volume() {
    let mut world = ready();
    fill(&mut world, 75);
    world.fall_silent();
    world.reconcile();
    assert_eq!(world.status.volumes["hippo"].told, Some(Level::Filling));
    let (status, ..) = condition(&world).expect("judged");
    assert_eq!(status, ConditionStatus::False);
    world.observed.pods.clear();
    world.observed.claims.clear();
    world.reconcile();
    assert!(world.status.volumes.is_empty());
}

proptest! {
    /// Between two returns the levels that are told rise; what is told is reached; and the condition says the same.
    #[test]
    fn levels_rise_until_there_is_room(percents in prop::collection::vec(0_u64..=100, 0..40)) {
        let mut world = ready();
        let mut told: Option<Level> = None;
        for percent in percents {
            let before = story(&world).len();
            fill(&mut world, percent);
            let new: Vec<EventType> = types(&world).split_off(before);
            let reached = Level::ALL.into_iter().rfind(|level| percent >= level.percent().into());
            let expected = if reached > told {
                told = reached;
                vec![EventType::DiskWarning]
            } else if told.is_some() && percent < 65 {
                told = None;
                vec![EventType::DiskRecovered]
            } else {
                Vec::new()
            };
            prop_assert_eq!(new, expected);
            let has_room = condition(&world).expect("judged").0 == ConditionStatus::True;
            prop_assert_eq!(has_room, told.is_none());
            // The same again is no news.
            let (volumes, told) = (world.status.volumes.clone(), types(&world).len());
            world.reconcile();
            prop_assert_eq!(&world.status.volumes, &volumes);
            prop_assert_eq!(types(&world).len(), told);
        }
        world.check_stream();
    }

    /// What fills evenly is full when that was told.
    #[test]
    fn the_time_that_is_left_is_right(step in 1_u64..5, pause in 1_i64..3600) {
        let mut world = ready();
        let mut percent = 60;
        while percent < 90 {
            fill(&mut world, percent);
            world.wait(pause);
            percent += step;
        }
        let used = percent - step;
        let pause = u64::try_from(pause).expect("positive");
        let left = world.status.volumes["hippo"].full_in_seconds();
        prop_assert_eq!(left, Some((100 - used) * pause / step));
    }
}

/// What is told of volumes.
pub fn told() -> BTreeSet<EventType> {
    let mut world = ready();
    fill(&mut world, 80);
    fill(&mut world, 10);
    types(&world).into_iter().collect()
}

#[test]
fn the_repository_s_volume_is_told_like_those_of_data() {
    let mut world = World::new();
    world.wanted().backups = Some(backups());
    world.settle();
    let fill = |world: &mut World, percent| {
        let agent = world.observed.repository.agent.as_mut();
        agent.expect("it is heard").volume = Some(Fill {
            bytes: 100 * MIB,
            used: percent * MIB,
        });
        world.reconcile();
    };
    fill(&mut world, 86);
    let told = story(&world).remove(0);
    assert_eq!(told.payload.text(Field::Volume), Some("hippo-pgbr-repo"));
    assert_eq!(told.payload.text(Field::Instance), None);
    assert_eq!(
        told.cause.as_deref(),
        Some("volume hippo-pgbr-repo is 86% used: 86 of 100 MiB")
    );
    let (status, reason, _) = condition(&world).expect("judged");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "NearlyFull")
    );
    fill(&mut world, 60);
    assert_eq!(
        types(&world),
        [EventType::DiskWarning, EventType::DiskRecovered]
    );

    // On no claim, it is the node's.
    fill(&mut world, 86);
    world.observed.repository.claim = None;
    world.reconcile();
    assert!(world.status.volumes.is_empty());
}
