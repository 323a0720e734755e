//! What an instance is to be made from, by its environment, and how far that is, by its volume.
//!
//! ```text
//! nothing ─► copied: marked, a standby that replays what is archived ─► promoted: done for ever
//! ```
//!
//! The environment stays as it is for the life of the pod. The volume says whether it still means something.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use pgo_postgres::{
    backrest::{
        restore::{Fetches, Recovery, Wish, WishError},
        storage::Storage,
    },
    files::{FileError, read_if_there, write_atomically},
    initdb::{Presence, presence},
    standby,
};
use serde::{Deserialize, Serialize};

use crate::cli::Settings;

/// Who may read the mark.
const MODE: u32 = 0o600;

/// What an instance is to be made from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// Id of the operation.
    pub operation: String,
    /// Options of `pgbackrest restore`.
    pub options: Vec<String>,
}

impl FromStr for Order {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// What stands beside data that was made from a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Id of the operation.
    pub operation: String,
    /// Label of the backup.
    pub backup: String,
    /// Number of pgBackRest's repository that it is in.
    #[serde(default = "local")]
    pub repository: u32,
    /// Timeline that is replayed.
    pub timeline: u32,
    /// Whether the instance was promoted.
    pub done: bool,
}

/// The only one of former versions.
fn local() -> u32 {
    Storage::Local.number()
}

/// What is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// The backup is to be copied.
    Copy,
    /// What is archived is to be replayed.
    Replay(Mark),
}

/// Why it is not known what is left to do.
#[derive(Debug, thiserror::Error)]
pub enum RestorationError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The mark is something else.
    #[error("{} cannot be understood: {cause}", path.display())]
    Mark {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// There is data that was not made by this restore.
    #[error("{} holds something that this restore has not made; it is left as it is", .0.display())]
    Occupied(PathBuf),
    /// It is not said what to restore.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// There is no pgBackRest, or nothing is archived.
    #[error("{0}")]
    NoProgram(String),
}

impl RestorationError {
    /// Whether it stays so whatever is tried.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

fn path(data: &Path) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(".restored");
    path.into()
}

fn read(data: &Path) -> Result<Option<Mark>, RestorationError> {
    let path = path(data);
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    let mark = serde_json::from_str(&text);
    mark.map(Some)
        .map_err(|cause| RestorationError::Mark { path, cause })
}

/// Puts the mark on the disk.
///
/// # Errors
/// It cannot be written.
pub fn write(data: &Path, mark: &Mark) -> Result<(), RestorationError> {
    let path = path(data);
    let text = serde_json::to_vec(mark);
    let text = text.map_err(|cause| RestorationError::Mark {
        path: path.clone(),
        cause,
    })?;
    Ok(write_atomically(&path, &text, MODE)?)
}

/// What is left to do of `order` on the volume of `data`; nothing once it was promoted, whatever became of it since.
///
/// # Errors
/// That cannot be told, or there is other data.
pub fn pending(order: Option<&Order>, data: &Path) -> Result<Option<Pending>, RestorationError> {
    let Some(order) = order else {
        return Ok(None);
    };
    let mark = read(data)?;
    let own = mark.filter(|mark| mark.operation == order.operation);
    match (presence(data)?, own) {
        (_, Some(mark)) if mark.done => Ok(None),
        (Presence::Nothing, _) => Ok(Some(Pending::Copy)),
        (Presence::Data, Some(mark)) if standby::is_standby(data) => {
            Ok(Some(Pending::Replay(mark)))
        }
        // It was promoted, and its agent ended before it could say so.
        (Presence::Data, Some(mark)) => {
            write(data, &Mark { done: true, ..mark })?;
            Ok(None)
        }
        (Presence::Data | Presence::Foreign, _) => Err(RestorationError::Occupied(data.to_owned())),
    }
}

/// Remembers that data which begins a timeline of its own is done; its mark, if it has one of `order`.
///
/// # Errors
/// The mark cannot be read or written.
pub fn finish(order: &Order, data: &Path) -> Result<Option<Mark>, RestorationError> {
    let own = read(data)?.filter(|mark| mark.operation == order.operation);
    let Some(mark) = own else {
        return Ok(None);
    };
    let mark = Mark { done: true, ..mark };
    write(data, &mark)?;
    Ok(Some(mark))
}

/// How PostgreSQL is to recover, while it is to replay what is archived.
///
/// # Errors
/// As [`pending`], or what is wanted cannot be understood.
pub fn recovery(settings: &Settings) -> Result<Option<Recovery>, RestorationError> {
    let pending = pending(settings.restore.as_ref(), &settings.data)?;
    match (pending, &settings.restore) {
        (Some(Pending::Replay(mark)), Some(order)) => {
            let wish = Wish::read(&order.options)?;
            recovery_along(settings, wish, mark.timeline).map(Some)
        }
        _ => Ok(None),
    }
}

/// How it is to recover along `timeline`.
///
/// # Errors
/// There is no pgBackRest.
pub fn recovery_along(
    settings: &Settings,
    wish: Wish,
    timeline: u32,
) -> Result<Recovery, RestorationError> {
    let program = settings.backrest()?;
    let fetches = settings.fetches();
    Ok(Recovery {
        command: fetches.command(&program.program, &settings.backrest_conf()),
        target: wish.target,
        exclusive: wish.exclusive,
        timeline,
    })
}

impl Settings {
    /// How `restore_command` tells what became of it.
    pub fn fetches(&self) -> Fetches {
        Fetches::within(&self.socket().folder)
    }

    /// The program that restores.
    ///
    /// # Errors
    /// There is none.
    pub fn backrest(&self) -> Result<&pgo_postgres::backrest::Backrest, RestorationError> {
        self.backrest.as_ref().ok_or_else(|| {
            let obstacle = self.archive.as_ref();
            let obstacle = obstacle.and_then(|archive| archive.obstacle.clone());
            let nothing = || "this cluster has no repository of backups".to_owned();
            RestorationError::NoProgram(obstacle.unwrap_or_else(nothing))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn order() -> Order {
        r#"{"operation":"0197","options":["--type=time"]}"#
            .parse()
            .expect("an order")
    }

    fn mark() -> Mark {
        Mark {
            operation: "0197".to_owned(),
            backup: "20260102-030405F".to_owned(),
            repository: 1,
            timeline: 1,
            done: false,
        }
    }

    /// A volume, and the data directory on it.
    fn volume() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo-abcd");
        (folder, data)
    }

    fn fill(data: &Path, is_standby: bool) {
        fs::create_dir_all(data).expect("a folder");
        fs::write(data.join("PG_VERSION"), "15\n").expect("written");
        if is_standby {
            fs::write(data.join("standby.signal"), "").expect("written");
        }
    }

    #[test]
    fn it_goes_from_the_copy_over_the_replay_to_its_end_and_never_back() {
        let (_folder, data) = volume();
        let order = order();
        let left = || pending(Some(&order), &data).expect("told");
        assert_eq!(pending(None, &data).expect("told"), None);
        assert_eq!(left(), Some(Pending::Copy));
        // Marked, and broken off before the data had its name.
        write(&data, &mark()).expect("marked");
        assert_eq!(left(), Some(Pending::Copy));
        fill(&data, true);
        assert_eq!(left(), Some(Pending::Replay(mark())));
        // Promoted, and broken off before that was marked.
        fs::remove_file(data.join("standby.signal")).expect("removed");
        assert_eq!(left(), None);
        // Another one took over, and this one follows it, or is cloned anew.
        fill(&data, true);
        assert_eq!(left(), None);
        fs::remove_dir_all(&data).expect("removed");
        assert_eq!(left(), None);
    }

    #[test]
    fn what_was_not_made_by_this_restore_is_left_alone() {
        let (_folder, data) = volume();
        fill(&data, false);
        let error = pending(Some(&order()), &data).expect_err("occupied");
        assert!(error.is_final() && error.to_string().contains("hippo-abcd"));
        let other = Mark {
            operation: "other".to_owned(),
            done: true,
            ..mark()
        };
        write(&data, &other).expect("marked");
        pending(Some(&order()), &data).expect_err("occupied still");
        fs::write(path(&data), "{}").expect("written");
        let error = pending(Some(&order()), &data).expect_err("damaged");
        assert!(error.to_string().contains(".restored cannot be understood"));
    }
}
