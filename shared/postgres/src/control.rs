//! What pg_control says of a data directory, read through pg_controldata.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{Installation, timeline};

/// What pg_controldata calls the place where recovery begins.
const REDO: &str = "Latest checkpoint's REDO location";

/// How long pg_controldata may take: it reads one block.
const DEADLINE: Duration = Duration::from_secs(10);

/// What pg_control says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Identifies the data for ever; copies made by replication have the same.
    pub system_identifier: u64,
    /// Timeline of the latest checkpoint.
    pub timeline: u32,
    /// Where recovery from the latest checkpoint begins.
    pub redo: u64,
    /// Whether pages have checksums.
    pub checksums: bool,
    /// `max_prepared_transactions` of whoever wrote it.
    pub prepared: u32,
    /// State of the cluster as it was written last, as in `shut down` or `in production`.
    pub state: String,
}

/// Why pg_control could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The program could not be run.
    #[error("cannot run pg_controldata: {0}")]
    Run(#[from] std::io::Error),
    /// The program did not end in time.
    #[error("pg_controldata did not end within {} s", DEADLINE.as_secs())]
    Deadline,
    /// The program refused.
    #[error("pg_controldata refuses the data directory: {0}")]
    Refused(String),
    /// The answer lacks something.
    #[error("pg_controldata tells no {0:?}")]
    Missing(&'static str),
}

/// Runs pg_controldata on the data directory `data`.
///
/// # Errors
/// The program cannot be run, refuses, or is silent about what is needed.
pub async fn read(installation: &Installation, data: &Path) -> Result<Control, ControlError> {
    let output = Command::new(installation.program("pg_controldata"))
        .arg(data)
        // Its words are translated otherwise.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, output)
        .await
        .map_err(|_| ControlError::Deadline)??;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ControlError::Refused(reason));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Reads what pg_controldata prints.
///
/// # Errors
/// Something that is needed is not in it.
pub fn parse(text: &str) -> Result<Control, ControlError> {
    let value = |name: &'static str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
            .ok_or(ControlError::Missing(name))
    };
    let number = |name: &'static str| {
        value(name)?
            .parse()
            .map_err(|_| ControlError::Missing(name))
    };
    let timeline: u64 = number("Latest checkpoint's TimeLineID")?;
    Ok(Control {
        system_identifier: number("Database system identifier")?,
        timeline: u32::try_from(timeline)
            .map_err(|_| ControlError::Missing("Latest checkpoint's TimeLineID"))?,
        redo: timeline::lsn(value(REDO)?).ok_or(ControlError::Missing(REDO))?,
        // Versions without it have none.
        checksums: value("Data page checksum version").is_ok_and(|version| version != "0"),
        prepared: value("max_prepared_xacts setting")
            .ok()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default(),
        state: value("Database cluster state")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_found_among_the_rest() {
        let text = "pg_control version number:            1300\n\
            Database system identifier:           7576543210987654321\n\
            Database cluster state:               in production\n\
            Latest checkpoint's REDO location:    0/3000148\n\
            Latest checkpoint's TimeLineID:       3\n\
            Latest checkpoint's PrevTimeLineID:   2\n\
            max_prepared_xacts setting:           7\n\
            Data page checksum version:           1\n";
        let control = parse(text).expect("read");
        assert_eq!(control.system_identifier, 7_576_543_210_987_654_321);
        assert_eq!((control.timeline, control.redo), (3, 0x300_0148));
        assert_eq!(control.state, "in production");
        assert_eq!((control.checksums, control.prepared), (true, 7));
        let without = text.replace("version:           1", "version:           0");
        assert!(!parse(&without).expect("read").checksums);
        assert!(matches!(
            parse("Database cluster state: x"),
            Err(ControlError::Missing(_))
        ));
    }
}
