//! Timelines: where they began, and which number the next one gets (documentation, "Timelines").

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    conf::MODE,
    files::{FileError, named, read_if_there, write_atomically},
};

/// Folder with the WAL, and with the history files of timelines.
const WAL: &str = "pg_wal";

/// Where a timeline began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The timeline.
    pub timeline: u32,
    /// The one before.
    pub parent: u32,
    /// The place in the WAL where it left that.
    pub from: u64,
}

/// Why a timeline's beginning is not known, or cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such history.
    #[error("{} tells no beginning of a timeline; is it damaged?", .0.display())]
    Unclear(PathBuf),
    /// The number that is wanted was used already.
    #[error("timeline {wanted} cannot be begun: there is a history of timeline {used} already")]
    Used {
        /// Which was wanted.
        wanted: u32,
        /// Which is there.
        used: u32,
    },
}

/// A place in the WAL, as PostgreSQL writes it.
pub fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.trim().split_once('/')?;
    let half = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(half(high)? << 32 | half(low)?)
}

/// The same, written.
pub fn shown(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

fn file(data: &Path, timeline: u32) -> PathBuf {
    data.join(WAL).join(format!("{timeline:08X}.history"))
}

/// Where `timeline` began; nothing for the first one, which has no history.
///
/// # Errors
/// The history cannot be read.
pub fn begun(data: &Path, timeline: u32) -> Result<Option<Begun>, TimelineError> {
    let path = file(data, timeline);
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    let last = text.lines().rev().find(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let begun = last.and_then(left).map(|(parent, from)| Begun {
        timeline,
        parent,
        from,
    });
    begun.map(Some).ok_or(TimelineError::Unclear(path))
}

/// The timeline of which a line of a history tells, and where that was left.
fn left(line: &str) -> Option<(u32, u64)> {
    let mut words = line.split_whitespace();
    Some((words.next()?.parse().ok()?, lsn(words.next()?)?))
}

/// The newest timeline of which there is WAL, if it is not the first one.
///
/// # Errors
/// The folder or a history cannot be read.
pub fn newest_begun(data: &Path) -> Result<Option<Begun>, TimelineError> {
    match with_wal(data)?.last() {
        Some(newest) => begun(data, *newest),
        None => Ok(None),
    }
}

/// The timelines of which there is WAL and whose way there goes through the place `at` of `timeline`, the newest one first.
///
/// # Errors
/// The folder or a history cannot be read.
pub fn begun_after(data: &Path, timeline: u32, at: u64) -> Result<Vec<Begun>, TimelineError> {
    let mut after = Vec::new();
    for newer in with_wal(data)?.into_iter().rev() {
        if newer <= timeline {
            break;
        }
        let history = read_if_there(&file(data, newer))?.unwrap_or_default();
        let mut left = history.lines().filter_map(left);
        let goes_through = left.any(|(on, until)| on == timeline && until >= at);
        if goes_through {
            after.extend(begun(data, newer)?);
        }
    }
    Ok(after)
}

/// The timelines of which there is WAL.
fn with_wal(data: &Path) -> Result<BTreeSet<u32>, TimelineError> {
    let folder = data.join(WAL);
    let names = named(fs::read_dir(&folder), "read", &folder)?;
    let timelines = names.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?;
        let is_segment = name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_segment.then(|| u32::from_str_radix(&name[..8], 16).ok())?
    });
    Ok(timelines.collect())
}

/// Makes the next promotion take the number `wanted`: PostgreSQL takes the first one after its own of which there is no
/// history, so each number between gets one. They say what is true of them: nothing was ever written on them. To be called
/// when no WAL is received any more, right before the promotion.
///
/// # Errors
/// The number is used, or a file cannot be written.
pub fn skip_to(data: &Path, own: u32, at: u64, wanted: u32) -> Result<(), TimelineError> {
    if wanted <= own || file(data, wanted).exists() {
        return Err(TimelineError::Used {
            wanted,
            used: wanted,
        });
    }
    let mut history = read_if_there(&file(data, own))?.unwrap_or_default();
    if !history.is_empty() && !history.ends_with('\n') {
        history.push('\n');
    }
    for number in own + 1..wanted {
        let path = file(data, number);
        if path.exists() {
            continue;
        }
        let text = format!("{history}{own}\t{}\tnever used\n", shown(at));
        write_atomically(&path, text.as_bytes(), MODE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> tempfile::TempDir {
        let data = tempfile::tempdir().expect("a folder");
        fs::create_dir(data.path().join(WAL)).expect("made");
        data
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        assert_eq!(lsn("1/6B374D48"), Some(0x1_6B37_4D48));
        assert_eq!(shown(0x1_6B37_4D48), "1/6B374D48");
        assert_eq!(lsn("16B374D48"), None);
    }

    #[test]
    fn the_newest_timeline_with_wal_is_found_and_where_it_began() {
        let data = data();
        let wal = data.path().join(WAL);
        assert_eq!(newest_begun(data.path()).expect("read"), None);
        for segment in [
            "000000010000000000000003",
            "000000030000000000000003",
            "0000000500",
        ] {
            fs::write(wal.join(segment), "").expect("written");
        }
        let history = "1\t0/2000000\tno recovery target specified\n\n2\t0/3000148\tno recovery target specified\n";
        fs::write(wal.join("00000003.history"), history).expect("written");
        let expected = Begun {
            timeline: 3,
            parent: 2,
            from: 0x300_0148,
        };
        assert_eq!(newest_begun(data.path()).expect("read"), Some(expected));
    }

    #[test]
    fn what_goes_on_from_a_place_is_found_and_what_left_before_it_or_elsewhere_is_not() {
        let data = data();
        let wal = data.path().join(WAL);
        for number in [1, 2, 3, 4] {
            let segment = wal.join(format!("{number:08X}0000000000000003"));
            fs::write(segment, "").expect("written");
        }
        // Of 5 there is no WAL yet; 4 went another way.
        for (number, history) in [
            (2, "1\t0/3000100\tx\n"),
            (3, "1\t0/3000100\tx\n2\t0/3000200\tx\n"),
            (4, "1\t0/3000050\tx\n"),
            (5, "1\t0/3000100\tx\n"),
        ] {
            let path = wal.join(format!("{number:08X}.history"));
            fs::write(path, history).expect("written");
        }
        let after = |timeline, at| {
            let begun = begun_after(data.path(), timeline, at).expect("read");
            begun.iter().map(|one| (one.timeline, one.from)).collect()
        };
        let (second, third) = ((2, 0x300_0100), (3, 0x300_0200));
        let all: Vec<(u32, u64)> = after(1, 0x300_0100);
        assert_eq!(all, [third, second]);
        assert_eq!(after(1, 0x300_0050), [(4, 0x300_0050), third, second]);
        assert_eq!(after(2, 0x300_0150), [third]);
        assert_eq!(after(2, 0x300_0201), []);
        assert_eq!(after(3, 0x300_0300), []);
    }

    #[test]
    fn numbers_between_get_histories_that_lead_to_where_they_left() {
        let data = data();
        let wal = data.path().join(WAL);
        fs::write(wal.join("00000002.history"), "1\t0/2000000\tx\n").expect("written");
        skip_to(data.path(), 2, 0x300_0148, 5).expect("skipped");
        for number in [3, 4] {
            let begun = begun(data.path(), number).expect("read").expect("there");
            assert_eq!((begun.parent, begun.from), (2, 0x300_0148));
        }
        assert!(!file(data.path(), 5).exists());
        let text = fs::read_to_string(wal.join("00000004.history")).expect("there");
        assert!(
            text.starts_with("1\t0/2000000\tx\n2\t0/3000148\t"),
            "{text}"
        );
    }

    #[test]
    fn a_number_that_was_used_is_not_taken_again() {
        let data = data();
        fs::write(
            data.path().join(WAL).join("00000002.history"),
            "1\t0/2\tx\n",
        )
        .expect("written");
        let error = skip_to(data.path(), 1, 1, 2).expect_err("used");
        assert!(
            error.to_string().contains("timeline 2 cannot be begun"),
            "{error}"
        );
    }
}
