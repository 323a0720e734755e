//! pgBackRest as a program: find it, configure it, have PostgreSQL archive with it, read what it says.
//!
//! ```text
//! instance                                                    repository
//! postgres ─archive_command─► pgbackrest archive-push ──TLS──► pgbackrest server ─► volume
//! pgbackrest server ◄──TLS── pgbackrest backup, stanza-create, check
//! ```

pub mod archive;
pub mod conf;
pub mod drill;
pub mod info;
pub mod output;
pub mod restore;
pub mod storage;
pub mod window;

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

/// The one stanza of a repository, as in 4.1.
pub const STANZA: &str = "db";

/// Port of pgBackRest's server.
pub const PORT: u16 = 8432;

/// The least release: the first whose server speaks TLS.
const LEAST: Release = Release(2, 37);

/// The first release that keeps annotations with a backup.
const ANNOTATES: Release = Release(2, 41);

/// How long the program may take to tell its version or refuse an option.
const DEADLINE: Duration = Duration::from_secs(10);

/// Folders where images have it, besides those of PATH.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/pgbackrest/bin"];

/// A release of pgBackRest, such as 2.45.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0, self.1)
    }
}

impl Release {
    /// Reads what `pgbackrest version` prints, such as `pgBackRest 2.45`; also `2.55.1` and `2.58dev`.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, text) = text.split_once("pgBackRest")?;
        let mut numbers = text.trim().split('.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit());
            part[..end.unwrap_or(part.len())].parse().ok()
        });
        Some(Self(numbers.next()??, numbers.next()??))
    }
}

/// A pgBackRest that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backrest {
    /// The program.
    pub program: PathBuf,
    /// Its release.
    pub release: Release,
    /// How it is to compress what it keeps.
    pub compression: Compression,
}

impl Backrest {
    /// Whether it keeps annotations with a backup.
    pub fn annotates(&self) -> bool {
        self.release >= ANNOTATES
    }
}

/// How files of a repository are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Faster and smaller than gzip, where the program was built with it.
    Zstandard,
    /// What each pgBackRest can do.
    Gzip,
}

impl Compression {
    /// pgBackRest's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstandard => "zst",
            Self::Gzip => "gz",
        }
    }
}

/// Why there is no pgBackRest to use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MissingError {
    /// None was found.
    #[error(
        "the image holds no pgBackRest: it was looked for in PATH, /usr/bin, /usr/local/bin and /opt/pgbackrest/bin; \
         use an image with pgBackRest {LEAST} or newer"
    )]
    None,
    /// It does not tell its version.
    #[error("{} does not tell which pgBackRest it is: {said:?}", program.display())]
    Unknown {
        /// The program.
        program: PathBuf,
        /// What it said instead.
        said: String,
    },
    /// It is too old.
    #[error(
        "{} is pgBackRest {release}, whose server does not speak TLS; use an image with {LEAST} or newer",
        program.display()
    )]
    Old {
        /// The program.
        program: PathBuf,
        /// Its release.
        release: Release,
    },
}

/// Finds pgBackRest in `path`, else in the usual folders, and asks it what it is.
///
/// # Errors
/// There is none, or it cannot be used.
pub async fn find(path: Option<&OsStr>) -> Result<Backrest, MissingError> {
    let in_path = path.into_iter().flat_map(std::env::split_paths);
    let program = in_path
        .chain(FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join("pgbackrest"))
        .find(|program| program.is_file())
        .ok_or(MissingError::None)?;
    let said = ask(&program, &["version"]).await;
    let Some(release) = Release::parse(&said) else {
        return Err(MissingError::Unknown { program, said });
    };
    if release < LEAST {
        return Err(MissingError::Old { program, release });
    }
    let compression = compression_of(&program).await;
    Ok(Backrest {
        program,
        release,
        compression,
    })
}

/// It refuses a compression that it was not built with before it looks at anything else, as a segment that is not named.
async fn compression_of(program: &Path) -> Compression {
    let options = [
        "--no-config",
        "--log-level-file=off",
        "--stanza=db",
        "--pg1-path=/nowhere",
        "--compress-type=zst",
        "archive-push",
    ];
    if ask(program, &options).await.contains("WAL segment to push") {
        Compression::Zstandard
    } else {
        Compression::Gzip
    }
}

/// What it says, wherever it says it.
async fn ask(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(DEADLINE, output).await {
        Ok(Ok(output)) => {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            text(&output.stdout) + &text(&output.stderr)
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn releases_are_read_and_compared() {
        assert_eq!(Release::parse("pgBackRest 2.45\n"), Some(Release(2, 45)));
        assert_eq!(Release::parse("pgBackRest 2.55.1"), Some(Release(2, 55)));
        assert_eq!(Release::parse("pgBackRest 2.58dev"), Some(Release(2, 58)));
        assert_eq!(Release::parse("pgBackRest 3.0"), Some(Release(3, 0)));
        assert_eq!(Release::parse("not found"), None);
        assert!(Release(2, 37) < Release(2, 100) && Release(2, 100) < Release(3, 0));
        assert_eq!(Release(2, 9).to_string(), "2.09");
    }

    /// A program that prints `text` whatever it is asked.
    fn saying(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgbackrest");
        fs::write(&path, format!("#!/bin/sh\necho '{text}'\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        folder
    }

    /// What is found in `folder`. Another test that starts a program may hold the script for a moment.
    async fn found(folder: &tempfile::TempDir) -> Result<Backrest, MissingError> {
        loop {
            match find(Some(folder.path().as_os_str())).await {
                Err(MissingError::Unknown { said, .. }) if said.contains("busy") => {}
                found => return found,
            }
        }
    }

    #[tokio::test]
    async fn one_that_cannot_be_used_is_told_with_the_reason() {
        let old = found(&saying("pgBackRest 2.18")).await;
        let text = old.expect_err("too old").to_string();
        assert!(text.contains("2.18") && text.contains("2.37"), "{text}");
        let unknown = found(&saying("nonsense")).await;
        let text = unknown.expect_err("no version").to_string();
        assert!(text.contains("nonsense"), "{text}");
    }

    #[tokio::test]
    async fn one_that_is_new_enough_is_used_and_gzip_where_it_refuses_better() {
        let backrest = found(&saying("pgBackRest 2.40")).await.expect("usable");
        assert_eq!(backrest.release, Release(2, 40));
        assert_eq!(backrest.compression, Compression::Gzip);
        assert!(!backrest.annotates());
    }
}
