//! The files of the log: one per segment, its name tells what is in it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

use super::{Error, Offset};

/// End of a segment's name.
const SEGMENT: &str = ".log";

/// End of the name of a segment that is being made.
const UNFINISHED: &str = ".new";

/// Name of the file with the streams whose events are all gone.
const QUIET: &str = "quiet";

/// Folder in the folder for what was taken out of the log.
const ASIDE: &str = "aside";

/// A file with records. The name carries what must be known of a segment without opening it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentFile {
    /// Its first record, when it gets one; the segment before ends there.
    pub(super) first: Offset,
    /// No record in it is older, and none in the segment before it is younger.
    pub(super) created: Timestamp,
}

impl SegmentFile {
    pub(super) fn name(&self) -> String {
        let millis = self.created.as_millisecond();
        format!("{:020}-{millis}{SEGMENT}", self.first)
    }

    fn parse(name: &str) -> Option<Self> {
        let (first, created) = name.strip_suffix(SEGMENT)?.split_once('-')?;
        Some(Self {
            first: first.parse().ok()?,
            created: Timestamp::from_millisecond(created.parse().ok()?).ok()?,
        })
    }
}

/// The folder of the log.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let folder = Self(path.to_owned());
        fs::create_dir_all(path).map_err(folder.failed("create"))?;
        Ok(folder)
    }

    pub(super) fn path(&self, segment: &SegmentFile) -> PathBuf {
        self.0.join(segment.name())
    }

    /// Where a segment is made, before it gets its name.
    pub(super) fn unfinished(&self, segment: &SegmentFile) -> PathBuf {
        self.0.join(segment.name() + UNFINISHED)
    }

    /// The file with the streams whose events are all gone.
    pub(super) fn quiet(&self) -> PathBuf {
        self.0.join(QUIET)
    }

    /// Where that is made.
    pub(super) fn unfinished_quiet(&self) -> PathBuf {
        self.0.join(QUIET.to_owned() + UNFINISHED)
    }

    /// Makes durable which files there are.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let synced = File::open(&self.0).and_then(|folder| folder.sync_all());
        synced.map_err(self.failed("sync"))
    }

    /// Where what does not belong to the log any more is kept, for people.
    pub(super) fn aside(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.0.join(ASIDE);
        fs::create_dir_all(&folder).map_err(self.failed("make a folder in"))?;
        Ok(folder.join(name))
    }

    /// Removes what was kept aside before `time`.
    pub(super) fn forget_aside(&self, time: SystemTime) -> Result<(), Error> {
        let Ok(kept) = fs::read_dir(self.0.join(ASIDE)) else {
            return Ok(());
        };
        for entry in kept {
            let entry = entry.map_err(self.failed("read"))?;
            let changed = entry.metadata().and_then(|data| data.modified());
            if changed.is_ok_and(|changed| changed < time) {
                fs::remove_file(entry.path()).map_err(self.failed("clean"))?;
            }
        }
        Ok(())
    }

    pub(super) fn path_of_all(&self) -> &Path {
        &self.0
    }

    /// The segments, the oldest first; removes what a crash left of one that was being made.
    pub(super) fn segments(&self) -> Result<Vec<SegmentFile>, Error> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(self.failed("read"))? {
            let path = entry.map_err(self.failed("read"))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name else { continue };
            if name.ends_with(UNFINISHED) {
                fs::remove_file(&path).map_err(self.failed("clean"))?;
            } else if let Some(segment) = SegmentFile::parse(name) {
                segments.push(segment);
            }
        }
        segments.sort();
        Ok(segments)
    }

    pub(super) fn remove(&self, segment: &SegmentFile) -> Result<(), Error> {
        match fs::remove_file(self.path(segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove a segment from")(error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn bytes(&self, segment: &SegmentFile) -> u64 {
        fs::metadata(self.path(segment)).map_or(0, |data| data.len())
    }

    /// Size of the file system, if it tells one.
    pub(super) fn capacity(&self) -> Option<u64> {
        let system = rustix::fs::statvfs(&self.0).ok()?;
        system.f_blocks.checked_mul(system.f_frsize)
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> Error {
        let path = self.0.clone();
        move |source| Error::Folder {
            what,
            path: path.clone(),
            source,
        }
    }
}

/// How many of the oldest segments are too much. The newest, which is written, always stays.
///
/// A segment's records are all older than the creation of the next one.
pub(super) fn surplus(
    segments: &[(SegmentFile, u64)],
    most_bytes: u64,
    longest: Duration,
    now: Timestamp,
) -> usize {
    let newest = segments.len().saturating_sub(1);
    let aged = segments.iter().skip(1).take_while(|(next, _)| {
        let age = now.duration_since(next.created);
        Duration::try_from(age).is_ok_and(|age| age >= longest)
    });
    let mut drop = aged.count();
    let size = |from: usize| -> u64 { segments.iter().skip(from).map(|(_, bytes)| bytes).sum() };
    while drop < newest && size(drop) > most_bytes {
        drop += 1;
    }
    drop.min(newest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn segments(sizes: &[u64]) -> Vec<(SegmentFile, u64)> {
        let at = |day: usize| Timestamp::UNIX_EPOCH + DAY * u32::try_from(day).expect("few");
        let segment = |(day, bytes): (usize, &u64)| {
            let file = SegmentFile {
                first: day as u64 * 10 + 1,
                created: at(day),
            };
            (file, *bytes)
        };
        sizes.iter().enumerate().map(segment).collect()
    }

    #[test]
    fn a_name_tells_what_is_in_it() {
        let (segment, _) = segments(&[1, 1])[1].clone();
        assert_eq!(segment.name(), "00000000000000000011-86400000.log");
        assert_eq!(SegmentFile::parse(&segment.name()), Some(segment));
        assert_eq!(SegmentFile::parse("lost+found"), None);
    }

    #[test]
    fn segments_whose_last_record_is_too_old_go() {
        let now = Timestamp::UNIX_EPOCH + DAY * 5;
        let five = segments(&[1, 1, 1, 1, 1]);
        // The first ended on day 1, four days ago.
        assert_eq!(surplus(&five, u64::MAX, DAY * 5, now), 0);
        assert_eq!(surplus(&five, u64::MAX, DAY * 4, now), 1);
        assert_eq!(surplus(&five, u64::MAX, DAY, now), 4);
        assert_eq!(surplus(&five, u64::MAX, Duration::ZERO, now), 4);
    }

    proptest! {
        #[test]
        fn what_stays_fits_or_is_the_newest(
            sizes in prop::collection::vec(0u64..100, 0..10), most in 0u64..400,
        ) {
            let all = segments(&sizes);
            let drop = surplus(&all, most, DAY * 1000, Timestamp::UNIX_EPOCH);
            let kept: u64 = sizes.iter().skip(drop).sum();
            prop_assert!(kept <= most || drop + 1 >= sizes.len());
            prop_assert!(drop == 0 || sizes.iter().skip(drop - 1).sum::<u64>() > most);
        }
    }
}
