//! Finding PostgreSQL's programs in whatever image this is.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    Version,
    files::{FileError, read_if_there},
};

/// How long a program may take to tell its version; it prints one line.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// How deep below `/opt` vendors put their programs, as in `/opt/vendor/postgresql/15/bin`.
const OPT_DEPTH: usize = 4;

/// A PostgreSQL: the folder with its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The folder.
    pub folder: PathBuf,
    /// The version of `postgres` in it.
    pub version: Version,
}

/// Why there is no PostgreSQL to use.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// None was found.
    #[error("the image holds no PostgreSQL: initdb and postgres were looked for in {0}")]
    None(String),
    /// None fits the data.
    #[error(
        "the data directory is of PostgreSQL {wanted}, but the image holds {found}; use an image with {wanted}"
    )]
    Version {
        /// Of the data directory.
        wanted: String,
        /// Those that the image holds.
        found: String,
    },
    /// `PG_VERSION` cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Installation {
    /// Path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether a module such as `pg_stat_statements` can be loaded, as far as its place can be guessed.
    pub fn has_library(&self, name: &str) -> bool {
        let file = format!("{name}.so");
        let base = self.folder.parent().unwrap_or(&self.folder);
        ["lib", "lib/postgresql", "lib64", "lib64/pgsql"]
            .iter()
            .any(|folder| base.join(folder).join(&file).is_file())
    }
}

/// The installation to use for the data directory `data`: the newest, or where there is data, that of its version.
///
/// Asks each `postgres` that is found for its version.
///
/// # Errors
/// There is none, or none of that version.
pub async fn find(path: Option<&OsStr>, data: &Path) -> Result<Installation, ProgramError> {
    let found = all(path).await;
    let series = series_of(data)?;
    choose(found, series.as_deref())
}

/// Every installation that there is: each `postgres` that is found is asked for its version.
pub async fn all(path: Option<&OsStr>) -> Vec<Installation> {
    let folders = candidates(path, Path::new("/"));
    let mut found = Vec::new();
    for folder in &folders {
        match version_of(&folder.join("postgres")).await {
            Some(version) => found.push(Installation {
                folder: folder.clone(),
                version,
            }),
            None => {
                tracing::warn!(folder = %folder.display(), "a postgres that tells no version is not used");
            }
        }
    }
    found
}

/// The content of `PG_VERSION` in a data directory, if it is one.
///
/// # Errors
/// The file is there and cannot be read.
pub fn series_of(data: &Path) -> Result<Option<String>, FileError> {
    let text = read_if_there(&data.join("PG_VERSION"))?;
    Ok(text.map(|text| text.trim().to_owned()))
}

/// Chooses among what was found: of the given series, or the newest.
///
/// # Errors
/// Nothing was found, or nothing that fits.
pub fn choose(
    found: Vec<Installation>,
    series: Option<&str>,
) -> Result<Installation, ProgramError> {
    if found.is_empty() {
        return Err(ProgramError::None(
            "PATH, /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, /usr/local/pgsql/bin and /opt"
                .to_owned(),
        ));
    }
    let fits = |one: &&Installation| series.is_none_or(|series| one.version.series() == series);
    match found
        .iter()
        .filter(fits)
        .max_by(|one, other| one.version.cmp(&other.version))
    {
        Some(best) => Ok(best.clone()),
        None => {
            let versions: Vec<_> = found.iter().map(|one| one.version.to_string()).collect();
            Err(ProgramError::Version {
                wanted: series.unwrap_or_default().to_owned(),
                found: versions.join(", "),
            })
        }
    }
}

/// Folders below `root` that hold both `initdb` and `postgres`: those in `path` first, then the usual ones.
fn candidates(path: Option<&OsStr>, root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = path
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    folders.extend(children(&root.join("usr/lib/postgresql")).map(|folder| folder.join("bin")));
    let pgsql = |folder: &PathBuf| {
        folder
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"pgsql-"))
    };
    folders.extend(
        children(&root.join("usr"))
            .filter(pgsql)
            .map(|folder| folder.join("bin")),
    );
    folders.push(root.join("usr/local/pgsql/bin"));
    folders.extend(bins_below(&root.join("opt"), OPT_DEPTH));

    let mut chosen: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let complete = ["initdb", "postgres"]
            .iter()
            .all(|name| folder.join(name).is_file());
        // The same folder by another name (/bin is /usr/bin) counts once.
        let real = folder.canonicalize().unwrap_or(folder);
        if complete && !chosen.contains(&real) {
            chosen.push(real);
        }
    }
    chosen
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.into_iter()
}

fn bins_below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut bins = Vec::new();
    for child in children(folder) {
        if child.ends_with("bin") {
            bins.push(child);
        } else if depth > 1 && !child.is_symlink() {
            bins.extend(bins_below(&child, depth - 1));
        }
    }
    bins
}

async fn version_of(postgres: &Path) -> Option<Version> {
    let output = Command::new(postgres)
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_DEADLINE, output)
        .await
        .ok()?
        .ok()?;
    String::from_utf8_lossy(&output.stdout).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(folder: &str, version: &str) -> Installation {
        Installation {
            folder: folder.into(),
            version: version.parse().expect("a version"),
        }
    }

    fn add(root: &Path, folder: &str, programs: &[&str]) {
        fs::create_dir_all(root.join(folder)).expect("a folder");
        for program in programs {
            fs::write(root.join(folder).join(program), "").expect("a file");
        }
    }

    #[test]
    fn the_usual_places_are_searched_and_half_an_installation_is_none() {
        let root = tempfile::tempdir().expect("a folder");
        let both = ["initdb", "postgres"];
        for folder in [
            "usr/lib/postgresql/15/bin",
            "usr/lib/postgresql/11/bin",
            "usr/pgsql-10/bin",
            "usr/local/pgsql/bin",
            "opt/vendor/postgresql/bin",
            "own/bin",
        ] {
            add(root.path(), folder, &both);
        }
        add(root.path(), "usr/lib/postgresql/16/bin", &["psql"]);
        let path = root.path().join("own/bin").into_os_string();
        let found: Vec<_> = candidates(Some(&path), root.path())
            .iter()
            .map(|folder| {
                let rest = folder
                    .strip_prefix(root.path().canonicalize().expect("a path"))
                    .expect("below the root");
                rest.display().to_string()
            })
            .collect();
        assert_eq!(
            found,
            [
                "own/bin",
                "usr/lib/postgresql/11/bin",
                "usr/lib/postgresql/15/bin",
                "usr/pgsql-10/bin",
                "usr/local/pgsql/bin",
                "opt/vendor/postgresql/bin",
            ]
        );
    }

    #[test]
    fn the_newest_is_used_for_new_data_and_the_same_for_old() {
        let found = vec![
            installation("/a", "11.5"),
            installation("/b", "15.18"),
            installation("/c", "15.9"),
        ];
        let chosen = choose(found.clone(), None).expect("one");
        assert_eq!(chosen.folder, Path::new("/b"));
        let chosen = choose(found.clone(), Some("11")).expect("one");
        assert_eq!(chosen.folder, Path::new("/a"));
        let error = choose(found, Some("12")).expect_err("no 12");
        assert_eq!(
            error.to_string(),
            "the data directory is of PostgreSQL 12, but the image holds 11.5, 15.18, 15.9; use an image with 12"
        );
    }

    #[test]
    fn an_image_without_postgresql_says_so() {
        let error = choose(Vec::new(), None).expect_err("nothing");
        assert!(error.to_string().contains("the image holds no PostgreSQL"));
    }
}
