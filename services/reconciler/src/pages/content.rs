//! What is in a page, as far as this version can read it; and what waits behind a page that it cannot read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pgo_crd::PgEventPageSpec;
use pgo_events::{DecodeError, Event};
use pgo_ids::Seq;
use serde::Deserialize;

/// What of an event is read in a page that another version may have written.
#[derive(Deserialize)]
struct Place {
    seq: Seq,
}

/// Seq of an event of which this version may know nothing else.
pub(super) fn seq(text: &str) -> Result<Seq, serde_json::Error> {
    serde_json::from_str::<Place>(text).map(|place| place.seq)
}

/// Where a page begins; 0 where it is empty, or not even that can be read.
pub(super) fn first(spec: &PgEventPageSpec) -> Seq {
    let first = spec.events.first();
    first.and_then(|text| seq(text).ok()).unwrap_or_default()
}

/// Where a page ends; the highest seq there is where not even that can be read.
fn last(spec: &PgEventPageSpec) -> Seq {
    let last = spec.events.last();
    last.map_or(Seq(0), |text| seq(text).unwrap_or(Seq(u64::MAX)))
}

/// The events of a page.
pub(super) struct Content {
    /// Those up to the first that cannot be read: what is behind one must not be taken before it.
    pub(super) events: Vec<Event>,
    /// Why the next one cannot be read.
    pub(super) unreadable: Option<DecodeError>,
    stream: String,
    first: Seq,
    last: Seq,
}

impl Content {
    pub(super) fn of(spec: &PgEventPageSpec) -> Self {
        let mut content = Self {
            events: Vec::with_capacity(spec.events.len()),
            unreadable: None,
            stream: spec.stream.clone(),
            first: first(spec),
            last: last(spec),
        };
        for text in &spec.events {
            match Event::from_wire(text.as_bytes()) {
                Ok(event) => content.events.push(event),
                Err(error) => {
                    content.unreadable = Some(error);
                    break;
                }
            }
        }
        content
    }

    /// Its events. An error where one cannot be read that is not in the history, which is known up to `confirmed`.
    pub(super) fn all(self, confirmed: Seq) -> Result<Vec<Event>, DecodeError> {
        match self.unreadable {
            Some(error) if confirmed < self.last => Err(error),
            _ => Ok(self.events),
        }
    }
}

/// A page that cannot be read: events of its stream behind `first` wait until those up to `last` are in the history.
#[derive(Debug)]
pub(super) struct Barrier {
    stream: String,
    first: Seq,
    last: Seq,
}

/// The barriers that somebody keeps. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Barriers(Arc<Mutex<Vec<Weak<Barrier>>>>);

impl Barriers {
    /// A barrier where a page cannot be read, for as long as what is given back is kept.
    pub(super) fn raise(&self, content: &Content) -> Option<Arc<Barrier>> {
        content.unreadable.as_ref()?;
        let barrier = Arc::new(Barrier {
            stream: content.stream.clone(),
            first: content.first,
            last: content.last,
        });
        let mut all = self.lock();
        all.retain(|barrier| barrier.strong_count() > 0);
        all.push(Arc::downgrade(&barrier));
        Some(barrier)
    }

    /// Whether a page is behind one that cannot be read, of which not all is in the history.
    pub(super) fn keep_back(&self, content: &Content, confirmed: Seq) -> bool {
        let all = self.lock();
        all.iter().filter_map(Weak::upgrade).any(|barrier| {
            barrier.stream == content.stream
                && barrier.first < content.first
                && confirmed < barrier.last
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Barrier>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
