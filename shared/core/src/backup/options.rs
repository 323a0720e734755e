//! Options that a user gives to pgBackRest: which there are, which PGO sets itself, and which values fit; those of `backup`.
//! Those of `restore` are beside it: [`crate::restore::options`].
//!
//! Lists, values and texts are 4.1's.

use core::fmt;

use super::Place;
use crate::options::{Given, OptionsError, Table, Takes};

const LOG_LEVELS: Takes = Takes::Word(
    &["off", "error", "warn", "info", "detail", "debug", "trace"],
    "Invalid log level for pgBackRest backup",
);

/// The options that users may give.
const ALLOWED: [(&str, Takes); 30] = [
    ("archive-copy", Takes::Flag),
    ("no-archive-copy", Takes::Flag),
    ("archive-timeout", Takes::Number),
    ("backup-standby", Takes::Flag),
    ("no-backup-standby", Takes::Flag),
    ("checksum-page", Takes::Flag),
    ("no-checksum-page", Takes::Flag),
    ("exclude", Takes::Texts),
    ("force", Takes::Flag),
    ("manifest-save-threshold", Takes::Text),
    ("resume", Takes::Flag),
    ("no-resume", Takes::Flag),
    ("start-fast", Takes::Flag),
    ("no-start-fast", Takes::Flag),
    ("stop-auto", Takes::Flag),
    ("no-stop-auto", Takes::Flag),
    (
        "type",
        Takes::Word(
            &["full", "diff", "incr"],
            "Invalid type provided for pgBackRest backup",
        ),
    ),
    ("buffer-size", Takes::Text),
    ("compress", Takes::Flag),
    ("no-compress", Takes::Flag),
    (
        "compress-level",
        Takes::Level("Invalid compress level for pgBackRest backup"),
    ),
    (
        "compress-level-network",
        Takes::Level("Invalid network compress level for pgBackRest backup"),
    ),
    ("db-timeout", Takes::Number),
    ("no-delta", Takes::Flag),
    ("process-max", Takes::Number),
    ("protocol-timeout", Takes::Number),
    ("log-level-console", LOG_LEVELS),
    ("log-level-file", LOG_LEVELS),
    ("log-level-stderr", LOG_LEVELS),
    ("log-subprocess", Takes::Flag),
];

/// Those of them that are not handed on: the agent reads how far pgBackRest is from what that says, so it sets what is said, and
/// pgBackRest takes `force` only for a database that does not run.
const NOT_HANDED_ON: [&str; 3] = ["log-level-console", "log-level-stderr", "force"];

/// The options of pgBackRest that PGO sets itself: where data and repository are, and how they are reached.
const DENIED: [&str; 22] = [
    "archive-check",
    "no-archive-check",
    "online",
    "no-online",
    "link-all",
    "link-map",
    "tablespace-map",
    "tablespace-map-all",
    "cmd-ssh",
    "config",
    "config-include-path",
    "config-path",
    "lock-path",
    "neutral-umask",
    "no-neutral-umask",
    "stanza",
    "log-timestamp",
    "repo-cipher-type",
    "repo-path",
    "repo-type",
    "pg-path",
    "pg-port",
];

/// Beginnings of further ones.
const DENIED_KINDS: [&str; 3] = ["repo-host", "repo-s3-", "pg-host"];

/// What users may give to `pgbackrest backup`.
static TABLE: Table = Table {
    allowed: &[&ALLOWED],
    letters: &[],
    denied: is_denied,
    denied_letters: "",
};

/// Options for a backup by pgBackRest, each of them allowed, with a value that fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupOptions {
    given: Given,
    place: Option<Place>,
}

impl BackupOptions {
    /// Reads what a user wrote, `--type=full --process-max 2`; nothing is nothing.
    ///
    /// # Errors
    /// The first that cannot be used, or all values that do not fit, in 4.1's words.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut given = Given::parse(text, &TABLE)?;
        given.drop_all(&NOT_HANDED_ON);
        Ok(Self { given, place: None })
    }

    /// The same for a backup in this place alone; in none named it is made wherever the cluster's backups are.
    #[must_use]
    pub fn within(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }

    /// The arguments for pgBackRest.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = self.given.arguments();
        arguments.extend(self.place.map(Place::argument));
        arguments
    }

    /// The type of the backup, where it is said: `full`, `diff` or `incr`.
    #[must_use]
    pub fn backup_type(&self) -> Option<&str> {
        self.given.value("type")
    }

    /// Whether the data is to come from the primary, also where a replica could give it.
    #[must_use]
    pub fn from_primary(&self) -> bool {
        self.given.has("no-backup-standby")
    }
}

impl fmt::Display for BackupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arguments().join(" "))
    }
}

/// Whether PGO sets this one, whichever repository or database it is of: `repo1-path` is `repo-path`.
pub(crate) fn is_denied(name: &str) -> bool {
    let general = ["repo", "pg"].iter().find_map(|of| {
        let rest = name.strip_prefix(of)?;
        Some(format!(
            "{of}{}",
            rest.trim_start_matches(|c: char| c.is_ascii_digit())
        ))
    });
    let name = general.as_deref().unwrap_or(name);
    DENIED.contains(&name) || DENIED_KINDS.iter().any(|kind| name.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::backrest;

    fn arguments(text: &str) -> Vec<String> {
        BackupOptions::parse(text)
            .expect("options that can be used")
            .arguments()
    }

    fn refused(text: &str) -> String {
        let refused = BackupOptions::parse(text).expect_err("options that cannot be used");
        refused.to_string()
    }

    #[test]
    fn what_is_allowed_becomes_arguments() {
        assert_eq!(arguments("  "), Vec::<String>::new());
        assert_eq!(
            arguments("--type=full --process-max 2 --exclude=a b --exclude=c"),
            [
                "--type=full",
                "--process-max=2",
                "--exclude=a b",
                "--exclude=c"
            ]
        );
        assert_eq!(arguments("--no-resume"), ["--no-resume"]);
        assert_eq!(arguments("--resume=false"), ["--no-resume"]);
        assert_eq!(arguments("--resume=true"), ["--resume"]);
        let full = BackupOptions::parse("--type=full --no-backup-standby").expect("options");
        assert_eq!(
            (full.backup_type(), full.from_primary()),
            (Some("full"), true)
        );
    }

    #[test]
    fn the_program_takes_whatever_is_allowed() {
        for option in backrest::each(&ALLOWED) {
            backrest::takes("backup", &arguments(&option));
        }
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(arguments("--type=full --type=diff"), ["--type=diff"]);
        assert_eq!(arguments("--resume --no-resume"), ["--no-resume"]);
    }

    #[test]
    fn refusals_have_the_texts_of_4_1() {
        for (text, told) in [
            (
                "nonsense",
                "bad flag syntax. Backup options must start with '-' or '--'",
            ),
            ("-- -", "bad flag syntax. No backup options provided"),
            ("--type=nope", "Invalid type provided for pgBackRest backup"),
            (
                "--compress-level=10 --log-level-file=loud",
                "Invalid compress level for pgBackRest backup\nInvalid log level for pgBackRest backup",
            ),
            (
                "--stanza=x",
                "Flag --stanza is not supported for use with PGO",
            ),
            (
                "--repo1-path=/x",
                "Flag --repo1-path is not supported for use with PGO",
            ),
            (
                "--pg2-host=x",
                "Flag --pg2-host is not supported for use with PGO",
            ),
            (
                "--repo1-s3-key=x",
                "Flag --repo1-s3-key is not supported for use with PGO",
            ),
            (
                "--repo1-retention-full=1",
                "unknown flag: --repo1-retention-full",
            ),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--type", "flag needs an argument: --type"),
        ] {
            assert_eq!(refused(text), told);
        }
    }

    #[test]
    fn nothing_but_options_is_taken() {
        assert_eq!(
            refused("--force now"),
            "unexpected argument \"now\"; each option begins with '--'"
        );
        assert_eq!(
            refused("--process-max=many"),
            "invalid argument \"many\" for \"--process-max\" flag: it is not a number"
        );
        assert_eq!(
            refused("--resume=maybe"),
            "invalid argument \"maybe\" for \"--resume\" flag: it is not true or false"
        );
        assert_eq!(
            refused("--type=full diff"),
            "Invalid type provided for pgBackRest backup"
        );
    }
}
