//! Schedules that are made and deleted on request: each is told once, as it is noted.

use std::collections::BTreeSet;

use pgo_core::{ScheduleChange, ScheduleRequest};
use pgo_events::{Event, EventType};
use pgo_ids::OperationId;

use crate::world::World;

const TYPES: [EventType; 6] = [
    EventType::CreateScheduleStarted,
    EventType::CreateSchedule,
    EventType::CreateScheduleFailure,
    EventType::DeleteScheduleStarted,
    EventType::DeleteSchedule,
    EventType::DeleteScheduleFailure,
];

fn request(what: &str, change: ScheduleChange, failed: Option<&str>) -> ScheduleRequest {
    let stream = "uid-a".parse().expect("a stream");
    ScheduleRequest {
        operation: OperationId::derived(&stream, what),
        actor: "alice".to_owned(),
        schedule: "hippo-pgbackrest-full".to_owned(),
        change,
        at: "2026-10-15T10:00:00Z".parse().expect("a time"),
        failed: failed.map(str::to_owned),
    }
}

/// The events of a cluster on which these are noted.
fn story(requests: &[ScheduleRequest]) -> Vec<Event> {
    let mut world = World::new();
    world.settle();
    world.cluster.notes.schedules = requests.to_vec();
    world.settle();
    world.settle();
    let told = world.told().into_iter();
    told.filter(|event| TYPES.contains(&event.event_type()))
        .collect()
}

/// All that can be told.
pub fn told() -> BTreeSet<EventType> {
    let requests = [ScheduleChange::Created, ScheduleChange::Deleted].map(|change| {
        let done = request(&format!("{change:?}"), change, None);
        let not = request(
            &format!("not {change:?}"),
            change,
            Some("no such namespace"),
        );
        [done, not]
    });
    story(requests.as_flattened())
        .iter()
        .map(Event::event_type)
        .collect()
}

#[test]
fn a_schedule_is_told_once_with_its_name_and_who_asked() {
    let made = request("a", ScheduleChange::Created, None);
    let deleted = request("b", ScheduleChange::Deleted, Some("forbidden"));
    let story = story(&[made.clone(), deleted.clone()]);
    let told: Vec<_> = story
        .iter()
        .map(|event| (event.event_type(), event.operationid))
        .collect();
    assert_eq!(
        told,
        [
            (EventType::CreateScheduleStarted, made.operation),
            (EventType::CreateSchedule, made.operation),
            (EventType::DeleteScheduleStarted, deleted.operation),
            (EventType::DeleteScheduleFailure, deleted.operation),
        ]
    );
    for event in &story {
        let text = serde_json::to_value(event).expect("JSON");
        assert_eq!(text["schedule"], "hippo-pgbackrest-full", "{text}");
        assert_eq!(text["eventheader"]["username"], "alice", "{text}");
    }
    assert_eq!(story[3].cause.as_deref(), Some("forbidden"));
}
