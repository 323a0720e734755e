//! Which of the arrived events are appended, held or dropped: a decision of what arrived and of the watermarks.
//!
//! ```text
//!            ┌─ Next ───► append, with those held behind it
//! arrived ───┼─ Repeat ─► confirm again: the confirmation may have been lost
//!            └─ Gap ────► hold; or, if the missing ones will never come, append all the same
//! ```
//!
//! What is held is not safe: it is in memory only, and its publisher goes on publishing it until it is confirmed. So it may
//! be dropped at any time.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use pgo_events::{Arrival, Watermark};
use pgo_ids::{EventKey, Seq, StreamId};

use crate::log::Entry;

/// The most events held of one stream: as many as an outbox may hold.
const PER_STREAM: usize = 32;

/// The most events held together; with outboxes of 16 KiB some MiB at the very worst.
const TOGETHER: usize = 1024;

/// An event that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// What identifies it.
    pub key: EventKey,
    /// Its publisher says that no event of the stream before this one will come again.
    pub unconfirmed_from: Seq,
    /// Its bytes.
    pub event: Bytes,
}

/// What to do with the events of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// To append, in this order.
    pub append: Vec<Entry>,
    /// The watermarks to tell once that is done.
    pub confirm: BTreeMap<StreamId, Seq>,
    /// Events that were there before.
    pub repeats: u64,
    /// Events that came too early.
    pub gaps: u64,
    /// Events that will never come: the place after which each such gap is, and the place where the stream goes on.
    pub cuts: Vec<(StreamId, Seq, Seq)>,
}

/// Events that came too early.
#[derive(Debug, Default)]
pub struct Intake {
    held: HashMap<StreamId, BTreeMap<Seq, Bytes>>,
    count: usize,
}

/// One batch in the making.
struct Making<'a, F> {
    intake: &'a mut Intake,
    watermark: F,
    batch: Batch,
}

impl Intake {
    /// Judges what arrived; `watermark` tells up to where the log has a stream.
    pub fn judge(
        &mut self,
        arrived: impl IntoIterator<Item = Arrived>,
        watermark: impl Fn(&StreamId) -> Watermark,
    ) -> Batch {
        let mut making = Making {
            intake: self,
            watermark,
            batch: Batch::default(),
        };
        for event in arrived {
            making.take(event);
        }
        making.batch
    }

    /// Number of events held.
    pub fn held(&self) -> usize {
        self.count
    }

    fn hold(&mut self, key: EventKey, event: Bytes) {
        let together = self.count;
        let stream = self.held.entry(key.stream).or_default();
        if !stream.contains_key(&key.seq) && stream.len() < PER_STREAM && together < TOGETHER {
            stream.insert(key.seq, event);
            self.count += 1;
        }
    }

    /// Takes out the held event of a stream with the lowest seq, if `wanted`.
    fn release(&mut self, stream: &StreamId, wanted: impl Fn(Seq) -> bool) -> Option<(Seq, Bytes)> {
        let held = self.held.get_mut(stream)?;
        let first = held.first_entry().filter(|first| wanted(*first.key()))?;
        let released = first.remove_entry();
        self.count -= 1;
        if held.is_empty() {
            self.held.remove(stream);
        }
        Some(released)
    }
}

impl<F: Fn(&StreamId) -> Watermark> Making<'_, F> {
    fn take(&mut self, arrived: Arrived) {
        let EventKey { stream, seq } = arrived.key.clone();
        let base = arrived.unconfirmed_from.min(seq);
        if base > self.mark(&stream).0.next() {
            self.skip_to(&stream, base);
        }
        match self.mark(&stream).judge(seq) {
            Arrival::Next => {
                self.append(&stream, seq, arrived.event);
                self.append_held(&stream);
            }
            Arrival::Repeat => {
                self.batch.repeats += 1;
                let mark = self.mark(&stream);
                self.batch.confirm.insert(stream, mark.0);
            }
            Arrival::Gap { .. } => {
                self.batch.gaps += 1;
                self.intake.hold(arrived.key, arrived.event);
            }
        }
    }

    /// What is before `base` and not here will never come: takes what is held of it and goes on from there.
    fn skip_to(&mut self, stream: &StreamId, base: Seq) {
        while let Some((seq, event)) = self.intake.release(stream, |seq| seq < base) {
            self.note_cut(stream, seq);
            self.append(stream, seq, event);
        }
        self.note_cut(stream, base);
        let before = Seq(base.0.saturating_sub(1));
        self.batch.confirm.insert(stream.clone(), before);
    }

    fn note_cut(&mut self, stream: &StreamId, next: Seq) {
        let mark = self.mark(stream).0;
        if next > mark.next() {
            self.batch.cuts.push((stream.clone(), mark, next));
        }
    }

    fn append_held(&mut self, stream: &StreamId) {
        loop {
            let next = self.mark(stream).0.next();
            // Lower ones came by another way meanwhile.
            let Some((seq, event)) = self.intake.release(stream, |seq| seq <= next) else {
                return;
            };
            if seq == next {
                self.append(stream, seq, event);
            }
        }
    }

    fn append(&mut self, stream: &StreamId, seq: Seq, event: Bytes) {
        let key = EventKey {
            stream: stream.clone(),
            seq,
        };
        self.batch.append.push(Entry { key, event });
        self.batch.confirm.insert(stream.clone(), seq);
    }

    /// Up to where the log has the stream once this batch is in it.
    fn mark(&self, stream: &StreamId) -> Watermark {
        let here = self.batch.confirm.get(stream).copied().map(Watermark);
        here.unwrap_or_else(|| (self.watermark)(stream))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> StreamId {
        "uid-1".parse().expect("a stream")
    }

    fn arrived(seq: u64, unconfirmed_from: u64) -> Arrived {
        Arrived {
            key: EventKey {
                stream: stream(),
                seq: Seq(seq),
            },
            unconfirmed_from: Seq(unconfirmed_from),
            event: Bytes::from(seq.to_string()),
        }
    }

    /// A log that takes batches over.
    #[derive(Default)]
    struct History {
        intake: Intake,
        mark: Watermark,
        seqs: Vec<u64>,
    }

    impl History {
        fn take(&mut self, events: impl IntoIterator<Item = Arrived>) -> Batch {
            let mark = self.mark;
            let batch = self.intake.judge(events, |_| mark);
            for entry in &batch.append {
                assert_eq!(entry.event, entry.key.seq.0.to_string());
                self.seqs.push(entry.key.seq.0);
                self.mark = Watermark(entry.key.seq);
            }
            batch
        }
    }

    proptest! {
        #[test]
        fn whatever_the_order_each_event_is_appended_once_and_in_order(
            order in Just((1u64..=20).collect::<Vec<_>>()).prop_shuffle(),
            repeats in prop::collection::vec(1u64..=20, 0..40),
            cut in 1usize..10,
        ) {
            let mut history = History::default();
            let all: Vec<u64> = order.iter().chain(&repeats).copied().collect();
            for part in all.chunks(cut) {
                history.take(part.iter().map(|seq| arrived(*seq, 1)));
            }
            prop_assert_eq!(history.seqs, (1..=20).collect::<Vec<_>>());
            prop_assert_eq!(history.intake.held(), 0);
        }

        #[test]
        fn events_that_never_come_hold_up_nothing_and_no_other_is_lost(
            order in Just((5u64..=20).collect::<Vec<_>>()).prop_shuffle(),
            bases in prop::collection::vec(1u64..=8, 16),
        ) {
            // Up to 4 is gone; 5 to 7 may be confirmed already, but then they are in the log.
            let mut history = History::default();
            for (seq, base) in order.iter().zip(&bases) {
                let known = history.mark.0.next().0.max(5);
                history.take([arrived(*seq, (*base).min(known))]);
            }
            let again = order.iter().map(|seq| arrived(*seq, 5)).chain((5..=20).map(|seq| arrived(seq, 5)));
            history.take(again);
            prop_assert_eq!(history.seqs, (5..=20).collect::<Vec<_>>());
        }

        #[test]
        fn what_is_held_is_bounded(seqs in prop::collection::vec((0u8..200, 2u64..400), 0..3000)) {
            let mut intake = Intake::default();
            let events = seqs.iter().map(|(name, seq)| {
                let stream = format!("uid-{name}").parse().expect("a stream");
                let key = EventKey { stream, seq: Seq(*seq) };
                Arrived { key, unconfirmed_from: Seq(1), event: Bytes::new() }
            });
            let batch = intake.judge(events, |_| Watermark::default());
            prop_assert!(batch.append.is_empty());
            prop_assert!(intake.held() <= TOGETHER);
            prop_assert!(intake.held.values().all(|held| held.len() <= PER_STREAM));
            prop_assert_eq!(intake.held.values().map(BTreeMap::len).sum::<usize>(), intake.held());
        }
    }

    #[test]
    fn a_repeat_is_confirmed_again() {
        let mut history = History::default();
        history.take([arrived(1, 1), arrived(2, 1)]);
        let batch = history.take([arrived(1, 1)]);
        assert!(batch.append.is_empty());
        assert_eq!(batch.confirm.get(&stream()), Some(&Seq(2)));
        assert_eq!(batch.repeats, 1);
    }

    #[test]
    fn a_gap_is_not_confirmed() {
        let mut history = History::default();
        let batch = history.take([arrived(2, 1)]);
        assert!(batch.append.is_empty() && batch.confirm.is_empty());
        assert_eq!((batch.gaps, history.intake.held()), (1, 1));
    }

    #[test]
    fn a_cut_says_what_is_missing() {
        let mut history = History::default();
        let batch = history.take([arrived(7, 1), arrived(9, 9)]);
        assert_eq!(history.seqs, [7, 9]);
        let cuts = vec![(stream(), Seq(0), Seq(7)), (stream(), Seq(7), Seq(9))];
        assert_eq!(batch.cuts, cuts);
        assert_eq!(batch.confirm.get(&stream()), Some(&Seq(9)));
    }
}
