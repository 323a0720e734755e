//! A restore as a user asks for it, by options of `pgbackrest restore`, and what PostgreSQL is told of it.
//!
//! pgBackRest only copies the backup. The settings of the recovery are ours: whatever the user said, replay waits at its target
//! until the rest of the cluster is out of the way.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{self, Offset},
};

use super::{STANZA, archive::word, output, storage::Storage};
use crate::{
    Session,
    files::{FileError, named},
    session::{SessionError, within},
    timeline,
};

/// Longest name of a restore point (`MAXFNAMELEN` of PostgreSQL's sources, without its end).
const LONGEST_NAME: usize = 63;

/// Up to where WAL is to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the end of what is archived.
    End,
    /// Only until the data is whole.
    Immediate,
    /// To this time.
    Time(Timestamp),
    /// To the end of this transaction.
    Transaction(u64),
    /// To this restore point.
    Name(String),
    /// To this place.
    Lsn(u64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => write!(f, "the end of the archive"),
            Self::Immediate => write!(f, "the end of the backup"),
            Self::Time(time) => write!(f, "{}", shown(*time)),
            Self::Transaction(number) => write!(f, "transaction {number}"),
            Self::Name(name) => write!(f, "restore point {name:?}"),
            Self::Lsn(lsn) => write!(f, "{}", timeline::shown(*lsn)),
        }
    }
}

/// A time as PostgreSQL writes it, in UTC.
pub fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.f+00").to_string()
}

/// Along which timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The newest one in the archive.
    Newest,
    /// That of the backup.
    OfBackup,
    /// This one.
    Number(u32),
}

/// A restore that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Up to where.
    pub target: Target,
    /// Whether to stop before the target instead of behind it.
    pub exclusive: bool,
    /// Along which timeline.
    pub line: Line,
    /// Label of the backup, if it has to be a certain one.
    pub set: Option<String>,
    /// Where the backup is to lie, if that is said.
    pub storage: Option<Storage>,
    /// Options that only concern the copy.
    pub rest: Vec<String>,
}

/// Why options ask for nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// It does not begin like an option.
    #[error("{0:?} is no option of a restore")]
    NoOption(String),
    /// An option that cannot be used here.
    #[error("--{0} cannot be used here: PGO sets how PostgreSQL recovers")]
    Unsupported(String),
    /// There is no such type.
    #[error("--type={0} cannot be restored to; use default, immediate, time, xid, name or lsn")]
    Type(String),
    /// This type needs a target.
    #[error("--type={0} needs --target")]
    NoTarget(String),
    /// This target is none of its type.
    #[error("{text:?} is {problem}")]
    Target {
        /// What was given.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// There is no such repository.
    #[error("--repo={0} is no place of backups; use 1 for local, 2 for s3")]
    Storage(String),
    /// This timeline is none.
    #[error("{0:?} is no timeline; use latest, current or a number")]
    Timeline(String),
}

impl Wish {
    /// Reads options, each as one text.
    ///
    /// # Errors
    /// They ask for nothing that can be done.
    pub fn read(options: &[String]) -> Result<Self, WishError> {
        let mut wish = Self {
            target: Target::End,
            exclusive: false,
            line: Line::Newest,
            set: None,
            storage: None,
            rest: Vec::new(),
        };
        let (mut kind, mut target) = (None, None);
        for option in options {
            let name = option.strip_prefix("--");
            let name = name.ok_or_else(|| WishError::NoOption(option.clone()))?;
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value),
                None => (name, ""),
            };
            match name {
                "type" => kind = Some(value),
                "target" => target = Some(value),
                "target-exclusive" => wish.exclusive = value != "n",
                "no-target-exclusive" => wish.exclusive = false,
                "target-timeline" => wish.line = line(value)?,
                "set" => wish.set = Some(value.to_owned()),
                "repo" => wish.storage = Some(storage(value)?),
                // Replay waits in any case, and a copy that broke off goes on from what is there.
                "target-action" | "delta" | "no-delta" | "force" => {}
                "recovery-option" | "archive-mode" => {
                    return Err(WishError::Unsupported(name.to_owned()));
                }
                _ => wish.rest.push(option.clone()),
            }
        }
        wish.target = read_target(kind, target)?;
        Ok(wish)
    }
}

fn storage(text: &str) -> Result<Storage, WishError> {
    let number = text.parse().ok();
    let storage = number.and_then(Storage::numbered);
    storage.ok_or_else(|| WishError::Storage(text.to_owned()))
}

fn line(text: &str) -> Result<Line, WishError> {
    match text {
        "latest" => Ok(Line::Newest),
        "current" => Ok(Line::OfBackup),
        number => match number.parse() {
            Ok(number) if number > 0 => Ok(Line::Number(number)),
            _ => Err(WishError::Timeline(number.to_owned())),
        },
    }
}

fn read_target(kind: Option<&str>, target: Option<&str>) -> Result<Target, WishError> {
    let kind = match (kind, target) {
        (Some(kind), _) => kind,
        // What is called a point in time is one, whether or not it was said.
        (None, Some(_)) => "time",
        (None, None) => "default",
    };
    let text = || target.ok_or_else(|| WishError::NoTarget(kind.to_owned()));
    let wrong = |problem| {
        let text = target.unwrap_or_default().to_owned();
        WishError::Target { text, problem }
    };
    match kind {
        "default" => Ok(Target::End),
        "immediate" => Ok(Target::Immediate),
        "time" => {
            const PROBLEM: &str = "no time; write it as 2026-01-02 03:04:05+00";
            time(text()?)
                .map(Target::Time)
                .ok_or_else(|| wrong(PROBLEM))
        }
        "xid" => {
            let number = text()?.trim().parse();
            let number = number.map_err(|_| wrong("no number of a transaction"))?;
            Ok(Target::Transaction(number))
        }
        "name" => match text()? {
            "" => Err(wrong("no name of a restore point")),
            name if name.len() > LONGEST_NAME || name.contains(char::is_control) => {
                Err(wrong("no name that a restore point can have"))
            }
            name => Ok(Target::Name(name.to_owned())),
        },
        "lsn" => {
            let lsn = timeline::lsn(text()?);
            lsn.map(Target::Lsn)
                .ok_or_else(|| wrong("no place in the WAL; write it as 0/3000148"))
        }
        other => Err(WishError::Type(other.to_owned())),
    }
}

/// A time as PostgreSQL reads it; in UTC where it names no offset.
fn time(text: &str) -> Option<Timestamp> {
    /// Length of a date: a sign behind that is one of an offset.
    const DATE: usize = "2026-01-02".len();
    let text = text.trim();
    let (civil, offset) = match text.rfind(['+', '-']).filter(|at| *at > DATE) {
        Some(at) => (&text[..at], offset(&text[at..])?),
        None => (text.trim_end_matches(['Z', 'z']), Offset::UTC),
    };
    let civil: DateTime = civil.trim().parse().ok()?;
    offset.to_timestamp(civil).ok()
}

/// An offset such as `+02`, `-03:30` or `+0545`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = text.split_at_checked(1)?;
    let digits = digits.replace(':', "");
    let (hours, minutes) = match digits.len() {
        1 | 2 => (digits.parse::<i32>().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    let seconds = hours * 3600 + minutes * 60;
    let sign = if sign == "-" { -1 } else { 1 };
    tz::Offset::from_seconds(sign * seconds).ok()
}

/// What PostgreSQL is told of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// `restore_command`.
    pub command: String,
    /// Up to where.
    pub target: Target,
    /// Whether to stop before it.
    pub exclusive: bool,
    /// Along which timeline. Named by its number: by itself PostgreSQL finds the newest one only where no number below it is
    /// missing in the archive.
    pub timeline: u32,
}

impl Recovery {
    /// The settings. Nothing but a recovery reads them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("restore_command", self.command.clone()),
            ("recovery_target_timeline", self.timeline.to_string()),
            ("recovery_target_action", "pause".to_owned()),
        ];
        settings.extend(match &self.target {
            Target::End => None,
            Target::Immediate => Some(("recovery_target", "immediate".to_owned())),
            Target::Time(time) => Some(("recovery_target_time", shown(*time))),
            Target::Transaction(number) => Some(("recovery_target_xid", number.to_string())),
            Target::Name(name) => Some(("recovery_target_name", name.clone())),
            Target::Lsn(lsn) => Some(("recovery_target_lsn", timeline::shown(*lsn))),
        });
        if self.exclusive {
            settings.push(("recovery_target_inclusive", "off".to_owned()));
        }
        settings
    }
}

/// Files by which `restore_command` tells the agent what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetches {
    /// Holds the name of a WAL file that is not in the archive, while no other one was found since.
    absent: PathBuf,
    /// There while the archive could not be read; holds what was said.
    failed: PathBuf,
}

impl Fetches {
    /// Those in `folder`, which goes with the pod.
    pub fn within(folder: &Path) -> Self {
        Self {
            absent: folder.join("fetch.absent"),
            failed: folder.join("fetch.failed"),
        }
    }

    /// The WAL file that was asked for last, if it is not in the archive.
    pub fn absent(&self) -> Option<String> {
        let name = fs::read_to_string(&self.absent).ok()?;
        Some(name.trim().to_owned())
    }

    /// Why the archive cannot be read, if it cannot.
    pub fn failure(&self) -> Option<String> {
        let said = fs::read(&self.failed).ok()?;
        Some(output::error(&String::from_utf8_lossy(&said)))
    }

    /// A new server begins.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn clear(&self) -> Result<(), FileError> {
        for path in [&self.absent, &self.failed] {
            match fs::remove_file(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => named(removed, "remove", path)?,
            }
        }
        Ok(())
    }

    /// `restore_command` that fetches with `program` as `conf` says. It ends with 1 whatever is wrong: PostgreSQL would end with
    /// a higher status.
    pub fn command(&self, program: &Path, conf: &Path) -> String {
        let path = |path: &Path| word(&path.display().to_string());
        let (program, conf) = (path(program), path(conf));
        let (absent, failed) = (path(&self.absent), path(&self.failed));
        let said = word(&format!("{}.new", self.failed.display()));
        let name = word(&format!("{}.new", self.absent.display()));
        // A status of 1 is that of a file that is not there (pgBackRest, "archive-get"). Histories are asked for in vain often.
        format!(
            "{program} --config={conf} --stanza={STANZA} --no-archive-async archive-get %f \"%p\" 2>{said}; \
             case $? in 0) rm -f {absent} {failed}; exit 0;; \
             1) rm -f {failed}; case %f in *.history) ;; *) echo %f >{name}; mv -f {name} {absent};; esac; exit 1;; \
             esac; mv -f {said} {failed}; exit 1"
        )
    }
}

/// How far a recovery is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Whether it waits.
    pub waits: bool,
    /// How far it is.
    pub lsn: u64,
    /// When the last transaction had committed that is there.
    pub last_commit: Option<Timestamp>,
}

impl Session {
    /// How far a recovery is. For PostgreSQL 10 and newer.
    ///
    /// # Errors
    /// The query fails or takes too long.
    pub async fn replayed(&self, deadline: Duration) -> Result<Replayed, SessionError> {
        const QUERY: &str = "SELECT pg_catalog.pg_is_wal_replay_paused(), pg_catalog.pg_last_wal_replay_lsn(), \
                                    pg_catalog.pg_last_xact_replay_timestamp()";
        let row = within(deadline, self.client().query_one(QUERY, &[])).await?;
        let read = || {
            let lsn: Option<tokio_postgres::types::PgLsn> = row.try_get(1)?;
            let time: Option<std::time::SystemTime> = row.try_get(2)?;
            Ok(Replayed {
                waits: row.try_get(0)?,
                lsn: lsn.map(u64::from).unwrap_or_default(),
                last_commit: time.and_then(|time| Timestamp::try_from(time).ok()),
            })
        };
        read().map_err(SessionError::Statement)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn read(options: &[&str]) -> Result<Wish, WishError> {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        Wish::read(&options)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn each_type_has_its_target() {
        let target = |options: &[&str]| read(options).expect("a wish").target;
        assert_eq!(target(&[]), Target::End);
        assert_eq!(target(&["--type=default"]), Target::End);
        assert_eq!(target(&["--type=immediate"]), Target::Immediate);
        let noon = Target::Time(at("2026-11-26T12:00:00Z"));
        for text in [
            "--target=2026-11-26 12:00:00+00",
            "--target=2026-11-26 12:00:00",
            "--target=2026-11-26T12:00:00Z",
            "--target=2026-11-26 22:00:00.000+10",
            "--target=2026-11-26 06:30:00-0530",
            "--target=2026-11-26 17:45:00 +05:45",
        ] {
            assert_eq!(target(&["--type=time", text]), noon, "{text}");
            assert_eq!(target(&[text]), noon, "{text}");
        }
        assert_eq!(
            target(&["--type=xid", "--target=734"]),
            Target::Transaction(734)
        );
        let name = Target::Name("before it".to_owned());
        assert_eq!(target(&["--type=name", "--target=before it"]), name);
        assert_eq!(
            target(&["--type=lsn", "--target=0/3000148"]),
            Target::Lsn(0x300_0148)
        );
    }

    #[test]
    fn what_concerns_only_the_copy_is_passed_on() {
        let wish = read(&[
            "--process-max=4",
            "--target-exclusive",
            "--target-action=promote",
            "--delta",
            "--set=20260102-030405F",
            "--target-timeline=3",
            "--repo=2",
            "--db-include=a",
        ])
        .expect("a wish");
        assert_eq!(wish.rest, ["--process-max=4", "--db-include=a"]);
        assert_eq!(wish.set.as_deref(), Some("20260102-030405F"));
        assert_eq!((wish.exclusive, wish.line), (true, Line::Number(3)));
        assert_eq!(wish.storage, Some(Storage::S3));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        for (options, words) in [
            (&["restore"][..], "no option"),
            (&["--recovery-option=x=y"], "cannot be used"),
            (&["--type=standby"], "cannot be restored to"),
            (&["--type=time"], "needs --target"),
            (&["--type=time", "--target=yesterday"], "no time"),
            (
                &["--type=time", "--target=2026-11-26 12:00:00+x"],
                "no time",
            ),
            (&["--type=xid", "--target=x"], "no number"),
            (&["--type=name", "--target="], "no name"),
            (&["--type=lsn", "--target=x"], "no place"),
            (&["--target-timeline=0"], "no timeline"),
            (&["--repo=3"], "no place"),
        ] {
            let error = read(options).expect_err("refused").to_string();
            assert!(error.contains(words), "{options:?}: {error}");
        }
    }

    #[test]
    fn replay_waits_at_its_target_whatever_it_is() {
        let settings = |target| {
            let recovery = Recovery {
                command: "fetch".to_owned(),
                target,
                exclusive: true,
                timeline: 7,
            };
            recovery.settings()
        };
        let time = settings(Target::Time(at("2026-11-26T12:00:00.5Z")));
        let is = |name, value: &str| (name, value.to_owned());
        for wanted in [
            is("recovery_target_time", "2026-11-26 12:00:00.5+00"),
            is("recovery_target_action", "pause"),
            is("recovery_target_timeline", "7"),
            is("recovery_target_inclusive", "off"),
            is("restore_command", "fetch"),
        ] {
            assert!(time.contains(&wanted), "{wanted:?} is missing: {time:?}");
        }
        let whole = settings(Target::Immediate);
        assert!(whole.contains(&is("recovery_target", "immediate")));
        let names = |target| settings(target).into_iter().map(|(name, _)| name);
        assert!(names(Target::Transaction(7)).any(|name| name == "recovery_target_xid"));
        assert!(names(Target::Lsn(7)).any(|name| name == "recovery_target_lsn"));
        let named = Target::Name("x".to_owned());
        assert!(names(named).any(|name| name == "recovery_target_name"));
        assert_eq!(names(Target::End).count(), 4);
    }

    #[test]
    fn what_is_not_there_is_told_from_what_cannot_be_read() {
        let folder = tempfile::Builder::new().prefix("it's 100%").tempdir();
        let folder = folder.expect("a folder");
        let fetches = Fetches::within(folder.path());
        let run = |script: &str, file: &str| {
            let path = folder.path().join("script");
            fs::write(&path, script).expect("written");
            let command = fetches.command(Path::new("/bin/sh"), &path);
            // As PostgreSQL replaces what stands for the names.
            let command = command.replace("%f", file).replace("%p", "pg_wal/X");
            let command = command.replace("%%", "%").replace("--config=", "");
            let status = Command::new("sh").args(["-c", &command]).status();
            status.expect("run").code().expect("an exit")
        };
        let (first, next) = ("000000010000000000000001", "000000010000000000000002");
        assert_eq!(run("exit 1", first), 1);
        assert_eq!(fetches.absent().as_deref(), Some(first));
        assert_eq!(fetches.failure(), None);
        assert_eq!(run("exit 1", "00000002.history"), 1);
        assert_eq!(fetches.absent().as_deref(), Some(first));
        assert_eq!(run("echo 'ERROR: [103]: away' >&2; exit 103", next), 1);
        assert_eq!(fetches.failure().as_deref(), Some("[103]: away"));
        fetches.clear().expect("removed");
        assert_eq!((fetches.absent(), fetches.failure()), (None, None));
        assert_eq!(run("exit 1", next), 1);
        assert_eq!(run("exit 0", next), 0);
        assert_eq!((fetches.absent(), fetches.failure()), (None, None));
    }
}
