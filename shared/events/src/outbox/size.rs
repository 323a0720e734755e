//! How many bytes of JSON the entries of an outbox take, counted once and kept while events come.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use crate::Event;

/// The brackets of an empty list.
const NOTHING: usize = 2;

/// More than any outbox may have: of an event without JSON.
const UNKNOWN: usize = usize::MAX / 2;

/// The size where it was counted. It follows from the entries, so that outboxes are equal whether or not it was.
#[derive(Clone, Debug, Default)]
pub struct Size(OnceLock<usize>);

impl PartialEq for Size {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Size {}

impl Size {
    /// The size of these, which are the entries.
    pub(super) fn of(&self, entries: &[Event]) -> usize {
        *self.0.get_or_init(|| {
            let commas = entries.len().saturating_sub(1);
            let each = entries.iter().map(length);
            each.fold(NOTHING + commas, usize::saturating_add)
        })
    }

    /// An event comes behind `before` others.
    pub(super) fn add(&mut self, event: &Event, before: usize) {
        if let Some(known) = self.0.get_mut() {
            let comma = usize::from(before > 0);
            *known = known.saturating_add(length(event) + comma);
        }
    }

    /// Events went: what is left is counted when it is asked for.
    pub(super) fn forget(&mut self) {
        self.0.take();
    }
}

/// Takes what is written and keeps its length only.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn length(event: &Event) -> usize {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, event).map_or(UNKNOWN, |()| counter.0)
}
