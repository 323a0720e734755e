//! What a world was told, and what must hold of it.

use std::collections::BTreeMap;

use pgo_events::{Event, Eventing, Stage};
use pgo_ids::{OperationId, Seq};

use super::World;

impl World {
    /// Everything that was told: stored, copied at the end, or still in the outbox.
    pub fn told(&self) -> Vec<Event> {
        let mut all = self.stored.clone();
        let mut rest: Vec<&Event> = self.pages.iter().chain(&self.copied).collect();
        rest.extend(&self.status.journal.outbox.entries);
        rest.sort_by_key(|event| event.seq);
        for event in rest {
            if event.seq > all.last().map_or(Seq(0), |last: &Event| last.seq) {
                all.push(event.clone());
            }
        }
        all
    }

    /// How often an event of this type was told.
    pub fn count(&self, event_type: &str) -> usize {
        let told = self.told();
        types(&told).iter().filter(|t| **t == event_type).count()
    }

    /// What must hold of the stream whatever happens.
    pub fn check_stream(&self) {
        let told = self.told();
        let mut ended: BTreeMap<OperationId, usize> = BTreeMap::new();
        let mut begun: BTreeMap<OperationId, usize> = BTreeMap::new();
        for (at, event) in told.iter().enumerate() {
            assert_eq!(event.seq, Seq(at as u64 + 1), "a gap or a repeat");
            match event.stage {
                Stage::Notice => {}
                Stage::Started => *begun.entry(event.operationid).or_default() += 1,
                Stage::Progress => assert!(begun.contains_key(&event.operationid)),
                Stage::Completed | Stage::Failed => {
                    assert!(begun.contains_key(&event.operationid));
                    *ended.entry(event.operationid).or_default() += 1;
                }
            }
        }
        assert!(begun.values().all(|count| *count == 1), "begun twice");
        assert!(ended.values().all(|count| *count == 1), "ended twice");
    }
}

pub fn types(events: &[Event]) -> Vec<&'static str> {
    events
        .iter()
        .map(|event| event.event_type().as_str())
        .collect()
}

/// Eventing that is on, with so much confirmed.
pub fn on(confirmed: u64) -> Eventing {
    Eventing::On {
        confirmed: Seq(confirmed),
        since: "2026-10-15T10:11:12Z".parse().expect("a time"),
    }
}
