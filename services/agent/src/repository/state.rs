//! What the repository tells of itself.

use jiff::Timestamp;
use pgo_postgres::backrest::{info::Set, storage::Storage};
use pgo_proto::agent::{BackupSet, Done, RepositoryState, Work};
use tokio::sync::watch;

use super::journal::{Begun, Ended};

/// Tells changes of the state to whoever watches.
#[derive(Debug)]
pub struct Reporter(watch::Sender<RepositoryState>);

impl Reporter {
    /// Begins with `state`.
    pub fn new(state: RepositoryState) -> Self {
        Self(watch::Sender::new(state))
    }

    /// Changes the state; it is told only if something is different afterwards.
    pub fn change(&self, change: impl FnOnce(&mut RepositoryState)) {
        self.0.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            if (state.ready, &state.error) != (before.ready, &before.error) {
                let (ready, error) = (state.ready, &state.error);
                tracing::info!(ready, error, "the state of the repository changed");
            }
            *state != before
        });
    }

    /// Follows the state.
    pub fn watch(&self) -> watch::Receiver<RepositoryState> {
        self.0.subscribe()
    }
}

/// A backup in the protocol's words.
pub fn backup_set(set: &Set) -> BackupSet {
    let seconds = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    BackupSet {
        label: set.label.clone(),
        r#type: set.kind.clone(),
        started: seconds(set.started),
        finished: seconds(set.finished),
        size: set.size,
        repository_size: set.repository_size,
        start_wal: set.start_wal.clone(),
        stop_wal: set.stop_wal.clone(),
        damaged: set.damaged,
        damaged_pages: set.damaged_pages.clone(),
        source: set.source.clone(),
        storage: Storage::numbered(set.repository)
            .map(|storage| storage.name().to_owned())
            .unwrap_or_default(),
    }
}

/// What runs, in the protocol's words.
pub fn work(begun: &Begun) -> Work {
    Work {
        operation: begun.operation.clone(),
        what: begun.what.name().to_owned(),
        started: Some(timestamp(begun.started)),
        percent: 0,
    }
}

/// What has ended, in the protocol's words.
pub fn done(ended: &Ended) -> Done {
    Done {
        operation: ended.begun.operation.clone(),
        ok: ended.error.is_none(),
        error: ended.error.clone().unwrap_or_default(),
        started: Some(timestamp(ended.begun.started)),
        finished: Some(timestamp(ended.finished)),
        backup: ended.backup.as_ref().map(backup_set),
        more: ended.more.iter().map(backup_set).collect(),
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}
