//! Whether a backup can be relied on: what a throw-away server is told that restores one, and what its words mean.
//!
//! ```text
//! copy ─► replay all that is archived, and end recovery ─► stopped: pg_checksums ─► started again: pg_amcheck, a full dump
//! ```
//!
//! PostgreSQL ends a recovery as well where WAL is missing or damaged: whether it came to the end of the archive is judged by
//! what it asked for.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{STANZA, archive::word, output, storage::Storage, window::Segment};
use crate::{
    Version,
    conf::MODE,
    files::{FileError, named, write_if_changed},
    standby::is_configured_by_settings,
};

/// How often a WAL file is fetched that the archive cannot give.
const TRIES: u32 = 5;

/// For how many seconds that goes on where the repository is away: its pod may have to be made anew.
const AWAY: u32 = 300;

/// Seconds between two of those.
const PAUSE: u32 = 3;

/// What became of the requests of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// One line for each.
    log: PathBuf,
    /// What pgBackRest said last where it failed.
    said: PathBuf,
}

/// What became of a request for a WAL file, whatever its timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fetched {
    Absent,
    Failed,
    Got,
}

impl Requests {
    /// Those that are noted in `folder`.
    pub fn within(folder: &Path) -> Self {
        Self {
            log: folder.join("requests"),
            said: folder.join("requests.said"),
        }
    }

    /// Forgets those of a former recovery.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn clear(&self) -> Result<(), FileError> {
        for path in [&self.log, &self.said] {
            named(fs::write(path, b""), "write", path)?;
        }
        Ok(())
    }

    /// `restore_command` that fetches with `program` as `conf` says, and notes what became of it. It fetches from `storage`
    /// alone, where the backup is: what another place has proves nothing of this one. It ends with 1 whatever is wrong:
    /// PostgreSQL would end with a higher status.
    pub fn command(&self, program: &Path, conf: &Path, storage: Storage) -> String {
        let path = |path: &Path| word(&path.display().to_string());
        let (program, conf) = (path(program), path(conf));
        let (log, said) = (path(&self.log), path(&self.said));
        // What comes after a failure is asked for, too, and says something else.
        let words = word(&format!("{}.new", self.said.display()));
        let away: Vec<String> = output::PASSING_WORDS
            .iter()
            .map(|text| format!("*{}*", word(text)))
            .collect();
        let (away, place) = (away.join("|"), storage.option());
        // A status of 1 is that of a file that is not there (pgBackRest, "archive-get").
        format!(
            "n=0; end=$(($(date +%s) + {AWAY})); while [ $(date +%s) -lt $end ]; do n=$((n + 1)); \
             {program} --config={conf} --stanza={STANZA} {place} --no-archive-async archive-get %f \"%p\" 2>{words}; \
             case $? in 0) echo got %f >>{log}; exit 0;; 1) echo absent %f >>{log}; exit 1;; esac; \
             case \"$(cat {words})\" in {away}) ;; *) if [ $n -ge {TRIES} ]; then break; fi;; esac; sleep {PAUSE}; \
             done; echo failed %f >>{log}; mv -f {words} {said}; exit 1"
        )
    }

    /// How much was noted: it grows with each request.
    pub fn size(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |found| found.len())
    }

    fn read(&self) -> BTreeMap<u64, (Fetched, Segment)> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let mut requests = BTreeMap::new();
        for (what, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            let fetched = match what {
                "got" => Fetched::Got,
                "failed" => Fetched::Failed,
                _ => Fetched::Absent,
            };
            // Histories are asked for in vain often.
            let Some(segment) = Segment::read(name).filter(|_| !name.contains('.')) else {
                continue;
            };
            // The same file is asked for on each timeline, and again.
            let best = requests.entry(segment.number).or_insert((fetched, segment));
            *best = (*best).max((fetched, segment));
        }
        requests
    }

    /// Whether a recovery that has ended came to the end of the archive, which was at `newest` when it began.
    ///
    /// # Errors
    /// It did not, and why.
    pub fn judge(&self, newest: Option<Segment>) -> Result<(), Broken> {
        let Some(newest) = newest else {
            return Ok(());
        };
        let requests = self.read();
        let last = requests.last_key_value();
        match last.map(|(number, request)| (*number, *request)) {
            Some((number, (Fetched::Absent, _))) if number > newest.number => Ok(()),
            Some((_, (Fetched::Failed, segment))) => {
                let said = fs::read(&self.said).unwrap_or_default();
                let said = output::error(&String::from_utf8_lossy(&said));
                Err(match output::is_passing(&said) {
                    true => Broken::Away { segment, said },
                    false => Broken::Unreadable { segment, said },
                })
            }
            Some((_, (Fetched::Absent, segment))) => Err(Broken::Missing { segment, newest }),
            Some((_, (Fetched::Got, segment))) => Err(Broken::Damaged { segment, newest }),
            None => Err(Broken::Nothing),
        }
    }
}

/// Why the archive cannot be replayed to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A file is not there.
    #[error(
        "WAL file {segment} is missing in the archive, which goes on to {newest}: nothing after it can be restored"
    )]
    Missing {
        /// The file.
        segment: Segment,
        /// The newest one.
        newest: Segment,
    },
    /// A file cannot be fetched.
    #[error("WAL file {segment} cannot be read from the archive: {said}")]
    Unreadable {
        /// The file.
        segment: Segment,
        /// What pgBackRest said.
        said: String,
    },
    /// A file holds something else.
    #[error(
        "WAL file {segment} of the archive is damaged: PostgreSQL cannot replay it to its end, and the archive goes on to {newest}"
    )]
    Damaged {
        /// The file.
        segment: Segment,
        /// The newest one.
        newest: Segment,
    },
    /// A file cannot be had, and nothing is known of it.
    #[error("WAL file {segment} cannot be had from the archive: {said}")]
    Away {
        /// The file.
        segment: Segment,
        /// What pgBackRest said.
        said: String,
    },
    /// PostgreSQL asked for nothing.
    #[error("PostgreSQL has asked for no WAL file")]
    Nothing,
}

/// What a throw-away server is told.
#[derive(Clone, Debug)]
pub struct Isolated<'a> {
    /// Folder of its socket and of all that goes with it.
    pub run: &'a Path,
    /// Its port, part of the socket's name.
    pub port: u16,
    /// `shared_preload_libraries` as the cluster has it: their WAL may need them.
    pub preload: &'a str,
    /// Prepared transactions that may come up.
    pub prepared: u32,
}

impl Isolated<'_> {
    /// Arguments of `postgres`, which count whatever the files say: nobody gets in but the agent, it archives nothing, follows
    /// nobody, subscribes to nothing, and runs nothing of its own: no job of an extension, no event trigger.
    pub fn arguments(&self, version: &Version) -> Vec<String> {
        let path = |name: &str| self.run.join(name).display().to_string();
        let mut settings = vec![
            ("config_file", path("drill.conf")),
            ("hba_file", path("drill.hba")),
            ("ident_file", path("drill.ident")),
            ("listen_addresses", String::new()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", self.run.display().to_string()),
            ("unix_socket_permissions", "0700".to_owned()),
            ("ssl", "off".to_owned()),
            ("archive_mode", "off".to_owned()),
            ("primary_conninfo", String::new()),
            ("hot_standby", "off".to_owned()),
            ("autovacuum", "off".to_owned()),
            ("max_worker_processes", "0".to_owned()),
            ("max_logical_replication_workers", "0".to_owned()),
            ("max_wal_senders", "0".to_owned()),
            ("max_prepared_transactions", self.prepared.to_string()),
            ("max_locks_per_transaction", "256".to_owned()),
            ("shared_preload_libraries", self.preload.to_owned()),
            ("session_preload_libraries", String::new()),
            ("synchronous_standby_names", String::new()),
            // It is thrown away.
            ("fsync", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
            ("logging_collector", "off".to_owned()),
            ("log_destination", "stderr".to_owned()),
            ("log_statement", "none".to_owned()),
            ("log_min_duration_statement", "-1".to_owned()),
            ("lc_messages", "C".to_owned()),
            ("log_timezone", "UTC".to_owned()),
        ];
        if !is_configured_by_settings(version) {
            settings.retain(|(name, _)| *name != "primary_conninfo");
        }
        if version.major() >= 17 {
            settings.push(("event_triggers", "off".to_owned()));
        }
        settings.iter().flat_map(argument).collect()
    }

    /// Writes the files that those name.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn write(&self) -> Result<(), FileError> {
        let hba = b"local all all trust\n";
        for (name, content) in [
            ("drill.conf", &b""[..]),
            ("drill.hba", hba),
            ("drill.ident", b""),
        ] {
            write_if_changed(&self.run.join(name), content, MODE)?;
        }
        Ok(())
    }
}

fn argument((name, value): &(&str, String)) -> [String; 2] {
    ["-c".to_owned(), format!("{name}={value}")]
}

/// What the server is told in addition while it replays all that is archived along `timeline`, and is a primary then.
pub fn recovery(command: String, timeline: u32) -> Vec<(&'static str, String)> {
    vec![
        ("restore_command", command),
        ("recovery_target_timeline", timeline.to_string()),
    ]
}

/// The same as arguments of `postgres`; of versions that read it from a file, none.
pub fn recovery_arguments(settings: &[(&'static str, String)], version: &Version) -> Vec<String> {
    if !is_configured_by_settings(version) {
        return Vec::new();
    }
    // What the files say of targets does not count.
    let target = ("recovery_target", String::new());
    settings
        .iter()
        .chain([&target])
        .flat_map(argument)
        .collect()
}

/// What a program that looks for damage has found: the first of it, and how much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    first: Vec<String>,
    count: usize,
}

/// Places of damage that are told.
const TOLD: usize = 3;

/// Longest of them, in bytes.
const LONGEST: usize = 300;

impl Damage {
    /// Hears a line of the program; `data` is left out of it.
    pub fn hear(&mut self, line: &str, data: &Path) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        self.count += 1;
        if self.first.len() < TOLD {
            let line = line.replace(&format!("{}/", data.display()), "");
            let end = line.floor_char_boundary(LONGEST);
            self.first.push(line[..end].to_owned());
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.first.join("; "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more lines"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &str) -> Segment {
        Segment::read(name).expect("a WAL file")
    }

    const FIRST: &str = "000000010000000000000003";
    const SECOND: &str = "000000010000000000000004";
    const THIRD: &str = "000000010000000000000005";

    fn judged(lines: &[String], newest: &str) -> Result<(), Broken> {
        let folder = tempfile::tempdir().expect("a folder");
        let requests = Requests::within(folder.path());
        requests.clear().expect("cleared");
        fs::write(&requests.log, lines.join("\n")).expect("written");
        fs::write(&requests.said, "ERROR: [029]: nonsense").expect("written");
        requests.judge(Some(segment(newest)))
    }

    #[test]
    fn a_file_that_cannot_be_had_is_told_from_one_that_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let requests = Requests::within(folder.path());
        requests.clear().expect("cleared");
        fs::write(&requests.log, line("failed", FIRST)).expect("written");
        let said = "[103]: unable to find a valid repository:; repo1: [HostConnectError] unable to connect";
        fs::write(&requests.said, format!("ERROR: {said}")).expect("written");
        let away = Broken::Away {
            segment: segment(FIRST),
            said: said.to_owned(),
        };
        assert_eq!(requests.judge(Some(segment(SECOND))), Err(away));
    }

    fn line(what: &str, name: &str) -> String {
        format!("{what} {name}")
    }

    #[test]
    fn a_recovery_is_through_where_it_has_asked_for_more_than_there_is() {
        let all = [
            line("absent", "00000002.history"),
            line("got", FIRST),
            line("got", SECOND),
            line("absent", THIRD),
            // PostgreSQL looks at its last record again.
            line("got", SECOND),
            line("absent", "00000002.history"),
        ];
        assert_eq!(judged(&all, SECOND), Ok(()));
        // More was archived meanwhile.
        assert_eq!(judged(&all, FIRST), Ok(()));
        let damaged = Broken::Damaged {
            segment: segment(SECOND),
            newest: segment(SECOND),
        };
        assert_eq!(judged(&all[..3], SECOND), Err(damaged));
        let missing = Broken::Missing {
            segment: segment(THIRD),
            newest: segment("000000010000000000000007"),
        };
        assert_eq!(judged(&all, "000000010000000000000007"), Err(missing));
        let failed = [line("got", FIRST), line("failed", SECOND)];
        let error = judged(&failed, THIRD).expect_err("failed");
        assert!(error.to_string().contains("[029]: nonsense"), "{error}");
        assert_eq!(judged(&[], FIRST), Err(Broken::Nothing));
    }

    #[test]
    fn a_file_that_a_parent_has_is_there() {
        let child = "000000020000000000000004";
        let requests = [
            line("absent", "000000020000000000000003"),
            line("got", FIRST),
            line("absent", child),
            line("got", SECOND),
            line("absent", "000000020000000000000005"),
            line("absent", THIRD),
        ];
        assert_eq!(judged(&requests, child), Ok(()));
    }

    #[test]
    fn a_file_that_came_after_all_is_there() {
        let requests = [
            line("failed", FIRST),
            line("got", FIRST),
            line("absent", SECOND),
        ];
        assert_eq!(judged(&requests, FIRST), Ok(()));
    }

    #[test]
    fn the_command_notes_what_became_of_a_request() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("pgbackrest");
        let requests = Requests::within(folder.path());
        for (status, expected) in [(0, "got x\n"), (1, "absent x\n")] {
            requests.clear().expect("cleared");
            let text = format!("#!/bin/sh\nexit {status}\n");
            fs::write(&program, text).expect("written");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&program, mode).expect("executable");
            let command = requests.command(&program, Path::new("/c"), Storage::Local);
            let command = command.replace("%f", "x").replace("%p", "y");
            let ended = std::process::Command::new("sh")
                .arg("-c")
                .arg(command)
                .status();
            assert_eq!(ended.expect("run").code(), Some(status));
            let log = fs::read_to_string(&requests.log).expect("a log");
            assert_eq!(log, expected);
        }
    }

    #[test]
    fn a_repository_that_is_away_is_waited_for_and_a_damaged_file_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let requests = Requests::within(folder.path());
        // What is waited for is counted instead.
        let tools = path("bin");
        fs::create_dir(&tools).expect("a folder");
        let program = |path: &Path, text: &str| {
            fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("written");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(path, mode).expect("executable");
        };
        program(&tools.join("sleep"), "exit 0");
        let backrest = path("pgbackrest");
        let counted = format!("echo x >>{0}; n=$(wc -l <{0})", path("count").display());
        for (said, expected) in [
            ("repo1: [HostConnectError] unable to connect", "got x\n"),
            ("repo1: [FormatError] unexpected EOF", "failed x\n"),
        ] {
            requests.clear().expect("cleared");
            fs::write(path("count"), "").expect("written");
            let fails = format!(
                "{counted}; if [ $n -le 20 ]; then echo 'ERROR: [042]: unable to get x:' >&2; echo '    {said}' >&2; exit 42; fi"
            );
            program(&backrest, &fails);
            let command = requests.command(&backrest, Path::new("/c"), Storage::S3);
            assert!(command.contains(" --repo=2 "), "{command}");
            let command = command.replace("%f", "x").replace("%p", "y");
            let mut shell = std::process::Command::new("sh");
            let way = format!("{}:/usr/bin:/bin", tools.display());
            let ended = shell.env("PATH", way).arg("-c").arg(command).status();
            assert!(ended.expect("run").code() <= Some(1));
            let log = fs::read_to_string(&requests.log).expect("a log");
            assert_eq!(log, expected);
        }
    }

    #[test]
    fn nothing_gets_out_of_the_server_and_nobody_in() {
        let isolated = Isolated {
            run: Path::new("/run/postgresql"),
            port: 5432,
            preload: "pgaudit",
            prepared: 100,
        };
        let version = |text: &str| text.parse::<Version>().expect("a version");
        let arguments = isolated.arguments(&version("15.4"));
        for setting in [
            "archive_mode=off",
            "listen_addresses=",
            "primary_conninfo=",
            "max_logical_replication_workers=0",
            "max_worker_processes=0",
            "shared_preload_libraries=pgaudit",
        ] {
            assert!(arguments.contains(&setting.to_owned()), "{setting}");
        }
        assert!(!arguments.contains(&"event_triggers=off".to_owned()));
        let newer = isolated.arguments(&version("17.0"));
        assert!(newer.contains(&"event_triggers=off".to_owned()));
    }

    #[test]
    fn the_first_places_of_damage_are_told_and_how_many_there_are() {
        let mut damage = Damage::default();
        assert!(damage.is_empty());
        for block in 0..5 {
            let line = format!("wrong in file \"/d/base/5/1\", block {block}\n");
            damage.hear(&line, Path::new("/d"));
        }
        damage.hear("\n", Path::new("/d"));
        let told = damage.to_string();
        assert!(
            told.starts_with("wrong in file \"base/5/1\", block 0; ")
                && told.ends_with("block 2; and 2 more lines"),
            "{told}"
        );
    }
}
