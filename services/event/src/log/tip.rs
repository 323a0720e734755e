//! Up to where the log was confirmed, beside the log: what tells a torn tail from damage.
//!
//! Written after each commit without waiting for the disk, and made durable every few seconds. After the end of the process
//! it is exact. After a power cut it may name an earlier place, never a later one: what it names was on disk before. What was
//! confirmed since is known from the writes that came after it (`load`).

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{Error, Offset, segment::failed};

/// Name of the file.
const NAME: &str = "confirmed";

const MAGIC: &[u8; 8] = b"PGOTIP1\n";

/// Bytes of the file: magic, checksum, offset, length of the epoch, epoch.
const SIZE: usize = 8 + 4 + 8 + 1 + 64;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) epoch: String,
    /// The first offset that was not confirmed.
    pub(super) next: Offset,
}

/// The file, locked: it is also what keeps two processes from having the log open.
#[derive(Debug)]
pub(super) struct Tip {
    file: File,
    path: PathBuf,
    written: Option<Confirmed>,
    unsynced: bool,
}

impl Tip {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(NAME);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|e| failed("open", &path, e))?;
        file.try_lock().map_err(|error| {
            let source = match error {
                TryLockError::WouldBlock => io::Error::other("another process has the log open"),
                TryLockError::Error(error) => error,
            };
            failed("lock", &path, source)
        })?;
        let mut bytes = [0; SIZE];
        let written = file
            .read_exact_at(&mut bytes, 0)
            .ok()
            .and_then(|()| decode(&bytes));
        Ok(Self {
            file,
            path,
            written,
            unsynced: false,
        })
    }

    /// What it says, if it can be read.
    pub(super) fn confirmed(&self) -> Option<&Confirmed> {
        self.written.as_ref()
    }

    /// Says something else.
    pub(super) fn write(&mut self, confirmed: Confirmed) -> Result<(), Error> {
        if self.written.as_ref() == Some(&confirmed) {
            return Ok(());
        }
        let written = self.file.write_all_at(&encode(&confirmed), 0);
        written.map_err(|e| failed("write", &self.path, e))?;
        self.written = Some(confirmed);
        self.unsynced = true;
        Ok(())
    }

    /// A handle to make it durable with, if there is something to make durable.
    pub(super) fn take_unsynced(&mut self) -> Option<File> {
        std::mem::take(&mut self.unsynced).then(|| self.file.try_clone().ok())?
    }
}

impl Drop for Tip {
    /// Gives the lock back at once: a process that is being started at this moment has a copy of the file until it runs
    /// its own program, and would hold the lock as long.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

fn encode(confirmed: &Confirmed) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let epoch = confirmed.epoch.as_bytes();
    let length = epoch.len().min(64);
    bytes[..8].copy_from_slice(MAGIC);
    bytes[12..20].copy_from_slice(&confirmed.next.to_le_bytes());
    bytes[20] = u8::try_from(length).unwrap_or_default();
    bytes[21..21 + length].copy_from_slice(&epoch[..length]);
    let sum = crc32fast::hash(&bytes[12..]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; SIZE]) -> Option<Confirmed> {
    let sum = u32::from_le_bytes(bytes[8..12].try_into().ok()?);
    if !bytes.starts_with(MAGIC) || sum != crc32fast::hash(&bytes[12..]) {
        return None;
    }
    let epoch = bytes.get(21..21 + usize::from(bytes[20]))?;
    Some(Confirmed {
        epoch: std::str::from_utf8(epoch).ok()?.to_owned(),
        next: Offset::from_le_bytes(bytes[12..20].try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(epoch in "[0-9a-f]{1,64}", next in any::<u64>()) {
            let confirmed = Confirmed { epoch, next };
            prop_assert_eq!(decode(&encode(&confirmed)), Some(confirmed));
        }

        #[test]
        fn a_flipped_bit_is_seen(next in any::<u64>(), at in 0..SIZE, bit in 0u8..8) {
            let mut bytes = encode(&Confirmed { epoch: "a1".to_owned(), next });
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(&bytes), None);
        }
    }

    #[test]
    fn one_process_has_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let tip = Tip::open(folder.path()).expect("a tip");
        assert!(Tip::open(folder.path()).is_err());
        drop(tip);
        assert!(Tip::open(folder.path()).is_ok());
    }
}
