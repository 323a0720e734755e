//! What was begun and how it ended, on the repository's volume: whoever ordered it hears of it, whatever happens meanwhile.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pgo_postgres::{
    backrest::info::Set,
    files::{FileError, read_if_there, write_atomically},
};
use serde::{Deserialize, Serialize};

/// How many that have ended are remembered.
const MOST: usize = 20;

/// Who may read it.
const MODE: u32 = 0o600;

/// What is done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A backup is made.
    Backup,
    /// The stanza is made, and it is tried whether WAL arrives.
    CreateStanza,
    /// It is found out whether the cluster can be restored as somebody wants.
    CheckRestore,
}

impl What {
    /// Whether nothing is lost where it is begun again from its start.
    pub fn only_looks(self) -> bool {
        matches!(self, Self::CheckRestore)
    }

    /// The protocol's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::CreateStanza => "create-stanza",
            Self::CheckRestore => "check-restore",
        }
    }
}

/// Something that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Id of the operation.
    pub operation: String,
    /// What it is.
    pub what: What,
    /// When.
    pub started: Timestamp,
    /// In how many places it is done.
    #[serde(default = "one")]
    pub places: usize,
}

/// In former versions there was one.
fn one() -> usize {
    1
}

/// Something that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What it was.
    #[serde(flatten)]
    pub begun: Begun,
    /// When.
    pub finished: Timestamp,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// The backup that was made, or would be restored.
    pub backup: Option<Set>,
    /// Those that were made with it in other places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Set>,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its file holds something else.
    #[error("{} cannot be understood: {cause}; if nobody needs it, remove it", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Content {
    running: Option<Begun>,
    done: Vec<Ended>,
}

/// The journal of a repository.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    content: Content,
}

impl Journal {
    /// Opens the one in `path`, or begins a new one.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let content = match read_if_there(path)? {
            None => Content::default(),
            Some(text) => serde_json::from_str(&text).map_err(|cause| JournalError::Content {
                path: path.to_owned(),
                cause,
            })?,
        };
        let journal = Self {
            path: path.to_owned(),
            content,
        };
        // A volume that cannot be written to is noticed here and not with the first order.
        journal.write(&journal.content)?;
        Ok(journal)
    }

    /// What runs, or ran when the agent ended.
    pub fn running(&self) -> Option<&Begun> {
        self.content.running.as_ref()
    }

    /// What has ended, oldest first.
    pub fn done(&self) -> &[Ended] {
        &self.content.done
    }

    /// Whether this operation runs or has ended.
    pub fn knows(&self, operation: &str) -> bool {
        let is_running = self
            .running()
            .is_some_and(|begun| begun.operation == operation);
        is_running
            || self
                .done()
                .iter()
                .any(|ended| ended.begun.operation == operation)
    }

    /// Remembers that something begins.
    ///
    /// # Errors
    /// It cannot be written down; then it is not to begin.
    pub fn begin(&mut self, begun: Begun) -> Result<(), JournalError> {
        let content = Content {
            running: Some(begun),
            ..self.content.clone()
        };
        self.write(&content)?;
        self.content = content;
        Ok(())
    }

    /// What runs has ended.
    ///
    /// # Errors
    /// It cannot be written down: it is remembered here, and a restart takes it for interrupted.
    pub fn end(
        &mut self,
        finished: Timestamp,
        result: Result<Vec<Set>, String>,
    ) -> Result<(), JournalError> {
        let Some(begun) = self.content.running.take() else {
            return Ok(());
        };
        let (error, sets) = match result {
            Ok(sets) => (None, sets),
            Err(error) => (Some(error), Vec::new()),
        };
        let mut sets = sets.into_iter();
        let done = &mut self.content.done;
        done.push(Ended {
            begun,
            finished,
            error,
            backup: sets.next(),
            more: sets.collect(),
        });
        let old = done.len().saturating_sub(MOST);
        done.drain(..old);
        self.write(&self.content)
    }

    /// What runs was never begun, for all that follows.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub fn forget(&mut self) -> Result<(), JournalError> {
        self.content.running = None;
        self.write(&self.content)
    }

    fn write(&self, content: &Content) -> Result<(), JournalError> {
        let text = serde_json::to_vec(content).map_err(|cause| JournalError::Content {
            path: self.path.clone(),
            cause,
        })?;
        write_atomically(&self.path, &text, MODE)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(operation: impl ToString) -> Begun {
        Begun {
            operation: operation.to_string(),
            what: What::Backup,
            started: Timestamp::from_second(7).expect("a time"),
            places: 1,
        }
    }

    #[test]
    fn a_restart_knows_what_ran_and_what_had_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).expect("opened");
        journal.begin(begun("one")).expect("written");
        journal
            .end(Timestamp::UNIX_EPOCH, Err("why".to_owned()))
            .expect("written");
        journal.begin(begun("two")).expect("written");
        let again = Journal::open(&path).expect("opened");
        assert_eq!(again.running(), Some(&begun("two")));
        assert_eq!(again.done()[0].error.as_deref(), Some("why"));
        assert!(again.knows("one") && again.knows("two") && !again.knows("three"));
    }

    #[test]
    fn only_the_last_are_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(&folder.path().join("journal")).expect("opened");
        for operation in 0..25 {
            journal.begin(begun(operation)).expect("written");
            journal
                .end(Timestamp::UNIX_EPOCH, Ok(Vec::new()))
                .expect("written");
        }
        assert_eq!(journal.done().len(), MOST);
        assert!(!journal.knows("4") && journal.knows("5") && journal.knows("24"));
    }

    #[test]
    fn what_cannot_be_written_down_does_not_begin() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("below/journal");
        std::fs::create_dir(folder.path().join("below")).expect("a folder");
        let mut journal = Journal::open(&path).expect("opened");
        std::fs::remove_dir_all(folder.path().join("below")).expect("removed");
        journal.begin(begun("one")).expect_err("no folder");
        assert!(!journal.knows("one"));
    }

    #[test]
    fn a_file_of_something_else_is_left_alone_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        std::fs::write(&path, "{}").expect("written");
        let error = Journal::open(&path).expect_err("no journal").to_string();
        assert!(error.contains("journal cannot be understood"), "{error}");
        assert_eq!(std::fs::read(&path).expect("there"), b"{}");
    }
}
