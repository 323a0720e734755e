//! What outlives the agent: who its data is, and what it has promised. Two small files beside the data directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pgo_ha::{Promise, VoterId};
use pgo_postgres::files::{FileError, named, read_if_there, write_atomically};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// Ending of the file beside the data directory that says what a former primary had more than its successor, as JSON.
pub const COMPARED: &str = ".compared";

/// Both files are the agent's alone.
const MODE: u32 = 0o600;

/// Why what the volume holds cannot be known or kept.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else.
    #[error(
        "{} is damaged ({cause}); remove this instance's volume and let it be made anew from the primary",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    voter: VoterId,
    /// Whether there was data. An identity whose data is gone is not taken up again: it stands for what it had.
    filled: bool,
    /// Uid of the cluster by whose Lease it went last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
}

/// The files of one instance.
#[derive(Clone, Debug)]
pub struct Volume {
    identity: Identity,
    promise: Promise,
    identity_file: PathBuf,
    promise_file: PathBuf,
}

impl Volume {
    /// Opens the files beside the data directory `data`; makes a new identity where there is none, or where there is no
    /// data any more.
    ///
    /// # Errors
    /// A file cannot be read or written, or is damaged.
    pub fn open(data: &Path, has_data: bool) -> Result<Self, VolumeError> {
        let identity_file = beside(data, ".voter");
        let promise_file = beside(data, ".promise");
        let found: Option<Identity> = read(&identity_file)?;
        let kept = found.filter(|identity| has_data || !identity.filled);
        let (identity, promise) = match kept {
            Some(identity) => (identity, read(&promise_file)?.unwrap_or_default()),
            None => {
                // First, so that a new identity never has an old one's promise without its data.
                remove(&promise_file)?;
                let voter = VoterId::from(Uuid::new_v4());
                let filled = has_data;
                let cluster = None;
                let identity = Identity {
                    voter,
                    filled,
                    cluster,
                };
                write(&identity_file, &identity)?;
                (identity, Promise::default())
            }
        };
        Ok(Self {
            identity,
            promise,
            identity_file,
            promise_file,
        })
    }

    /// Who votes here.
    pub fn voter(&self) -> VoterId {
        self.identity.voter
    }

    /// What was promised.
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// Puts a promise on disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&mut self, promise: Promise) -> Result<(), VolumeError> {
        write(&self.promise_file, &promise)?;
        self.promise = promise;
        Ok(())
    }

    /// Forgets what was compared in a cluster that was deleted, and whose data begins a new one.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget_comparison(&self) -> Result<(), VolumeError> {
        Ok(remove(&self.identity_file.with_extension("compared"))?)
    }

    /// Whether there is data.
    pub fn has_data(&self) -> bool {
        self.identity.filled
    }

    /// Whether something was promised by a Lease of the cluster with this uid. The data of a cluster that was deleted has
    /// promises that bind nobody any more.
    pub fn has_promised_to(&self, cluster: Option<&str>) -> bool {
        self.promise != Promise::default() && self.identity.cluster.as_deref() == cluster
    }

    /// Remembers by the Lease of which cluster it goes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn belongs_to(&mut self, cluster: Option<&str>) -> Result<(), VolumeError> {
        if self.identity.cluster.as_deref() != cluster {
            self.identity.cluster = cluster.map(str::to_owned);
            write(&self.identity_file, &self.identity)?;
        }
        Ok(())
    }

    /// Remembers that there is data from now on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn filled(&mut self) -> Result<(), VolumeError> {
        if !self.identity.filled {
            self.identity.filled = true;
            write(&self.identity_file, &self.identity)?;
        }
        Ok(())
    }
}

fn beside(data: &Path, ending: &str) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, VolumeError> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|cause| VolumeError::Damaged {
        path: path.to_owned(),
        cause,
    })
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), VolumeError> {
    let text = serde_json::to_string(value).map_err(|cause| VolumeError::Damaged {
        path: path.to_owned(),
        cause,
    })?;
    write_atomically(path, text.as_bytes(), MODE)?;
    Ok(())
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => named(result, "remove", path),
    }
}

#[cfg(test)]
mod tests {
    use pgo_ids::Term;

    use super::*;

    fn promise(term: u64) -> Promise {
        Promise {
            term: Term(term),
            no_vote: None,
        }
    }

    #[test]
    fn identity_and_promise_outlive_the_agent() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        let mut volume = Volume::open(&data, false).expect("opened");
        volume.keep(promise(3)).expect("kept");
        // The agent died during initdb: the Lease may name this identity already.
        let mut again = Volume::open(&data, false).expect("opened");
        assert_eq!(
            (again.voter(), again.promise()),
            (volume.voter(), promise(3))
        );
        again.filled().expect("kept");
        let again = Volume::open(&data, true).expect("opened");
        assert_eq!(again.voter(), volume.voter());
    }

    #[test]
    fn an_identity_whose_data_is_gone_is_not_taken_up_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        let mut volume = Volume::open(&data, false).expect("opened");
        volume.keep(promise(3)).expect("kept");
        volume.filled().expect("kept");
        let other = Volume::open(&data, false).expect("opened");
        assert_ne!(other.voter(), volume.voter());
        assert_eq!(other.promise(), Promise::default());
    }

    #[test]
    fn what_was_promised_to_a_cluster_that_is_gone_binds_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        let mut volume = Volume::open(&data, true).expect("opened");
        assert!(!volume.has_promised_to(None), "nothing is promised");
        volume.belongs_to(Some("first")).expect("kept");
        volume.keep(promise(1)).expect("kept");
        let again = Volume::open(&data, true).expect("opened");
        assert!(again.has_promised_to(Some("first")));
        assert!(!again.has_promised_to(Some("second")));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        fs::write(beside(&data, ".voter"), "{").expect("written");
        let error = Volume::open(&data, true).expect_err("damaged").to_string();
        assert!(error.contains("hippo.voter is damaged"), "{error}");
    }
}
