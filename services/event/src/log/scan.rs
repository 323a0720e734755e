//! Reading the frames of a file one after the other, past what is damaged.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use bytes::Bytes;

use super::frame::{self, MAGIC, PREFIX};

/// Bytes read at once.
const WINDOW: usize = 256 * 1024;

/// What is found at a place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame.
    Frame {
        /// Where it begins.
        at: u64,
        /// Its body.
        body: Bytes,
    },
    /// Bytes that are no whole frame, up to the next one or to the end.
    Damaged,
}

/// The frames of a file, from a place on.
#[derive(Debug)]
pub(super) struct Scan {
    file: File,
    /// Where the next frame is looked for.
    pub(super) at: u64,
    /// Where the file ends, or what is looked at.
    pub(super) end: u64,
    window: Bytes,
    window_at: u64,
}

impl Scan {
    /// Reads a file from `at`, a frame's beginning, to `end` or to its own end, whichever comes first.
    pub(super) fn open(path: &Path, at: u64, end: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = end.min(file.metadata()?.len());
        Ok(Self {
            file,
            at,
            end,
            window: Bytes::new(),
            window_at: 0,
        })
    }

    /// The next frame, or that there is damage; nothing at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let at = self.at;
        if let Some(body) = self.frame(at)? {
            self.at += (PREFIX + body.len()) as u64;
            return Ok(Some(Found::Frame { at, body }));
        }
        self.at = self.whole_after(at)?.unwrap_or(self.end);
        Ok(Some(Found::Damaged))
    }

    /// The body of the whole frame at a place.
    fn frame(&mut self, at: u64) -> io::Result<Option<Bytes>> {
        let Some(prefix) = self.bytes(at, PREFIX)? else {
            return Ok(None);
        };
        let Some(length) = frame::body_length(&prefix) else {
            return Ok(None);
        };
        let whole = self.bytes(at, PREFIX + length)?;
        Ok(whole
            .filter(|frame| frame::is_whole(frame))
            .map(|frame| frame.slice(PREFIX..)))
    }

    /// Where the next whole frame begins after a damaged one.
    fn whole_after(&mut self, damaged: u64) -> io::Result<Option<u64>> {
        let mut from = damaged + 1;
        while self.bytes(from, PREFIX)?.is_some() {
            let skip = usize::try_from(from - self.window_at).unwrap_or(usize::MAX);
            let rest = self.window.get(skip..).unwrap_or_default();
            let magic = rest.windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
            let Some(magic) = magic else {
                // One may begin in the last bytes of the window.
                from += (rest.len().saturating_sub(MAGIC.len() - 1)).max(1) as u64;
                continue;
            };
            from += magic as u64;
            if self.frame(from)?.is_some() {
                return Ok(Some(from));
            }
            from += 1;
        }
        Ok(None)
    }

    /// Bytes of the file; none where it has fewer.
    fn bytes(&mut self, at: u64, count: usize) -> io::Result<Option<Bytes>> {
        let until = at.saturating_add(count as u64);
        if until > self.end {
            return Ok(None);
        }
        let inside = at >= self.window_at && until <= self.window_at + self.window.len() as u64;
        if !inside {
            self.fill(at, count)?;
        }
        let skip = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        Ok((skip + count <= self.window.len()).then(|| self.window.slice(skip..skip + count)))
    }

    fn fill(&mut self, at: u64, count: usize) -> io::Result<()> {
        let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        let mut window = vec![0; count.max(WINDOW).min(left)];
        let mut filled = 0;
        while filled < window.len() {
            match self.file.read_at(&mut window[filled..], at + filled as u64) {
                // It became shorter meanwhile.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        window.truncate(filled);
        self.window = window.into();
        self.window_at = at;
        Ok(())
    }
}
