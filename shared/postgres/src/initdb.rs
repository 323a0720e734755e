//! A new data directory, which is there as a whole or not at all.
//!
//! initdb works in a folder beside the data directory, which gets its name at the end: whatever ends the agent in the
//! middle leaves nothing that could pass for data.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    Installation, SUPERUSER,
    files::{FileError, named, read_if_there, sync_folder_of, write_atomically},
    setup::Verifier,
    tail::Tail,
};

/// How long initdb may take. It writes 40 MB and syncs it; a slow network disk takes half a minute.
const DEADLINE: Duration = Duration::from_secs(600);

/// How much of initdb's output goes into an error.
const TAIL: usize = 20;

/// Why there is no data directory.
#[derive(Debug, thiserror::Error)]
pub enum InitDbError {
    /// There is something, and it is no data of PostgreSQL.
    #[error(
        "{} is not empty and holds no PG_VERSION, so it is not a data directory; it is left as it is: move away what is in it",
        .0.display()
    )]
    Foreign(PathBuf),
    /// A file or folder could not be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The program could not be run.
    #[error("cannot run {}: {cause}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The program did not end in time.
    #[error("initdb did not end within {} s; is the volume very slow?", DEADLINE.as_secs())]
    Deadline,
    /// The program failed.
    #[error("initdb failed ({status}): {output}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        output: Tail,
    },
}

/// What is in the place of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Data of PostgreSQL.
    Data,
    /// Nothing, or an empty folder.
    Nothing,
    /// Something else.
    Foreign,
}

/// Looks at the place of the data directory.
///
/// # Errors
/// It cannot be looked at.
pub fn presence(data: &Path) -> Result<Presence, FileError> {
    if read_if_there(&data.join("PG_VERSION"))?.is_some() {
        return Ok(Presence::Data);
    }
    match fs::read_dir(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Presence::Nothing),
        entries => match named(entries, "list", data)?.next() {
            None => Ok(Presence::Nothing),
            Some(_) => Ok(Presence::Foreign),
        },
    }
}

/// Arguments of initdb for a cluster of ours: UTF8, checksums, SCRAM. The password comes from a file, never from here.
fn arguments(folder: &Path, password_file: &Path, locale: &str) -> Vec<OsString> {
    let with = |name: &str, value: &Path| {
        let mut argument = OsString::from(name);
        argument.push(value);
        argument
    };
    vec![
        with("--pgdata=", folder),
        format!("--username={SUPERUSER}").into(),
        with("--pwfile=", password_file),
        "--encoding=UTF8".into(),
        format!("--locale={locale}").into(),
        // Whoever reads the log must understand it.
        "--lc-messages=C".into(),
        "--data-checksums".into(),
        "--auth=scram-sha-256".into(),
    ]
}

/// `C.UTF-8` where the image below `root` has that locale, else `C`. Both sort alike; the first also knows letters
/// beyond ASCII.
fn locale(root: &Path) -> &'static str {
    let there = ["C.utf8", "C.UTF-8"]
        .iter()
        .any(|name| root.join("usr/lib/locale").join(name).is_dir());
    if there { "C.UTF-8" } else { "C" }
}

/// Makes the data directory `data`, with `superuser` as verifier of the superuser's password.
///
/// What a former try left beside it is removed. Data that is there is left as it is.
///
/// # Errors
/// There is something else in its place, or initdb fails; then what it said is in the error.
pub async fn run(
    installation: &Installation,
    data: &Path,
    superuser: &Verifier,
) -> Result<(), InitDbError> {
    match presence(data)? {
        Presence::Data => return Ok(()),
        Presence::Foreign => return Err(InitDbError::Foreign(data.to_owned())),
        Presence::Nothing => {}
    }
    let folder = beside(data, ".initdb");
    let password_file = beside(data, ".initdb-password");
    clear(&folder)?;
    if let Some(parent) = data.parent() {
        named(fs::create_dir_all(parent), "make", parent)?;
    }
    // initdb stores a verifier as it is, so not even this file holds the password.
    write_atomically(&password_file, superuser.as_str().as_bytes(), 0o600)?;
    let result = initdb(installation, &folder, &password_file).await;
    named(fs::remove_file(&password_file), "remove", &password_file)?;
    if let Err(error) = result {
        clear(&folder)?;
        return Err(error);
    }
    named(
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)),
        "restrict",
        &folder,
    )?;
    named(fs::rename(&folder, data), "rename to", data)?;
    sync_folder_of(data)?;
    Ok(())
}

async fn initdb(
    installation: &Installation,
    folder: &Path,
    password_file: &Path,
) -> Result<(), InitDbError> {
    let program = installation.program("initdb");
    let output = Command::new(&program)
        .args(arguments(folder, password_file, locale(Path::new("/"))))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, output)
        .await
        .map_err(|_| InitDbError::Deadline)?
        .map_err(|cause| InitDbError::Run { program, cause })?;
    if output.status.success() {
        return Ok(());
    }
    let mut tail = Tail::new(TAIL);
    tail.push_all(&String::from_utf8_lossy(&output.stdout));
    tail.push_all(&String::from_utf8_lossy(&output.stderr));
    Err(InitDbError::Failed {
        status: output.status,
        output: tail,
    })
}

/// The path of something beside the data directory, on the same volume.
pub fn beside(data: &Path, suffix: &str) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

pub(crate) fn clear(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => named(result, "remove", folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_argument_holds_a_password() {
        let arguments = arguments(Path::new("/pgdata/hippo.initdb"), Path::new("/pw"), "C");
        let text = arguments.join(std::ffi::OsStr::new(" "));
        assert_eq!(
            text.to_string_lossy(),
            "--pgdata=/pgdata/hippo.initdb --username=postgres --pwfile=/pw --encoding=UTF8 --locale=C \
             --lc-messages=C --data-checksums --auth=scram-sha-256"
        );
    }

    #[test]
    fn the_locale_is_one_that_the_image_has() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(locale(root.path()), "C");
        fs::create_dir_all(root.path().join("usr/lib/locale/C.utf8")).expect("a folder");
        assert_eq!(locale(root.path()), "C.UTF-8");
    }

    #[test]
    fn data_nothing_and_foreign_things_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        let look = || presence(&data).expect("looked");
        assert_eq!(look(), Presence::Nothing);
        fs::create_dir(&data).expect("a folder");
        assert_eq!(look(), Presence::Nothing);
        fs::write(data.join("notes"), "").expect("a file");
        assert_eq!(look(), Presence::Foreign);
        fs::write(data.join("PG_VERSION"), "15\n").expect("a file");
        assert_eq!(look(), Presence::Data);
    }
}
