//! What the files say when the log is opened.
//!
//! ```text
//! heads, from the newest back ─► the newest whole one ─► records from there on ─► watermarks, end, what is missing
//!                                                             │
//!                      behind what was confirmed and not whole: a torn tail, cut
//!                      confirmed and not whole: damage, remembered and told
//! ```
//!
//! Up to where records were confirmed says the file beside the log, which may be some seconds old after a power cut, and
//! each write says it of what was written before it.

use std::{collections::VecDeque, fs, ops::Range, sync::Arc};

use jiff::Timestamp;
use pgo_ids::EventKey;

use super::{
    Error, Offset, Term,
    folder::{Folder, SegmentFile},
    frame::{self, Content, Head},
    lineage::Lineage,
    missing::Missing,
    quiet::Quiet,
    scan::Found,
    segment::{Segment, Watermarks, Writer, failed},
    tip::Confirmed,
};

/// A log's files, read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) segments: VecDeque<Arc<Segment>>,
    pub(super) writer: Writer,
    pub(super) lineage: Lineage,
    /// Of what was confirmed.
    pub(super) watermarks: Watermarks,
    pub(super) quiet: Quiet,
    /// Records behind what was confirmed.
    pub(super) pending: VecDeque<(Offset, EventKey)>,
    /// The offset that the next record gets.
    pub(super) end: Offset,
    pub(super) last_appended: Timestamp,
    pub(super) last_term: Term,
    pub(super) missing: Missing,
    /// Whether something behind the last record was cut.
    pub(super) torn: bool,
}

/// A segment's records, as they were found.
struct Survey {
    keys: Vec<(Offset, EventKey)>,
    marks: Vec<(Offset, u64)>,
    missing: Vec<Range<Offset>>,
    next: Offset,
    /// Behind the last whole frame that counts.
    keep_to: u64,
    last: Option<(Timestamp, Term)>,
}

/// Reads the files of a folder; makes the first one where there is none.
pub(super) fn load(
    folder: &Folder,
    confirmed: Option<&Confirmed>,
    now: Timestamp,
) -> Result<Loaded, Error> {
    let files = folder.segments()?.into_iter();
    let mut segments: VecDeque<_> = files
        .map(|file| {
            let (path, length) = (folder.path(&file), folder.bytes(&file));
            Arc::new(Segment::new(file, path, length))
        })
        .collect();
    let mut removed = false;
    loop {
        let Some(newest) = segments.back().cloned() else {
            return first(folder, confirmed, now);
        };
        let known = match confirmed {
            Some(confirmed) => Some(raised(confirmed, &newest)?),
            None => None,
        };
        let survey = survey(&newest, known.as_ref().map(|known| known.next))?;
        if survey.keep_to > 0 {
            let mut loaded = read(folder, segments, survey, known.as_ref())?;
            loaded.torn |= removed;
            return Ok(loaded);
        }
        removed |= newest.length() > 0;
        // Torn while it was made, or nothing in it can be read: what is missing shows by the offsets.
        segments.pop_back();
        if confirmed.is_none_or(|confirmed| newest.file.first >= confirmed.next) {
            folder.remove(&newest.file)?;
        } else {
            let aside = folder.aside(&newest.file.name())?;
            fs::rename(&newest.path, &aside).map_err(|e| failed("put aside", &newest.path, e))?;
            tracing::error!(kept = %aside.display(), "nothing in the log's newest file can be read");
        }
    }
}

/// A log without records. What was there before and is gone is not told as if it had never been.
fn first(folder: &Folder, confirmed: Option<&Confirmed>, now: Timestamp) -> Result<Loaded, Error> {
    let end = confirmed.map_or(1, |confirmed| confirmed.next.max(1));
    let mut lineage = Lineage::default();
    if let Some(confirmed) = confirmed {
        lineage.adopt(confirmed.epoch.clone(), 1);
    }
    lineage.begin(end);
    let head = Head {
        lineage: lineage.clone(),
        ..Head::default()
    };
    let writer = begin(folder, end, now, &head)?;
    let mut missing = Missing::default();
    if end > 1 {
        missing.add(1..end);
    }
    Ok(Loaded {
        segments: VecDeque::from([writer.segment.clone()]),
        last_appended: writer.segment.file.created,
        writer,
        lineage,
        watermarks: Watermarks::new(),
        quiet: Quiet::read(folder),
        pending: VecDeque::new(),
        end,
        last_term: 0,
        missing,
        torn: false,
    })
}

/// Makes a segment that holds its head only.
pub(super) fn begin(
    folder: &Folder,
    first: Offset,
    created: Timestamp,
    head: &Head,
) -> Result<Writer, Error> {
    let mut frames = Vec::new();
    frame::put_head(&mut frames, head);
    let mut writer = Writer::create(Arc::new(new_segment(folder, first, created)))?;
    writer.append(&frames, &[])?;
    folder.sync()?;
    Ok(writer)
}

/// The name holds milliseconds. Rounded up, so that what was written before is not younger.
pub(super) fn new_segment(folder: &Folder, first: Offset, created: Timestamp) -> Segment {
    let millis = (created.as_microsecond() + 999).div_euclid(1000);
    let created = Timestamp::from_millisecond(millis).unwrap_or(created);
    let file = SegmentFile { first, created };
    let path = folder.path(&file);
    Segment::new(file, path, 0)
}

fn read(
    folder: &Folder,
    segments: VecDeque<Arc<Segment>>,
    newest: Survey,
    confirmed: Option<&Confirmed>,
) -> Result<Loaded, Error> {
    let (from, head) = newest_head(&segments)?;
    let known_next = confirmed.map(|confirmed| confirmed.next);
    let mut missing = Missing::default();
    let mut keys = Vec::new();
    let mut last = None;
    // Usually the newest alone; more where its head is damaged.
    let older = segments.iter().zip(segments.iter().skip(1)).skip(from);
    for (segment, next) in older {
        let found = survey(segment, None)?;
        found.missing.into_iter().for_each(|range| {
            missing.add(range);
        });
        missing.add(found.next..next.file.first.max(found.next));
        keys.extend(found.keys);
        last = found.last.or(last);
    }
    newest.missing.into_iter().for_each(|range| {
        missing.add(range);
    });
    let end = newest.next.max(known_next.unwrap_or_default());
    missing.add(newest.next..end);
    keys.extend(newest.keys);
    let segment = segments.back().cloned();
    let segment =
        segment.unwrap_or_else(|| Arc::new(new_segment(folder, end, Timestamp::UNIX_EPOCH)));
    keep_torn(folder, &segment, newest.keep_to, newest.next < end)?;
    let torn = segment.length() > newest.keep_to;
    segment.surveyed(&newest.marks, newest.keep_to);
    let mut lineage = head.lineage;
    if let Some(confirmed) = confirmed.filter(|known| !lineage.continues(&known.epoch)) {
        lineage.adopt(confirmed.epoch.clone(), segment.file.first);
    }
    if lineage.epoch().is_empty() {
        lineage.begin(end);
    }
    let last = newest.last.or(last);
    let mut watermarks = head.watermarks;
    let boundary = known_next.unwrap_or(end);
    let split = keys.partition_point(|(offset, _)| *offset < boundary);
    let pending = keys.split_off(split).into();
    raise(&mut watermarks, keys);
    Ok(Loaded {
        writer: Writer::open(segment.clone())?,
        lineage,
        watermarks,
        quiet: Quiet::read(folder),
        pending,
        end,
        last_appended: last.map_or(segment.file.created, |(time, _)| {
            time.max(segment.file.created)
        }),
        last_term: last.map_or(head.term, |(_, term)| term),
        missing,
        torn,
        segments,
    })
}

/// Watermarks with what came after them.
pub(super) fn raise(
    watermarks: &mut Watermarks,
    keys: impl IntoIterator<Item = (Offset, EventKey)>,
) {
    for (_, key) in keys {
        let known = watermarks.entry(key.stream).or_default();
        *known = key.seq.max(*known);
    }
}

/// The newest segment whose head is whole, by its place, and that head. Without any: the oldest, and nothing known.
fn newest_head(segments: &VecDeque<Arc<Segment>>) -> Result<(usize, Head), Error> {
    for (at, segment) in segments.iter().enumerate().rev() {
        if let Some(head) = segment.head()? {
            return Ok((at, head));
        }
        tracing::error!(path = %segment.path.display(), "the head of a segment is damaged; reading on from the one before");
    }
    Ok((0, Head::default()))
}

/// Bytes behind the last whole frame: what was being written when the process or the machine ended, which goes; or what was
/// confirmed, which is kept for people.
fn keep_torn(
    folder: &Folder,
    segment: &Segment,
    keep_to: u64,
    was_confirmed: bool,
) -> Result<(), Error> {
    let torn = segment.length().saturating_sub(keep_to);
    if torn == 0 {
        return Ok(());
    }
    if was_confirmed {
        let aside = folder.aside(&segment.file.name())?;
        fs::copy(&segment.path, &aside).map_err(|e| failed("put aside", &segment.path, e))?;
        tracing::error!(bytes = torn, kept = %aside.display(), "the end of the log is damaged");
    } else {
        tracing::warn!(
            bytes = torn,
            "the end of the log is cut: it was being written when the process or the machine ended, or it is damaged"
        );
    }
    Ok(())
}

/// What was confirmed, by the file beside the log and by what a segment says of the records in it.
fn raised(confirmed: &Confirmed, segment: &Segment) -> Result<Confirmed, Error> {
    let mut raised = confirmed.clone();
    let mut scan = segment.scan(0)?;
    while let Some(found) = scan.next().map_err(|e| failed("read", &segment.path, e))? {
        if let Found::Frame { body, .. } = found
            && let Some(Content::Committed(next)) = frame::decode(&body)
        {
            raised.next = raised.next.max(next);
        }
    }
    Ok(raised)
}

/// Reads a segment. Where `confirmed` is given, what is not whole from there on was never confirmed, and the records end
/// before it.
fn survey(segment: &Segment, confirmed: Option<Offset>) -> Result<Survey, Error> {
    let mut survey = Survey {
        keys: Vec::new(),
        marks: Vec::new(),
        missing: Vec::new(),
        next: segment.file.first,
        keep_to: 0,
        last: None,
    };
    let mut scan = segment.scan(0)?;
    while let Some(found) = scan.next().map_err(|e| failed("read", &segment.path, e))? {
        let Found::Frame { at, body } = found else {
            continue;
        };
        let Some(Content::Record(record)) = frame::decode(&body) else {
            survey.keep_to = scan.at;
            continue;
        };
        let next = survey.next;
        if record.offset < next {
            continue;
        }
        if record.offset > next {
            if confirmed.is_some_and(|confirmed| next >= confirmed) {
                break;
            }
            survey.missing.push(next..record.offset);
        }
        survey.next = record.offset + 1;
        survey.keep_to = scan.at;
        survey.marks.push((record.offset, at));
        survey.last = Some((record.appended, record.term));
        survey.keys.push((record.offset, record.key));
    }
    Ok(survey)
}
