//! The newest records that a reader wants, found from the end of the log back.
//!
//! Where few match, that is a look at all of the log, and whoever asked waits for it. So it ends after a while: what was found
//! is read, and the reader is told how far it was looked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    filter::Filter,
    log::{self, Log, Offset},
};

use super::CHUNK;

/// How long is looked. The apiserver, and who asks it, wait ten seconds for an answer.
pub(super) const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// Where the newest records begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Newest {
    /// The first one of them, or the first record that was looked at.
    pub begin: Offset,
    /// How many were found.
    found: u64,
    /// How many records were looked at.
    looked_at: u64,
    /// How many older ones were not.
    left: u64,
}

impl Newest {
    /// What is to be told where not all of the log was looked at, and fewer were found than were asked for.
    pub(super) fn unlooked(&self, count: u64) -> Option<String> {
        let Self {
            found,
            looked_at,
            left,
            ..
        } = self;
        (*left > 0 && *found < count).then(|| {
            format!(
                "of the last {count} events asked for, {found} are among the newest {looked_at} records; the {left} older ones \
                 were not looked at, which takes too long: ask for what came since a time to have them looked through"
            )
        })
    }
}

/// Where the newest `count` records begin that the filter wants, looked for up to an instant. Blocks for a disk's time.
///
/// # Errors
/// A file cannot be read.
pub(super) fn newest(
    log: &Log,
    filter: &Filter,
    count: u64,
    (head, until): (Offset, Instant),
) -> Result<Newest, log::Error> {
    let oldest = log.oldest();
    let mut end = head;
    let mut found = 0;
    while found < count && end > oldest && (end == head || Instant::now() < until) {
        let from = end.saturating_sub(CHUNK as u64).max(oldest);
        let chunk = between(log, from, end)?;
        let before_end = chunk.iter().rev().filter(|record| record.offset < end);
        for record in before_end.filter(|record| filter.wants(record)) {
            found += 1;
            if found == count {
                return Ok(Newest {
                    begin: record.offset,
                    found,
                    looked_at: head - record.offset,
                    left: record.offset - oldest,
                });
            }
        }
        end = from;
    }
    Ok(Newest {
        begin: end,
        found,
        looked_at: head - end,
        left: end.saturating_sub(oldest),
    })
}

/// The records from `from` up to `end`, perhaps some behind it.
fn between(log: &Log, from: Offset, end: Offset) -> Result<Vec<Arc<log::Record>>, log::Error> {
    let mut chunk: Vec<Arc<log::Record>> = Vec::new();
    let mut next = from;
    while next < end {
        let more = log.read(next, CHUNK)?;
        let Some(last) = more.last() else { break };
        next = last.offset + 1;
        chunk.extend(more);
    }
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use pgo_ids::{EventKey, Seq};
    use pgo_proto::event::ReadRequest;
    use tempfile::TempDir;

    use super::*;
    use crate::log::{Entry, Limits};

    /// A log of so many records, the last three of which are of cluster rhino.
    fn log(folder: &TempDir, count: u64) -> Log {
        let limits = Limits {
            segment_bytes: u64::MAX,
            most_bytes: u64::MAX,
            longest: Duration::from_secs(86_400),
        };
        let log = Log::open(folder.path(), limits, Timestamp::now()).expect("the log opens");
        let entry = |seq: u64| {
            let name = if seq + 3 > count { "rhino" } else { "hippo" };
            let event = format!(r#"{{"eventheader":{{}},"clustername":"{name}"}}"#);
            Entry {
                key: EventKey {
                    stream: "uid-1".parse().expect("a stream"),
                    seq: Seq(seq),
                },
                event: Bytes::from(event),
            }
        };
        let entries = (1..=count).map(entry).collect();
        log.append(entries, Timestamp::now()).expect("an append");
        log
    }

    fn of_cluster(name: &str) -> Filter {
        let request = ReadRequest {
            clusters: vec![name.to_owned()],
            ..ReadRequest::default()
        };
        Filter::of(&request).expect("a filter")
    }

    #[test]
    fn a_look_ends_in_time_and_says_how_far_it_came() {
        let folder = TempDir::new().expect("a folder");
        let log = log(&folder, 5000);
        let (head, rhino) = (*log.head().borrow(), of_cluster("rhino"));
        let oldest = log.oldest();
        // The time is over at once: the newest records are looked at all the same.
        let at_once = (head, Instant::now());
        let found = newest(&log, &rhino, 5, at_once).expect("read");
        assert_eq!((found.begin, found.found), (head - CHUNK as u64, 3));
        let told = found.unlooked(5).expect("told");
        for words in ["last 5", "3 are among the newest 1024", "3976 older"] {
            assert!(told.contains(words), "{words} is not in: {told}");
        }
        // What is near is found as if there were time.
        let found = newest(&log, &rhino, 2, at_once).expect("read");
        assert_eq!((found.begin, found.unlooked(2)), (head - 2, None));
        // With time all is looked at, and there is nothing to say.
        let in_time = (head, Instant::now() + Duration::from_secs(60));
        let found = newest(&log, &rhino, 5, in_time).expect("read");
        assert_eq!((found.begin, found.unlooked(5)), (oldest, None));
    }
}
