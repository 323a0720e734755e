//! Consumers whose certificate was withdrawn before its end.
//!
//! ```text
//! consumer.sh --withdraw NAME ─► ConfigMap ─kubelet─► folder: a file NAME ─► nobody, for nsqd's questions and over HTTP
//! ```
//!
//! nsqd tells of a client's certificate its common name and nothing else, so a name is withdrawn, with all certificates of
//! that name. The folder is looked at with each question: what is in it holds at once, and nothing has to be followed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::identity::{CONSUMER_SUFFIX, Identity};

/// How often it is looked whether who reads may go on.
const LOOK: Duration = Duration::from_secs(2);

/// The folder with a file for each, called as the first label of its name. It need not be there. Clones are handles of the
/// same.
#[derive(Clone, Debug)]
pub struct Withdrawn(Arc<Path>);

impl Withdrawn {
    /// Those in a folder.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self(folder.into())
    }

    /// Whom a name stands for; nobody, where it was withdrawn, or where that cannot be seen.
    #[must_use]
    pub fn identity(&self, name: &str) -> Identity {
        match (Identity::of(name), name.strip_suffix(CONSUMER_SUFFIX)) {
            // A consumer's is a single label, so it leads nowhere else.
            (Identity::Consumer, Some(label)) if self.has(label) => Identity::Other,
            (identity, _) => identity,
        }
    }

    fn has(&self, label: &str) -> bool {
        match self.0.join(label).try_exists() {
            Ok(there) => there,
            Err(error) => {
                tracing::error!(folder = %self.0.display(), %error, "cannot see which consumers are withdrawn; none is let in");
                true
            }
        }
    }

    /// Waits until a name that stands for somebody is withdrawn; for ever, where it is not.
    pub async fn happens(self, name: String) {
        let before = self.identity(&name);
        while self.identity(&name) == before {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_consumer_can_be_withdrawn_and_only_by_its_own_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let withdrawn = Withdrawn::in_folder(folder.path().join("names"));
        let billing = || withdrawn.identity("billing.consumer.pgo");
        assert_eq!(billing(), Identity::Consumer, "without a folder");
        std::fs::create_dir(folder.path().join("names")).expect("a folder");
        for name in [
            "reconciler",
            "reconciler.pgo",
            "billing.consumer.pgo",
            "bill",
        ] {
            std::fs::write(folder.path().join("names").join(name), "").expect("a file");
        }
        assert_eq!(billing(), Identity::Consumer);
        assert_eq!(withdrawn.identity("reconciler.pgo"), Identity::Reconciler);
        std::fs::write(folder.path().join("names/billing"), "").expect("a file");
        assert_eq!(billing(), Identity::Other);
        assert_eq!(withdrawn.identity("audit.consumer.pgo"), Identity::Consumer);
    }

    #[test]
    fn where_it_cannot_be_seen_who_is_withdrawn_no_consumer_is_let_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("no-folder");
        std::fs::write(&file, "").expect("a file");
        let withdrawn = Withdrawn::in_folder(file);
        assert_eq!(withdrawn.identity("billing.consumer.pgo"), Identity::Other);
        assert_eq!(withdrawn.identity("event.pgo"), Identity::Event);
    }
}
