//! The newest records, in memory: who follows the log reads them from here.

use std::{collections::VecDeque, sync::Arc};

use super::{Offset, Record};

/// Bytes of events kept; some hundred events. Readers that are further behind read the file.
const BYTES: usize = 512 * 1024;

/// The newest records, contiguous.
#[derive(Debug, Default)]
pub(super) struct Recent {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, record: Arc<Record>) {
        let follows = |newest: &Arc<Record>| newest.offset + 1 == record.offset;
        if !self.records.back().is_none_or(follows) {
            *self = Self::default();
        }
        self.bytes += record.event.len();
        self.records.push_back(record);
        while self.bytes > BYTES
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= oldest.event.len();
        }
    }

    /// Records from `from` on, if that one is here.
    pub(super) fn read(&self, from: Offset, most: usize) -> Option<Vec<Arc<Record>>> {
        let first = self.records.front()?.offset;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        (skip < self.records.len()).then(|| {
            let wanted = self.records.iter().skip(skip).take(most);
            wanted.cloned().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use pgo_ids::{EventKey, Seq};

    use super::*;

    fn record(offset: Offset, bytes: usize) -> Arc<Record> {
        let key = EventKey {
            stream: "a".parse().expect("a stream"),
            seq: Seq(offset),
        };
        let event = vec![b'x'; bytes].into();
        let time = jiff::Timestamp::UNIX_EPOCH;
        Arc::new(Record::new((offset, 0), time, key, Seq(0), event))
    }

    fn offsets(found: Option<Vec<Arc<Record>>>) -> Option<Vec<Offset>> {
        found.map(|records| records.iter().map(|record| record.offset).collect())
    }

    #[test]
    fn records_are_found_by_offset() {
        let mut recent = Recent::default();
        assert_eq!(recent.read(1, 10), None);
        (5..=9).for_each(|offset| recent.push(record(offset, 10)));
        assert_eq!(offsets(recent.read(7, 10)), Some(vec![7, 8, 9]));
        assert_eq!(offsets(recent.read(5, 2)), Some(vec![5, 6]));
        assert_eq!(recent.read(4, 10), None);
        assert_eq!(recent.read(10, 10), None);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        let mut recent = Recent::default();
        (1..=10).for_each(|offset| recent.push(record(offset, BYTES / 4)));
        assert_eq!(offsets(recent.read(7, 10)), Some(vec![7, 8, 9, 10]));
        assert_eq!(recent.read(6, 10), None);
    }
}
