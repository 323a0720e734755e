//! A mark beside the data directory of a primary: some of its commits may have been acknowledged by nobody else, as in the
//! asynchronous mode, or by fewer replicas than the rule asks for, as the user chose. It tells, should another instance have
//! taken over, that what is missing there counts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pgo_postgres::files::{named, write_atomically};

use super::shown;

fn path(data: &Path) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(".lenient");
    path.into()
}

/// Puts the mark there, on the disk.
pub(super) fn mark(data: &Path) -> Result<(), String> {
    match is_marked(data) {
        true => Ok(()),
        false => write_atomically(&path(data), b"", 0o600).map_err(shown),
    }
}

/// The same before a server goes by the rule `k` at all.
pub(super) fn mark_where_nobody_is_asked(data: &Path, k: usize) -> Result<(), String> {
    match k {
        0 => mark(data),
        _ => Ok(()),
    }
}

/// Whether it is there.
pub(super) fn is_marked(data: &Path) -> bool {
    path(data).exists()
}

/// Takes it away: enough replicas have all that was acknowledged, or the data is another's copy now.
pub(super) fn clear(data: &Path) -> Result<(), String> {
    let path = path(data);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => named(removed, "remove", &path).map_err(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_until_it_is_taken_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        assert!(!is_marked(&data));
        for _ in 0..2 {
            mark(&data).expect("marked");
            assert!(is_marked(&data));
        }
        for _ in 0..2 {
            clear(&data).expect("cleared");
            assert!(!is_marked(&data));
        }
    }
}
