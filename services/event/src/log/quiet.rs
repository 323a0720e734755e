//! Streams whose events all went by retention, with the last of each: so that the next one is not told as if those before it
//! had never come.
//!
//! In a file beside the log, written anew before a segment is dropped that had the last event of a stream.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{ErrorKind, Write as _},
};

use bytes::Bytes;
use pgo_ids::{Seq, StreamId};

use super::{
    Error,
    folder::Folder,
    frame::{self, Content},
    segment::failed,
};

/// The most streams: some hundred KiB. A stream whose last event ends it is none of them, so these are of objects that live,
/// and of those that went without an event; the streams that fell silent first are forgotten first.
const MOST: usize = 10_000;

/// The streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Quiet {
    streams: HashMap<StreamId, Last>,
    /// Place of the next one.
    next: u64,
}

/// The last event of a stream, and the stream's place in the order in which they fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    seq: Seq,
    place: u64,
}

impl Quiet {
    /// Streams in the order in which they fell silent.
    pub(super) fn of(streams: impl IntoIterator<Item = (StreamId, Seq)>) -> Self {
        let mut quiet = Self::default();
        for (stream, seq) in streams {
            quiet.add(stream, seq);
        }
        quiet.forget_surplus();
        quiet
    }

    /// What the file says. One that is damaged is as none: its streams are told as cut once, which is better than no log.
    pub(super) fn read(folder: &Folder) -> Self {
        let path = folder.quiet();
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot read which streams fell silent");
                return Self::default();
            }
        };
        let whole = frame::body_length(&bytes).map(|length| length + frame::PREFIX)
            == Some(bytes.len())
            && frame::is_whole(&bytes);
        match whole.then(|| frame::decode(&bytes.slice(frame::PREFIX..))) {
            Some(Some(Content::Quiet(streams))) => Self::of(streams),
            _ => {
                tracing::error!(path = %path.display(), "the file with the streams that fell silent is damaged");
                Self::default()
            }
        }
    }

    /// Writes the file, all or nothing; it is on disk when it returns.
    pub(super) fn write(&self, folder: &Folder) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let ordered = self.ordered();
        let streams: Vec<_> = ordered
            .iter()
            .map(|(stream, last)| (*stream, &last.seq))
            .collect();
        frame::put_quiet(&mut bytes, &streams);
        let path = folder.unfinished_quiet();
        let file = File::create(&path);
        let written = file.and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&path, folder.quiet())
        });
        written.map_err(|error| failed("write", &path, error))?;
        folder.sync()
    }

    /// The last event of a stream.
    pub(super) fn get(&self, stream: &StreamId) -> Option<Seq> {
        self.streams.get(stream).map(|last| last.seq)
    }

    /// All, in the order in which they fell silent.
    pub(super) fn all(&self) -> Vec<(StreamId, Seq)> {
        let ordered = self.ordered().into_iter();
        ordered
            .map(|(stream, last)| (stream.clone(), last.seq))
            .collect()
    }

    /// A stream has no event in the log any more.
    pub(super) fn add(&mut self, stream: StreamId, seq: Seq) {
        let place = self.next;
        self.next += 1;
        self.streams.insert(stream, Last { seq, place });
    }

    /// Nothing will come of a stream any more.
    pub(super) fn remove(&mut self, stream: &StreamId) {
        self.streams.remove(stream);
    }

    /// Keeps as many as there may be.
    pub(super) fn forget_surplus(&mut self) {
        let surplus = self.streams.len().saturating_sub(MOST);
        if surplus == 0 {
            return;
        }
        let ordered = self.ordered();
        let oldest_kept = ordered
            .get(surplus)
            .map_or(self.next, |(_, last)| last.place);
        self.streams.retain(|_, last| last.place >= oldest_kept);
    }

    fn ordered(&self) -> Vec<(&StreamId, &Last)> {
        let mut ordered: Vec<_> = self.streams.iter().collect();
        ordered.sort_unstable_by_key(|(_, last)| last.place);
        ordered
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn stream(number: usize) -> StreamId {
        format!("uid-{number}").parse().expect("a stream")
    }

    #[test]
    fn it_is_bounded_and_those_that_fell_silent_first_go_first() {
        let mut quiet = Quiet::of((0..MOST).map(|number| (stream(number), Seq(7))));
        // It had another event since.
        quiet.add(stream(0), Seq(8));
        quiet.add(stream(MOST), Seq(7));
        quiet.forget_surplus();
        assert_eq!(quiet.all().len(), MOST);
        assert_eq!(quiet.get(&stream(0)), Some(Seq(8)));
        assert_eq!(quiet.get(&stream(1)), None);
        assert_eq!(quiet.get(&stream(MOST)), Some(Seq(7)));
    }

    #[test]
    fn it_is_read_as_it_was_written_and_a_damaged_one_is_none() {
        let path = TempDir::new().expect("a folder");
        let folder = Folder::new(path.path()).expect("a folder");
        assert_eq!(Quiet::read(&folder), Quiet::default());
        let quiet = Quiet::of((0..9).rev().map(|number| (stream(number), Seq(7))));
        quiet.write(&folder).expect("written");
        assert_eq!(Quiet::read(&folder), quiet);
        let mut bytes = fs::read(folder.quiet()).expect("bytes");
        bytes[20] ^= 1;
        fs::write(folder.quiet(), bytes).expect("written");
        assert_eq!(Quiet::read(&folder), Quiet::default());
    }
}
