//! How far an instance's WAL reaches, who is ahead, and who has left the path that the Lease records.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Record, Rules};

/// Number of a timeline (PostgreSQL, "Timelines"). Higher ones are later: the Lease gives each number once.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timeline(pub u32);

/// A place in the WAL, in bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// How far an instance has flushed: first by the timeline of the last flushed record, then by place. A position on a
/// later timeline contains everything that its primary had when it was elected, so all that was ever acknowledged before.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The timeline of the last flushed record. Not that of the recovery target, nor of the control file: those can be
    /// ahead of the first record.
    pub timeline: Timeline,
    /// The end of that record.
    pub lsn: Lsn,
}

impl Position {
    /// Whether this is at least as far as `other`.
    #[must_use]
    pub fn reaches(self, rules: &Rules, other: Self) -> bool {
        if rules.timeline_before_position {
            self >= other
        } else {
            self.lsn >= other.lsn
        }
    }
}

/// How an instance becomes a replica of the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// All that it has is on the holder's path: it streams.
    Streams,
    /// It has WAL that the holder's path has not: it is rewound to where it left it, or cloned.
    Left {
        /// Where the next timeline began that it does not follow.
        at: Lsn,
    },
    /// The record knows nothing of its timeline: it is cloned.
    Unknown,
}

/// Judges by the record, not by history files: those of two promotions can look alike.
#[must_use]
pub fn path(record: &Record, position: Position) -> Path {
    let start_of = |timeline| {
        record
            .history
            .values()
            .find(|start| start.timeline == timeline)
    };
    let mut own = position;
    while start_of(own.timeline).is_some() {
        match end_on_path(record, own.timeline) {
            Some(end) if end.is_none_or(|end| own.lsn <= end) && own == position => {
                return Path::Streams;
            }
            Some(end) => {
                return Path::Left {
                    at: end.map_or(own.lsn, |end| own.lsn.min(end)),
                };
            }
            None => match start_of(own.timeline) {
                // Timelines rise from parent to child, so this ends.
                Some(start) if start.from.timeline < own.timeline => {
                    own = Position {
                        timeline: start.from.timeline,
                        lsn: own.lsn.min(start.from.lsn),
                    };
                }
                _ => break,
            },
        }
    }
    Path::Unknown
}

/// Where the holder's path leaves `timeline`, none where it does not; nothing where the path does not touch it.
fn end_on_path(record: &Record, timeline: Timeline) -> Option<Option<Lsn>> {
    let mut on = record.start();
    let mut end: Option<Lsn> = None;
    while on.timeline != timeline {
        let from = on.from;
        end = Some(end.map_or(from.lsn, |end| end.min(from.lsn)));
        on = *record
            .history
            .values()
            .find(|start| start.timeline == from.timeline && start.timeline < on.timeline)?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RULES: Rules = Rules::PROTOCOL;

    fn at(timeline: u32, lsn: u64) -> Position {
        Position {
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }

    /// Timeline 2 left 1 at 10, timeline 3 left 1 at 12 and knows nothing of 2.
    fn forked() -> Record {
        let [a, b] = [1, 2].map(|n| crate::VoterId::from(Uuid::from_u128(n)));
        let first = Record::first(a);
        let second = first.promoted(&RULES, b, at(1, 10));
        second.promoted(&RULES, a, at(1, 12))
    }

    #[test]
    fn what_the_holder_has_streams() {
        for position in [at(1, 3), at(1, 12), at(3, 12), at(3, 40)] {
            assert_eq!(path(&forked(), position), Path::Streams, "{position:?}");
        }
    }

    #[test]
    fn what_the_holder_has_not_is_rewound_to_where_it_left() {
        assert_eq!(path(&forked(), at(1, 13)), Path::Left { at: Lsn(12) });
        assert_eq!(path(&forked(), at(2, 11)), Path::Left { at: Lsn(10) });
        assert_eq!(path(&forked(), at(2, 15)), Path::Left { at: Lsn(10) });
    }

    #[test]
    fn a_timeline_that_nobody_recorded_is_cloned() {
        assert_eq!(path(&forked(), at(9, 1)), Path::Unknown);
    }

    #[test]
    fn a_later_timeline_is_further_than_a_later_place() {
        assert!(at(2, 5).reaches(&RULES, at(1, 9)));
        assert!(!at(1, 9).reaches(&RULES, at(2, 5)));
        assert!(at(2, 5).reaches(&RULES, at(2, 5)));
    }

    #[test]
    fn a_place_reads_as_postgresql_writes_it() {
        assert_eq!(Lsn(0x1_6B37_4D48).to_string(), "1/6B374D48");
    }
}
