//! The user's `setup.sql`, run through psql, and what may be told of it when it fails.
//!
//! Statements and values stay out of an error, which goes into a status and an event: they may hold anything, passwords
//! too. So do the messages of PostgreSQL and psql, which quote them. The line and the SQLSTATE lead to both.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Command,
};

use crate::{Installation, SUPERUSER, Socket};

/// How long it may take; it may load data.
const DEADLINE: Duration = Duration::from_secs(3600);

/// psql's exit code where it lost the server (manual page, "Exit Status").
const LOST: i32 = 2;

/// Why `setup.sql` was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SetupSqlError {
    /// psql cannot be run.
    #[error(
        "setup.sql of the custom configuration needs psql, which cannot be run: {0}; use an image that holds it"
    )]
    Psql(std::io::Error),
    /// psql lost the server.
    #[error("psql lost the server while it ran setup.sql of the custom configuration")]
    Lost,
    /// It did not end in time.
    #[error(
        "setup.sql of the custom configuration did not end within {} s; {AGAIN}", DEADLINE.as_secs()
    )]
    Deadline,
    /// Something in it failed.
    #[error(
        "setup.sql of the custom configuration failed {0}; the pod's log has PostgreSQL's own words. {AGAIN}"
    )]
    Failed(Place),
}

/// What a user has to know about the next run.
const AGAIN: &str =
    "what stands before is done; the whole file is run again once its content changes";

impl SetupSqlError {
    /// Whether a part of the file was run and the same file would fail again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Deadline | Self::Failed(_))
    }
}

/// Where a file failed, and how, as far as psql tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, and the name of the file it is in.
    line: Option<(String, u64)>,
    /// What failed.
    what: What,
}

/// What fails in such a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum What {
    /// A statement, with its SQLSTATE.
    Statement(String),
    /// A statement; the file made psql keep the SQLSTATE to itself.
    #[default]
    Untold,
    /// A command of psql.
    Command,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.line {
            Some((file, line)) => write!(f, "in line {line} of {file}")?,
            None => write!(f, "in a line that psql does not tell")?,
        }
        match &self.what {
            What::Statement(code) => match meaning(code) {
                Some(meaning) => write!(f, " with SQLSTATE {code} ({meaning})"),
                None => write!(f, " with SQLSTATE {code}"),
            },
            What::Untold => Ok(()),
            What::Command => write!(f, " by a command of psql"),
        }
    }
}

impl Place {
    /// Reads a line of psql's standard error, as in `psql:/pgconf/setup.sql:3: ERROR:  42P07: relation …`; nothing where it
    /// tells of no failure.
    fn read(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("psql:")?;
        let severity = ["ERROR", "FATAL", "PANIC"]
            .iter()
            .filter_map(|severity| Some((rest.find(&format!(": {severity}:  "))?, severity.len())))
            .min();
        let (place, what) = match severity {
            Some((at, length)) => {
                let message = &rest[at + length + 5..];
                let code = message.split(": ").next().unwrap_or_default();
                let is_code = code.len() == 5
                    && code
                        .bytes()
                        .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
                let code = is_code.then(|| What::Statement(code.to_owned()));
                (&rest[..at], code.unwrap_or_default())
            }
            None if is_remark(rest) => return None,
            None => (rest.split(": ").next().unwrap_or_default(), What::Command),
        };
        let (path, line) = place.rsplit_once(':')?;
        let file = Path::new(path).file_name()?.to_string_lossy().into_owned();
        Some(Self {
            line: Some((file, line.parse().ok()?)),
            what,
        })
    }
}

/// Whether psql tells of something that is no failure.
fn is_remark(rest: &str) -> bool {
    [
        "NOTICE", "WARNING", "INFO", "LOG", "DEBUG", "warning", "hint", "detail",
    ]
    .iter()
    .any(|word| rest.contains(&format!(": {word}: ")))
}

/// What an SQLSTATE means (PostgreSQL's documentation, appendix A): those that such files meet, else their class.
fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "23505" => "unique violation",
        "25001" => "active SQL transaction",
        "42501" => "insufficient privilege",
        "42601" => "syntax error",
        "42701" => "duplicate column",
        "42703" => "undefined column",
        "42704" => "undefined object",
        "42710" => "duplicate object",
        "42723" => "duplicate function",
        "42883" => "undefined function",
        "42P01" => "undefined table",
        "42P04" => "duplicate database",
        "42P06" => "duplicate schema",
        "42P07" => "duplicate table",
        _ => match code.get(..2)? {
            "0A" => "feature not supported",
            "22" => "data exception",
            "23" => "integrity constraint violation",
            "25" => "invalid transaction state",
            "28" => "invalid authorization specification",
            "2B" => "dependent privilege descriptors still exist",
            "3D" => "invalid catalog name",
            "3F" => "invalid schema name",
            "42" => "syntax error or access rule violation",
            "53" => "insufficient resources",
            "54" => "program limit exceeded",
            "55" => "object not in prerequisite state",
            "57" => "operator intervention",
            "58" => "system error",
            "P0" => "PL/pgSQL error",
            "XX" => "internal error",
            _ => return None,
        },
    })
}

/// Runs `file` on the server at `socket`, as its superuser and through psql, whose commands such files use. It stops at
/// the first error.
///
/// # Errors
/// psql is missing, loses the server or takes too long, or something in the file fails.
pub async fn run(
    installation: &Installation,
    socket: &Socket,
    database: &str,
    file: &Path,
) -> Result<(), SetupSqlError> {
    let own = installation.program("psql");
    // Some images hold the client apart from the server.
    let psql = if own.is_file() { own } else { "psql".into() };
    let mut child = Command::new(psql)
        .args(["-X", "-q", "-w", "-v", "ON_ERROR_STOP=1"])
        // With the SQLSTATE.
        .args(["-v", "VERBOSITY=verbose", "-f"])
        .arg(file)
        .env("PGHOST", &socket.folder)
        .env("PGPORT", socket.port.to_string())
        .env("PGUSER", SUPERUSER)
        .env("PGDATABASE", database)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(SetupSqlError::Psql)?;
    let work = async {
        let place = match child.stderr.take() {
            Some(output) => last_place(output).await?,
            None => None,
        };
        Ok((child.wait().await?, place))
    };
    let (status, place) = tokio::time::timeout(DEADLINE, work)
        .await
        .map_err(|_| SetupSqlError::Deadline)?
        .map_err(SetupSqlError::Psql)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(LOST) => Err(SetupSqlError::Lost),
        _ => Err(SetupSqlError::Failed(place.unwrap_or_default())),
    }
}

/// The last place of a failure in psql's standard error, of whatever bytes.
async fn last_place(output: impl AsyncRead + Unpin) -> std::io::Result<Option<Place>> {
    let mut output = BufReader::new(output);
    let (mut line, mut place) = (Vec::new(), None);
    while output.read_until(b'\n', &mut line).await? > 0 {
        place = Place::read(String::from_utf8_lossy(&line).trim_end()).or(place);
        line.clear();
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_line_and_code_and_nothing_of_it_is_quoted() {
        for (line, told) in [
            (
                "psql:/pgconf/setup.sql:3: ERROR:  42P07: relation \"own\" already exists",
                "in line 3 of setup.sql with SQLSTATE 42P07 (duplicate table)",
            ),
            (
                "psql:/pgconf/setup.sql:12: ERROR:  42601: syntax error at or near \"s3cret: ERROR:  \"",
                "in line 12 of setup.sql with SQLSTATE 42601 (syntax error)",
            ),
            (
                "psql:/pgconf/setup.sql:4: ERROR:  22012: division by zero",
                "in line 4 of setup.sql with SQLSTATE 22012 (data exception)",
            ),
            (
                "psql:/pgconf/more.sql:2: error: invalid command \\s3cret",
                "in line 2 of more.sql by a command of psql",
            ),
            // psql before 12, and a file that made psql terse.
            (
                "psql:/pgconf/setup.sql:2: invalid command \\s3cret",
                "in line 2 of setup.sql by a command of psql",
            ),
            (
                "psql:/pgconf/setup.sql:2: ERROR:  relation \"s3cret\" already exists",
                "in line 2 of setup.sql",
            ),
        ] {
            let place = Place::read(line).map(|place| place.to_string());
            assert_eq!(place.as_deref(), Some(told), "{line}");
        }
    }

    #[test]
    fn what_is_no_failure_tells_no_place() {
        for line in [
            "psql:/pgconf/setup.sql:3: NOTICE:  00000: table \"own\" does not exist, skipping",
            "psql:/pgconf/setup.sql:3: WARNING:  25P01: there is no transaction in progress",
            "LINE 1: ALTER ROLE testuser PASSWORD 's3cret'",
            "LOCATION:  heap_create_with_catalog, heap.c:1150",
            "",
        ] {
            assert_eq!(Place::read(line), None, "{line}");
        }
    }

    #[tokio::test]
    async fn the_last_failure_counts_whatever_bytes_are_around_it() {
        let output =
            b"psql:a.sql:1: ERROR:  42P01: x\n\xff\npsql:a.sql:7: ERROR:  42P07: y\nLINE 1: z";
        let place = last_place(&output[..])
            .await
            .expect("read")
            .expect("a place");
        assert_eq!(place.line, Some(("a.sql".to_owned(), 7)));
    }

    #[test]
    fn what_was_partly_run_is_not_run_again_as_it_is() {
        assert!(SetupSqlError::Failed(Place::default()).is_final());
        assert!(SetupSqlError::Deadline.is_final());
        assert!(!SetupSqlError::Lost.is_final());
    }
}
