//! Dumps: what `pg_dump`, `pg_dumpall`, `pg_restore` and `psql` are told, and what they say.
//!
//! ```text
//! Order ─► Call of pg_dump ─► file ─► is it whole? ─► Manifest beside it
//! Order, Manifest ─► Call of pg_restore, or psql ─► what went wrong
//! ```

mod text;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    base::BaseSource,
    client::{Call, NEVER_ASK, database},
};

pub use text::{Beside, without_schemas};

/// Name of the file with what is to be known of a dump, in its folder.
pub const MANIFEST: &str = "pgo-dump.json";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// Id of the operation.
    pub operation: String,
    /// It.
    #[serde(flatten)]
    pub work: Work,
}

/// What is to become of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "work", rename_all = "camelCase")]
pub enum Work {
    /// It is made.
    Make {
        /// The database.
        database: String,
        /// Whether all databases are meant.
        #[serde(default)]
        all: bool,
        /// How it is written.
        format: Format,
        /// Options for the program.
        options: Vec<String>,
    },
    /// It is restored.
    Load {
        /// Its name; none means the newest.
        #[serde(default)]
        dump: Option<String>,
        /// The database; none means that which was dumped.
        #[serde(default)]
        database: Option<String>,
        /// Options for the program.
        options: Vec<String>,
    },
    /// The data directory of a server is copied by `pg_basebackup`.
    BaseBackup {
        /// That server.
        source: BaseSource,
        /// Options for the program.
        options: Vec<String>,
    },
    /// Such a copy becomes a data directory on a volume of its own.
    BaseRestore {
        /// Its name; none means the newest.
        #[serde(default)]
        backup: Option<String>,
        /// Name of the data directory.
        to: String,
    },
}

impl std::str::FromStr for Order {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// How a dump is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// SQL as text.
    Plain,
    /// PostgreSQL's own.
    Custom,
    /// The same as a tar file.
    Tar,
}

impl Format {
    /// The program's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Custom => "custom",
            Self::Tar => "tar",
        }
    }

    /// Name of the file of a dump.
    pub fn file(self) -> &'static str {
        match self {
            Self::Plain => "dump.sql",
            Self::Custom => "dump.custom",
            Self::Tar => "dump.tar",
        }
    }
}

/// What is to be known of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Id of the operation that made it.
    pub operation: String,
    /// The database.
    pub database: String,
    /// Whether all databases are in it.
    pub all: bool,
    /// How it is written.
    pub format: Format,
    /// The options that it was made with.
    pub options: Vec<String>,
    /// Size of its file, in bytes.
    pub bytes: u64,
    /// Version of the program that made it.
    pub version: String,
}

/// The option that names a database.
fn into_database(name: &str) -> String {
    format!("--dbname={}", database(name))
}

/// What makes a dump in `file`.
pub fn make(of: &str, all: bool, format: Format, options: &[String], file: &Path) -> Call {
    let options = options.iter().cloned();
    let own = [NEVER_ASK.to_owned(), format!("--file={}", file.display())];
    if all {
        return Call::of("pg_dumpall", options.chain(own));
    }
    let format = format!("--format={}", format.as_str());
    let own = own.into_iter().chain([format, into_database(of)]);
    Call::of("pg_dump", options.chain(own))
}

/// What reads all of a dump, which its contents at its head say nothing of; none where its end says that it is whole
/// ([`is_whole`]).
pub fn look(format: Format, file: &Path) -> Option<Call> {
    let read = || ["--file=/dev/null".to_owned(), file.display().to_string()];
    (format != Format::Plain).then(|| Call::of("pg_restore", read()))
}

/// What lists the contents of a dump that is no text.
pub fn list(file: &Path) -> Call {
    Call::of(
        "pg_restore",
        ["--list".to_owned(), file.display().to_string()],
    )
}

/// What asks a database, one value per line.
pub fn ask(of: &str, query: &str) -> Call {
    let own = ["--no-psqlrc", NEVER_ASK, "--tuples-only", "--no-align"].map(str::to_owned);
    let query = [format!("--command={query}"), into_database(of)];
    Call::of("psql", own.into_iter().chain(query))
}

/// Asks for the names of all schemas.
pub const SCHEMAS: &str = "SELECT nspname FROM pg_namespace";

/// Asks for the names of all roles, as SQL has them.
pub const ROLES: &str = "SELECT quote_ident(rolname) FROM pg_roles";

/// Asks for the names of all databases, as SQL has them.
pub const DATABASES: &str = "SELECT quote_ident(datname) FROM pg_database";

/// Whether the end of a dump as text says that it is whole.
pub fn is_whole(end: &str, all: bool) -> bool {
    end.contains(match all {
        true => "-- PostgreSQL database cluster dump complete",
        false => "-- PostgreSQL database dump complete",
    })
}

/// The option that all is one transaction; the default of what can be that.
const ONE_TRANSACTION: &str = "--single-transaction";

/// Options that are not for this dump.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the dump is SQL as text, which psql reads; {0} is an option of pg_restore, for dumps in --format=custom or tar"
)]
pub struct NotForText(String);

/// Whether the database itself is made anew.
pub fn creates(options: &[String]) -> bool {
    options.iter().any(|one| one == "--create")
}

/// The database that a dump is restored into, or from which that begins.
pub fn target<'a>(manifest: &'a Manifest, into: Option<&'a str>, options: &[String]) -> &'a str {
    match manifest.all || creates(options) {
        true => "postgres",
        false => into.unwrap_or(&manifest.database),
    }
}

/// What restores the dump in `file`, or of that what is in the list `contents`, into a database.
pub fn load(into: &str, options: &[String], (file, contents): (&Path, Option<&Path>)) -> Call {
    let contents = contents.map(|list| format!("--use-list={}", list.display()));
    let own = [
        NEVER_ASK.to_owned(),
        into_database(into),
        file.display().to_string(),
    ];
    let options = options.iter().cloned().chain(contents);
    Call::of("pg_restore", options.chain(own))
}

/// What restores a dump as text that it reads, and stops at the first error.
///
/// # Errors
/// Options were given that psql does not know.
pub fn load_text(into: &str, options: &[String]) -> Result<Call, NotForText> {
    if let Some(other) = options.iter().find(|one| *one != ONE_TRANSACTION) {
        return Err(NotForText(other.clone()));
    }
    let own = [
        "--no-psqlrc",
        "--quiet",
        NEVER_ASK,
        "--set=ON_ERROR_STOP=1",
        "--file=-",
    ];
    let own = own.map(str::to_owned);
    Ok(Call::of(
        "psql",
        own.into_iter().chain([into_database(into)]),
    ))
}

/// Whether a dump as text is restored in one transaction: not where it connects anew in between. Who passes it to psql says
/// `BEGIN` and `COMMIT`: psql takes the end of what it reads for the end of the dump, also where who passes it on was killed.
pub fn is_one_transaction(manifest: &Manifest) -> bool {
    !manifest.all && !creates(&manifest.options)
}

/// What a line that a program writes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An error, for people. Statements and values, which may hold anything, are not in it.
    Error(String),
    /// Something else.
    Other,
}

/// Reads a line of what one of these programs writes to standard error.
pub fn line(text: &str) -> Line {
    if text.starts_with(crate::base::LOG_PREFIX) {
        return match text.contains("FATAL:  ") || text.contains("PANIC:  ") {
            true => Line::Error(text.to_owned()),
            false => Line::Other,
        };
    }
    let of_program = [
        "pg_dump: ",
        "pg_dumpall: ",
        "pg_restore: ",
        "pg_basebackup: ",
        "pg_verifybackup: ",
    ];
    if of_program.iter().any(|name| text.starts_with(name)) {
        return match text.contains("error: ") || text.contains("fatal: ") {
            true => Line::Error(text.to_owned()),
            false => Line::Other,
        };
    }
    if !text.starts_with("psql:") {
        return Line::Other;
    }
    let fatal = ["ERROR:  ", "FATAL:  ", "error: ", "fatal: "];
    match fatal.iter().any(|word| text.contains(word)) {
        true => Line::Error(text.to_owned()),
        false => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(format: Format, all: bool, options: &[&str]) -> Manifest {
        Manifest {
            operation: "o".to_owned(),
            database: "userdb".to_owned(),
            all,
            format,
            options: options.iter().map(|one| (*one).to_owned()).collect(),
            bytes: 1,
            version: "15.1".to_owned(),
        }
    }

    #[test]
    fn an_order_is_read_as_it_is_written() {
        let make = r#"{"operation":"o","work":"make","database":"userdb","format":"custom","options":["--clean"]}"#;
        let read: Order = make.parse().expect("an order");
        assert_eq!(
            read.work,
            Work::Make {
                database: "userdb".to_owned(),
                all: false,
                format: Format::Custom,
                options: vec!["--clean".to_owned()],
            }
        );
        let load = r#"{"operation":"o","work":"load","dump":"a","options":[]}"#;
        let read: Order = load.parse().expect("an order");
        assert!(matches!(read.work, Work::Load { dump: Some(dump), .. } if dump == "a"));
    }

    #[test]
    fn a_database_is_a_name_whatever_is_in_it_and_no_secret_is_an_argument() {
        let options = vec!["--clean".to_owned()];
        let call = make(
            "x host=evil' y",
            false,
            Format::Custom,
            &options,
            Path::new("/f"),
        );
        assert_eq!(call.program, "pg_dump");
        assert_eq!(
            call.arguments[..4],
            ["--clean", "--no-password", "--file=/f", "--format=custom"]
        );
        assert!(call.arguments[4].starts_with("--dbname=dbname='x host=evil\\' y' keepalives"));
        let all = make("userdb", true, Format::Plain, &[], Path::new("/f"));
        assert_eq!((all.program, all.arguments.len()), ("pg_dumpall", 2));
    }

    #[test]
    fn each_format_is_restored_by_its_program() {
        let one = vec![ONE_TRANSACTION.to_owned()];
        let custom = load("userdb", &one, (Path::new("/f"), Some(Path::new("/l"))));
        assert_eq!(
            (custom.program, custom.arguments[0].as_str()),
            ("pg_restore", ONE_TRANSACTION)
        );
        assert!(custom.arguments.contains(&"--use-list=/l".to_owned()));
        assert_eq!(custom.arguments.last().map(String::as_str), Some("/f"));
        let create = vec!["--create".to_owned()];
        let of = manifest(Format::Custom, false, &[]);
        assert_eq!(target(&of, None, &create), "postgres");
        assert_eq!(target(&of, None, &one), "userdb");
        assert_eq!(target(&of, Some("other"), &one), "other");
        assert_eq!(
            target(&manifest(Format::Plain, true, &[]), None, &one),
            "postgres"
        );
        let call = load_text("userdb", &one).expect("a call");
        assert!(
            call.arguments.contains(&"--set=ON_ERROR_STOP=1".to_owned()),
            "{call:?}"
        );
        assert!(
            !call.arguments.contains(&ONE_TRANSACTION.to_owned()),
            "{call:?}"
        );
        assert!(is_one_transaction(&manifest(Format::Plain, false, &[])));
        assert!(!is_one_transaction(&manifest(
            Format::Plain,
            false,
            &["--create"]
        )));
        assert!(!is_one_transaction(&manifest(Format::Plain, true, &[])));
        let wrong = load_text("userdb", &create);
        assert_eq!(wrong, Err(NotForText("--create".to_owned())));
    }

    #[test]
    fn errors_are_told_and_without_values() {
        let error = |text: &str| line(text) == Line::Error(text.to_owned());
        assert!(error("pg_dump: error: no matching tables were found"));
        assert!(error(
            "pg_restore: error: could not execute query: ERROR:  relation \"t\" already exists"
        ));
        assert_eq!(line("pg_dump: reading schemas"), Line::Other);
        assert_eq!(
            line("Command was: ALTER ROLE x PASSWORD 'hunter2'"),
            Line::Other
        );
        assert_eq!(line("DETAIL:  Key (i)=(1) already exists."), Line::Other);
        assert!(error(
            "psql:<stdin>:12: ERROR:  relation \"t\" already exists"
        ));
        assert_eq!(
            line("psql:<stdin>:12: NOTICE:  schema \"x\" already exists, skipping"),
            Line::Other
        );
        assert!(error("psql: error: connection to server failed"));
        assert!(error(
            "pg_verifybackup: error: checksum mismatch for file \"base/1/2\""
        ));
        assert!(error(
            "pgo-recovery: FATAL:  WAL ends before end of online backup"
        ));
        assert_eq!(
            line("pgo-recovery: LOG:  redo done at 0/2000100"),
            Line::Other
        );
    }

    #[test]
    fn a_text_that_breaks_off_is_not_whole() {
        assert!(is_whole(
            "\n--\n-- PostgreSQL database dump complete\n--\n\n",
            false
        ));
        assert!(!is_whole("-- PostgreSQL database dump complete\n", true));
        assert!(!is_whole("INSERT INTO", false));
        assert_eq!(look(Format::Plain, Path::new("/f")), None);
    }
}
