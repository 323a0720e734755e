//! How PostgreSQL archives its WAL with pgBackRest, and how that goes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{STANZA, output};
use crate::files::{FileError, named};

/// What of archiving stands in PostgreSQL's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// `archive_command`.
    pub command: String,
    /// `archive_timeout`, in seconds.
    pub timeout: u32,
    /// Why nothing can be archived, where that is so.
    pub obstacle: Option<String>,
}

/// Files by which the agent and `archive_command` speak with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signals {
    /// There while the last attempt that came to an end has failed; holds what it said.
    pub failed: PathBuf,
    /// There when the server is to end without waiting for what is not archived yet.
    pub ends: PathBuf,
}

impl Signals {
    /// Those in `folder`, which goes with the pod.
    pub fn within(folder: &Path) -> Self {
        Self {
            failed: folder.join("archive.failed"),
            ends: folder.join("archive.ends"),
        }
    }

    /// Why the last attempt failed, if it did.
    pub fn failure(&self) -> Option<String> {
        let said = fs::read(&self.failed).ok()?;
        Some(output::error(&String::from_utf8_lossy(&said)))
    }

    /// Lets the server end now: what is not archived stays where it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(&self) -> Result<(), FileError> {
        named(fs::write(&self.ends, b""), "write", &self.ends)
    }

    /// A new server begins.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn clear(&self) -> Result<(), FileError> {
        for path in [&self.failed, &self.ends] {
            match fs::remove_file(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => named(removed, "remove", path)?,
            }
        }
        Ok(())
    }
}

/// `archive_command` that archives with `program` as `conf` says. A server that is to end gets a status that ends its archiver
/// at once (PostgreSQL, "Continuous Archiving": one above 125); otherwise it tries three times what it began.
pub fn command(program: &Path, conf: &Path, signals: &Signals) -> String {
    let word = |path: &Path| word(&path.display().to_string());
    let (program, conf) = (word(program), word(conf));
    let (failed, ends) = (word(&signals.failed), word(&signals.ends));
    let said = self::word(&format!("{}.new", signals.failed.display()));
    format!(
        "test ! -e {ends} || exit 130; \
         if {program} --config={conf} --stanza={STANZA} archive-push \"%p\" 2>{said}; \
         then test ! -e {failed} || rm -f {failed}; exit 0; fi; \
         test ! -e {ends} || exit 130; mv -f {said} {failed}; exit 1"
    )
}

/// `archive_command` where nothing can be archived, for this reason: it fails, so that WAL is kept.
pub fn refusal(reason: &str, signals: &Signals) -> String {
    let (reason, failed) = (word(reason), word(&signals.failed.display().to_string()));
    format!("echo {reason} >{failed}; cat {failed} >&2; exit 1")
}

/// `text` as one word of a shell, in a setting where `%` has a meaning.
pub(super) fn word(text: &str) -> String {
    let quoted = text.replace('\'', r"'\''").replace('%', "%%");
    format!("'{quoted}'")
}

/// How archiving goes, as `pg_stat_archiver` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archiver {
    /// The WAL file that was archived last; empty where none was.
    pub last_archived: String,
    /// When.
    pub last_archived_at: Option<SystemTime>,
    /// When an attempt last failed.
    pub last_failed_at: Option<SystemTime>,
}

/// How many WAL files of a data directory are complete and not archived.
///
/// # Errors
/// The folder cannot be read.
pub fn waiting(data: &Path) -> Result<u32, FileError> {
    let folder = data.join("pg_wal/archive_status");
    let mut waiting = 0;
    for entry in named(fs::read_dir(&folder), "list", &folder)? {
        let name = named(entry, "list", &folder)?.file_name();
        waiting += u32::from(name.as_encoded_bytes().ends_with(b".ready"));
    }
    Ok(waiting)
}

/// Has a standby that is to be promoted archive all WAL again that it has of the primary before it, which may not have come to
/// that; how many files. PostgreSQL takes what a standby receives for archived. pgBackRest leaves out what it has.
///
/// # Errors
/// A file cannot be renamed.
pub fn again(data: &Path) -> Result<u32, FileError> {
    let folder = data.join("pg_wal/archive_status");
    let mut count = 0;
    for entry in named(fs::read_dir(&folder), "list", &folder)? {
        let done = named(entry, "list", &folder)?.path();
        let is_segment = done.file_stem().is_some_and(|name| {
            let name = name.as_encoded_bytes();
            name.len() == 24 && name.iter().all(u8::is_ascii_hexdigit)
        });
        if !is_segment || done.extension().is_none_or(|extension| extension != "done") {
            continue;
        }
        match fs::rename(&done, done.with_extension("ready")) {
            // The server has no use for the file any more and has removed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => {
                named(renamed, "rename", &done)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Forgets what a former server of this data directory had archived ahead (pgBackRest's spool): of another one the same names
/// mean other WAL.
///
/// # Errors
/// The folder cannot be removed.
pub fn clear_spool(spool: &Path) -> Result<(), FileError> {
    let remove = |folder: &Path| match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => named(removed, "remove", folder),
    };
    let mut old = spool.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    remove(&old)?;
    // At once, also for what still writes there.
    match fs::rename(spool, &old) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        renamed => named(renamed, "rename", spool)?,
    }
    remove(&old)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        signals: Signals,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::Builder::new()
                .prefix("it's 100%")
                .tempdir()
                .expect("a folder");
            let signals = Signals::within(folder.path());
            Self { folder, signals }
        }

        /// Runs the command with a pgBackRest that is this script; its status.
        fn run(&self, script: &str) -> i32 {
            let path = self.folder.path().join("script");
            fs::write(&path, script).expect("written");
            let command = command(Path::new("/bin/sh"), &path, &self.signals);
            // As PostgreSQL replaces what stands for the file.
            let command = command
                .replace("%p", "pg_wal/1")
                .replace("%%", "%")
                .replace("--config=", "");
            let status = Command::new("sh").args(["-c", &command]).status();
            status.expect("run").code().expect("an exit")
        }
    }

    #[test]
    fn a_failure_is_kept_until_an_attempt_succeeds() {
        let place = Place::new();
        assert_eq!(place.run("exit 0"), 0);
        assert_eq!(place.signals.failure(), None);
        assert_eq!(place.run("echo 'ERROR: [103]: away' >&2; exit 103"), 1);
        assert_eq!(place.signals.failure().as_deref(), Some("[103]: away"));
        assert_eq!(place.run("exit 0"), 0);
        assert_eq!(place.signals.failure(), None);
    }

    #[test]
    fn a_server_that_ends_waits_for_no_attempt() {
        let place = Place::new();
        let ends = fs::canonicalize(place.folder.path()).expect("a path");
        let ends = ends.join("archive.ends").display().to_string();
        // In the middle of an attempt, and before one.
        let script = format!("touch \"{}\"; exit 1", ends.replace('"', ""));
        assert_eq!(place.run(&script), 130);
        assert_eq!(place.run("exit 0"), 130);
        place.signals.clear().expect("removed");
        assert_eq!(place.run("exit 0"), 0);
        place.signals.end().expect("written");
        assert_eq!(place.run("exit 0"), 130);
    }

    #[test]
    fn where_nothing_can_be_archived_the_reason_is_told() {
        let place = Place::new();
        let command = refusal("there's none: 5%", &place.signals).replace("%%", "%");
        let run = Command::new("sh")
            .args(["-c", &command])
            .output()
            .expect("run");
        assert_eq!(run.status.code(), Some(1));
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(said, "there's none: 5%\n");
        assert_eq!(place.signals.failure().as_deref(), Some("there's none: 5%"));
    }

    #[test]
    fn what_was_archived_ahead_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = folder.path().join("spool");
        clear_spool(&spool).expect("nothing is there");
        fs::create_dir_all(spool.join("archive/db/out")).expect("a folder");
        fs::write(spool.join("archive/db/out/1.ok"), b"").expect("written");
        clear_spool(&spool).expect("removed");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn what_came_from_a_former_primary_is_archived_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let status = folder.path().join("pg_wal/archive_status");
        fs::create_dir_all(&status).expect("a folder");
        let segment = "0000000100000000000000AB";
        for name in [
            format!("{segment}.done"),
            "000000010000000000000003.ready".to_owned(),
            "00000002.history.done".to_owned(),
            format!("{segment}.00000028.backup.done"),
        ] {
            fs::write(status.join(name), b"").expect("written");
        }
        assert_eq!(again(folder.path()).expect("renamed"), 1);
        assert!(status.join(format!("{segment}.ready")).exists());
        assert!(status.join("00000002.history.done").exists());
        assert_eq!(waiting(folder.path()).expect("read"), 2);
    }

    #[test]
    fn only_complete_files_that_are_not_archived_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let status = folder.path().join("pg_wal/archive_status");
        fs::create_dir_all(&status).expect("a folder");
        for name in ["1.ready", "2.ready", "3.done"] {
            fs::write(status.join(name), b"").expect("written");
        }
        assert_eq!(waiting(folder.path()).expect("read"), 2);
        assert!(waiting(Path::new("/nowhere")).is_err());
    }
}
