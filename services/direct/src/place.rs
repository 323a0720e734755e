//! Up to where the log was fed, kept for the next process in the same pod: the readers of its nsqd stay connected while the
//! feeder is away, and are to miss nothing.
//!
//! The file is on a volume that ends with the pod, as that nsqd's channels do: a new pod begins at the log's end. It is as old as
//! the last event, of which a killed process leaves at most one that is fed again.

use std::{fs, io, path::PathBuf};

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Place(Option<PathBuf>);

impl Place {
    /// In this folder; without one nothing is kept.
    pub(crate) fn in_folder(folder: Option<PathBuf>) -> Self {
        Self(folder.map(|folder| folder.join("place")))
    }

    /// The cursor that was kept; none for a new pod.
    pub(crate) fn read(&self) -> Option<String> {
        let path = self.0.as_ref()?;
        match fs::read_to_string(path) {
            Ok(cursor) => Some(cursor).filter(|cursor| !cursor.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "it is not known where the log was fed up to; it begins at the log's end");
                None
            }
        }
    }

    /// Keeps a cursor, whole or not at all.
    pub(crate) fn write(&self, cursor: &str) {
        let Some(path) = &self.0 else { return };
        let new = path.with_extension("new");
        let written = fs::write(&new, cursor).and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            let path = path.display();
            tracing::warn!(%path, %error, "up to where the log is fed is not kept; is its volume writable and not full?");
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_last_cursor_is_kept_and_what_cannot_be_read_is_none() {
        let folder = TempDir::new().expect("a folder");
        let place = Place::in_folder(Some(folder.path().to_owned()));
        assert_eq!(place.read(), None);
        place.write("c1");
        place.write("c2");
        assert_eq!(place.read().as_deref(), Some("c2"));
        fs::write(folder.path().join("place"), [0xff]).expect("it is written");
        assert_eq!(place.read(), None);
        let nowhere = Place::in_folder(None);
        nowhere.write("c1");
        assert_eq!(nowhere.read(), None);
    }
}
