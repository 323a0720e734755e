//! Where dead letters are, and what a change of them waits for.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
};

use super::{Error, Letters, Room};
use crate::replication::leading::{Fenced, Leading};

/// Where dead letters are, opened when it is needed first: a volume that is full for a while must not stop the log.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    open: Mutex<Option<Arc<Letters>>>,
    turn: watch::Receiver<Option<Arc<Leading>>>,
}

/// Why a change of dead letters does not count.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The own file.
    #[error(transparent)]
    File(#[from] Error),
    /// The other replica's letters count now.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The process ends.
    #[error("the process ends: {0}")]
    Ending(#[from] JoinError),
}

impl Shelf {
    /// In the folder of the log; `turn` is the leadership where there are two replicas.
    #[must_use]
    pub fn new(folder: &Path, turn: watch::Receiver<Option<Arc<Leading>>>) -> Self {
        Self {
            folder: folder.to_owned(),
            open: Mutex::default(),
            turn,
        }
    }

    /// The letters. Blocks for a disk's time.
    ///
    /// # Errors
    /// The file cannot be used now.
    pub fn letters(&self) -> Result<Arc<Letters>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(letters) = &*open {
            return Ok(letters.clone());
        }
        let letters = Arc::new(Letters::open(&self.folder, Room::default())?);
        *open = Some(letters.clone());
        Ok(letters)
    }

    /// Reads or changes the letters here.
    pub(super) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Letters) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let shelf = self.clone();
        Ok(spawn_blocking(move || work(&*shelf.letters()?)).await??)
    }

    /// Changes the letters, and returns what the change does once the other replica has it too, or is noted to be behind. What
    /// changes nothing waits as well: it may be a change that was made, and not waited for, before.
    ///
    /// # Errors
    /// The file cannot be written, or another replica leads now.
    pub async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&Letters) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let leading = self.turn.borrow().clone();
        let changed = self.with(change).await?;
        if let Some(leading) = leading {
            leading.letters_changed().await?;
        }
        Ok(changed)
    }
}
