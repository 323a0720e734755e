//! Where instances stand in the WAL, as events tell it: by the word of their agents, and nothing where that is not known.

use pgo_events::{Datum, Field};
use pgo_ids::InstanceName;

use crate::{Observed, journal::Details};

/// A place in the WAL as PostgreSQL writes it.
pub(crate) fn place(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

/// That this instance is, or was, the primary.
pub(crate) fn is_primary(name: &InstanceName) -> (Field, Datum) {
    (Field::Primary, Datum::Text(name.to_string()))
}

/// The primary that serves.
pub(crate) fn primary(observed: &Observed) -> Details {
    let serving = observed.serving_primary().into_iter();
    serving.map(is_primary).collect()
}

/// The primary that serves, and its timeline.
pub(crate) fn primary_and_timeline(observed: &Observed) -> Details {
    let serving = observed.serving_primary();
    let agent = serving.and_then(|name| observed.agent(name));
    let mut told = primary(observed);
    told.extend(on(agent.map_or(0, |agent| agent.timeline)));
    told
}

/// Up to where an instance has come: its timeline and, of a replica, what it has received.
pub(crate) fn reached(observed: &Observed, instance: &InstanceName) -> Details {
    let Some(agent) = observed.agent(instance) else {
        return Vec::new();
    };
    let mut told = on(agent.timeline);
    if agent.received > 0 {
        told.push((Field::Lsn, Datum::Text(place(agent.received))));
    }
    told
}

/// The primary that serves, and up to where another instance has come; of one that is not heard, the primary's timeline.
pub(crate) fn standing(observed: &Observed, instance: &InstanceName) -> Details {
    match reached(observed, instance) {
        unknown if unknown.is_empty() => primary_and_timeline(observed),
        reached => primary(observed).into_iter().chain(reached).collect(),
    }
}

/// A timeline; 0 is none.
fn on(timeline: u32) -> Details {
    let known = (timeline > 0).then_some((Field::Timeline, Datum::Number(u64::from(timeline))));
    known.into_iter().collect()
}
