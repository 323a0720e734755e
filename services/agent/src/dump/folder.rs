//! The folder of a cluster's dumps on their volume: what is in it is whole, and known by the operation that made it.

use std::{
    fs::{self, File, TryLockError},
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use pgo_ids::ClusterName;
use pgo_postgres::{
    base::{BASE_MANIFEST, BaseManifest},
    dump::{MANIFEST, Manifest},
    files::{FileError, named, read_if_there, sync_folder_of, write_atomically},
};
use pgo_telemetry::CancellationToken;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Answer;

/// What a folder is called that is not whole yet.
const PARTIAL: &str = ".partial";

/// The folder with what was restored.
const RESTORES: &str = "restores";

/// 4.1's name of a dump: when it was begun.
const TIME: &str = "%Y-%m-%d-%H-%M-%S";

/// Who may read what is written here.
const MODE: u32 = 0o600;

/// Pause before another look at whether the volume is free.
const PAUSE: Duration = Duration::from_millis(500);

/// How long another pod may take to let the volume go.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why the volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another one works there.
    #[error("another pod works on the dumps in {}", .0.display())]
    Busy(PathBuf),
    /// A file of ours is something else.
    #[error("{} cannot be understood: {cause}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// There is no such dump, or backup.
    #[error("there is no {what} {name} in {}; {there}", folder.display())]
    NoDump {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// What there is, for people.
        there: String,
    },
}

/// How far a restore is, as its operation has noted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Restore {
    /// It has begun.
    Begun,
    /// It is done, with this answer.
    Done(Answer),
}

/// What a folder can hold, by what is to be known of each.
pub trait Kept: Serialize + DeserializeOwned {
    /// Name of the file with it.
    const FILE: &'static str;
    /// What it is about, for people.
    const WHAT: &'static str;
    /// Id of the operation that made it.
    fn operation(&self) -> &str;
}

impl Kept for Manifest {
    const FILE: &'static str = MANIFEST;
    const WHAT: &'static str = "dump";
    fn operation(&self) -> &str {
        &self.operation
    }
}

impl Kept for BaseManifest {
    const FILE: &'static str = BASE_MANIFEST;
    const WHAT: &'static str = "backup";
    fn operation(&self) -> &str {
        &self.operation
    }
}

/// The folder, locked; of what it holds, that of one kind is seen.
pub struct Folder<M> {
    path: PathBuf,
    _lock: File,
    of: PhantomData<M>,
}

impl<M: Kept> Folder<M> {
    /// Makes it where it is not there, and locks it.
    ///
    /// # Errors
    /// It cannot be written, or another pod works there.
    pub async fn open(
        volume: &Path,
        cluster: &ClusterName,
        stop: &CancellationToken,
    ) -> Result<Self, FolderError> {
        let path = volume.join(format!("{cluster}-backups"));
        named(fs::create_dir_all(path.join(RESTORES)), "make", &path)?;
        let lock = path.join(".lock");
        let file = File::options().create(true).append(true).open(&lock);
        let file = named(file, "open", &lock)?;
        let begin = std::time::Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => {
                    let (_lock, of) = (file, PhantomData);
                    return Ok(Self { path, _lock, of });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    named(Err(error), "lock", &lock)?;
                }
            }
            if begin.elapsed() > PATIENCE || stop.is_cancelled() {
                return Err(FolderError::Busy(path));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Where a dump lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The dumps there are, by name, the newest last.
    fn names(&self) -> Result<Vec<String>, FolderError> {
        let mut names = Vec::new();
        for entry in named(fs::read_dir(&self.path), "read", &self.path)? {
            let entry = named(entry, "read", &self.path)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.ends_with(PARTIAL) && entry.path().join(M::FILE).is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn manifest(&self, name: &str) -> Result<Option<M>, FolderError> {
        let path = self.path(name).join(M::FILE);
        read_json(&path)
    }

    /// The dump that an operation has made.
    pub fn made_by(&self, operation: &str) -> Result<Option<(String, M)>, FolderError> {
        for name in self.names()?.into_iter().rev() {
            // One that cannot be read is none of this operation's, which has written it as a whole.
            if let Ok(Some(manifest)) = self.manifest(&name)
                && manifest.operation() == operation
            {
                return Ok(Some((name, manifest)));
            }
        }
        Ok(None)
    }

    /// The dump of this name, or the newest.
    pub fn find(&self, name: Option<&str>) -> Result<(String, M), FolderError> {
        let names = self.names()?;
        let wanted = name.or(names.last().map(String::as_str));
        let found = wanted.filter(|wanted| names.iter().any(|name| name == wanted));
        if let Some(name) = found
            && let Some(manifest) = self.manifest(name)?
        {
            return Ok((name.to_owned(), manifest));
        }
        let there = match names.as_slice() {
            [] => "there is none at all".to_owned(),
            some => format!("there are {}", some.join(", ")),
        };
        Err(FolderError::NoDump {
            what: M::WHAT,
            name: name.unwrap_or("at all").to_owned(),
            folder: self.path.clone(),
            there,
        })
    }

    /// Removes what is not whole: nobody works on it any more.
    pub fn clear(&self) -> Result<(), FolderError> {
        for entry in named(fs::read_dir(&self.path), "read", &self.path)? {
            let entry = named(entry, "read", &self.path)?;
            if entry.file_name().to_string_lossy().ends_with(PARTIAL) {
                let path = entry.path();
                tracing::info!(path = %path.display(), "what is not whole goes");
                named(fs::remove_dir_all(&path), "remove", &path)?;
            }
        }
        Ok(())
    }

    /// A folder for a dump that is begun now.
    pub fn begin(&self, now: Timestamp) -> Result<Partial<'_, M>, FolderError> {
        let mut at = now;
        let name = loop {
            let name = at.strftime(TIME).to_string();
            if !self.path(&name).exists() {
                break name;
            }
            at += SignedDuration::from_secs(1);
        };
        let path = self.path(&format!("{name}{PARTIAL}"));
        named(fs::create_dir(&path), "make", &path)?;
        Ok(Partial {
            folder: self,
            name,
            path,
        })
    }

    fn restore(&self, operation: &str) -> PathBuf {
        // An id comes from PGO; nothing else is to become a path.
        let safe = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let name: String = operation.chars().filter(|c| safe(*c)).collect();
        self.path.join(RESTORES).join(format!("{name}.json"))
    }

    /// What is known of the restore by an operation.
    pub fn restored_by(&self, operation: &str) -> Result<Option<Restore>, FolderError> {
        read_json(&self.restore(operation))
    }

    /// Notes how far an operation is.
    pub fn note_restore(&self, operation: &str, how: &Restore) -> Result<(), FolderError> {
        let path = self.restore(operation);
        let text = serde_json::to_vec(how).map_err(io::Error::from);
        write_atomically(&path, &named(text, "write", &path)?, MODE)?;
        Ok(())
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FolderError> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    let read = serde_json::from_str(&text);
    read.map(Some).map_err(|cause| FolderError::Unknown {
        path: path.to_owned(),
        cause,
    })
}

/// Sees to it that a file is on the disk.
pub fn synced(path: &Path) -> Result<(), FolderError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    named(synced, "write to the disk", path)?;
    Ok(())
}

/// Size of a file.
pub fn size(path: &Path) -> Result<u64, FolderError> {
    Ok(named(fs::metadata(path), "read", path)?.len())
}

/// A dump that is not whole yet.
pub struct Partial<'a, M> {
    folder: &'a Folder<M>,
    name: String,
    path: PathBuf,
}

impl<M: Kept> Partial<'_, M> {
    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It failed: nothing of it stays.
    pub fn discard(self) -> Result<(), FolderError> {
        named(fs::remove_dir_all(&self.path), "remove", &self.path)?;
        Ok(())
    }

    /// It is whole, and on the disk: it gets its name.
    pub fn keep(self, manifest: &M) -> Result<String, FolderError> {
        let path = self.path.join(M::FILE);
        let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from);
        let text = named(text, "write", &path)?;
        write_atomically(&path, &text, MODE)?;
        let whole = self.folder.path(&self.name);
        named(fs::rename(&self.path, &whole), "rename to", &whole)?;
        sync_folder_of(&whole)?;
        Ok(self.name)
    }
}
