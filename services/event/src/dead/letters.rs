//! The file of dead letters.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use pgo_bus::DeadLetter;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};

/// Letters by their ids, as JSON.
const LETTERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("letters");

/// The file, in the folder of the log.
const FILE: &str = "dead-letters.redb";

/// redb's own, which is 1 GiB unless limited.
const CACHE_BYTES: usize = 1 << 20;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Letters.
    pub letters: usize,
    /// Bytes of all of them, as they are written.
    pub bytes: usize,
}

impl Default for Room {
    /// More than anybody looks at, and a small part of the volume.
    fn default() -> Self {
        Self {
            letters: 1000,
            bytes: 32 << 20,
        }
    }
}

/// Why dead letters cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the dead letters in {}: {source}; is the volume writable and not full?", path.display())]
pub struct Error {
    path: PathBuf,
    source: Box<redb::Error>,
}

/// The dead letters that are kept. All calls block for a disk's time.
#[derive(Debug)]
pub struct Letters {
    /// None after a failure: redb refuses everything by a handle that failed to write once, also what could be read, so the
    /// next call opens the file anew. A disk that was full may have room by then.
    file: Mutex<Option<Database>>,
    path: PathBuf,
    room: Room,
    dropped: AtomicU64,
}

impl Letters {
    /// Opens the file in `folder`, or makes it.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(folder: &Path, room: Room) -> Result<Self, Error> {
        let letters = Self {
            file: Mutex::default(),
            path: folder.join(FILE),
            room,
            dropped: AtomicU64::new(0),
        };
        letters.with_file(|_| Ok(()))?;
        Ok(letters)
    }

    /// Keeps a letter; the oldest ones go where there is no room. One that is kept already stays as it is. It is on disk when
    /// this returns. Whether it is new.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, letter: &DeadLetter) -> Result<bool, Error> {
        // None that a value of this type can cause.
        let bytes = serde_json::to_vec(letter).unwrap_or_default();
        let id = letter.id();
        let (new, gone) = self.change(|table| {
            if table.get(id.as_str())?.is_some() {
                return Ok((false, 0));
            }
            table.insert(id.as_str(), bytes.as_slice())?;
            let gone = surplus(&all(table)?, self.room, &id);
            for id in &gone {
                table.remove(id.as_str())?;
            }
            Ok((true, gone.len()))
        })?;
        let gone = u64::try_from(gone).unwrap_or(u64::MAX);
        self.dropped.fetch_add(gone, Ordering::Relaxed);
        Ok(new)
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn all(&self) -> Result<Vec<DeadLetter>, Error> {
        let kept = self.read(all)?;
        Ok(kept.into_iter().map(|(letter, _)| letter).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<DeadLetter>, Error> {
        self.read(|table| Ok(table.get(id)?.and_then(|bytes| read(bytes.value()))))
    }

    /// Forgets one; whether it was there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remove(&self, id: &str) -> Result<bool, Error> {
        self.change(|table| Ok(table.remove(id)?.is_some()))
    }

    /// All of them as they are kept, by their ids.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn kept(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        self.read(|table| {
            let kept = table.iter()?.map(|entry| {
                let (id, letter) = entry?;
                Ok((id.value().to_owned(), letter.value().to_vec()))
            });
            kept.collect()
        })
    }

    /// Lets letters go and others come, as they were kept elsewhere: all of it or nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn replace<'a>(
        &self,
        gone: &[String],
        come: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), Error> {
        self.change(|table| {
            for id in gone {
                table.remove(id.as_str())?;
            }
            for (id, letter) in come {
                table.insert(id, letter)?;
            }
            Ok(())
        })
    }

    /// How many had to go because there was no room, since the process began.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        self.with_file(|file| {
            let transaction = file.begin_write()?;
            let changed = change(&mut transaction.open_table(LETTERS)?)?;
            transaction.commit()?;
            Ok(changed)
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        self.with_file(|file| read(&file.begin_read()?.open_table(LETTERS)?))
    }

    /// Works with the file, one at a time. It is closed where that fails.
    fn with_file<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let working = || {
            let file = match open.take() {
                Some(file) => file,
                None => open_file(&self.path)?,
            };
            let done = work(&file)?;
            *open = Some(file);
            Ok(done)
        };
        working().map_err(|source: redb::Error| Error {
            path: self.path.clone(),
            source: Box::new(source),
        })
    }
}

/// Opens the file, or makes it. It has the table then, for those who only read.
fn open_file(path: &Path) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let file = builder.create(path)?;
    match file.begin_read()?.open_table(LETTERS) {
        Ok(_) => {}
        Err(TableError::TableDoesNotExist(_)) => {
            let transaction = file.begin_write()?;
            transaction.open_table(LETTERS)?;
            transaction.commit()?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(file)
}

/// Letters with their sizes, the oldest first.
fn all(
    table: &impl redb::ReadableTable<&'static str, &'static [u8]>,
) -> Result<Vec<(DeadLetter, usize)>, redb::Error> {
    let mut letters = Vec::new();
    for entry in table.iter()? {
        let (_, bytes) = entry?;
        letters.extend(read(bytes.value()).map(|letter| (letter, bytes.value().len())));
    }
    letters.sort_by(|(a, _), (b, _)| a.time.cmp(&b.time).then_with(|| a.id().cmp(&b.id())));
    Ok(letters)
}

/// What cannot be read was written by another version.
fn read(bytes: &[u8]) -> Option<DeadLetter> {
    serde_json::from_slice(bytes)
        .inspect_err(|error| tracing::warn!(%error, "a dead letter that is kept cannot be read"))
        .ok()
}

/// Ids of the oldest ones that are too many, but never the newest one.
fn surplus(letters: &[(DeadLetter, usize)], room: Room, newest: &str) -> Vec<String> {
    let mut count = letters.len();
    let mut bytes: usize = letters.iter().map(|(_, size)| size).sum();
    let mut gone = Vec::new();
    for (letter, size) in letters {
        if count <= room.letters && bytes <= room.bytes {
            break;
        }
        if letter.id() == newest {
            continue;
        }
        gone.push(letter.id());
        count -= 1;
        bytes -= size;
    }
    gone
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tempfile::TempDir;

    use super::*;

    fn letter(number: u8, body: usize) -> DeadLetter {
        DeadLetter {
            topic: "alltopic".to_owned(),
            channel: "history".to_owned(),
            message: format!("{number:016}"),
            attempts: 1,
            time: Timestamp::from_second(i64::from(number)).expect("a time"),
            reason: "no event".to_owned(),
            body: vec![number; body],
            left_out: 0,
        }
    }

    fn numbers(letters: &Letters) -> Vec<i64> {
        let all = letters.all().expect("they are read");
        all.iter().map(|letter| letter.time.as_second()).collect()
    }

    #[test]
    fn letters_outlive_the_process_and_are_kept_once() {
        let folder = TempDir::new().expect("a folder");
        let letters = Letters::open(folder.path(), Room::default()).expect("a file");
        assert!(letters.put(&letter(1, 3)).expect("it is kept"));
        assert!(letters.put(&letter(2, 3)).expect("it is kept"));
        assert!(!letters.put(&letter(1, 3)).expect("it is there"));
        drop(letters);
        let letters = Letters::open(folder.path(), Room::default()).expect("a file");
        assert_eq!(numbers(&letters), [1, 2]);
        assert_eq!(
            letters.get(&letter(2, 3).id()).expect("it is read"),
            Some(letter(2, 3))
        );
        assert!(letters.remove(&letter(1, 3).id()).expect("it goes"));
        assert!(!letters.remove(&letter(1, 3).id()).expect("it is gone"));
        assert_eq!(numbers(&letters), [2]);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large() {
        let folder = TempDir::new().expect("a folder");
        let room = Room {
            letters: 3,
            bytes: 4000,
        };
        let letters = Letters::open(folder.path(), room).expect("a file");
        (1..=5).for_each(|number| assert!(letters.put(&letter(number, 3)).expect("it is kept")));
        assert_eq!(numbers(&letters), [3, 4, 5]);
        // One that is larger than all the room is kept, and alone.
        letters.put(&letter(6, 3000)).expect("it is kept");
        assert_eq!(numbers(&letters), [6]);
        assert_eq!(letters.dropped(), 5);
    }
}
