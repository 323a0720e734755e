//! Options that a user gives to `pg_dump`, `pg_dumpall` and `pg_restore`, and what they make of a dump.
//!
//! Lists and values are 4.1's, as far as the programs have them: `--exclude-row-security`, which no program knows, is not among
//! them. What would write or read somewhere else than PGO does is refused.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::options::{Flags, Given, OptionsError, Table, Takes};

/// How a dump is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpFormat {
    /// SQL as text, which psql reads.
    Plain,
    /// PostgreSQL's own, compressed, of which parts can be restored.
    #[default]
    Custom,
    /// The same as a tar file, not compressed.
    Tar,
}

impl DumpFormat {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Custom, Self::Tar];

    /// The program's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Custom => "custom",
            Self::Tar => "tar",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "p" | "plain" => Self::Plain,
            "t" | "tar" => Self::Tar,
            _ => Self::Custom,
        }
    }
}

/// The word in the options that chooses `pg_dumpall`; no option of a program.
const DUMP_ALL: &str = "dump-all";

/// What `pg_dump`, `pg_dumpall` and `pg_restore` have in common.
const OF_ALL: Flags = &[
    ("data-only", Takes::Flag),
    ("clean", Takes::Flag),
    ("no-owner", Takes::Flag),
    ("schema-only", Takes::Flag),
    ("superuser", Takes::Text),
    ("verbose", Takes::Flag),
    ("no-privileges", Takes::Flag),
    ("no-acl", Takes::Flag),
    ("disable-triggers", Takes::Flag),
    ("if-exists", Takes::Flag),
    ("no-comments", Takes::Flag),
    ("no-publications", Takes::Flag),
    ("no-security-labels", Takes::Flag),
    ("no-subscriptions", Takes::Flag),
    ("no-tablespaces", Takes::Flag),
    ("use-set-session-authorization", Takes::Flag),
    ("role", Takes::Text),
];

/// What those have in common that make a dump.
const OF_DUMPS: Flags = &[
    ("encoding", Takes::Text),
    ("oids", Takes::Flag),
    ("column-inserts", Takes::Flag),
    ("attribute-inserts", Takes::Flag),
    ("disable-dollar-quoting", Takes::Flag),
    ("inserts", Takes::Flag),
    ("lock-wait-timeout", Takes::Text),
    ("load-via-partition-root", Takes::Flag),
    ("no-sync", Takes::Flag),
    ("no-unlogged-table-data", Takes::Flag),
    ("quote-all-identifiers", Takes::Flag),
];

const FORMATS: &[&str] = &["p", "plain", "c", "custom", "t", "tar"];
const SECTIONS: &[&str] = &["pre-data", "data", "post-data"];

const OF_PG_DUMP: Flags = &[
    ("blobs", Takes::Flag),
    ("no-blobs", Takes::Flag),
    ("create", Takes::Flag),
    ("jobs", Takes::Number),
    (
        "format",
        Takes::Word(FORMATS, "Invalid format provided for pg_dump backup"),
    ),
    ("schema", Takes::Texts),
    ("exclude-schema", Takes::Texts),
    ("table", Takes::Texts),
    ("exclude-table", Takes::Texts),
    (
        "compress",
        Takes::Level("Invalid compress level for pg_dump backup"),
    ),
    ("enable-row-security", Takes::Flag),
    ("exclude-table-data", Takes::Texts),
    (
        "section",
        Takes::Words(SECTIONS, "Invalid section provided for pg_dump backup"),
    ),
    ("serializable-deferrable", Takes::Flag),
    ("snapshot", Takes::Text),
    ("strict-names", Takes::Flag),
];

const OF_PG_DUMPALL: Flags = &[
    ("globals-only", Takes::Flag),
    ("roles-only", Takes::Flag),
    ("tablespaces-only", Takes::Flag),
    ("no-role-passwords", Takes::Flag),
    (DUMP_ALL, Takes::Flag),
];

const OF_PG_RESTORE: Flags = &[
    ("create", Takes::Flag),
    ("exit-on-error", Takes::Flag),
    (
        "format",
        Takes::Word(FORMATS, "Invalid format provided for pgRestore restore"),
    ),
    ("index", Takes::Texts),
    ("jobs", Takes::Number),
    ("schema", Takes::Texts),
    ("exclude-schema", Takes::Texts),
    ("function", Takes::Texts),
    ("table", Takes::Texts),
    ("trigger", Takes::Texts),
    ("single-transaction", Takes::Flag),
    ("enable-row-security", Takes::Flag),
    ("no-data-for-failed-tables", Takes::Flag),
    (
        "section",
        Takes::Words(SECTIONS, "Invalid section provided for pgRestore restore"),
    ),
    ("strict-names", Takes::Flag),
];

static PG_DUMP: Table = Table {
    allowed: &[OF_ALL, OF_DUMPS, OF_PG_DUMP],
    letters: &[
        ('a', "data-only"),
        ('b', "blobs"),
        ('B', "no-blobs"),
        ('c', "clean"),
        ('C', "create"),
        ('E', "encoding"),
        ('j', "jobs"),
        ('F', "format"),
        ('n', "schema"),
        ('N', "exclude-schema"),
        ('o', "oids"),
        ('O', "no-owner"),
        ('s', "schema-only"),
        ('S', "superuser"),
        ('t', "table"),
        ('T', "exclude-table"),
        ('v', "verbose"),
        ('x', "no-privileges"),
        ('Z', "compress"),
    ],
    denied: is_denied,
    denied_letters: DENIED_LETTERS,
};

static PG_DUMPALL: Table = Table {
    allowed: &[OF_ALL, OF_DUMPS, OF_PG_DUMPALL],
    letters: &[
        ('a', "data-only"),
        ('c', "clean"),
        ('E', "encoding"),
        ('g', "globals-only"),
        ('o', "oids"),
        ('O', "no-owner"),
        ('r', "roles-only"),
        ('s', "schema-only"),
        ('S', "superuser"),
        ('t', "tablespaces-only"),
        ('v', "verbose"),
        ('x', "no-privileges"),
    ],
    denied: is_denied,
    denied_letters: DENIED_LETTERS,
};

static PG_RESTORE: Table = Table {
    allowed: &[OF_ALL, OF_PG_RESTORE],
    letters: &[
        ('a', "data-only"),
        ('c', "clean"),
        ('C', "create"),
        ('e', "exit-on-error"),
        ('F', "format"),
        ('I', "index"),
        ('j', "jobs"),
        ('n', "schema"),
        ('N', "exclude-schema"),
        ('O', "no-owner"),
        ('P', "function"),
        ('s', "schema-only"),
        ('S', "superuser"),
        ('t', "table"),
        ('T', "trigger"),
        ('v', "verbose"),
        ('x', "no-privileges"),
        ('1', "single-transaction"),
    ],
    denied: is_denied,
    denied_letters: DENIED_LETTERS,
};

/// What PGO sets itself: where the database is, who speaks with it, and where the dump lies.
const DENIED: [&str; 14] = [
    "binary-upgrade",
    "no-reconnect",
    "dbname",
    "database",
    "host",
    "port",
    "username",
    "no-password",
    "password",
    "version",
    "file",
    "filename",
    "list",
    "use-list",
];

const DENIED_LETTERS: &str = "RdhpUwWVflL";

fn is_denied(name: &str) -> bool {
    DENIED.contains(&name)
}

fn refuse<T>(why: impl Into<String>) -> Result<T, OptionsError> {
    Err(OptionsError::Together(why.into()))
}

/// What holds for the options of all three programs.
fn check(given: &Given) -> Result<(), OptionsError> {
    if given.has("superuser") && !given.has("disable-triggers") {
        return refuse("--superuser goes with --disable-triggers only");
    }
    if given.has("if-exists") && !given.has("clean") {
        return refuse("--if-exists goes with --clean only");
    }
    if given.has("data-only") && given.has("schema-only") {
        return refuse("--data-only and --schema-only do not go together");
    }
    Ok(())
}

/// Options for `pg_dump`, or `pg_dumpall`, each of them allowed, with values that fit and fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpOptions {
    given: Given,
    all: bool,
    format: DumpFormat,
}

impl DumpOptions {
    /// Reads what a user wrote; `--dump-all` in it means all databases, and the roles. A dump of one database is in
    /// PostgreSQL's own format where nothing else is said: it can be looked through, and restored in parts.
    ///
    /// # Errors
    /// The first that cannot be used, or does not go with another one.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let all = text.split_whitespace().any(|word| word == "--dump-all");
        let table = if all { &PG_DUMPALL } else { &PG_DUMP };
        let mut given = Given::parse(text, table)?;
        check(&given)?;
        if all {
            given.drop(DUMP_ALL);
            return Ok(Self {
                given,
                all,
                format: DumpFormat::Plain,
            });
        }
        let format = given
            .value("format")
            .map_or(DumpFormat::Custom, DumpFormat::of);
        if given.has("compress") && format == DumpFormat::Tar {
            return refuse("--compress does not go with --format=tar, which is not compressed");
        }
        if given.value("jobs").is_some_and(|jobs| jobs != "1") {
            return refuse(
                "--jobs goes with a dump in a directory only, which PGO does not make; leave it out",
            );
        }
        given.drop("jobs");
        given.drop("format");
        Ok(Self { given, all, format })
    }

    /// Whether all databases are meant.
    #[must_use]
    pub fn all(&self) -> bool {
        self.all
    }

    /// How it is written.
    #[must_use]
    pub fn format(&self) -> DumpFormat {
        self.format
    }

    /// The arguments for the program, but for the format, the file and the database.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.given.arguments()
    }
}

impl fmt::Display for DumpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all.then(|| format!("--{DUMP_ALL}"));
        let format = (!self.all).then(|| format!("--format={}", self.format.as_str()));
        let all: Vec<String> = all
            .into_iter()
            .chain(format)
            .chain(self.arguments())
            .collect();
        f.write_str(&all.join(" "))
    }
}

/// Options for `pg_restore`, each of them allowed, with values that fit and fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions(Given);

impl LoadOptions {
    /// Reads what a user wrote. Where it is possible all of it is one transaction, so that a restore that fails changes nothing.
    ///
    /// # Errors
    /// The first that cannot be used, or does not go with another one.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut given = Given::parse(text, &PG_RESTORE)?;
        check(&given)?;
        let in_parts = ["jobs", "create", "no-data-for-failed-tables"];
        let in_parts = in_parts.into_iter().find(|name| given.has(name));
        match (given.has("single-transaction"), in_parts) {
            (true, Some(other)) => {
                return refuse(format!(
                    "--single-transaction and --{other} do not go together"
                ));
            }
            (false, None) => given.set(("single-transaction", Takes::Flag), &PG_RESTORE, None),
            _ => {}
        }
        Ok(Self(given))
    }

    /// The arguments for the program, but for the file and the database.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.0.arguments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(text: &str) -> (bool, DumpFormat, Vec<String>) {
        let options = DumpOptions::parse(text).expect(text);
        (options.all(), options.format(), options.arguments())
    }

    fn load(text: &str) -> Vec<String> {
        LoadOptions::parse(text).expect(text).arguments()
    }

    #[test]
    fn a_dump_is_of_one_database_in_postgresqls_format_or_of_all_as_text() {
        let none = Vec::<String>::new();
        assert_eq!(dump(""), (false, DumpFormat::Custom, none.clone()));
        assert_eq!(dump("-Fp"), (false, DumpFormat::Plain, none.clone()));
        assert_eq!(dump("--format=t"), (false, DumpFormat::Tar, none.clone()));
        assert_eq!(dump("--dump-all"), (true, DumpFormat::Plain, none));
        let (all, _, arguments) = dump("--dump-all -g --no-role-passwords");
        assert!(all);
        assert_eq!(arguments, ["--globals-only", "--no-role-passwords"]);
    }

    #[test]
    fn letters_stand_for_options_with_their_values_and_together() {
        let (.., arguments) =
            dump("-aO -n public -n=\"Big One\" -Z9 --section=data --section=pre-data");
        assert_eq!(
            arguments,
            [
                "--data-only",
                "--no-owner",
                "--schema=public",
                "--schema=\"Big One\"",
                "--compress=9",
                "--section=data",
                "--section=pre-data"
            ]
        );
        assert_eq!(load("-1c"), ["--single-transaction", "--clean"]);
    }

    #[test]
    fn a_restore_is_one_transaction_where_it_can_be() {
        assert_eq!(load(""), ["--single-transaction"]);
        assert_eq!(
            load("--clean --if-exists"),
            ["--clean", "--if-exists", "--single-transaction"]
        );
        assert_eq!(load("--jobs=4"), ["--jobs=4"]);
        assert_eq!(load("--create"), ["--create"]);
    }

    #[test]
    fn what_pgo_sets_or_nobody_knows_is_refused_as_in_4_1() {
        for (text, told) in [
            (
                "--host=evil",
                "Flag --host is not supported for use with PGO",
            ),
            (
                "--dbname=x",
                "Flag --dbname is not supported for use with PGO",
            ),
            (
                "--file=/tmp/x",
                "Flag --file is not supported for use with PGO",
            ),
            (
                "-h evil",
                "Shorthand flag -h is not supported for use with PGO",
            ),
            ("-aW", "Shorthand flag -W is not supported for use with PGO"),
            ("--type=full", "unknown flag: --type"),
            ("-y", "unknown shorthand flag: 'y' in -y"),
            (
                "nonsense",
                "bad flag syntax. Backup options must start with '-' or '--'",
            ),
            ("--format=d", "Invalid format provided for pg_dump backup"),
            ("--compress=10", "Invalid compress level for pg_dump backup"),
            ("--section=x", "Invalid section provided for pg_dump backup"),
            (
                "-Ft -Z1",
                "--compress does not go with --format=tar, which is not compressed",
            ),
            (
                "--superuser=x",
                "--superuser goes with --disable-triggers only",
            ),
            ("--if-exists", "--if-exists goes with --clean only"),
            ("--table", "flag needs an argument: --table"),
            ("-t", "flag needs an argument: -t"),
            ("--dump-all --table=x", "unknown flag: --table"),
        ] {
            let refused = DumpOptions::parse(text).expect_err(text);
            assert_eq!(refused.to_string(), told);
        }
        let refused = DumpOptions::parse("--jobs=2").expect_err("no directory");
        assert!(
            refused.to_string().starts_with("--jobs goes with"),
            "{refused}"
        );
        for (text, told) in [
            (
                "--filename=/x",
                "Flag --filename is not supported for use with PGO",
            ),
            ("-l", "Shorthand flag -l is not supported for use with PGO"),
            ("-1j2", "--single-transaction and --jobs do not go together"),
            ("--compress=1", "unknown flag: --compress"),
        ] {
            let refused = LoadOptions::parse(text).expect_err(text);
            assert_eq!(refused.to_string(), told);
        }
    }
}
