//! Finding records: in memory, else in the file that has them.

use std::{ops::Range, sync::Arc};

use jiff::Timestamp;
use pgo_ids::{Seq, StreamId};

use super::{
    Error, Log, Offset, Record,
    segment::{Part, Segment},
};

/// Records looked at in one go.
const CHUNK: usize = 1024;

impl Log {
    /// Records that are in memory, from `from` on.
    pub fn recent(&self, from: Offset, most: usize) -> Option<Vec<Arc<Record>>> {
        let head = *self.head.borrow();
        let most = most.min(usize::try_from(head.saturating_sub(from)).unwrap_or(most));
        let found = self.state().recent.read(from, most);
        found.filter(|records| !records.is_empty())
    }

    /// Committed records from `from` on, or from the oldest if that is later; at most `most`, and fewer at the end of a
    /// segment. Offsets that are skipped are those of damaged records. Nothing only where there is none up to the head.
    /// Blocks for a disk's time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, from: Offset, most: usize) -> Result<Vec<Arc<Record>>, Error> {
        if let Some(records) = self.recent(from, most) {
            return Ok(records);
        }
        let head = *self.head.borrow();
        self.read_between(from..head, most)
    }

    /// Records from `from` on, committed or not, for the other replica.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read_all(&self, from: Offset, most: usize) -> Result<Vec<Arc<Record>>, Error> {
        let (recent, end) = {
            let state = self.state();
            (state.recent.read(from, most), state.end)
        };
        match recent {
            Some(records) => Ok(records),
            None => self.read_between(from..end, most),
        }
    }

    pub(super) fn read_between(
        &self,
        mut wanted: Range<Offset>,
        most: usize,
    ) -> Result<Vec<Arc<Record>>, Error> {
        while !wanted.is_empty() {
            let (segment, next) = self.segment_of(wanted.start);
            let read = segment.read(wanted.clone(), most, next);
            // It was dropped as too old or too much, or written anew.
            if self.is_gone(&segment) {
                continue;
            }
            let part = match read {
                Err(error) if error.is_not_found() => lost(&segment, next.unwrap_or(wanted.end)),
                part => part?,
            };
            self.note_missing(part.missing);
            if !part.records.is_empty() {
                return Ok(part.records);
            }
            match next {
                Some(next) => wanted.start = next,
                None => break,
            }
        }
        Ok(Vec::new())
    }

    fn is_gone(&self, segment: &Arc<Segment>) -> bool {
        let state = self.state();
        !state
            .segments
            .iter()
            .any(|there| Arc::ptr_eq(there, segment))
    }

    fn note_missing(&self, missing: Vec<Range<Offset>>) {
        for range in missing {
            let news = {
                let known = self.state().missing.ranges().contains(&range);
                !known && self.state_mut().missing.add(range.clone())
            };
            if news {
                tracing::error!(
                    from = range.start,
                    to = range.end - 1,
                    "records of the log are damaged"
                );
            }
        }
    }

    /// The first record that was appended at `time` or later; the head if there is none. Blocks for a disk's time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn since(&self, time: Timestamp) -> Result<Offset, Error> {
        let head = *self.head.borrow();
        let segments: Vec<_> = self.state().segments.iter().cloned().collect();
        let later = segments.partition_point(|segment| segment.file.created < time);
        let Some(segment) = segments.get(later.saturating_sub(1)) else {
            return Ok(head);
        };
        let found = segment.since(time)?;
        // All of that segment is earlier: the next one begins with the first that is not.
        let next = segments.get(later.max(1)).map(|next| next.file.first);
        Ok(found.or(next).unwrap_or(head).min(head))
    }

    /// The time from which on all records are here; none where no record was dropped. Blocks for a disk's time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn kept_since(&self) -> Result<Option<Timestamp>, Error> {
        let (oldest, created) = {
            let state = self.state();
            let first = state.segments.front();
            first.map_or((1, Timestamp::UNIX_EPOCH), |segment| {
                (segment.file.first, segment.file.created)
            })
        };
        if oldest == 1 {
            return Ok(None);
        }
        if created > Timestamp::UNIX_EPOCH {
            return Ok(Some(created));
        }
        // A copy does not know when the last of the dropped ones was appended.
        let records = self.read(oldest, 1)?;
        Ok(records.first().map(|record| record.appended))
    }

    /// The first event of a stream after `seq`: its offset, and its seq. Blocks for many a disk's time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn after(&self, stream: &StreamId, seq: Seq) -> Result<Option<(Offset, Seq)>, Error> {
        let known = self.state().watermarks.get(stream).copied();
        if known.unwrap_or_default() <= seq {
            return Ok(None);
        }
        let mut next = self.oldest();
        loop {
            let records = self.read(next, CHUNK)?;
            let found =
                |record: &&Arc<Record>| record.key.stream == *stream && record.key.seq > seq;
            if let Some(record) = records.iter().find(found) {
                return Ok(Some((record.offset, record.key.seq)));
            }
            let Some(last) = records.last() else {
                return Ok(None);
            };
            next = last.offset + 1;
        }
    }

    /// The segment that holds a record, or the oldest, and where the next one begins.
    pub(super) fn segment_of(&self, offset: Offset) -> (Arc<Segment>, Option<Offset>) {
        let state = self.state();
        let after = state
            .segments
            .partition_point(|segment| segment.file.first <= offset);
        let at = after.saturating_sub(1);
        let next = state.segments.get(at + 1).map(|next| next.file.first);
        (state.segments[at].clone(), next)
    }
}

/// A file that somebody took away.
fn lost(segment: &Segment, end: Offset) -> Part {
    let mut part = Part::default();
    part.missing.push(segment.file.first..end);
    part
}
