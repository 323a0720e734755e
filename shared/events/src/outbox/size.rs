//! How many bytes of JSON the entries of an outbox take, counted once and kept while events come.

use crate::Event;

/// The brackets of an empty list.
const NOTHING: usize = 2;

/// More than any outbox may have: of an event without JSON.
const UNKNOWN: usize = usize::MAX / 2;

/// The size where it was counted. It follows from the entries, so that outboxes are equal whether or not it was.
#[derive(Clone, Debug, Default)]
pub struct Size(Option<usize>);

impl PartialEq for Size {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Size {}

impl Size {
    /// The size of these, which are the entries.
    pub(super) fn of(&self, entries: &[Event]) -> usize {
        self.0.unwrap_or_else(|| {
            let commas = entries.len().saturating_sub(1);
            let each = entries.iter().map(length);
            each.fold(NOTHING + commas, usize::saturating_add)
        })
    }

    /// Counts it, so that it is known from now on.
    pub(super) fn count(&mut self, entries: &[Event]) {
        self.0 = Some(self.of(entries));
    }

    /// An event comes behind `before` others.
    pub(super) fn add(&mut self, event: &Event, before: usize) {
        if let Some(known) = &mut self.0 {
            let comma = usize::from(before > 0);
            *known = known.saturating_add(length(event) + comma);
        }
    }

    /// Events went: what is left is counted when it is asked for.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

fn length(event: &Event) -> usize {
    serde_json::to_vec(event).map_or(UNKNOWN, |json| json.len())
}
