//! The durable log: events in the order in which they were taken over, each once.
//!
//! ```text
//! write(batch) ─► newest segment (one write, one fsync) ─► recent records ─► commit ─► head (watch) ─► readers
//!                    │ too large or too old                                                            │
//!                    ▼                                                                                 ▼
//!               next segment; the oldest are dropped whole                read(from): memory, else the segment's file
//! ```
//!
//! `write` and `commit` are two steps, because a record counts only once the other replica has it too (`replication`).
//! Nothing that is not committed is shown to readers.

mod cursor;
mod folder;
mod frame;
mod lineage;
mod load;
mod lookup;
mod mending;
mod missing;
mod quiet;
mod recent;
mod record;
mod replica;
mod scan;
mod segment;
mod tip;
mod upkeep;

use std::{
    collections::VecDeque,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
pub use cursor::{Cursor, CursorError, Offset};
use folder::Folder;
use frame::Head;
use jiff::Timestamp;
pub use lineage::{Kin, Lineage};
use load::Loaded;
use mending::Mending;
use missing::Missing;
use pgo_events::Watermark;
use pgo_ids::{EventKey, Seq, StreamId};
use quiet::Quiet;
use recent::Recent;
pub use record::{Facets, Record};
use segment::{Segment, Watermarks, Writer};
use tip::{Confirmed, Tip};
use tokio::sync::watch;

/// Under whose leadership a record was written: 0 where there is one replica, else it rises with each change.
pub type Term = u64;

/// Whether the end of this log is known to be the end of what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// It has been compared with the other replica's since the log was opened, or this replica is alone.
    Proven,
    /// The log was opened, and its last frame is whole. A file that is too short by whole frames looks like that.
    Whole,
    /// Something behind the last whole frame was cut when the log was opened: a write that did not end, or damage to one that
    /// counted.
    Torn,
}

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
    #[error("cannot {what} the log's file {}: {source}", path.display())]
    Segment {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Records of another replica that do not follow the last one here.
    #[error("record {found} of the other replica does not follow: this log ends at {end}")]
    NoSuccessor {
        /// Its offset.
        found: Offset,
        /// The end of the log.
        end: Offset,
    },
}

impl Error {
    fn is_not_found(&self) -> bool {
        matches!(self, Self::Segment { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What identifies it.
    pub key: EventKey,
    /// Its bytes.
    pub event: Bytes,
}

/// The log. One process at a time may have it open; a file in it is locked.
#[derive(Debug)]
pub struct Log {
    folder: Folder,
    limits: Limits,
    /// Held over a whole write: there is one writer.
    writing: Mutex<Writer>,
    /// Held by whoever removes or replaces files; taken before `writing`.
    upkeep: Mutex<()>,
    tip: Mutex<Tip>,
    state: RwLock<State>,
    /// The first offset that is not committed.
    head: watch::Sender<Offset>,
    /// Whether another process writes what is copied here.
    follows: AtomicBool,
    /// Whether the other log is known to have more that counts.
    stale: watch::Sender<bool>,
    /// Rises when committed records are taken out or the log is replaced by another.
    generation: watch::Sender<u64>,
    mending: Mending,
}

#[derive(Debug)]
struct State {
    /// The oldest first; the last one is written.
    segments: VecDeque<Arc<Segment>>,
    lineage: Lineage,
    /// The offset that the next record gets.
    end: Offset,
    last_appended: Timestamp,
    last_term: Term,
    /// Of what is committed.
    watermarks: Watermarks,
    quiet: Quiet,
    /// What is written and not committed.
    pending: VecDeque<(Offset, EventKey)>,
    recent: Recent,
    missing: Missing,
    tail: Tail,
}

impl State {
    fn of(loaded: Loaded) -> (Self, Writer) {
        let state = Self {
            segments: loaded.segments,
            lineage: loaded.lineage,
            end: loaded.end,
            last_appended: loaded.last_appended,
            last_term: loaded.last_term,
            watermarks: loaded.watermarks,
            quiet: loaded.quiet,
            pending: loaded.pending,
            recent: Recent::default(),
            missing: loaded.missing,
            tail: if loaded.torn { Tail::Torn } else { Tail::Whole },
        };
        (state, loaded.writer)
    }

    /// The newest committed event of a stream, also where retention took it.
    fn known(&self, stream: &StreamId) -> Option<Seq> {
        let here = self.watermarks.get(stream).copied();
        here.or_else(|| self.quiet.get(stream))
    }

    /// The first offset that is not committed.
    fn committed(&self) -> Offset {
        self.pending.front().map_or(self.end, |(offset, _)| *offset)
    }
}

impl Log {
    /// Opens the log in a folder, or makes one there. Everything in it counts as committed: there is no other replica.
    ///
    /// # Errors
    /// The folder or a file in it cannot be used.
    pub fn open(path: &Path, limits: Limits, now: Timestamp) -> Result<Self, Error> {
        let log = Self::open_replica(path, limits, now)?;
        if let Err(error) = log.go_on_from_torn() {
            tracing::warn!(%error, "no new epoch can be begun behind the end that was cut; the next write tries again");
        }
        log.commit(log.end());
        Ok(log)
    }

    /// Opens one of several logs of the same events. Records that were not known to be committed are not shown until
    /// [`Log::commit`] says so.
    ///
    /// # Errors
    /// As of [`Log::open`].
    pub fn open_replica(path: &Path, limits: Limits, now: Timestamp) -> Result<Self, Error> {
        let folder = Folder::new(path)?;
        let tip = Tip::open(path)?;
        let loaded = load::load(&folder, tip.confirmed(), now)?;
        let (state, writer) = State::of(loaded);
        let (committed, generation) = (state.committed(), 1);
        let missing = state.missing.count();
        if missing > 0 {
            tracing::error!(records = missing, ranges = ?state.missing.ranges(), "records of the log are damaged");
        }
        Ok(Self {
            folder,
            limits,
            writing: Mutex::new(writer),
            upkeep: Mutex::default(),
            tip: Mutex::new(tip),
            state: RwLock::new(state),
            head: watch::Sender::new(committed),
            follows: AtomicBool::new(false),
            stale: watch::Sender::new(false),
            generation: watch::Sender::new(generation),
            mending: Mending::default(),
        })
    }

    /// The cursor of a record.
    pub fn cursor(&self, offset: Offset) -> Cursor {
        Cursor {
            epoch: self.state().lineage.epoch().to_owned(),
            offset,
        }
    }

    /// Whether a cursor is one of this log, in its present epoch.
    pub fn knows(&self, cursor: &Cursor) -> bool {
        self.kin(cursor) == Kin::Same
    }

    /// What a cursor is to this log.
    pub fn kin(&self, cursor: &Cursor) -> Kin {
        self.state().lineage.kin(cursor)
    }

    /// Which log this is.
    pub fn lineage(&self) -> Lineage {
        self.state().lineage.clone()
    }

    /// The first offset that is not committed, and a way to wait for records.
    pub fn head(&self) -> watch::Receiver<Offset> {
        self.head.subscribe()
    }

    /// Rises whenever records that were shown are not in the log any more: who reads must ask anew where to go on.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Whether this log is a copy that may be some records behind.
    pub fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    /// Says whether this log is a copy.
    pub fn set_follows(&self, follows: bool) {
        self.follows.store(follows, Ordering::Relaxed);
        self.set_stale(follows);
    }

    /// Whether another log is known to have more that counts, or may have.
    pub fn is_stale(&self) -> bool {
        *self.stale.borrow()
    }

    /// Says whether another log has more.
    pub fn set_stale(&self, stale: bool) {
        self.stale.send_replace(stale);
    }

    /// Whether another log has more, and a way to wait for it.
    pub fn stale(&self) -> watch::Receiver<bool> {
        self.stale.subscribe()
    }

    /// The offset that the next record gets.
    pub fn end(&self) -> Offset {
        self.state().end
    }

    /// The offset that the next record gets, and the term of the one before.
    pub fn tip(&self) -> (Offset, Term) {
        let state = self.state();
        (state.end, state.last_term)
    }

    /// Whether its end is known to be the end of what was written to it.
    pub fn tail(&self) -> Tail {
        self.state().tail
    }

    /// Says that nothing is missing behind its end.
    pub fn prove_tail(&self) {
        self.state_mut().tail = Tail::Proven;
    }

    /// The oldest record there is; equal to the head in a log without any.
    pub fn oldest(&self) -> Offset {
        let state = self.state();
        let first = state.segments.front();
        first.map_or(1, |segment| segment.file.first)
    }

    /// Up to which event a stream is in the log, or was before retention took it; 0 for a stream that never was, or ended.
    pub fn watermark(&self, stream: &StreamId) -> Watermark {
        Watermark(self.state().known(stream).unwrap_or_default())
    }

    /// The watermarks of the streams that have events in the log.
    pub fn watermarks(&self) -> Vec<(StreamId, Seq)> {
        let state = self.state();
        let all = state.watermarks.iter();
        all.map(|(stream, seq)| (stream.clone(), *seq)).collect()
    }

    /// Size of the files, in bytes.
    pub fn bytes(&self) -> u64 {
        let state = self.state();
        state.segments.iter().map(|segment| segment.length()).sum()
    }

    /// Number of records that are damaged and have not been got back.
    pub fn damaged(&self) -> u64 {
        self.state().missing.count()
    }

    /// Which records are damaged, the oldest first.
    pub fn damaged_ranges(&self) -> Vec<Range<Offset>> {
        self.state().missing.ranges().to_vec()
    }

    /// Appends events, all or nothing; they are on disk when it returns, and readers are awake. Blocks for a disk's time.
    ///
    /// # Errors
    /// The file cannot be written; nothing of it is in the log then, and the call may be made again.
    pub fn append(&self, entries: Vec<Entry>, now: Timestamp) -> Result<(), Error> {
        let end = self.write(entries, 0, now)?;
        self.commit(end);
        Ok(())
    }

    /// Writes events, all or nothing; they are on disk when it returns, and shown to readers once they are committed. Gives the
    /// end of the log. Blocks for a disk's time.
    ///
    /// # Errors
    /// As of [`Log::append`].
    pub fn write(&self, entries: Vec<Entry>, term: Term, now: Timestamp) -> Result<Offset, Error> {
        self.go_on_from_torn()?;
        let mut writer = self.lock();
        let records = self.state().records_of(entries, term, now);
        self.store(&mut writer, records, now)
    }

    /// Writes records as another replica has them: for files, too, the time is that of the records, however late they are
    /// copied. Blocks for a disk's time.
    ///
    /// # Errors
    /// As of [`Log::append`], or they do not follow the last record here.
    pub fn write_copies(&self, records: Vec<Arc<Record>>) -> Result<Offset, Error> {
        let mut writer = self.lock();
        let end = self.end();
        let Some((first, appended)) = records.first().map(|first| (first.offset, first.appended))
        else {
            return Ok(end);
        };
        if first < end {
            return Err(Error::NoSuccessor { found: first, end });
        }
        self.store(&mut writer, records, appended)
    }

    fn store(
        &self,
        writer: &mut MutexGuard<'_, Writer>,
        records: Vec<Arc<Record>>,
        now: Timestamp,
    ) -> Result<Offset, Error> {
        let mut frames = Vec::new();
        let head = self.head_if_due(now);
        if let Some(head) = &head {
            frame::put_head(&mut frames, head);
        }
        let begin = if head.is_some() {
            0
        } else {
            writer.segment.length()
        };
        let committed = self.state().committed();
        if head.is_none() && committed > writer.segment.file.first {
            frame::put_committed(&mut frames, committed);
        }
        let mut marks = Vec::with_capacity(records.len());
        for record in &records {
            marks.push((record.offset, begin + frames.len() as u64));
            frame::put_record(&mut frames, record);
        }
        if head.is_some() {
            let first = records.first().map(|record| record.appended);
            **writer = self.roll(&frames, &marks, first)?;
        } else if !records.is_empty() {
            writer.append(&frames, &marks)?;
        }
        Ok(self.written(records))
    }

    /// What the next segment begins with, if there is to be one: where the newest is large or old, and holds anything.
    fn head_if_due(&self, now: Timestamp) -> Option<Head> {
        let state = self.state();
        let newest = state.segments.back()?;
        let age = Duration::try_from(now.duration_since(newest.file.created)).unwrap_or_default();
        let large = newest.length() >= self.limits.segment_bytes;
        let due = newest.file.first < state.end && (large || age >= self.limits.segment_time());
        due.then(|| state.next_head())
    }

    /// Makes the next segment, with its head and its first records in one write; the first is `appended`. Without records it
    /// begins where the one before ends: a copy may go on with records that are older than the moment.
    fn roll(
        &self,
        frames: &[u8],
        marks: &[(Offset, u64)],
        appended: Option<Timestamp>,
    ) -> Result<Writer, Error> {
        let (first, created) = {
            let state = self.state();
            let before = state.segments.back().map(|newest| newest.file.created);
            // Names of two differ, also where the one before is empty.
            let after = before.map(|before| before + Duration::from_millis(1));
            let created = state.last_appended.max(appended.unwrap_or_default());
            (state.end, created.max(after.unwrap_or_default()))
        };
        let segment = Arc::new(load::new_segment(&self.folder, first, created));
        let mut writer = Writer::create(segment.clone())?;
        let made = writer
            .append(frames, marks)
            .and_then(|()| self.folder.sync());
        if let Err(error) = made {
            // Should it stay, it is found empty when the log is opened, and removed then.
            let _ = self.folder.remove(&segment.file);
            return Err(error);
        }
        let mut state = self.state_mut();
        state.last_appended = segment.file.created;
        state.segments.push_back(segment);
        Ok(writer)
    }

    fn written(&self, records: Vec<Arc<Record>>) -> Offset {
        let mut state = self.state_mut();
        for record in records {
            // Offsets that the other replica has no record for, either.
            let gap = state.end..record.offset;
            state.missing.add(gap);
            state.end = record.offset + 1;
            state.last_appended = record.appended;
            state.last_term = record.term;
            state.pending.push_back((record.offset, record.key.clone()));
            state.recent.push(record);
        }
        state.end
    }

    /// Records before `next` are safe: readers get them, and their watermarks count. Gives what counts since.
    pub fn commit(&self, next: Offset) -> Vec<EventKey> {
        let mut state = self.state_mut();
        let mut news = Vec::new();
        while let Some((_, key)) = state.pending.pop_front_if(|(offset, _)| *offset < next) {
            news.push(key.clone());
            let known = state.watermarks.entry(key.stream).or_default();
            *known = key.seq.max(*known);
        }
        let confirmed = Confirmed {
            epoch: state.lineage.epoch().to_owned(),
            next: next.min(state.end),
        };
        drop(state);
        let next = confirmed.next;
        let known = *self.head.borrow();
        if next >= known {
            self.note(confirmed);
        }
        self.head.send_if_modified(|head| {
            let rises = next > *head;
            *head = next.max(*head);
            rises
        });
        news
    }

    /// Without it, what is damaged at the very end is taken for torn: not a reason to refuse an event.
    fn note(&self, confirmed: Confirmed) {
        let mut tip = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = tip.write(confirmed) {
            tracing::warn!(%error, "cannot note up to where the log is confirmed");
        }
    }

    /// What the file beside the log says.
    fn confirmed(&self) -> Option<Confirmed> {
        let tip = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        tip.confirmed().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn records_of(&self, entries: Vec<Entry>, term: Term, now: Timestamp) -> Vec<Arc<Record>> {
        let appended = now.max(self.last_appended);
        // Of streams with events that are not committed, those of this call among them.
        let mut marks: Watermarks = Watermarks::new();
        load::raise(&mut marks, self.pending.iter().cloned());
        let record = |(offset, entry): (Offset, Entry)| {
            let known = marks.insert(entry.key.stream.clone(), entry.key.seq);
            let known = known.or_else(|| self.known(&entry.key.stream));
            let after = known.unwrap_or_default();
            Arc::new(Record::new(
                (offset, term),
                appended,
                entry.key,
                after,
                entry.event,
            ))
        };
        (self.end..).zip(entries).map(record).collect()
    }

    fn next_head(&self) -> Head {
        let mut watermarks = self.watermarks.clone();
        load::raise(&mut watermarks, self.pending.iter().cloned());
        Head {
            term: self.last_term,
            lineage: self.lineage.clone(),
            watermarks,
        }
    }
}

#[cfg(test)]
mod tests;
