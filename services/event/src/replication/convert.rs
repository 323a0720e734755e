//! Records and epochs on their way between the replicas.

use std::sync::Arc;

use jiff::Timestamp;
use pgo_ids::{EventKey, Seq, StreamId};
use pgo_proto::event::{CopiedRecord, Epoch, Watermark};

use crate::log::{Lineage, Record};

pub(super) fn to_proto(record: &Record) -> CopiedRecord {
    CopiedRecord {
        offset: record.offset,
        term: record.term,
        appended: record.appended.as_microsecond(),
        stream: record.key.stream.as_str().to_owned(),
        seq: record.key.seq.0,
        after: record.after.0,
        event: record.event.to_vec(),
    }
}

/// None where one of them is no record: nothing of an answer is used then.
pub(super) fn from_proto(records: Vec<CopiedRecord>) -> Option<Vec<Arc<Record>>> {
    let record = |copied: CopiedRecord| {
        let key = EventKey {
            stream: copied.stream.parse().ok()?,
            seq: Seq(copied.seq),
        };
        let appended = Timestamp::from_microsecond(copied.appended).ok()?;
        let place = (copied.offset, copied.term);
        let record = Record::new(place, appended, key, Seq(copied.after), copied.event.into());
        Some(Arc::new(record))
    };
    records.into_iter().map(record).collect()
}

pub(super) fn lineage_to_proto(lineage: &Lineage) -> Vec<Epoch> {
    let parts = lineage.parts().iter();
    parts
        .map(|(name, first)| Epoch {
            name: name.clone(),
            first: *first,
        })
        .collect()
}

pub(super) fn lineage_from_proto(epochs: Vec<Epoch>) -> Option<Lineage> {
    Lineage::of(
        epochs
            .into_iter()
            .map(|epoch| (epoch.name, epoch.first))
            .collect(),
    )
}

pub(super) fn marks_to_proto(marks: Vec<(StreamId, Seq)>) -> Vec<Watermark> {
    let marks = marks.into_iter();
    marks
        .map(|(stream, seq)| Watermark {
            stream: stream.as_str().to_owned(),
            seq: seq.0,
        })
        .collect()
}

/// None where one of them names no stream.
pub(super) fn marks_from_proto(marks: Vec<Watermark>) -> Option<Vec<(StreamId, Seq)>> {
    let mark = |mark: Watermark| Some((mark.stream.parse().ok()?, Seq(mark.seq)));
    marks.into_iter().map(mark).collect()
}
