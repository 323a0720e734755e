//! What the relay publishes, and when: events that are offered, until they are confirmed.
//!
//! ```text
//!            offer              take              settle(Published)
//!   (unknown) ───► Waiting ───────────► Sending ───────────────────► Sent ──── confirm ───► (gone)
//!                     ▲                    │ settle(failed)           │
//!                     └────────────────────┴──── not confirmed in time, or a new connection
//! ```
//!
//! Per stream, events are published in their order. One that fails is published again with all behind it: whoever reads
//! takes a repeat for one, and what came too early is not taken.
//!
//! A confirmation says that an event is in the history, which is read from the topic that all events are on. For its own
//! topics the broker's answer has to do, so an event that is confirmed earlier than it is answered stays for them.
//!
//! Nothing here does I/O or reads a clock: [`Relay`](crate::Relay) drives it over a network, the simulation over one that
//! fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use pgo_events::{Event, Outbox};
use pgo_ids::{EventKey, Seq, StreamId};

/// How long a confirmation may take before events are published again: many times what the event service needs, and
/// less than nsqd's time for a message that a dead consumer held.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// The longest time between two publications of the same event. While the event service is away, nsqd keeps each copy.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Pause after a refusal.
pub const RETRY: Duration = Duration::from_secs(1);

/// The most events kept of a stream, the oldest. An outbox holds fewer: transitions alone may exceed its limit.
const PER_STREAM: usize = 4 * Outbox::MOST;

/// The most streams without unconfirmed events whose watermark is kept. Without a watermark an outbox that was not
/// trimmed yet is published once more, which does no harm.
const IDLE_STREAMS: usize = 10_000;

/// One event to publish.
#[derive(Clone, Debug)]
pub struct Job {
    /// The event.
    pub event: Arc<Event>,
    /// Whether its own topics still need it.
    pub own_topics: bool,
    /// Whether the topic that all events are on still needs it.
    pub all_topic: bool,
    /// No event of the stream before this one will be published again.
    pub unconfirmed_from: Seq,
}

/// What became of a [`Job`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The broker has it on its own topics, or they did not need it.
    pub own_topics: bool,
    /// The broker has it on the one that all events are on, or that did not need it.
    pub all_topic: bool,
}

impl Outcome {
    /// Nothing is left to publish.
    #[must_use]
    pub fn complete(self) -> bool {
        self.own_topics && self.all_topic
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Sending,
    Sent,
}

#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    own_topics: bool,
    progress: Progress,
}

impl Entry {
    fn again(&mut self) {
        self.progress = Progress::Waiting;
    }
}

#[derive(Debug, Default)]
struct Stream {
    confirmed: Seq,
    entries: BTreeMap<Seq, Entry>,
    /// Events that were too many to keep. Nothing behind one is taken before that comes again: it would be published as if
    /// nothing were missing.
    missed: BTreeSet<Seq>,
    /// Publications in a row without a confirmation.
    unanswered: u32,
    /// When what was sent is published again.
    overdue_at: Option<Instant>,
    /// Not before, after a failure.
    paused_until: Option<Instant>,
}

impl Stream {
    fn has_waiting(&self) -> bool {
        self.entries
            .values()
            .any(|entry| entry.progress == Progress::Waiting)
    }

    fn all_again(&mut self) {
        self.entries.values_mut().for_each(Entry::again);
        self.overdue_at = None;
    }

    fn sent_again(&mut self) {
        let sent = self.entries.values_mut();
        sent.filter(|entry| entry.progress == Progress::Sent)
            .for_each(Entry::again);
    }

    /// Waits for nothing where nothing is left.
    fn rest_if_empty(&mut self) -> bool {
        let empty = self.entries.is_empty();
        if empty {
            self.overdue_at = None;
            self.paused_until = None;
        }
        empty
    }

    /// Doubles with each publication that was not answered.
    fn patience(&self) -> Duration {
        let factor = 1u32.checked_shl(self.unanswered).unwrap_or(u32::MAX);
        CONFIRM_WITHIN.saturating_mul(factor).min(LONGEST_WAIT)
    }

    fn unconfirmed_from(&self) -> Seq {
        let mut unconfirmed = self.entries.range(self.confirmed.next()..);
        let first = unconfirmed.next().map(|(seq, _)| *seq);
        first.unwrap_or_else(|| self.confirmed.next())
    }

    /// When there is something to do for it, now or later.
    fn next_wake(&self) -> Option<Wake> {
        match self.paused_until {
            Some(until) if self.has_waiting() => Some(Wake::At(until)),
            None if self.has_waiting() => Some(Wake::Now),
            _ => self.overdue_at.map(Wake::At),
        }
    }
}

/// Events that wait to be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub events: usize,
    /// When the first of a stream happened, the earliest of those of all streams.
    pub since: Option<Timestamp>,
}

/// When the backlog has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// At once.
    Now,
    /// Then.
    At(Instant),
}

/// All streams.
#[derive(Debug, Default)]
pub struct Backlog {
    streams: BTreeMap<StreamId, Stream>,
    /// Where the last batch ended, so that no stream waits for ever behind the others.
    served: Option<StreamId>,
}

impl Backlog {
    /// Adds what is not known yet. `events` begins with the oldest unconfirmed event of the stream.
    pub fn offer(&mut self, stream: &StreamId, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let known = self.streams.entry(stream.clone()).or_default();
        for event in events {
            if event.seq <= known.confirmed || known.entries.contains_key(&event.seq) {
                continue;
            }
            if known.missed.first().is_some_and(|first| *first < event.seq) {
                known.missed.insert(event.seq);
                continue;
            }
            known.missed.remove(&event.seq);
            known.entries.insert(
                event.seq,
                Entry {
                    event: Arc::new(event),
                    own_topics: true,
                    progress: Progress::Waiting,
                },
            );
        }
        while known.entries.len() > PER_STREAM {
            let newest = known.entries.pop_last();
            known.missed.extend(newest.map(|(seq, _)| seq));
        }
    }

    /// Forgets the events up to `seq`, but for those that their own topics still need.
    pub fn confirm(&mut self, stream: &StreamId, seq: Seq, now: Instant) {
        let known = self.streams.entry(stream.clone()).or_default();
        if seq <= known.confirmed {
            return;
        }
        known.confirmed = seq;
        known.missed.retain(|missed| *missed > seq);
        let own_topics_need = |entry: &Entry| entry.own_topics;
        known
            .entries
            .retain(|at, entry| *at > seq || own_topics_need(entry));
        known.unanswered = 0;
        known.overdue_at = known.overdue_at.map(|_| now + known.patience());
        if known.unconfirmed_from() > seq.next() {
            // What is missing in between will never come. Whoever waits for it is told with the next publication.
            known.sent_again();
        }
        if known.rest_if_empty() {
            self.drop_idle();
        }
    }

    /// Up to which event a stream is confirmed, as far as is known.
    #[must_use]
    pub fn confirmed(&self, stream: &StreamId) -> Option<Seq> {
        let known = self.streams.get(stream)?;
        (known.confirmed > Seq(0)).then_some(known.confirmed)
    }

    /// Whether all unconfirmed events of a stream up to `seq` are known, each of them: pages come one after another, and some
    /// events may have been too many to keep. A stream with events that eventing left out does not look complete, and is
    /// offered again, which changes nothing.
    #[must_use]
    pub fn knows(&self, stream: &StreamId, seq: Seq) -> bool {
        self.streams.get(stream).is_some_and(|known| {
            let mut unconfirmed = known.entries.range(known.confirmed.next()..);
            known.confirmed >= seq
                || unconfirmed.next().is_some_and(|(first, _)| {
                    let up_to = known.entries.range(*first..=seq.max(*first));
                    *first <= seq && up_to.count() as u64 == seq.0 - first.0 + 1
                })
        })
    }

    fn drop_idle(&mut self) {
        if self.streams.len() > IDLE_STREAMS {
            self.streams
                .retain(|_, stream| !stream.entries.is_empty() || !stream.missed.is_empty());
        }
    }

    /// Streams with unconfirmed events.
    #[must_use]
    pub fn unconfirmed_streams(&self) -> Vec<StreamId> {
        let waiting = self.streams.iter();
        let waiting = waiting.filter(|(_, stream)| !stream.entries.is_empty());
        waiting.map(|(id, _)| id.clone()).collect()
    }

    /// Number of unconfirmed events.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.streams.values().map(|s| s.entries.len()).sum()
    }

    /// Those that are not stored yet, without those that only their own topics still need.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let mut waiting = Waiting::default();
        for stream in self.streams.values() {
            let mut unconfirmed = stream.entries.range(stream.confirmed.next()..).peekable();
            let first = unconfirmed
                .peek()
                .map(|(_, entry)| entry.event.eventheader.timestamp);
            waiting.since = waiting.since.into_iter().chain(first).min();
            waiting.events += unconfirmed.count();
        }
        waiting
    }

    /// The next events to publish, at most `most`, each stream's in order; they are being published until
    /// [`Backlog::settle`] tells what became of them.
    #[must_use]
    pub fn take(&mut self, now: Instant, most: usize) -> Vec<Job> {
        let mut jobs = Vec::new();
        for id in self.in_turn() {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            if stream.overdue_at.is_some_and(|at| at <= now) {
                stream.unanswered = stream.unanswered.saturating_add(1);
                stream.all_again();
            }
            if stream.paused_until.is_some_and(|until| until > now) {
                continue;
            }
            stream.paused_until = None;
            let confirmed = stream.confirmed;
            let unconfirmed_from = stream.unconfirmed_from();
            let waiting = stream.entries.iter_mut();
            for (seq, entry) in waiting.filter(|(_, e)| e.progress == Progress::Waiting) {
                if jobs.len() == most {
                    return jobs;
                }
                entry.progress = Progress::Sending;
                jobs.push(Job {
                    event: entry.event.clone(),
                    own_topics: entry.own_topics,
                    all_topic: *seq > confirmed,
                    unconfirmed_from,
                });
            }
            self.served = Some(id);
        }
        jobs
    }

    /// The streams, beginning behind the one that was served last.
    fn in_turn(&self) -> Vec<StreamId> {
        let behind = match &self.served {
            Some(served) => (Bound::Excluded(served), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let later = self.streams.range::<StreamId, _>(behind);
        let earlier = self
            .streams
            .iter()
            .take_while(|(id, _)| self.served.as_ref().is_some_and(|served| *id <= served));
        let all = later.chain(earlier);
        all.filter(|(_, stream)| !stream.entries.is_empty())
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Tells what became of the events of a batch.
    pub fn settle(&mut self, outcomes: &[(EventKey, Outcome)], now: Instant) {
        for (key, outcome) in outcomes {
            let Some(stream) = self.streams.get_mut(&key.stream) else {
                continue;
            };
            // Gone: it was confirmed meanwhile. Not being sent: a new connection came, and it is published again.
            let sending = |entry: &&mut Entry| entry.progress == Progress::Sending;
            let Some(entry) = stream.entries.get_mut(&key.seq).filter(sending) else {
                continue;
            };
            entry.own_topics &= !outcome.own_topics;
            if !outcome.complete() {
                stream.paused_until = Some(now + RETRY);
                // What is behind it went out of order.
                for behind in stream.entries.range_mut(key.seq..) {
                    behind.1.again();
                }
            } else if key.seq <= stream.confirmed {
                stream.entries.remove(&key.seq);
                stream.rest_if_empty();
            } else {
                entry.progress = Progress::Sent;
                if stream.overdue_at.is_none() {
                    stream.overdue_at = Some(now + stream.patience());
                }
            }
        }
    }

    /// The broker may be another one now, or have lost what it had: everything is published again, on all topics.
    pub fn reconnected(&mut self) {
        for stream in self.streams.values_mut() {
            stream.all_again();
            stream.unanswered = 0;
            stream.paused_until = None;
            for entry in stream.entries.values_mut() {
                entry.own_topics = true;
            }
        }
    }

    /// The event service is there again: whatever it does not confirm now is published again soon, however long it was
    /// away.
    pub fn expect_confirmations(&mut self, now: Instant) {
        for stream in self.streams.values_mut() {
            stream.unanswered = 0;
            stream.overdue_at = stream.overdue_at.map(|at| at.min(now + CONFIRM_WITHIN));
        }
    }

    /// When to look again; nothing if only an offer can bring work.
    #[must_use]
    pub fn next_wake(&self) -> Option<Wake> {
        self.streams.values().filter_map(Stream::next_wake).min()
    }
}

#[cfg(test)]
mod tests;
