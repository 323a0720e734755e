//! Processes of this container, as /proc tells them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The processes whose parent is `parent`.
pub fn children_of(parent: Pid) -> Vec<Pid> {
    all()
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

/// The processes that work in `folder`: each process of a PostgreSQL does in its data directory.
pub fn working_in(folder: &Path) -> Vec<Pid> {
    named_in("postgres", folder)
}

/// The processes of a program of this name that work in `folder`.
pub fn named_in(program: &str, folder: &Path) -> Vec<Pid> {
    let Ok(folder) = folder.canonicalize() else {
        return Vec::new();
    };
    all()
        .filter(|pid| {
            // Those of other users cannot be looked at, and are none of ours.
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)
        })
        .filter(|pid| name_of(*pid).is_some_and(|name| name == program))
        .collect()
}

/// Sends a signal; that the process is gone already is no failure.
pub fn send(pid: Pid, signal: Signal) {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%pid, %signal, %error, "a signal could not be sent"),
    }
}

fn all() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parent_in(&stat).map(Pid::from_raw)
}

/// The parent in `/proc/PID/stat`. The name before it is in parentheses and may hold anything, parentheses too.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Name of the program that the process runs.
fn name_of(pid: Pid) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = PathBuf::from(program.file_name()?);
    // What the kernel shows once the file was replaced.
    let name = name.to_string_lossy();
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_found_by_its_parent_and_is_no_postgres() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new("sleep")
            .arg("60")
            .current_dir(folder.path())
            .spawn()
            .expect("started");
        let pid = Pid::from_raw(child.id().cast_signed());
        assert!(children_of(Pid::this()).contains(&pid));
        assert!(working_in(folder.path()).is_empty());
        send(pid, Signal::SIGKILL);
        child.wait().expect("ended");
        send(pid, Signal::SIGKILL);
    }

    #[test]
    fn a_name_with_parentheses_hides_no_parent() {
        assert_eq!(parent_in("7 (a) b) S 42 7 7 0"), Some(42));
        assert_eq!(parent_in("nonsense"), None);
    }
}
