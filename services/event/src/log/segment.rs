//! One segment: a file with a head and records, and where in it they are.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use pgo_ids::{Seq, StreamId};

use super::{
    Error, Offset, Record,
    folder::SegmentFile,
    frame::{self, Content, Head},
    scan::{Found, Scan},
};

/// Bytes between two remembered places.
const MARK_EVERY: u64 = 64 * 1024;

/// The most bytes of events that one read returns, so that a chunk of large ones stays small.
const CHUNK_BYTES: usize = 512 * 1024;

/// Watermarks by stream.
pub(super) type Watermarks = HashMap<StreamId, Seq>;

/// A segment's file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: SegmentFile,
    pub(super) path: PathBuf,
    /// Bytes that are written and on disk; of a closed segment, all.
    length: AtomicU64,
    index: Mutex<Index>,
}

/// Where records are, as far as the file was read or written in this process' time.
#[derive(Debug)]
struct Index {
    /// Offset of a record and where it begins, ascending.
    marks: Vec<(Offset, u64)>,
    /// Up to where the file is known.
    known_to: u64,
}

/// Records, and which ones are missing before and among them.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) records: Vec<Arc<Record>>,
    pub(super) missing: Vec<Range<Offset>>,
}

impl Segment {
    pub(super) fn new(file: SegmentFile, path: PathBuf, length: u64) -> Self {
        Self {
            index: Mutex::new(Index {
                marks: vec![(file.first, 0)],
                known_to: 0,
            }),
            file,
            path,
            length: AtomicU64::new(length),
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Its head, if that is whole.
    pub(super) fn head(&self) -> Result<Option<Head>, Error> {
        let mut scan = self.scan(0)?;
        let found = scan.next().map_err(|e| self.failed("read", e))?;
        Ok(match found {
            Some(Found::Frame { body, .. }) => match frame::decode(&body) {
                Some(Content::Head(head)) => Some(head),
                _ => None,
            },
            _ => None,
        })
    }

    /// Frames from a place on.
    pub(super) fn scan(&self, at: u64) -> Result<Scan, Error> {
        Scan::open(&self.path, at, self.length()).map_err(|e| self.failed("open", e))
    }

    /// Records of `wanted`, at most `most`, and fewer where they are large. `end` is where the next segment begins, if this one
    /// is closed: what is not found below it is missing.
    pub(super) fn read(
        &self,
        wanted: Range<Offset>,
        most: usize,
        end: Option<Offset>,
    ) -> Result<Part, Error> {
        let (mut next, at) = self.index().place(wanted.start);
        let mut scan = self.scan(at)?;
        let mut part = Part::default();
        let mut bytes = 0;
        let mut marks = Vec::new();
        loop {
            if part.records.len() >= most || bytes >= CHUNK_BYTES || next >= wanted.end {
                break;
            }
            let found = scan.next().map_err(|e| self.failed("read", e))?;
            let Some(found) = found else {
                if let Some(end) = end.filter(|end| *end > next) {
                    part.missing.push(next..end);
                }
                break;
            };
            let Found::Frame { at, body } = found else {
                continue;
            };
            let Some(offset) = frame::offset(&body).filter(|offset| *offset >= next) else {
                continue;
            };
            marks.push((offset, at));
            if offset > next {
                part.missing.push(next..offset);
            }
            next = offset + 1;
            if wanted.contains(&offset)
                && let Some(Content::Record(record)) = frame::decode(&body)
            {
                bytes += record.event.len();
                part.records.push(Arc::new(record));
            }
        }
        self.index().learn(at, &marks, scan.at);
        Ok(part)
    }

    /// The first record of `time` or later.
    pub(super) fn since(&self, time: Timestamp) -> Result<Option<Offset>, Error> {
        let mut scan = self.scan(0)?;
        while let Some(found) = scan.next().map_err(|e| self.failed("read", e))? {
            if let Found::Frame { body, .. } = found
                && let Some(Content::Record(record)) = frame::decode(&body)
                && record.appended >= time
            {
                return Ok(Some(record.offset));
            }
        }
        Ok(None)
    }

    /// Bytes up to `length` are on disk, with a record at each of these places.
    pub(super) fn grown(&self, marks: &[(Offset, u64)], length: u64) {
        let before = self.length.swap(length, Ordering::AcqRel);
        self.index().learn(before, marks, length);
    }

    /// The file was read: records are at these places, and it counts up to `length`.
    pub(super) fn surveyed(&self, marks: &[(Offset, u64)], length: u64) {
        self.length.store(length, Ordering::Release);
        self.index().learn(0, marks, length);
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        failed(what, &self.path, source)
    }
}

impl Index {
    /// The last known place at or before a record.
    fn place(&self, offset: Offset) -> (Offset, u64) {
        let after = self.marks.partition_point(|(known, _)| *known <= offset);
        let first = self.marks.first();
        let mark = after.checked_sub(1).map_or(first, |at| self.marks.get(at));
        mark.copied().unwrap_or((offset, 0))
    }

    /// From `from` to `to` there are records at these places.
    fn learn(&mut self, from: u64, marks: &[(Offset, u64)], to: u64) {
        if from > self.known_to || to <= self.known_to {
            return;
        }
        for mark in marks.iter().filter(|(_, at)| *at >= self.known_to) {
            let last = self.marks.last().map_or(0, |(_, at)| *at);
            if mark.1 >= last + MARK_EVERY {
                self.marks.push(*mark);
            }
        }
        self.known_to = to;
    }
}

pub(super) fn failed(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Segment {
        what,
        path: path.to_owned(),
        source,
    }
}

/// The file that is written.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    pub(super) segment: Arc<Segment>,
    /// What a failed write may have left behind the end is not removed yet.
    dirty: bool,
}

impl Writer {
    /// Writes on at the segment's length; what is behind it goes.
    pub(super) fn open(segment: Arc<Segment>) -> Result<Self, Error> {
        let file = File::options().write(true).open(&segment.path);
        let file = file.map_err(|e| failed("open", &segment.path, e))?;
        let mut writer = Self {
            file,
            segment,
            dirty: true,
        };
        writer.clean()?;
        Ok(writer)
    }

    /// Makes the file; a name that is there already is an error.
    pub(super) fn create(segment: Arc<Segment>) -> Result<Self, Error> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&segment.path);
        let file = file.map_err(|e| failed("create", &segment.path, e))?;
        Ok(Self {
            file,
            segment,
            dirty: false,
        })
    }

    /// Writes frames, all or nothing; they are on disk when it returns. After an error nothing of them is in the log, and the
    /// next call begins with removing what is left of them.
    pub(super) fn append(&mut self, frames: &[u8], marks: &[(Offset, u64)]) -> Result<(), Error> {
        self.clean()?;
        let at = self.segment.length();
        let written = self.file.write_all_at(frames, at);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.dirty = true;
            // At once, so that a full disk is not kept full by it; if that fails, the next call says so.
            let _ = self.clean();
            return Err(failed("write", &self.segment.path, error));
        }
        self.segment.grown(marks, at + frames.len() as u64);
        Ok(())
    }

    fn clean(&mut self) -> Result<(), Error> {
        if self.dirty {
            let length = self.segment.length();
            let cleaned = self
                .file
                .set_len(length)
                .and_then(|()| self.file.sync_all());
            cleaned.map_err(|e| failed("shorten", &self.segment.path, e))?;
            self.dirty = false;
        }
        Ok(())
    }
}
