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

/// The program of PostgreSQL's servers.
pub const POSTGRES: &str = "postgres";

/// The processes whose parent is `parent`.
pub fn children_of(parent: Pid) -> Vec<Pid> {
    all()
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

/// The processes that work in `folder`: each process of a PostgreSQL does in its data directory.
pub fn working_in(folder: &Path) -> Vec<Pid> {
    named_in(POSTGRES, folder)
}

/// The processes of a program of this name that work in `folder`.
pub fn named_in(program: &str, folder: &Path) -> Vec<Pid> {
    named_at(program, &resolved(folder))
}

/// A folder as /proc names it: without symbolic links. Where the volume does not answer, or the folder is not there yet, it is what
/// is known of the way to it.
pub fn resolved(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| {
        let parent = folder
            .parent()
            .and_then(|parent| parent.canonicalize().ok());
        match (parent, folder.file_name()) {
            (Some(parent), Some(name)) => parent.join(name),
            _ => folder.to_owned(),
        }
    })
}

/// The processes of a program of this name that work in a folder that is [`resolved`]. Nothing of the volume is looked at: it may
/// hang.
pub fn named_at(program: &str, folder: &Path) -> Vec<Pid> {
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

/// The group in `/proc/PID/stat`.
fn group_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(2)?.parse().ok()
}

/// How many bytes the processes of a group have read and written since they began, files and connections alike; of those that have
/// ended, none.
pub fn moved_by(group: Pid) -> u64 {
    let is_of_it = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        stat.and_then(|stat| group_in(&stat)) == Some(group.as_raw())
    };
    let moved = all().filter(is_of_it).filter_map(|pid| {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
        Some(moved_in(&io))
    });
    moved.sum()
}

/// The bytes in `/proc/PID/io` (proc(5): `rchar` and `wchar`).
fn moved_in(io: &str) -> u64 {
    let counts = io.lines().filter_map(|line| {
        let (name, count) = line.split_once(": ")?;
        let count: u64 = count.parse().ok()?;
        matches!(name, "rchar" | "wchar").then_some(count)
    });
    counts.sum()
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
    fn who_works_in_a_folder_is_found_also_where_that_cannot_be_looked_at_any_more() {
        let volume = tempfile::tempdir().expect("a folder");
        let (real, link) = (volume.path().join("real"), volume.path().join("link"));
        fs::create_dir_all(real.join("data")).expect("a folder");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let mut child = Command::new("sleep")
            .arg("60")
            .current_dir(real.join("data"))
            .spawn()
            .expect("started");
        let pid = Pid::from_raw(child.id().cast_signed());
        let known = resolved(&link.join("data"));
        // The way there answers nothing from now on.
        fs::remove_file(&link).expect("removed");
        assert_eq!(named_at("sleep", &known), [pid]);
        let elsewhere = real.join("gone").join("data");
        assert!(named_at("sleep", &resolved(&elsewhere)).is_empty());
        assert_eq!(resolved(&real.join("later")), known.with_file_name("later"));
        send(pid, Signal::SIGKILL);
        child.wait().expect("ended");
    }

    #[test]
    fn what_a_group_has_moved_is_counted() {
        let io = "rchar: 323934931\nwchar: 323929600\nsyscr: 632687\nread_bytes: 7\n";
        assert_eq!(moved_in(io), 323_934_931 + 323_929_600);
        assert_eq!(group_in("7 (a) b) S 42 8 7 0"), Some(8));
        let own = nix::unistd::getpgrp();
        let before = moved_by(own);
        fs::read("/proc/self/environ").expect("read");
        fs::read("/proc/self/maps").expect("read");
        assert!(before > 0 && moved_by(own) != before);
    }

    #[test]
    fn a_name_with_parentheses_hides_no_parent() {
        assert_eq!(parent_in("7 (a) b) S 42 7 7 0"), Some(42));
        assert_eq!(parent_in("nonsense"), None);
    }
}
