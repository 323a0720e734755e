//! The lock on the data volume: at most one PostgreSQL on it.
//!
//! postmaster.pid protects nothing between containers, whose process numbers mean nothing to each other. So the agent
//! locks a file beside the data directory. PostgreSQL inherits the lock: it is held until the last server process is
//! gone, also where the agent dies before them.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use pgo_postgres::files::{FileError, named};
use rustix::{
    fs::{FlockOperation, flock},
    io::{FdFlags, fcntl_setfd},
};

/// A lock that is held until this and all child processes started meanwhile are gone.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Gives it back, also for all child processes that inherited it: none of them may use the volume any more.
    pub fn release(self) {
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "the volume stays locked until the last child process is gone");
        }
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(
        "{} is locked: another agent or a PostgreSQL started by one still uses this volume; waiting until it ends",
        .0.display()
    )]
    Held(PathBuf),
    /// The file cannot be opened or locked.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Locks the data directory `data`, without waiting.
///
/// # Errors
/// Somebody else has the lock, or the volume cannot be used.
pub fn take(data: &Path) -> Result<Lock, LockError> {
    let mut path = data.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = named(opened, "open", &path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => return Err(LockError::Held(path)),
        Err(error) => named(Err(io::Error::from(error)), "lock", &path)?,
    }
    named(
        fcntl_setfd(&file, FdFlags::empty()).map_err(io::Error::from),
        "share",
        &path,
    )?;
    Ok(Lock { file })
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn a_volume_is_locked_until_the_last_child_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        let lock = take(&data).expect("free");
        assert!(matches!(take(&data), Err(LockError::Held(_))));
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        drop(lock);
        assert!(matches!(take(&data), Err(LockError::Held(_))));
        drop(child.stdin.take());
        child.wait().expect("ended");
        // Children of other tests of this process may have inherited it, too, and end soon.
        let begin = Instant::now();
        while take(&data).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "free again");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_lock_that_is_given_back_is_free_whoever_has_inherited_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        let lock = take(&data).expect("free");
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        lock.release();
        assert!(take(&data).is_ok());
        drop(child.stdin.take());
        child.wait().expect("ended");
    }

    #[test]
    fn a_volume_that_is_not_there_is_named() {
        let error = take(Path::new("/nowhere/hippo")).expect_err("no folder");
        assert!(error.to_string().contains("/nowhere/hippo.lock"), "{error}");
    }
}
