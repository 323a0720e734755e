//! Who follows the log, as `pgo watch` does: from a cursor on, again from there after every interruption.

use std::collections::BTreeMap;

use pgo_ids::StreamId;

use crate::event_service::Record;

/// A reader.
#[derive(Debug, Default)]
pub struct Reader {
    /// Whether it is connected.
    pub connected: bool,
    /// Records before this place were shown.
    pub cursor: usize,
    /// Of each stream what was shown last.
    shown: BTreeMap<StreamId, u64>,
    /// Whether it began with the first record.
    whole: bool,
}

impl Reader {
    /// One that begins with the first record, or with the next one.
    pub fn new(from: usize) -> Self {
        Self {
            cursor: from,
            whole: from == 0,
            ..Self::default()
        }
    }

    /// Its connection is lost, or who it reads through.
    pub fn interrupt(&mut self) {
        self.connected = false;
    }

    /// Is shown a record.
    ///
    /// # Errors
    /// It is not the next one of its stream.
    pub fn take(&mut self, record: &Record) -> Result<(), String> {
        self.cursor += 1;
        let seq = record.seq.0;
        let next = match self.shown.get(&record.stream) {
            Some(last) => last + 1,
            None if self.whole => 1,
            None => seq,
        };
        self.shown.insert(record.stream.clone(), seq);
        if seq == next {
            Ok(())
        } else {
            Err(format!(
                "a reader is shown {}/{seq} where {next} is the next one",
                record.stream
            ))
        }
    }

    /// Steps back by one record, which nobody should.
    pub fn step_back(&mut self) {
        if !self.shown.is_empty() {
            self.cursor -= 1;
        }
    }

    /// How far it has come with a stream.
    pub fn last(&self, stream: &StreamId) -> u64 {
        self.shown.get(stream).copied().unwrap_or_default()
    }
}
