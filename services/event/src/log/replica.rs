//! What a log does as one of two: gives up a tail, goes on in another epoch, takes back what was damaged.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

use jiff::Timestamp;
use pgo_ids::{Seq, StreamId};

use super::{
    Error, Lineage, Log, Offset, Record, State, Tail, Term, Writer,
    frame::{self, Head},
    load,
    quiet::Quiet,
    scan::Found,
    segment::{Segment, Watermarks, failed},
    tip::Confirmed,
};

impl Log {
    /// Says which log this is from now on: that of the replica that leads, which must have all records that are here; or a
    /// new epoch of the same, where it goes on from a copy of which it is not known that it has everything.
    ///
    /// # Errors
    /// The next segment, which says so, cannot be made.
    pub fn adopt(&self, lineage: Lineage) -> Result<(), Error> {
        let mut writer = self.lock();
        if self.lineage() == lineage {
            return Ok(());
        }
        let mut head = self.state().next_head();
        head.lineage = lineage.clone();
        let mut frames = Vec::new();
        frame::put_head(&mut frames, &head);
        *writer = self.roll(&frames, &[], None)?;
        self.state_mut().lineage = lineage;
        drop(writer);
        let head = *self.head.borrow();
        self.commit(head);
        self.generation.send_modify(|generation| *generation += 1);
        self.wake();
        Ok(())
    }

    /// Begins an epoch where something was cut from the end of the log, and no other replica was found that knows better: it may
    /// have counted, and then its offsets are given a second time. By the epoch, the cursors of the first time are told from those.
    ///
    /// # Errors
    /// As of [`Log::adopt`].
    pub fn go_on_from_torn(&self) -> Result<(), Error> {
        if self.tail() != Tail::Torn {
            return Ok(());
        }
        let mut lineage = self.lineage();
        lineage.begin(self.end());
        self.adopt(lineage)?;
        self.prove_tail();
        Ok(())
    }

    /// The end of the records with at most this term, at most `end`: up to there the log of another replica that ends so is
    /// the same as this one.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn common(&self, end: Offset, term: Term) -> Result<Offset, Error> {
        let mut end = end.min(self.end());
        while let Some(last) = self.last_before(end)? {
            if last.term <= term {
                break;
            }
            end = last.offset;
        }
        Ok(end)
    }

    /// The term of the last record before `end` that is not damaged; 0 where there is none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn term_before(&self, end: Offset) -> Result<Term, Error> {
        Ok(self.last_before(end)?.map_or(0, |record| record.term))
    }

    /// The last record before `end` that is not damaged.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn last_before(&self, end: Offset) -> Result<Option<Arc<Record>>, Error> {
        let oldest = self.oldest();
        let mut at = end.min(self.end());
        while at > oldest {
            at -= 1;
            let found = self.read_all(at, 1)?;
            if let Some(record) = found.first().filter(|record| record.offset == at) {
                return Ok(Some(record.clone()));
            }
        }
        Ok(None)
    }

    /// Takes out what is at `end` and after it. The files with it are kept aside, for people. Tells how many records that were.
    ///
    /// # Errors
    /// A file cannot be changed; the log must be opened anew then.
    pub fn cut_back(&self, end: Offset, now: Timestamp) -> Result<u64, Error> {
        let _upkeep = self.upkeep();
        let mut writer = self.lock();
        let count = self.end().saturating_sub(end);
        if count == 0 {
            return Ok(0);
        }
        let segments: Vec<_> = self.state().segments.iter().cloned().collect();
        for segment in segments.iter().rev() {
            self.put_aside(segment, now)?;
            if segment.file.first < end {
                shorten(segment, end)?;
                break;
            }
            self.folder.remove(&segment.file)?;
        }
        self.folder.sync()?;
        self.note(Confirmed {
            epoch: self.lineage().epoch().to_owned(),
            next: end.min(*self.head.borrow()),
        });
        let confirmed = self.confirmed();
        let loaded = load::load(&self.folder, confirmed.as_ref(), now)?;
        self.replace(&mut writer, State::of(loaded));
        Ok(count)
    }

    /// Begins anew as a copy of another log, from the oldest record that it has; `quiet` is its [`Log::quiet`]. What is here is
    /// kept aside, for people.
    ///
    /// # Errors
    /// A file cannot be moved or made; the log must be opened anew then.
    pub fn start_over(
        &self,
        lineage: Lineage,
        first: Offset,
        quiet: Vec<(StreamId, Seq)>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let _upkeep = self.upkeep();
        let mut writer = self.lock();
        let segments: Vec<_> = self.state().segments.iter().cloned().collect();
        for segment in segments.iter().rev() {
            self.put_aside(segment, now)?;
            self.folder.remove(&segment.file)?;
        }
        self.note(Confirmed {
            epoch: lineage.epoch().to_owned(),
            next: first,
        });
        let head = Head {
            term: 0,
            lineage,
            watermarks: Watermarks::new(),
        };
        Quiet::of(quiet).write(&self.folder)?;
        // When the first record was appended shows only once it comes.
        load::begin(&self.folder, first, Timestamp::UNIX_EPOCH, &head)?;
        let confirmed = self.confirmed();
        let loaded = load::load(&self.folder, confirmed.as_ref(), now)?;
        self.replace(&mut writer, State::of(loaded));
        Ok(())
    }

    /// Puts records back that are damaged here. Tells how many.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn mend(&self, records: &[Arc<Record>]) -> Result<u64, Error> {
        let _upkeep = self.upkeep();
        let missing = self.damaged_ranges();
        let wanted =
            |record: &&Arc<Record>| missing.iter().any(|range| range.contains(&record.offset));
        let wanted: Vec<_> = records.iter().filter(wanted).cloned().collect();
        let mut rest = wanted.as_slice();
        while let Some(first) = rest.first() {
            let (segment, next) = self.segment_of(first.offset);
            let here = rest.partition_point(|record| next.is_none_or(|next| record.offset < next));
            let (mended, later) = rest.split_at(here.max(1));
            let mut writer = self.lock();
            let renewed = self.rewrite(&segment, mended)?;
            if Arc::ptr_eq(&writer.segment, &segment) {
                *writer = Writer::open(renewed)?;
            }
            rest = later;
        }
        let mut state = self.state_mut();
        for record in &wanted {
            state.missing.remove(&(record.offset..record.offset + 1));
        }
        Ok(wanted.len() as u64)
    }

    /// Writes a segment anew, with records that it lacks.
    fn rewrite(
        &self,
        segment: &Arc<Segment>,
        mended: &[Arc<Record>],
    ) -> Result<Arc<Segment>, Error> {
        let path = self.folder.unfinished(&segment.file);
        let fail = |error| failed("write", &path, error);
        let mut file = BufWriter::new(File::create(&path).map_err(fail)?);
        let mut mended = mended.iter().peekable();
        let mut scan = segment.scan(0)?;
        while let Some(found) = scan.next().map_err(|e| failed("read", &segment.path, e))? {
            let Found::Frame { body, .. } = found else {
                continue;
            };
            let mut frames = Vec::new();
            if let Some(offset) = frame::offset(&body) {
                while let Some(record) = mended.next_if(|record| record.offset <= offset) {
                    frame::put_record(&mut frames, record);
                }
            }
            frame::put_body(&mut frames, &body);
            file.write_all(&frames).map_err(fail)?;
        }
        let mut frames = Vec::new();
        mended.for_each(|record| frame::put_record(&mut frames, record));
        let done = file
            .write_all(&frames)
            .and_then(|()| file.into_inner().map_err(io::Error::from));
        let length = done.and_then(|file| file.sync_all().and_then(|()| file.metadata()));
        let length = length.map_err(fail)?.len();
        let renewed = Arc::new(Segment::new(
            segment.file.clone(),
            segment.path.clone(),
            length,
        ));
        // Under the lock: who read the former file by the places of the new one, or the other way round, sees it afterwards.
        let mut state = self.state_mut();
        fs::rename(&path, &segment.path).map_err(fail)?;
        for there in &mut state.segments {
            if Arc::ptr_eq(there, segment) {
                *there = renewed.clone();
            }
        }
        drop(state);
        self.folder.sync()?;
        Ok(renewed)
    }

    fn replace(&self, writer: &mut Writer, (state, new): (State, Writer)) {
        *writer = new;
        let committed = state.committed();
        *self.state_mut() = state;
        self.generation.send_modify(|generation| *generation += 1);
        self.head.send_replace(committed);
    }

    /// Readers that wait look again.
    fn wake(&self) {
        self.head.send_modify(|_| {});
    }

    fn put_aside(&self, segment: &Segment, now: Timestamp) -> Result<(), Error> {
        let name = format!("{}-{}", now.as_millisecond(), segment.file.name());
        let aside = self.folder.aside(&name)?;
        fs::copy(&segment.path, &aside).map_err(|e| failed("copy", &segment.path, e))?;
        tracing::warn!(kept = %aside.display(), "a file is taken out of the log, or shortened; it is kept aside as it was");
        Ok(())
    }
}

/// Takes out of a file what is at `end` and after it.
fn shorten(segment: &Segment, end: Offset) -> Result<(), Error> {
    let mut scan = segment.scan(0)?;
    let mut length = 0;
    while let Some(found) = scan.next().map_err(|e| failed("read", &segment.path, e))? {
        match found {
            Found::Frame { body, .. }
                if frame::offset(&body).is_some_and(|offset| offset >= end) =>
            {
                break;
            }
            Found::Frame { .. } => length = scan.at,
            Found::Damaged => {}
        }
    }
    let file = File::options().write(true).open(&segment.path);
    let shortened = file.and_then(|file| file.set_len(length).and_then(|()| file.sync_all()));
    shortened.map_err(|e| failed("shorten", &segment.path, e))
}
