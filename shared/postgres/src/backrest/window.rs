//! To what a cluster can be restored, by what its repository has.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    info::{Content, Set},
    restore::{Line, Target, Wish, shown},
};
use crate::timeline;

/// Size of a WAL file: initdb's, which PGO leaves as it is. Its binary logarithm.
const SEGMENT: u32 = 24;

/// Digits of a timeline in the name of a WAL file.
const DIGITS: usize = 8;

/// Digits of the checksum in the name of an archived WAL file.
const SHA1: usize = 40;

/// A WAL file: its place is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Its timeline.
    pub timeline: u32,
    /// How manyth it is.
    pub number: u64,
}

impl Segment {
    /// Reads the first part of a name.
    pub fn read(name: &str) -> Option<Self> {
        let name = name.get(..3 * DIGITS)?;
        if !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |at| u64::from_str_radix(&name[at..at + DIGITS], 16).ok();
        Some(Self {
            timeline: u32::try_from(part(0)?).ok()?,
            number: part(DIGITS)? << (32 - SEGMENT) | part(2 * DIGITS)?,
        })
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_log = 1 << (32 - SEGMENT);
        let (log, number) = (self.number / per_log, self.number % per_log);
        write!(f, "{:08X}{log:08X}{number:08X}", self.timeline)
    }
}

/// Which timelines an archive has: what is in its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Those with a history.
    histories: BTreeSet<u32>,
    /// Its folders with WAL files, which have the first 16 digits of those as names.
    folders: BTreeSet<String>,
}

impl Listing {
    /// Reads names, one a line.
    pub fn read(text: &str) -> Self {
        let mut listing = Self::default();
        for name in text.lines().map(str::trim) {
            let history = name.strip_suffix(".history");
            if let Some(history) = history.and_then(|number| u32::from_str_radix(number, 16).ok()) {
                listing.histories.insert(history);
            } else if name.len() == 2 * DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
            {
                listing.folders.insert(name.to_owned());
            }
        }
        listing
    }

    /// The newest timeline.
    pub fn newest(&self) -> u32 {
        let of_folder = |name: &String| u32::from_str_radix(&name[..DIGITS], 16).ok();
        let with_wal = self.folders.last().and_then(of_folder);
        let with_history = self.histories.last().copied();
        with_wal.max(with_history).unwrap_or(1)
    }

    /// Whether there is something of this timeline.
    pub fn has(&self, timeline: u32) -> bool {
        let prefix = format!("{timeline:08X}");
        self.histories.contains(&timeline)
            || self.folders.iter().any(|name| name.starts_with(&prefix))
    }

    /// The folders that may hold the newest WAL file along `history`, the likeliest first.
    pub fn newest_folders(&self, history: &History) -> Vec<String> {
        let parents = history.parents.iter().rev().map(|(parent, _)| *parent);
        let timelines = std::iter::once(history.timeline).chain(parents);
        let last = |timeline| {
            let prefix = format!("{timeline:08X}");
            let mut folders = self.folders.iter().rev();
            folders.find(|name| name.starts_with(&prefix)).cloned()
        };
        timelines.filter_map(last).collect()
    }
}

/// From which timelines one came: its history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The timeline.
    pub timeline: u32,
    /// Its parents, oldest first, each with where it was left.
    parents: Vec<(u32, u64)>,
}

impl History {
    /// Of a timeline that begins with the cluster.
    pub fn first(timeline: u32) -> Self {
        let parents = Vec::new();
        Self { timeline, parents }
    }

    /// Reads a history file; none where it is something else.
    pub fn read(timeline: u32, text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let read = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, timeline::lsn(words.next()?)?))
        };
        let parents: Option<Vec<_>> = lines.map(read).collect();
        let parents = parents.filter(|parents| !parents.is_empty())?;
        Some(Self { timeline, parents })
    }

    /// Whether what was written on `timeline` up to `lsn` is in it.
    pub fn holds(&self, timeline: u32, lsn: u64) -> bool {
        timeline == self.timeline
            || self
                .parents
                .iter()
                .any(|(parent, end)| *parent == timeline && lsn <= *end)
    }

    /// Whether a WAL file is part of it: what a parent wrote after it was left is not.
    fn has(&self, segment: Segment) -> bool {
        segment.timeline == self.timeline
            || self.parents.iter().any(|(parent, end)| {
                *parent == segment.timeline && segment.number <= *end >> SEGMENT
            })
    }
}

/// The newest WAL file of an archive along some timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Which it is.
    pub segment: Segment,
    /// When it came, to the second.
    pub at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    time: Option<i64>,
}

/// The newest WAL file along `history` in a folder, by what `repo-ls --output=json` says of that.
///
/// # Errors
/// The text is something else.
pub fn newest(json: &str, history: &History) -> Result<Option<Newest>, serde_json::Error> {
    let entries: std::collections::BTreeMap<String, Entry> = serde_json::from_str(json)?;
    let found = entries.iter().filter_map(|(name, entry)| {
        let segment = Segment::read(name);
        let segment = segment.filter(|segment| is_whole(name) && history.has(*segment))?;
        let at = entry
            .time
            .and_then(|time| Timestamp::from_second(time).ok());
        Some(Newest { segment, at })
    });
    Ok(found.max_by_key(|newest| newest.segment.number))
}

/// Whether this is the name of a WAL file that is whole: behind that of the segment the checksum of what is in it, and how it is
/// compressed. Beside those there are the histories of backups, the last files of timelines that were left (`.partial`), and what has
/// not come to its end, as where the volume was full: under a temporary name, which goes on behind that.
fn is_whole(name: &str) -> bool {
    let sum = name
        .get(3 * DIGITS..)
        .and_then(|rest| rest.strip_prefix('-'));
    let Some((sum, compression)) = sum.and_then(|rest| rest.split_at_checked(SHA1)) else {
        return false;
    };
    sum.bytes().all(|byte| byte.is_ascii_hexdigit())
        && ["", ".bz2", ".gz", ".lz4", ".zst"].contains(&compression)
}

/// What becomes of a recovery that finds no more WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has all that is archived.
    Reached,
    /// The archive goes on, on this timeline.
    GoesOn(u32),
    /// This file is missing in the middle of the archive.
    Gap(Segment),
}

/// What becomes of a recovery along `timeline` that has asked for `absent` in vain.
pub fn end(absent: Segment, timeline: u32, history: &History, newest: Option<Newest>) -> End {
    let is_child = history
        .parents
        .iter()
        .any(|(parent, _)| *parent == timeline);
    // Looked for along that one, what is missing here may be there.
    if history.timeline != timeline && is_child {
        return End::GoesOn(history.timeline);
    }
    match newest {
        Some(newest) if absent.number <= newest.segment.number => End::Gap(absent),
        _ => End::Reached,
    }
}

/// The backup that a restore is made from, and the timeline that it goes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The backup.
    pub set: Set,
    /// The timeline.
    pub timeline: u32,
}

/// Why a cluster cannot be restored as somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to restore from.
    #[error("there is no backup to restore from; make one with pgo backup")]
    NoBackup,
    /// The repository is another cluster's.
    #[error(
        "the backups are of another system ({theirs}) than the cluster's ({ours}); restore from the repository of this cluster"
    )]
    Foreign {
        /// Whose the backups are.
        theirs: u64,
        /// The cluster's.
        ours: u64,
    },
    /// There is no backup of this name.
    #[error("there is no backup {label}; there are {}", .there.join(", "))]
    NoSet {
        /// The one that was asked for.
        label: String,
        /// Those that are there.
        there: Vec<String>,
    },
    /// The archive has nothing of this timeline.
    #[error("the archive has nothing of timeline {0}")]
    NoTimeline(u32),
    /// The backup that was asked for was made on another timeline.
    #[error("no backup that can be used lies on timeline {0} before it was left")]
    NotOnTimeline(u32),
    /// The backup that was asked for ends too late.
    #[error("backup {label} ended at {}, and nothing before that can be made of it; take an earlier one, or none", shown(*.end))]
    SetTooLate {
        /// The backup.
        label: String,
        /// When it ended.
        end: Timestamp,
    },
    /// The time is not in the window.
    #[error("{} {why}; {window}", shown(*.time))]
    Outside {
        /// The time.
        time: Timestamp,
        /// On which side of it.
        why: &'static str,
        /// The window.
        window: Window,
    },
    /// The place is before all backups.
    #[error("{} is before the end of the first backup that can be used, at {}", timeline::shown(*.lsn), timeline::shown(*.first))]
    Before {
        /// The place.
        lsn: u64,
        /// Where the first backup ends.
        first: u64,
    },
}

impl Refusal {
    /// Whether a backup is refused for what the repository goes on with by now, another database or another timeline, which says
    /// nothing of what is in the backup.
    pub fn is_of_superseded(&self) -> bool {
        matches!(
            self,
            Self::NoBackup | Self::NoSet { .. } | Self::NotOnTimeline(_)
        )
    }
}

/// To which times a cluster can be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Name of the first backup, and when it ended.
    first: (String, Timestamp),
    /// The WAL file that came last, and when.
    last: Option<(Segment, Timestamp)>,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (label, begin) = &self.first;
        write!(
            f,
            "the cluster can be restored to any point between {} (end of backup {label}) and ",
            shown(*begin)
        )?;
        match &self.last {
            Some((segment, end)) => write!(f, "{} (last archived WAL {segment})", shown(*end)),
            None => write!(f, "now"),
        }
    }
}

/// When a backup ended. Its last second may have begun only.
fn finished(set: &Set) -> Timestamp {
    Timestamp::from_second(set.finished).unwrap_or_default()
}

/// Chooses the backup that `wish` is restored from: the newest one that does not end after the target, along `history`.
///
/// # Errors
/// There is none, or the target cannot be reached.
pub fn choose(
    wish: &Wish,
    content: &Content,
    history: &History,
    newest: Option<Newest>,
    now: Timestamp,
) -> Result<Chosen, Refusal> {
    let along = |set: &&Set| {
        let timeline = Segment::read(&set.stop_wal).map(|segment| segment.timeline);
        wish.line == Line::OfBackup
            || timeline.is_some_and(|timeline| history.holds(timeline, set.stop_lsn))
    };
    if content.sets.is_empty() {
        return Err(Refusal::NoBackup);
    }
    let mut sets: Vec<&Set> = match &wish.set {
        None => content.sets.iter().collect(),
        Some(label) => {
            let found = content.sets.iter().find(|set| set.label == *label);
            let there = || content.sets.iter().map(|set| set.label.clone()).collect();
            let label = label.clone();
            vec![found.ok_or_else(|| Refusal::NoSet {
                label,
                there: there(),
            })?]
        }
    };
    sets.retain(along);
    let first = *sets
        .first()
        .ok_or(Refusal::NotOnTimeline(history.timeline))?;
    match wish.target {
        Target::Time(time) => {
            let window = Window {
                first: (first.label.clone(), finished(first)),
                last: newest.and_then(|newest| Some((newest.segment, newest.at?))),
            };
            in_window(time, window, now, wish.set.is_some())?;
            sets.retain(|set| set.finished < time.as_second());
        }
        Target::Lsn(lsn) if lsn < first.stop_lsn => {
            let first = first.stop_lsn;
            return Err(Refusal::Before { lsn, first });
        }
        Target::Lsn(lsn) => sets.retain(|set| set.stop_lsn <= lsn),
        _ => {}
    }
    let set = *sets.last().unwrap_or(&first);
    let own = Segment::read(&set.stop_wal).map(|segment| segment.timeline);
    Ok(Chosen {
        set: set.clone(),
        timeline: match wish.line {
            Line::OfBackup => own.unwrap_or(1),
            _ => history.timeline,
        },
    })
}

fn in_window(
    time: Timestamp,
    window: Window,
    now: Timestamp,
    is_certain: bool,
) -> Result<(), Refusal> {
    let (label, end) = &window.first;
    let why = if time > now {
        "is in the future"
    } else if time.as_second() <= end.as_second() {
        if is_certain {
            let (label, end) = (label.clone(), *end);
            return Err(Refusal::SetTooLate { label, end });
        }
        "is before the end of the first backup that can be used"
    } else if window
        .last
        .is_some_and(|(_, last)| time.as_second() > last.as_second())
    {
        "is later than what was archived last"
    } else {
        return Ok(());
    };
    Err(Refusal::Outside { time, why, window })
}

#[cfg(test)]
mod tests;
