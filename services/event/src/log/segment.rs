//! One segment: a redb file with records, and the watermarks as of its newest record.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use pgo_ids::{Seq, StreamId};
use redb::{
    Builder, Database, DatabaseError, Durability, ReadOnlyDatabase, ReadOnlyTable,
    ReadableDatabase, ReadableTable as _, TableDefinition, WriteTransaction,
};

use super::{Error, Facets, Offset, Record};

/// Offset → (appended, microseconds since 1970; the event's bytes).
const RECORDS: TableDefinition<'_, Offset, (i64, &[u8])> = TableDefinition::new("records");

/// Stream → seq of its newest event in this log.
const WATERMARKS: TableDefinition<'_, &str, u64> = TableDefinition::new("watermarks");

/// Name → value; the epoch is the only one.
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const EPOCH: &str = "epoch";

/// redb's own default is 1 GiB; what is read again is in the log's own memory.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Of segments that are only read, once and from the beginning to the end.
const OLD_CACHE_BYTES: usize = 1024 * 1024;

/// How long a segment may stay locked by readers that got it from its writer; they take milliseconds.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The most bytes of events that one read returns, so that a chunk of large ones stays small.
const CHUNK_BYTES: usize = 512 * 1024;

/// Watermarks by stream.
pub(super) type Watermarks = HashMap<StreamId, Seq>;

/// A segment to write to.
#[derive(Debug)]
pub(super) struct Segment {
    database: Database,
    path: PathBuf,
}

/// What is known of a segment once it is open.
pub(super) struct Found {
    pub(super) segment: Segment,
    pub(super) epoch: String,
    pub(super) watermarks: Watermarks,
    pub(super) newest: Option<(Offset, Timestamp)>,
}

impl Segment {
    /// Makes a segment without records in `file`, which will be called `path`.
    pub(super) fn create(
        file: &Path,
        path: PathBuf,
        epoch: &str,
        watermarks: &Watermarks,
    ) -> Result<Self, Error> {
        let database = builder(CACHE_BYTES).create(file);
        let database = database.map_err(|e| failed(file, e.into()))?;
        begin(&database, epoch, watermarks).map_err(|e| failed(file, e))?;
        Ok(Self { database, path })
    }

    /// Opens a segment; repairs it if the process that wrote it was killed.
    pub(super) fn open(path: PathBuf) -> Result<Found, Error> {
        let database = builder(CACHE_BYTES).open(&path);
        let database = database.map_err(|e| failed(&path, e.into()))?;
        let (epoch, watermarks, newest) = look(&database).map_err(|e| failed(&path, e))?;
        Ok(Found {
            segment: Self { database, path },
            epoch,
            watermarks,
            newest,
        })
    }

    /// Writes records and the watermarks that go with them, all or nothing; they are on disk when it returns.
    pub(super) fn append(
        &self,
        records: &[Arc<Record>],
        watermarks: &Watermarks,
    ) -> Result<(), Error> {
        write(&self.database, records, watermarks).map_err(|e| failed(&self.path, e))
    }
}

/// A segment to read from.
#[derive(Clone)]
pub(super) enum Readable {
    /// One that is written, or was until a moment ago.
    Written(Arc<Segment>),
    /// One that is not written any more.
    Old(Arc<ReadOnlyDatabase>, PathBuf),
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path) = match self {
            Self::Written(segment) => ("Written", &segment.path),
            Self::Old(_, path) => ("Old", path),
        };
        f.debug_tuple(kind).field(path).finish()
    }
}

impl Readable {
    /// Opens a segment that is not written; one that its writer could not close is repaired first.
    ///
    /// It is locked as long as somebody still reads it through its writer, for milliseconds; that is waited for.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let give_up = Instant::now() + LOCK_DEADLINE;
        loop {
            let error = match builder(OLD_CACHE_BYTES).open_read_only(&path) {
                Ok(database) => return Ok(Self::Old(Arc::new(database), path)),
                Err(error) => error,
            };
            let again = Instant::now() < give_up;
            match error {
                DatabaseError::DatabaseAlreadyOpen if again => std::thread::sleep(LOCK_PAUSE),
                DatabaseError::RepairAborted if again => {
                    let repaired = builder(OLD_CACHE_BYTES).open(&path);
                    drop(repaired.map_err(|e| failed(&path, e.into()))?);
                }
                other => return Err(failed(&path, other.into())),
            }
        }
    }

    /// Records from `from` on.
    pub(super) fn read(&self, from: Offset, most: usize) -> Result<Vec<Arc<Record>>, Error> {
        let (records, path) = match self {
            Self::Written(segment) => (read(&segment.database, from, most), &segment.path),
            Self::Old(database, path) => (read(&**database, from, most), path),
        };
        records.map_err(|e| failed(path, e))
    }

    /// The watermarks as of its newest record.
    pub(super) fn watermarks(&self) -> Result<Watermarks, Error> {
        let (found, path) = match self {
            Self::Written(segment) => (watermarks(&segment.database), &segment.path),
            Self::Old(database, path) => (watermarks(&**database), path),
        };
        found.map_err(|e| failed(path, e))
    }

    /// The first record of `time` or later.
    pub(super) fn since(&self, time: Timestamp) -> Result<Option<Offset>, Error> {
        let (found, path) = match self {
            Self::Written(segment) => (since(&segment.database, time), &segment.path),
            Self::Old(database, path) => (since(&**database, time), path),
        };
        found.map_err(|e| failed(path, e))
    }
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder
}

fn failed(path: &Path, source: redb::Error) -> Error {
    Error::Segment {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn begin(database: &Database, epoch: &str, watermarks: &Watermarks) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert(EPOCH, epoch)?;
    write.open_table(RECORDS)?;
    put(&write, watermarks)?;
    write.commit()?;
    Ok(())
}

fn put(write: &WriteTransaction, watermarks: &Watermarks) -> Result<(), redb::Error> {
    let mut table = write.open_table(WATERMARKS)?;
    for (stream, seq) in watermarks {
        table.insert(stream.as_str(), seq.0)?;
    }
    Ok(())
}

fn write(
    database: &Database,
    records: &[Arc<Record>],
    watermarks: &Watermarks,
) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    let mut table = write.open_table(RECORDS)?;
    for record in records {
        let value = (record.appended.as_microsecond(), record.event.as_ref());
        table.insert(record.offset, value)?;
    }
    drop(table);
    put(&write, watermarks)?;
    write.commit()?;
    Ok(())
}

type Look = (String, Watermarks, Option<(Offset, Timestamp)>);

fn look(database: &Database) -> Result<Look, redb::Error> {
    let read = database.begin_read()?;
    let meta = read.open_table(META)?;
    let epoch = meta.get(EPOCH)?.map(|value| value.value().to_owned());
    let watermarks = watermarks(database)?;
    let records = read.open_table(RECORDS)?;
    let newest = records
        .last()?
        .map(|(offset, value)| (offset.value(), timestamp(value.value().0)));
    Ok((epoch.unwrap_or_default(), watermarks, newest))
}

fn watermarks(database: &impl ReadableDatabase) -> Result<Watermarks, redb::Error> {
    let mut watermarks = Watermarks::new();
    let read = database.begin_read()?;
    for entry in read.open_table(WATERMARKS)?.iter()? {
        let (stream, seq) = entry?;
        // Only valid names are ever written.
        if let Ok(stream) = stream.value().parse() {
            watermarks.insert(stream, Seq(seq.value()));
        }
    }
    Ok(watermarks)
}

fn records(
    database: &impl ReadableDatabase,
) -> Result<ReadOnlyTable<Offset, (i64, &'static [u8])>, redb::Error> {
    Ok(database.begin_read()?.open_table(RECORDS)?)
}

fn read(
    database: &impl ReadableDatabase,
    from: Offset,
    most: usize,
) -> Result<Vec<Arc<Record>>, redb::Error> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for entry in records(database)?.range(from..)?.take(most) {
        let (offset, value) = entry?;
        let (appended, event) = value.value();
        bytes += event.len();
        found.push(Arc::new(Record {
            offset: offset.value(),
            appended: timestamp(appended),
            event: Bytes::copy_from_slice(event),
            facets: Facets::of(event),
        }));
        if bytes >= CHUNK_BYTES {
            break;
        }
    }
    Ok(found)
}

/// Offsets are contiguous and times do not fall, so halving finds it.
fn since(database: &impl ReadableDatabase, time: Timestamp) -> Result<Option<Offset>, redb::Error> {
    let table = records(database)?;
    let (Some((first, _)), Some((last, _))) = (table.first()?, table.last()?) else {
        return Ok(None);
    };
    let (mut low, mut high) = (first.value(), last.value() + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let earlier = table
            .get(middle)?
            .is_some_and(|value| timestamp(value.value().0) < time);
        if earlier {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok((low <= last.value()).then_some(low))
}

/// Only valid times are ever written.
fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
