//! Events to publish.

use pgo_events::{Draft, Event, EventType};
use pgo_ids::{EventKey, Seq, StreamId};

pub fn stream(name: &str) -> StreamId {
    name.parse().unwrap()
}

pub fn event(name: &str, seq: u64) -> Event {
    of_type(EventType::CreateClusterProgress, name, seq)
}

pub fn of_type(event_type: EventType, name: &str, seq: u64) -> Event {
    let draft = Draft {
        event_type,
        time: "2026-10-15T10:11:12.5Z".parse().unwrap(),
        namespace: "pgouser1".parse().unwrap(),
        cluster: Some(name.parse().unwrap()),
        operation: "25927091-b343-4017-be4b-71575f0b3eb5".parse().unwrap(),
        actor: "pgoadmin".to_owned(),
        step: None,
        cause: None,
        duration_ms: None,
        details: std::collections::BTreeMap::new(),
    };
    let key = EventKey {
        stream: stream(name),
        seq: Seq(seq),
    };
    Event::new(draft, key)
}

pub fn events(name: &str, seqs: impl IntoIterator<Item = u64>) -> Vec<Event> {
    seqs.into_iter().map(|seq| event(name, seq)).collect()
}
