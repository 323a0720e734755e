//! Backups by `pg_basebackup`: the options that a user gives, and which server is copied.
//!
//! Lists and values are 4.1's. What would make something else than a data directory in the folder of the backup, or one of which it
//! is not known whether it is on the disk, is refused.

use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::{
    Cluster, Observed, backup,
    options::{Flags, Given, OptionsError, Table, Takes},
};

/// The program, as events name it.
pub const TOOL: &str = "pgbasebackup";

const FORMATS: &[&str] = &["p", "plain", "t", "tar"];

const ALLOWED: Flags = &[
    (
        "format",
        Takes::Word(FORMATS, "Invalid format provided for pg_basebackup backup"),
    ),
    ("max-rate", Takes::Text),
    ("no-slot", Takes::Flag),
    (
        "checkpoint",
        Takes::Word(
            &["fast", "spread"],
            "Invalid checkpoint provided for pg_basebackup backup",
        ),
    ),
    ("progress", Takes::Flag),
    ("verbose", Takes::Flag),
    ("no-verify-checksums", Takes::Flag),
    ("status-interval", Takes::Number),
    ("write-recovery", Takes::Flag),
    ("tablespace-mapping", Takes::Texts),
    ("waldir", Takes::Text),
    ("gzip", Takes::Flag),
    (
        "compress",
        Takes::Level("Invalid compress level for pg_basebackup backup"),
    ),
    ("no-clean", Takes::Flag),
    ("no-sync", Takes::Flag),
];

static TABLE: Table = Table {
    allowed: &[ALLOWED],
    letters: &[
        ('F', "format"),
        ('r', "max-rate"),
        ('R', "write-recovery"),
        ('T', "tablespace-mapping"),
        ('z', "gzip"),
        ('Z', "compress"),
        ('c', "checkpoint"),
        ('n', "no-clean"),
        ('P', "progress"),
        ('s', "status-interval"),
        ('v', "verbose"),
    ],
    denied: is_denied,
    denied_letters: "DSXldhpUwWV",
};

/// What PGO sets itself.
fn is_denied(name: &str) -> bool {
    [
        "pgdata",
        "slot",
        "wal-method",
        "label",
        "dbname",
        "host",
        "port",
        "username",
        "no-password",
        "password",
        "version",
    ]
    .contains(&name)
}

/// Those of 4.1 that are not made use of, and why.
const WITHOUT: [(&str, &str); 6] = [
    (
        "write-recovery",
        "a backup is restored as a primary, not as a replica",
    ),
    (
        "tablespace-mapping",
        "a backup lies in one folder, as a whole",
    ),
    ("waldir", "a backup lies in one folder, as a whole"),
    ("gzip", "it goes with --format=tar, which PGO does not make"),
    (
        "compress",
        "it goes with --format=tar, which PGO does not make",
    ),
    (
        "no-sync",
        "a backup that is not on the disk is none; leave it out",
    ),
];

fn refuse<T>(why: impl Into<String>) -> Result<T, OptionsError> {
    Err(OptionsError::Together(why.into()))
}

/// Options for `pg_basebackup`, each of them allowed, with values that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseOptions {
    given: Given,
}

impl BaseOptions {
    /// Reads what a user wrote.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut given = Given::parse(text, &TABLE)?;
        if given
            .value("format")
            .is_some_and(|format| format.starts_with('t'))
        {
            return refuse(
                "--format=tar is not available: a backup is a data directory, which is read to its end and restored",
            );
        }
        for (name, why) in WITHOUT {
            if given.has(name) {
                return refuse(format!("--{name} is not available: {why}"));
            }
        }
        if given.value("max-rate").is_some_and(|rate| !is_rate(rate)) {
            return refuse(
                "Invalid max rate provided for pg_basebackup backup: it is from 32k to 1024M",
            );
        }
        // Nobody sees the one, the format is plain always, and what failed goes always.
        for name in ["progress", "verbose", "format", "no-clean"] {
            given.drop(name);
        }
        Ok(Self { given })
    }

    /// The arguments for the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.given.arguments()
    }
}

/// Whether it is a rate that the program takes: kilobytes, or with `k` or `M`.
fn is_rate(text: &str) -> bool {
    let (number, unit) = match text.strip_suffix('M') {
        Some(number) => (number, 1024),
        None => (text.strip_suffix('k').unwrap_or(text), 1),
    };
    let rate = number.parse::<u64>().ok();
    let rate = rate.and_then(|number| number.checked_mul(unit));
    rate.is_some_and(|rate| (32..=1024 * 1024).contains(&rate))
}

/// The server that is copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseSource {
    /// The instance.
    pub instance: InstanceName,
    /// Address of its pod.
    pub address: String,
    /// Port of PostgreSQL.
    pub port: u16,
}

/// The WAL that makes a copy whole: names of its first and its last file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseWal {
    /// The first.
    pub start: String,
    /// The last.
    pub stop: String,
}

/// Where the data ends that was made of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseEnd {
    /// Place in the WAL, as PostgreSQL writes it.
    pub lsn: String,
    /// Its timeline.
    pub timeline: u32,
}

/// The server to copy: a replica that follows closely, so that the primary has less to do, else the primary.
pub(super) fn source(cluster: &Cluster, observed: &Observed) -> Option<BaseSource> {
    let place = |instance: &InstanceName| {
        let desired = cluster.desired.as_ref().ok()?;
        let pod = observed.pods.get(instance).filter(|pod| !pod.terminating)?;
        let port = pod.form.as_ref().and_then(crate::Form::port);
        Some(BaseSource {
            instance: instance.clone(),
            address: pod.ip.clone()?,
            port: port.unwrap_or(desired.port),
        })
    };
    let near = backup::near(observed);
    let replica = near.into_iter().find_map(place);
    replica.or_else(|| place(observed.serving_primary()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Result<Vec<String>, String> {
        let parsed = BaseOptions::parse(text);
        let parsed = parsed.map_err(|error| error.to_string())?;
        Ok(parsed.arguments())
    }

    #[test]
    fn what_4_1_allows_is_taken_where_a_whole_backup_comes_of_it() {
        let taken = arguments("--max-rate=10M -c spread -P -v --format=plain -s 5");
        assert_eq!(
            taken,
            Ok(vec![
                "--max-rate=10M".to_owned(),
                "--checkpoint=spread".to_owned(),
                "--status-interval=5".to_owned()
            ])
        );
        assert_eq!(arguments(""), Ok(Vec::new()));
    }

    #[test]
    fn what_pgo_sets_itself_or_cannot_verify_is_refused() {
        for (text, part) in [
            (
                "--host=evil",
                "Flag --host is not supported for use with PGO",
            ),
            (
                "-D /x",
                "Shorthand flag -D is not supported for use with PGO",
            ),
            ("--type=full", "unknown flag: --type"),
            (
                "--format=x",
                "Invalid format provided for pg_basebackup backup",
            ),
            ("-F t", "--format=tar is not available"),
            ("--no-sync", "--no-sync is not available"),
            ("-Z 9", "--compress is not available"),
            ("-R", "--write-recovery is not available"),
            ("--max-rate=31", "Invalid max rate"),
            ("--max-rate=1025M", "Invalid max rate"),
        ] {
            let why = arguments(text).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
        }
        assert!(is_rate("32") && is_rate("1024M") && is_rate("500k") && !is_rate("1G"));
    }
}
