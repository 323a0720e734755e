//! Events that are written but not yet known to be on disk at the event service.
//!
//! ```text
//!  push ──► entries ──────────────────────────► confirm (on disk at the event service) ──► gone
//!              │ too much for a status
//!              └──► overflow ──► a page (an object of its own) ──► leave_to_pages
//! ```
//!
//! Transitions are never left out, unless neither the event service takes them nor Kubernetes a page, for so long that a
//! status with all of them could not be stored any more. Then they get their seq and go no further, and the next one that has
//! room says how many. Steps are left out while much waits; the next event tells how many. While eventing is switched off,
//! events get their seq and go no further.

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{EventKey, Seq, StreamId};
use serde::{Deserialize, Serialize};

use crate::{Draft, Event, Stage};

mod size;

use size::Size;

/// Whether events are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eventing {
    /// They are not: switched off.
    Off,
    /// They are.
    On {
        /// Up to here the event service has the stream on disk, as far as is known.
        confirmed: Seq,
        /// Since when this process publishes: what waited longer did not wait for the event service.
        since: Timestamp,
    },
}

/// Events wait, for too long or too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Since when events wait and none is confirmed.
    pub since: Timestamp,
    /// Progress left out so far.
    pub omitted: u64,
}

/// The outbox of one stream, a part of the status it lives in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// Seq of the newest event that was ever told.
    pub last: Seq,
    /// Not confirmed yet, oldest first; contiguous, but for those that were told while eventing was off. Read them here,
    /// and change them by what an outbox does: it keeps their size.
    pub entries: Vec<Event>,
    /// Events up to this one that are neither confirmed nor among `entries` are in pages; 0 where none is.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub paged: Seq,
    /// Progress left out since the newest event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
    /// Since when something waits and nothing of it was confirmed. An event's own time does not tell: what Kubernetes
    /// shows late was long ago when it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Timestamp>,
    /// There from when a backlog begins until everything is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// Events that got a seq and had no room since something had.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// There while eventing is off: how many events got a seq and were not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpublished: Option<u64>,
    /// Bytes of JSON that `entries` take.
    #[doc(hidden)]
    #[serde(skip)]
    pub size: Size,
}

fn is_nothing(seq: &Seq) -> bool {
    *seq == Seq(0)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Outbox {
    /// The most entries: with [`Outbox::MOST_BYTES`], what keeps a status far below etcd's limit of 1.5 MiB for a
    /// request and cheap to rewrite.
    pub const MOST: usize = 32;

    /// The most bytes of JSON.
    pub const MOST_BYTES: usize = 16 * 1024;

    /// The most bytes of JSON where no page can be made: a status has room for this beside all else, and a request that
    /// changes it stays below half of etcd's limit.
    pub const MOST_WITHOUT_PAGES: usize = 512 * 1024;

    /// A backlog begins when so many entries wait, or half of the bytes.
    pub const CROWD: usize = 16;

    /// A backlog begins when nothing was confirmed for so long: a restart of nsqd or of the event service is over by then.
    pub const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

    /// Gives an event its seq and puts it in. Progress is left out while there is a backlog, before it has a seq, so that
    /// the stream stays without gaps. While eventing is off, nothing is put in.
    pub fn push(&mut self, stream: &StreamId, draft: Draft) -> Option<&Event> {
        let is_step = draft.event_type.stage() == Stage::Progress;
        if is_step && (self.backlog.is_some() || self.is_crowded()) {
            self.omitted += 1;
            if let Some(backlog) = &mut self.backlog {
                backlog.omitted += 1;
            }
            return None;
        }
        self.last = self.last.next();
        let omitted = std::mem::take(&mut self.omitted);
        if let Some(count) = &mut self.unpublished {
            *count += 1;
            return None;
        }
        if self.dropped > 0 || self.is_full() {
            self.dropped += 1;
            return None;
        }
        let key = EventKey {
            stream: stream.clone(),
            seq: self.last,
        };
        let mut event = Event::new(draft, key);
        event.omitted = (omitted > 0).then_some(omitted);
        self.size.add(&event, self.entries.len());
        self.entries.push(event);
        self.entries.last()
    }

    /// Drops what the event service has on disk: everything up to `watermark`.
    pub fn confirm(&mut self, watermark: Seq) {
        let before = (self.entries.len(), self.paged);
        self.drop_up_to(watermark);
        if self.paged <= watermark {
            self.paged = Seq(0);
        }
        if before != (self.entries.len(), self.paged) {
            self.waiting = None;
        }
    }

    /// Whether the next confirmation may bring something: an event waits, here or in a page.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.entries.is_empty() || self.paged > Seq(0)
    }

    /// Whether no event is in here; some may be in pages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether so much waits that progress is not worth its place.
    fn is_crowded(&mut self) -> bool {
        self.size.count(&self.entries);
        self.entries.len() >= Self::CROWD || self.bytes() > Self::MOST_BYTES / 2
    }

    /// Whether nothing more may wait: so far it gets only where no page is made.
    fn is_full(&mut self) -> bool {
        if self.entries.len() <= Self::MOST {
            return false;
        }
        self.size.count(&self.entries);
        self.bytes() >= Self::MOST_WITHOUT_PAGES
    }

    /// A backlog that begins now, where none is yet; to be asked whenever something was told or confirmed. It is over when
    /// everything is confirmed, not when a little is: so that it does not come and go.
    #[must_use]
    pub fn begin_backlog(&mut self, relayed_since: Timestamp, now: Timestamp) -> Option<&Backlog> {
        if !self.waits() {
            return None;
        }
        let since = *self.waiting.get_or_insert(now);
        let waited = now.duration_since(since.max(relayed_since));
        let begins = self.is_crowded() || waited >= Self::PATIENCE;
        if self.backlog.is_some() || !begins {
            return None;
        }
        let told = self.entries.iter().filter_map(|event| event.omitted);
        self.backlog = Some(Backlog {
            since,
            omitted: told.sum::<u64>() + self.omitted,
        });
        self.backlog.as_ref()
    }

    /// The backlog that is over, where one is.
    #[must_use]
    pub fn end_backlog(&mut self) -> Option<Backlog> {
        if self.waits() {
            return None;
        }
        self.backlog.take()
    }

    /// Eventing is off from now on: what is told gets a seq and goes no further. What waited goes on waiting.
    pub fn switch_off(&mut self) {
        self.unpublished.get_or_insert(0);
    }

    /// Eventing is on; how many events were not published since it was switched off, where some were.
    #[must_use]
    pub fn switch_on(&mut self) -> Option<u64> {
        self.unpublished.take().filter(|count| *count > 0)
    }

    /// How many events had no room, where there is room again.
    #[must_use]
    pub fn end_dropping(&mut self) -> Option<u64> {
        if !self.fits() {
            return None;
        }
        Some(std::mem::take(&mut self.dropped)).filter(|count| *count > 0)
    }

    /// Whether it is within its limits.
    fn fits(&self) -> bool {
        self.entries.len() <= Self::MOST && self.bytes() <= Self::MOST_BYTES
    }

    /// What has to go to a page before this outbox is written, so that it stays within its limits. `written` is the seq of
    /// the newest event in the status as it is stored: only what is written may leave, as a write that meets another's
    /// has told nothing.
    #[must_use]
    pub fn overflow(&self, written: Seq) -> &[Event] {
        if self.fits() {
            return &[];
        }
        let end = self.entries.partition_point(|event| event.seq <= written);
        self.entries.get(..end).unwrap_or_default()
    }

    /// Drops what is in a page now: everything up to `last`.
    pub fn leave_to_pages(&mut self, last: Seq) {
        self.drop_up_to(last);
        self.paged = self.paged.max(last);
    }

    fn drop_up_to(&mut self, last: Seq) {
        let before = self.entries.len();
        self.entries.retain(|event| event.seq > last);
        if self.entries.len() < before {
            self.size.forget();
        }
    }

    fn bytes(&self) -> usize {
        self.size.of(&self.entries)
    }
}

#[cfg(test)]
mod tests;
