//! Records and epochs on their way between the replicas.

use std::sync::Arc;

use jiff::Timestamp;
use pgo_ids::{EventKey, Seq};
use pgo_proto::event::{CopiedRecord, Epoch};

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
