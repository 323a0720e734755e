//! How far the WAL of a data directory reaches, to the record: what elections are decided by. A running server is asked by
//! [`crate::identify`], which a standby answers by what it has replayed and received since its start.

use std::{io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    Installation,
    control::{self, ControlError},
    timeline::{self, TimelineError},
};

/// How long WAL since the last checkpoint may take to be read.
const READ_DEADLINE: Duration = Duration::from_secs(300);

/// Program that shows WAL.
const WALDUMP: &str = "pg_waldump";

/// Records begin at multiples of this (`MAXALIGN` of PostgreSQL's sources).
const ALIGNMENT: u64 = 8;

/// Size of a page of WAL, as PostgreSQL is built (`XLOG_BLCKSZ`).
const PAGE: u64 = 8192;

/// What each of them begins with, also in the midst of a record (`SizeOfXLogShortPHD`); that of the first one of a segment
/// is longer, which is left out: rather a place too near than one that WAL does not reach.
const PAGE_HEADER: u64 = 24;

/// Segments begin at multiples of this, whatever size they have (documentation, initdb, `--wal-segsize`).
const SMALLEST_SEGMENT: u64 = 1 << 20;

/// The end of the last flushed record, and its timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalEnd {
    /// Timeline of the record.
    pub timeline: u32,
    /// Where it ends.
    pub lsn: u64,
}

/// Why it is not known how far WAL reaches.
#[derive(Debug, thiserror::Error)]
pub enum PositionError {
    /// pg_control cannot be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The history of timelines cannot be read.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// A program could not be run.
    #[error("cannot run {program}: {cause}")]
    Run {
        /// The program.
        program: &'static str,
        /// The cause.
        cause: io::Error,
    },
    /// A program did not end in time.
    #[error("{program} did not end within {} s", limit.as_secs())]
    Deadline {
        /// The program.
        program: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// A program said something else.
    #[error("{program} does not tell how far WAL reaches: {said}")]
    Unclear {
        /// The program.
        program: &'static str,
        /// What it said.
        said: String,
    },
}

/// Reads the WAL of the data directory of a former primary, on which no server runs, to its last whole record.
///
/// # Errors
/// It cannot be read.
pub async fn of_stopped(installation: &Installation, data: &Path) -> Result<WalEnd, PositionError> {
    let control = control::read(installation, data).await?;
    // Right after a promotion the last checkpoint is one of the timeline before.
    let newest = timeline::newest_begun(data)?.filter(|begun| begun.timeline > control.timeline);
    let (timeline, start) = match newest {
        Some(begun) => (begun.timeline, begun.from),
        None => (control.timeline, control.redo),
    };
    let lsn = last_record(installation, data, timeline, start).await?;
    Ok(WalEnd { timeline, lsn })
}

/// Where the last whole record ends that a standby has on its disk, of which no more than `replayed` is known: a server that has
/// started knows nothing of what it had received before until it has replayed it. No WAL may be received meanwhile.
///
/// # Errors
/// It cannot be found out.
pub async fn of_standby(
    installation: &Installation,
    data: &Path,
    replayed: WalEnd,
) -> Result<WalEnd, PositionError> {
    let WalEnd { timeline, lsn } = replayed;
    for newer in timeline::begun_after(data, timeline, lsn)? {
        let (timeline, start) = (newer.timeline, newer.from);
        if let Some(lsn) = record_after(installation, data, timeline, start).await? {
            return Ok(WalEnd { timeline, lsn });
        }
        // Its file was begun, and nothing of its own has come into it.
    }
    let end = record_after(installation, data, timeline, lsn).await?;
    let lsn = end.map_or(lsn, |end| end.max(lsn));
    Ok(WalEnd { timeline, lsn })
}

/// How many transactions committed on `timeline` from `start` on, where a record begins, by the WAL of a data directory on
/// which no server runs.
///
/// # Errors
/// It cannot be read.
pub async fn commits_since(
    installation: &Installation,
    data: &Path,
    timeline: u32,
    start: u64,
) -> Result<u64, PositionError> {
    let mut commits = 0;
    let read = read_wal(installation, data, (timeline, start), |line| {
        commits += u64::from(is_commit(&line));
    });
    read.await?;
    Ok(commits)
}

/// Whether a record is the commit of a transaction, also of a prepared one.
fn is_commit(line: &str) -> bool {
    line.starts_with("rmgr: Transaction") && line.contains("desc: COMMIT")
}

async fn last_record(
    installation: &Installation,
    data: &Path,
    timeline: u32,
    start: u64,
) -> Result<u64, PositionError> {
    let (last, said) = read_last(installation, data, timeline, start).await?;
    end_of_wal(last.as_deref(), said)
}

/// Where the last record ends that follows `start`, where one ends; nothing where none follows.
async fn record_after(
    installation: &Installation,
    data: &Path,
    timeline: u32,
    start: u64,
) -> Result<Option<u64>, PositionError> {
    let (last, said) = read_last(installation, data, timeline, start).await?;
    if last.is_none() && is_end(&said, start) {
        return Ok(None);
    }
    end_of_wal(last.as_deref(), said).map(Some)
}

/// The last record from `start` on, and what was said at the end of WAL.
async fn read_last(
    installation: &Installation,
    data: &Path,
    timeline: u32,
    start: u64,
) -> Result<(Option<String>, String), PositionError> {
    let mut last = None;
    let read = read_wal(installation, data, (timeline, start), |line| {
        last = Some(line);
    });
    let said = read.await?;
    Ok((last, said))
}

fn end_of_wal(last: Option<&str>, said: String) -> Result<u64, PositionError> {
    // What follows the last record is no record, and it says where that is; at the end of a segment it may not.
    let end = end_told(&said).or_else(|| end_of(last?));
    end.ok_or(PositionError::Unclear {
        program: WALDUMP,
        said,
    })
}

/// Whether what was said where no record was found means that there is none from `start` on: also where a segment would begin
/// of which there is no file.
fn is_end(said: &str, start: u64) -> bool {
    said.contains("could not find a valid record after")
        || said.contains("could not find file") && start.is_multiple_of(SMALLEST_SEGMENT)
}

/// Hands each record of `timeline` from `start` on to `each`, as a line; what was said at the end of WAL.
async fn read_wal(
    installation: &Installation,
    data: &Path,
    (timeline, start): (u32, u64),
    each: impl FnMut(String),
) -> Result<String, PositionError> {
    const PROGRAM: &str = WALDUMP;
    let run = |cause| PositionError::Run {
        program: PROGRAM,
        cause,
    };
    let mut child = Command::new(installation.program(PROGRAM))
        .arg("--path")
        .arg(data.join("pg_wal"))
        .arg("--timeline")
        .arg(timeline.to_string())
        .arg("--start")
        .arg(timeline::shown(start))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(run)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let read = async {
        let ((), said) = tokio::join!(lines(output, each), all(errors));
        child.wait().await.map(|_| said)
    };
    timeout(READ_DEADLINE, read)
        .await
        .map_err(|_| PositionError::Deadline {
            program: PROGRAM,
            limit: READ_DEADLINE,
        })?
        .map_err(run)
}

async fn lines(output: Option<impl AsyncRead + Unpin>, mut each: impl FnMut(String)) {
    let Some(output) = output else { return };
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        each(line);
    }
}

async fn all(output: Option<impl AsyncRead + Unpin>) -> String {
    let mut said = String::new();
    if let Some(mut output) = output {
        // What cannot be read any more is left out.
        let _ = output.read_to_string(&mut said).await;
    }
    said
}

/// The place in `… error in WAL record at 0/1900108: invalid record length at 0/1900180: wanted 24, got 0`.
fn end_told(said: &str) -> Option<u64> {
    let (_, reason) = said.split_once("error in WAL record at ")?;
    let (_, reason) = reason.split_once(": ")?;
    let (_, place) = reason.split_once(" at ")?;
    timeline::lsn(place.split([':', ',', ' ', '\n']).next()?)
}

/// The end of the record in `rmgr: Heap len (rec/tot): 54/ 54, tx: 734, lsn: 0/01900028, prev …`.
fn end_of(line: &str) -> Option<u64> {
    let (_, total) = line.split_once("len (rec/tot):")?;
    let (_, total) = total.split_once('/')?;
    let total: u64 = total.split(',').next()?.trim().parse().ok()?;
    let (_, place) = line.split_once("lsn: ")?;
    let mut at = timeline::lsn(place.split(',').next()?)?;
    let mut left = total;
    loop {
        let room = PAGE - at % PAGE;
        if left <= room {
            return Some((at + left).next_multiple_of(ALIGNMENT));
        }
        left -= room;
        at += room + PAGE_HEADER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_where_no_record_follows() {
        let said = "pg_waldump: error: error in WAL record at 0/1900108: invalid record length at 0/1900180: wanted 24, got 0\n";
        assert_eq!(end_told(said), Some(0x190_0180));
        let said = "pg_waldump: fatal: could not find file \"000000010000000000000004\": No such file or directory";
        assert_eq!(end_told(said), None);
    }

    #[test]
    fn that_nothing_follows_is_told_from_what_cannot_be_read() {
        let none = "pg_waldump: error: could not find a valid record after 0/1900180\n";
        assert!(is_end(none, 0x190_0180));
        let missing = "pg_waldump: error: could not find file \"000000010000000000000004\": No such file or directory";
        assert!(is_end(missing, 0x400_0000));
        assert!(!is_end(missing, 0x400_0028));
        let refused = "pg_waldump: error: could not open directory \"pg_wal\": Permission denied";
        assert!(!is_end(refused, 0x400_0000));
    }

    #[test]
    fn a_commit_is_told_from_other_records() {
        let commit = "rmgr: Transaction len (rec/tot):     34/    34, tx:        735, lsn: 0/01900108, prev 0/019000C8, desc: \
                      COMMIT 2026-11-25 20:00:00.000000 UTC";
        assert!(is_commit(commit));
        assert!(is_commit(&commit.replace("COMMIT", "COMMIT_PREPARED")));
        assert!(!is_commit(&commit.replace("COMMIT", "ABORT")));
        assert!(!is_commit(&commit.replace("Transaction", "Heap")));
    }

    #[test]
    fn the_end_of_a_record_is_aligned() {
        let line = "rmgr: Heap        len (rec/tot):     54/    54, tx:        734, lsn: 0/01900028, prev 0/01900000, desc: INSERT";
        assert_eq!(end_of(line), Some(0x190_0060));
        assert_eq!(end_of("nonsense"), None);
    }

    #[test]
    fn a_record_ends_later_by_the_headers_of_the_pages_that_it_goes_on_in() {
        let line = |total, begin| {
            format!(
                "rmgr: XLOG        len (rec/tot):     51/{total:6}, tx:          0, lsn: {begin}, prev 0/01900000, desc: FPI"
            )
        };
        // To the end of the first page, and one byte more.
        assert_eq!(end_of(&line(8152, "0/01900028")), Some(0x190_2000));
        assert_eq!(end_of(&line(8153, "0/01900028")), Some(0x190_2020));
        // The whole page between holds 8168 bytes of it.
        assert_eq!(
            end_of(&line(8152 + 8168 + 8, "0/01900028")),
            Some(0x190_4020)
        );
    }
}
