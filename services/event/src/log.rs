//! The durable log: events in the order in which they were taken over, each once.
//!
//! ```text
//! append(batch) ─► newest segment (one transaction, fsync) ─► recent records ─► head (watch) ─► readers
//!                       │ too large or too old                                                   │
//!                       ▼                                                                        ▼
//!                  next segment; the oldest are dropped whole          read(from): memory, else the segment's file
//! ```

mod cursor;
mod folder;
mod recent;
mod record;
mod segment;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
pub use cursor::{Cursor, CursorError, Offset};
use folder::{Folder, SegmentFile};
use jiff::Timestamp;
use pgo_events::Watermark;
use pgo_ids::{EventKey, Seq, StreamId};
use recent::Recent;
pub use record::{Facets, Record};
use segment::{Found, Readable, Segment, Watermarks};
use tokio::sync::watch;

/// Of a file system, the log takes no more than this: a full one would end it. In hundredths.
const SHARE_OF_DISK: u64 = 75;

/// What is kept.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Size of a segment in bytes, about.
    pub segment_bytes: u64,
    /// Size of all of them. What is over it goes by segments, the newest always stays.
    pub most_bytes: u64,
    /// Records of this age go, up to a segment's time later.
    pub longest: Duration,
}

impl Limits {
    /// A segment is closed after this time, so that records go by age also where there are few.
    fn segment_time(&self) -> Duration {
        self.longest / 30
    }
}

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder.
    #[error("cannot {what} {}: {source}; is the volume mounted, writable and not full?", path.display())]
    Folder {
        /// What was tried.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file in it.
    #[error("cannot use the log's segment {}: {source}", path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<redb::Error>,
    },
    /// A file is another log's.
    #[error("{} belongs to another log; give this log its own folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What identifies it.
    pub key: EventKey,
    /// Its bytes.
    pub event: Bytes,
}

/// The log. One process at a time may have it open; the files are locked.
#[derive(Debug)]
pub struct Log {
    folder: Folder,
    limits: Limits,
    epoch: String,
    /// Held over a whole append: there is one writer.
    writing: Mutex<()>,
    state: RwLock<State>,
    /// The offset that the next record gets.
    head: watch::Sender<Offset>,
}

#[derive(Debug)]
struct State {
    /// The oldest first; the last one is written.
    segments: VecDeque<SegmentFile>,
    newest: Arc<Segment>,
    /// The segment that was read last, besides the newest.
    open: Option<(SegmentFile, Readable)>,
    last_appended: Timestamp,
    watermarks: Watermarks,
    recent: Recent,
}

impl Log {
    /// Opens the log in a folder, or makes one there.
    ///
    /// # Errors
    /// The folder or a file in it cannot be used.
    pub fn open(path: &Path, limits: Limits, now: Timestamp) -> Result<Self, Error> {
        let folder = Folder::new(path)?;
        let mut segments: VecDeque<_> = folder.segments()?.into();
        let (file, found) = match segments.back().cloned() {
            Some(file) => {
                let found = Segment::open(folder.path(&file))?;
                (file, found)
            }
            None => {
                let epoch = uuid::Uuid::new_v4().simple().to_string();
                let (file, segment) = begin(&folder, &epoch, &Watermarks::new(), 1, now)?;
                segments.push_back(file.clone());
                let found = Found {
                    segment,
                    epoch,
                    watermarks: Watermarks::new(),
                    newest: None,
                };
                (file, found)
            }
        };
        if found.epoch.is_empty() {
            return Err(Error::Foreign {
                path: folder.path(&file),
            });
        }
        let head = found.newest.map_or(file.first, |(offset, _)| offset + 1);
        let last_appended = found.newest.map_or(file.created, |(_, time)| time);
        Ok(Self {
            folder,
            limits,
            epoch: found.epoch,
            writing: Mutex::default(),
            state: RwLock::new(State {
                segments,
                newest: Arc::new(found.segment),
                open: None,
                last_appended,
                watermarks: found.watermarks,
                recent: Recent::default(),
            }),
            head: watch::Sender::new(head),
        })
    }

    /// The cursor of a record.
    pub fn cursor(&self, offset: Offset) -> Cursor {
        Cursor {
            epoch: self.epoch.clone(),
            offset,
        }
    }

    /// Whether a cursor is one of this log.
    pub fn knows(&self, cursor: &Cursor) -> bool {
        cursor.epoch == self.epoch
    }

    /// The offset that the next record gets, and a way to wait for records.
    pub fn head(&self) -> watch::Receiver<Offset> {
        self.head.subscribe()
    }

    /// The oldest record there is; equal to the head in a log without any.
    pub fn oldest(&self) -> Offset {
        let state = self.state();
        let first = state.segments.front().map(|segment| segment.first);
        first.unwrap_or(1)
    }

    /// Up to which event a stream is in the log; 0 for a stream of which nothing is in it any more.
    pub fn watermark(&self, stream: &StreamId) -> Watermark {
        let state = self.state();
        Watermark(state.watermarks.get(stream).copied().unwrap_or_default())
    }

    /// All watermarks.
    pub fn watermarks(&self) -> Vec<(StreamId, Seq)> {
        let state = self.state();
        let all = state.watermarks.iter();
        all.map(|(stream, seq)| (stream.clone(), *seq)).collect()
    }

    /// Size of the files, in bytes.
    pub fn bytes(&self) -> u64 {
        let segments = self.state().segments.clone();
        segments.iter().map(|file| self.folder.bytes(file)).sum()
    }

    /// Appends events, all or nothing; they are on disk when it returns, and readers are awake. Blocks for a disk's time.
    ///
    /// # Errors
    /// The file cannot be written. Whether the events are in it shows when the log is opened anew.
    pub fn append(&self, entries: Vec<Entry>, now: Timestamp) -> Result<(), Error> {
        let writing = self.lock();
        self.roll_if_due(&writing, now)?;
        let (newest, appended) = {
            let state = self.state();
            (state.newest.clone(), now.max(state.last_appended))
        };
        let mut watermarks = Watermarks::new();
        let mut records = Vec::with_capacity(entries.len());
        let mut next = *self.head.borrow();
        for entry in entries {
            watermarks.insert(entry.key.stream, entry.key.seq);
            records.push(Arc::new(Record {
                offset: next,
                appended,
                facets: Facets::of(&entry.event),
                event: entry.event,
            }));
            next += 1;
        }
        newest.append(&records, &watermarks)?;

        let mut state = self.state_mut();
        state.watermarks.extend(watermarks);
        state.last_appended = appended;
        for record in records {
            state.recent.push(record);
        }
        drop(state);
        self.head.send_replace(next);
        Ok(())
    }

    /// Closes the newest segment if it is old, and drops the oldest ones that are too much, with the watermarks of streams
    /// whose last event was in them. Blocks for a disk's time.
    ///
    /// # Errors
    /// A file cannot be made or removed.
    pub fn tidy(&self, now: Timestamp) -> Result<(), Error> {
        let writing = self.lock();
        self.roll_if_due(&writing, now)?;
        let segments: Vec<_> = self.state().segments.iter().cloned().collect();
        let sized: Vec<_> = segments
            .into_iter()
            .map(|file| {
                let bytes = self.folder.bytes(&file);
                (file, bytes)
            })
            .collect();
        let of_disk = self.folder.capacity().map(|all| all / 100 * SHARE_OF_DISK);
        let most = of_disk.map_or(self.limits.most_bytes, |b| b.min(self.limits.most_bytes));
        let surplus = folder::surplus(&sized, most, self.limits.longest, now);
        for (file, bytes) in &sized[..surplus] {
            let ended_with = self.watermarks_of(file);
            // First out of the list, so that no reader begins with it; who reads it now keeps the open file.
            let mut state = self.state_mut();
            state.segments.pop_front();
            // Who has not risen since has no event in a later segment.
            let is_over = |stream: &StreamId, seq: &Seq| ended_with.get(stream) == Some(seq);
            state.watermarks.retain(|stream, seq| !is_over(stream, seq));
            let open = state.open.take_if(|(open, _)| open == file);
            drop(state);
            drop(open);
            self.folder.remove(file)?;
            tracing::info!(
                first = file.first,
                bytes,
                "the oldest segment of the log was dropped"
            );
        }
        Ok(())
    }

    /// The watermarks at the end of a closed segment. None of one that is damaged: its streams are kept then, which costs
    /// memory only.
    fn watermarks_of(&self, file: &SegmentFile) -> Watermarks {
        let read = self.segment_of(file.first);
        read.and_then(|(_, segment)| segment.watermarks())
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "the streams that ended in a dropped segment are not forgotten");
                Watermarks::new()
            })
    }

    /// Begins a segment when the newest is large or old, and holds anything.
    fn roll_if_due(&self, _writing: &MutexGuard<'_, ()>, now: Timestamp) -> Result<(), Error> {
        let head = *self.head.borrow();
        let (file, last_appended) = {
            let state = self.state();
            (state.segments.back().cloned(), state.last_appended)
        };
        let Some(file) = file.filter(|file| file.first < head) else {
            return Ok(());
        };
        let age = Duration::try_from(now.duration_since(file.created)).unwrap_or_default();
        let large = self.folder.bytes(&file) >= self.limits.segment_bytes;
        if !large && age < self.limits.segment_time() {
            return Ok(());
        }
        let watermarks = self.state().watermarks.clone();
        let created = now.max(last_appended);
        let (next, segment) = begin(&self.folder, &self.epoch, &watermarks, head, created)?;
        let mut state = self.state_mut();
        state.last_appended = next.created;
        state.segments.push_back(next);
        let closed = std::mem::replace(&mut state.newest, Arc::new(segment));
        let before = state.open.replace((file, Readable::Written(closed)));
        drop(state);
        // Closing a file takes a disk's time: not while readers wait for the lock.
        drop(before);
        Ok(())
    }

    /// Records that are in memory, from `from` on.
    pub fn recent(&self, from: Offset, most: usize) -> Option<Vec<Arc<Record>>> {
        self.state().recent.read(from, most)
    }

    /// Records from `from` on, or from the oldest if that is later; at most `most`, and fewer at the end of a segment.
    /// Nothing only at the log's end. Blocks for a disk's time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, from: Offset, most: usize) -> Result<Vec<Arc<Record>>, Error> {
        if let Some(records) = self.recent(from, most) {
            return Ok(records);
        }
        self.segment_of(from)?.1.read(from, most)
    }

    /// The first record that was appended at `time` or later; the head if there is none. Blocks for a disk's time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn since(&self, time: Timestamp) -> Result<Offset, Error> {
        let head = *self.head.borrow();
        let from = {
            let state = self.state();
            let earlier = state.segments.iter().rev();
            let mut earlier = earlier.skip_while(|file| file.created >= time);
            let first = state.segments.front();
            earlier.next().or(first).map_or(head, |file| file.first)
        };
        let (file, segment) = self.segment_of(from)?;
        let found = segment.since(time)?;
        // All of that segment is earlier: the next one begins with the first that is not.
        let next = || {
            let state = self.state();
            let later = state.segments.iter().find(|later| later.first > file.first);
            later.map_or(head, |later| later.first)
        };
        Ok(found.unwrap_or_else(next))
    }

    /// The segment that holds a record, or the oldest; opened if it is not the newest.
    fn segment_of(&self, offset: Offset) -> Result<(SegmentFile, Readable), Error> {
        let mut state = self.state_mut();
        let holds = state.segments.iter().rposition(|file| file.first <= offset);
        let older = state.segments.len().saturating_sub(1);
        let file = state.segments[holds.unwrap_or(0)].clone();
        if holds.unwrap_or(0) == older {
            return Ok((file, Readable::Written(state.newest.clone())));
        }
        if let Some((open, segment)) = &state.open
            && *open == file
        {
            return Ok((file, segment.clone()));
        }
        // Closed first: its reader may want the one that is to be opened next.
        state.open = None;
        let segment = Readable::open(self.folder.path(&file))?;
        state.open = Some((file.clone(), segment.clone()));
        Ok((file, segment))
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a segment and then names it: a crash in between leaves nothing that is taken for one.
fn begin(
    folder: &Folder,
    epoch: &str,
    watermarks: &Watermarks,
    first: Offset,
    created: Timestamp,
) -> Result<(SegmentFile, Segment), Error> {
    // The name holds milliseconds. Rounded up, so that what was written before is not younger.
    let millis = (created.as_microsecond() + 999).div_euclid(1000);
    let created = Timestamp::from_millisecond(millis).unwrap_or(created);
    let file = SegmentFile { first, created };
    let path = folder.path(&file);
    let segment = Segment::create(&folder.unfinished(&file), path, epoch, watermarks)?;
    folder.finish(&file)?;
    Ok((file, segment))
}

#[cfg(test)]
mod tests;
