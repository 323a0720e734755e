//! What is done to the files beside writing: dropping the oldest, looking for damage, making durable what can wait.

use std::{
    collections::HashSet,
    sync::{Arc, MutexGuard, PoisonError},
    time::SystemTime,
};

use jiff::Timestamp;
use pgo_ids::{Seq, StreamId};

use super::{
    Error, Log, Offset, folder,
    frame::{self, Content},
    scan::Found,
    segment::{Segment, Watermarks},
};

/// Of a file system, the log takes no more than this: a full one would keep it from taking events. In hundredths.
const SHARE_OF_DISK: u64 = 75;

/// Records read at once where a segment is looked through.
const CHUNK: usize = 1024;

impl Log {
    /// Closes the newest segment if it is old, and drops the oldest ones that are too much. Streams whose last event was in
    /// them are remembered apart from the others ([`Log::quiet`]). Blocks for a disk's time; writers do not wait for it.
    ///
    /// # Errors
    /// A file cannot be made or removed.
    pub fn tidy(&self, now: Timestamp) -> Result<(), Error> {
        let _upkeep = self.upkeep();
        let rolled = {
            let mut writer = self.lock();
            self.store(&mut writer, Vec::new(), now)
        };
        // A full disk is no reason not to make room on it.
        let segments: Vec<_> = self.state().segments.iter().cloned().collect();
        let sized: Vec<_> = segments
            .iter()
            .map(|segment| (segment.file.clone(), segment.length()))
            .collect();
        let of_disk = self.folder.capacity().map(|all| all / 100 * SHARE_OF_DISK);
        let most = of_disk.map_or(self.limits.most_bytes, |b| b.min(self.limits.most_bytes));
        let surplus = folder::surplus(&sized, most, self.limits.longest, now);
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)).take(surplus) {
            self.drop_oldest(segment, next)?;
        }
        if let Some(before) = SystemTime::now().checked_sub(self.limits.longest) {
            self.folder.forget_aside(before)?;
        }
        rolled.map(|_| ())
    }

    fn drop_oldest(&self, segment: &Arc<Segment>, next: &Arc<Segment>) -> Result<(), Error> {
        let (began_with, ended_with) = (watermarks_before(segment), watermarks_before(next));
        let deleted = ended_in(segment, &ended_with);
        // First out of the list, so that no reader begins with it; one that reads it now sees that it is gone.
        let mut state = self.state_mut();
        state.segments.pop_front();
        // Who has not risen since has no event in a later segment.
        let is_over = |stream: &StreamId, seq: &mut Seq| ended_with.get(stream) == Some(&*seq);
        let pending: Vec<_> = state
            .pending
            .iter()
            .map(|(_, key)| key.stream.clone())
            .collect();
        let mut over = state.watermarks.clone();
        over.retain(is_over);
        for (stream, seq) in over {
            if deleted.contains(&stream) {
                state.quiet.remove(&stream);
            } else if began_with.get(&stream) != Some(&seq) {
                // Else its last event went before, and it is here because the log was opened since.
                state.quiet.add(stream.clone(), seq);
            }
            if !pending.contains(&stream) {
                state.watermarks.remove(&stream);
            }
        }
        state.quiet.forget_surplus();
        state.missing.remove(&(0..next.file.first));
        let quiet = state.quiet.clone();
        drop(state);
        let kept = quiet.write(&self.folder);
        self.folder.remove(&segment.file)?;
        // A disk that was full has room now.
        if let Err(error) = kept.or_else(|_| quiet.write(&self.folder)) {
            tracing::warn!(%error, "the next drop of a segment tries again to keep which streams fell silent");
        }
        tracing::info!(
            first = segment.file.first,
            bytes = segment.length(),
            "the oldest segment of the log was dropped"
        );
        Ok(())
    }

    /// Streams whose events all went by retention, with the last event of each, in the order in which they fell silent; the
    /// ones that ended are not among them. May name one that went on since.
    pub fn quiet(&self) -> Vec<(StreamId, Seq)> {
        self.state().quiet.all()
    }

    /// Reads all files to find what is damaged before somebody needs it. Blocks for many a disk's time; nobody waits for it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn look_for_damage(&self) -> Result<(), Error> {
        let mut from = self.oldest();
        loop {
            let head: Offset = *self.head().borrow();
            let records = self.read_between(from..head, CHUNK)?;
            match records.last() {
                Some(last) => from = last.offset + 1,
                None => return Ok(()),
            }
        }
    }

    /// Makes durable up to where the log is confirmed. Blocks for a disk's time; nobody waits for it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync_confirmed(&self) -> Result<(), Error> {
        let file = {
            let mut tip = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
            tip.take_unsynced()
        };
        let synced = file.map_or(Ok(()), |file| file.sync_data());
        synced.map_err(|e| super::segment::failed("sync", self.folder.path_of_all(), e))
    }

    pub(super) fn upkeep(&self) -> MutexGuard<'_, ()> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streams that ended in a segment. Those that cannot be read are not among them, which costs memory only.
fn ended_in(segment: &Segment, ended_with: &Watermarks) -> HashSet<StreamId> {
    let mut ended = HashSet::new();
    let Ok(mut scan) = segment.scan(0) else {
        return ended;
    };
    while let Ok(Some(found)) = scan.next() {
        if let Found::Frame { body, .. } = found
            && let Some(Content::Record(record)) = frame::decode(&body)
            && ended_with.get(&record.key.stream) == Some(&record.key.seq)
            && record.ends_stream()
        {
            ended.insert(record.key.stream);
        }
    }
    ended
}

/// The watermarks at the end of the segment before this one. None where its head is damaged: the streams that ended there
/// are kept then, which costs memory only.
fn watermarks_before(next: &Segment) -> Watermarks {
    match next.head() {
        Ok(Some(head)) => head.watermarks,
        Ok(None) => {
            tracing::warn!(
                "the head of a segment is damaged; the streams that ended before it are not forgotten"
            );
            Watermarks::new()
        }
        Err(error) => {
            tracing::warn!(%error, "the streams that ended in a dropped segment are not forgotten");
            Watermarks::new()
        }
    }
}
