//! How a segment's file is laid out: frames, one after the other, each with a checksum of its own.
//!
//! ```text
//! frame  = magic (4) │ length of the body (4) │ CRC-32 of length and body (4) │ body
//! body   = 0 │ head: what must be known before the first record         once, at the beginning of the file
//!        | 1 │ record
//!        | 2 │ up to where records counted when what follows was written
//!        | 3 │ streams whose events are all gone                            in a file of its own (`quiet`)
//! ```
//!
//! Numbers are little-endian. Behind a damaged frame the next whole one is found by its magic and its checksum, so that
//! damage costs the records that it hit and no other.

use bytes::Bytes;
use jiff::Timestamp;
use pgo_ids::{EventKey, Seq, StreamId};

use super::{Offset, Record, Term, lineage::Lineage, segment::Watermarks};

/// Begins each frame; not text, so that events hardly ever hold it.
pub(super) const MAGIC: [u8; 4] = [0xe7, b'P', 0x9f, b'G'];

/// Bytes before a frame's body.
pub(super) const PREFIX: usize = 12;

/// A longer body is none: nsqd takes no message of more than some MiB, and a head names some thousands of streams.
pub(super) const LONGEST: usize = 64 << 20;

const HEAD: u8 = 0;
const RECORD: u8 = 1;
const COMMITTED: u8 = 2;
const QUIET: u8 = 3;

/// What stands in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The beginning of a segment.
    Head(Head),
    /// A record.
    Record(Record),
    /// The first offset that was not committed when the records behind this frame were written.
    Committed(Offset),
    /// Streams whose events are all gone by retention, with the last of them.
    Quiet(Vec<(StreamId, Seq)>),
}

/// What must be known of a log before the first record of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// That of the record before.
    pub(super) term: Term,
    pub(super) lineage: Lineage,
    /// Of all streams with events in the segments before.
    pub(super) watermarks: Watermarks,
}

/// Length of the body, by the first bytes of a frame; none if they begin no frame.
pub(super) fn body_length(prefix: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(prefix.get(4..8)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    (prefix.starts_with(&MAGIC) && length <= LONGEST).then_some(length)
}

/// Whether a frame, prefix and body, is as it was written.
pub(super) fn is_whole(frame: &[u8]) -> bool {
    let sum = frame.get(8..PREFIX).and_then(|sum| sum.try_into().ok());
    sum.map(u32::from_le_bytes) == Some(checksum(frame))
}

fn checksum(frame: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(frame.get(4..8).unwrap_or_default());
    sum.update(frame.get(PREFIX..).unwrap_or_default());
    sum.finalize()
}

fn put(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    body(out);
    let frame = &mut out[begin..];
    // Bodies are far smaller: see LONGEST.
    let length = u32::try_from(frame.len() - PREFIX).unwrap_or(u32::MAX);
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(frame);
    frame[8..PREFIX].copy_from_slice(&sum.to_le_bytes());
}

/// Adds a frame with a body as it was read.
pub(super) fn put_body(out: &mut Vec<u8>, body: &[u8]) {
    put(out, |out| out.extend_from_slice(body));
}

/// Adds the frame of a record.
pub(super) fn put_record(out: &mut Vec<u8>, record: &Record) {
    put(out, |out| {
        out.push(RECORD);
        out.extend_from_slice(&record.offset.to_le_bytes());
        out.extend_from_slice(&record.term.to_le_bytes());
        out.extend_from_slice(&record.appended.as_microsecond().to_le_bytes());
        out.extend_from_slice(&record.key.seq.0.to_le_bytes());
        out.extend_from_slice(&record.after.0.to_le_bytes());
        put_text(out, record.key.stream.as_str());
        out.extend_from_slice(&record.event);
    });
}

/// Adds a frame that says up to where records count.
pub(super) fn put_committed(out: &mut Vec<u8>, next: Offset) {
    put(out, |out| {
        out.push(COMMITTED);
        out.extend_from_slice(&next.to_le_bytes());
    });
}

/// Adds the frame of a head.
pub(super) fn put_head(out: &mut Vec<u8>, head: &Head) {
    put(out, |out| {
        out.push(HEAD);
        out.extend_from_slice(&head.term.to_le_bytes());
        put_number(out, head.lineage.parts().len());
        for (epoch, first) in head.lineage.parts() {
            put_text(out, epoch);
            out.extend_from_slice(&first.to_le_bytes());
        }
        put_number(out, head.watermarks.len());
        put_marks(out, &head.watermarks);
    });
}

/// Adds the frame that names streams whose events are all gone, and the last of each.
pub(super) fn put_quiet(out: &mut Vec<u8>, streams: &[(&StreamId, &Seq)]) {
    put(out, |out| {
        out.push(QUIET);
        put_number(out, streams.len());
        put_marks(out, streams.iter().copied());
    });
}

fn put_marks<'a>(out: &mut Vec<u8>, marks: impl IntoIterator<Item = (&'a StreamId, &'a Seq)>) {
    for (stream, seq) in marks {
        put_text(out, stream.as_str());
        out.extend_from_slice(&seq.0.to_le_bytes());
    }
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Names are short: a stream or an epoch.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// What a whole frame's body says; none for a kind that this version does not know.
pub(super) fn decode(body: &Bytes) -> Option<Content> {
    let mut fields = Fields(body);
    match fields.take(1)? {
        [HEAD] => head(&mut fields).map(Content::Head),
        [RECORD] => record(&mut fields, body).map(Content::Record),
        [COMMITTED] => fields.u64().map(Content::Committed),
        [QUIET] => fields.marks().map(Content::Quiet),
        _ => None,
    }
}

/// Offset of a record; none of other frames.
pub(super) fn offset(body: &[u8]) -> Option<Offset> {
    let mut fields = Fields(body);
    (fields.take(1)? == [RECORD]).then(|| fields.u64())?
}

fn head(fields: &mut Fields<'_>) -> Option<Head> {
    let mut head = Head {
        term: fields.u64()?,
        ..Head::default()
    };
    let mut parts = Vec::new();
    for _ in 0..fields.u32()? {
        parts.push((fields.text()?.to_owned(), fields.u64()?));
    }
    head.lineage = Lineage::of(parts)?;
    head.watermarks = fields.marks()?;
    Some(head)
}

fn record(fields: &mut Fields<'_>, body: &Bytes) -> Option<Record> {
    let (offset, term): (Offset, Term) = (fields.u64()?, fields.u64()?);
    let appended = Timestamp::from_microsecond(fields.u64()?.cast_signed()).ok()?;
    let (seq, after) = (Seq(fields.u64()?), Seq(fields.u64()?));
    let key = EventKey {
        stream: fields.stream()?,
        seq,
    };
    let event = body.slice_ref(fields.0);
    Some(Record::new((offset, term), appended, key, after, event))
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn marks<C: FromIterator<(StreamId, Seq)>>(&mut self) -> Option<C> {
        let count = self.u32()?;
        let mut mark = || Some((self.stream()?, Seq(self.u64()?)));
        (0..count).map(|_| mark()).collect()
    }

    fn stream(&mut self) -> Option<StreamId> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let event = prop::collection::vec(any::<u8>(), 0..200);
        (
            any::<u64>(),
            any::<u64>(),
            0i64..1 << 50,
            any::<u64>(),
            "[a-z0-9-]{1,36}",
            event,
        )
            .prop_filter_map(
                "a stream's name",
                |(offset, term, micros, seq, stream, event)| {
                    let key = EventKey {
                        stream: stream.parse().ok()?,
                        seq: Seq(seq),
                    };
                    let appended = Timestamp::from_microsecond(micros).ok()?;
                    Some(Record::new(
                        (offset, term),
                        appended,
                        key,
                        Seq(seq / 2),
                        event.into(),
                    ))
                },
            )
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in any_record()) {
            let mut out = Vec::new();
            put_record(&mut out, &record);
            prop_assert_eq!(body_length(&out), Some(out.len() - PREFIX));
            prop_assert!(is_whole(&out));
            let body = Bytes::from(out).slice(PREFIX..);
            prop_assert_eq!(offset(&body), Some(record.offset));
            prop_assert_eq!(decode(&body), Some(Content::Record(record)));
        }

        #[test]
        fn a_flipped_bit_is_seen(record in any_record(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut out = Vec::new();
            put_record(&mut out, &record);
            let at = at.index(out.len());
            out[at] ^= 1 << bit;
            let long = body_length(&out) == Some(out.len() - PREFIX);
            prop_assert!(!long || !is_whole(&out));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = body_length(&bytes);
            let _ = is_whole(&bytes);
            let _ = decode(&Bytes::from(bytes));
        }
    }

    #[test]
    fn what_was_committed_is_read_as_it_was_written_and_is_no_record() {
        let mut out = Vec::new();
        put_committed(&mut out, 70);
        assert!(is_whole(&out));
        let body = Bytes::from(out).slice(PREFIX..);
        assert_eq!(offset(&body), None);
        assert_eq!(decode(&body), Some(Content::Committed(70)));
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let mut head = Head {
            term: 9,
            lineage: Lineage::of(vec![("a1".to_owned(), 1), ("b2".to_owned(), 70)]).expect("one"),
            watermarks: Watermarks::new(),
        };
        head.watermarks
            .insert("uid-1".parse().expect("a stream"), Seq(7));
        let mut out = Vec::new();
        put_head(&mut out, &head);
        assert!(is_whole(&out));
        assert_eq!(
            decode(&Bytes::from(out).slice(PREFIX..)),
            Some(Content::Head(head))
        );
    }
}
