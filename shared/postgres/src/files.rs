//! Files that are either there as a whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {cause}", path.display())]
pub struct FileError {
    /// What was tried, as in "write".
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub cause: io::Error,
}

/// Makes the result of an operation on `path` name it.
pub fn named<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<T, FileError> {
    result.map_err(|cause| FileError {
        action,
        path: path.to_owned(),
        cause,
    })
}

/// Writes `content` to `path` with the permissions `mode`, whatever is there: after a crash at any moment there is the
/// old file or the new one.
///
/// # Errors
/// The file system refuses.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    replace(path, content, mode, File::sync_all)?;
    sync_folder_of(path)
}

/// Puts a new file with `content` in the place of `path`, once it is durable by what `sync` does for that.
fn replace(
    path: &Path,
    content: &[u8],
    mode: u32,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), FileError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut file| {
            // A file left by a former try keeps its own mode otherwise.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(content)?;
            sync(&file)
        });
    named(written, "write", &new)?;
    named(fs::rename(&new, path), "replace", path)
}

/// As [`write_atomically`], but nothing is written where the content is the same.
///
/// # Errors
/// The file system refuses.
pub fn write_if_changed(path: &Path, content: &[u8], mode: u32) -> Result<bool, FileError> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    write_atomically(path, content, mode).map(|()| true)
}

/// As [`write_if_changed`], for a file that is written anew before anybody reads it after a crash of the machine: which does
/// not wait for the disk.
///
/// # Errors
/// The file system refuses.
pub fn replace_if_changed(path: &Path, content: &[u8], mode: u32) -> Result<bool, FileError> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    replace(path, content, mode, |_| Ok(())).map(|()| true)
}

/// Makes the names in the folder that holds `path` durable.
///
/// # Errors
/// The file system refuses.
pub fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    named(
        File::open(folder).and_then(|folder| folder.sync_all()),
        "sync",
        folder,
    )
}

/// The content of `path`; nothing where there is no such file.
///
/// # Errors
/// The file cannot be read for any other reason.
pub fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => named(Err(error), "read", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_permissions() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("server.key");
        write_atomically(&path, b"one", 0o644).expect("written");
        assert!(write_if_changed(&path, b"two", 0o600).expect("written"));
        assert!(!write_if_changed(&path, b"two", 0o600).expect("as before"));
        assert_eq!(fs::read(&path).expect("read"), b"two");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn an_error_names_the_file() {
        let error = write_atomically(Path::new("/nowhere/at/all"), b"", 0o600).expect_err("no");
        assert!(error.to_string().contains("/nowhere/at/all.new"), "{error}");
        assert!(matches!(
            read_if_there(Path::new("/nowhere/at/all")),
            Ok(None)
        ));
    }
}
