//! What a former primary had written that its successor does not have, found out while its data is still as it was, and kept
//! beside the data directory: after that it cannot be found out any more.

use std::path::{Path, PathBuf};

use pgo_ha::{Path as Way, path};
use pgo_ids::Term;
use pgo_postgres::{
    files::{read_if_there, write_atomically},
    position, standby,
};

use super::{Supervisor, authority::place, lenient, shown};
use crate::{
    ha::{course::Leader, volume::COMPARED},
    state::Lost,
    store::Store,
};

fn file(data: &Path) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(COMPARED);
    path.into()
}

/// Puts a comparison on the disk.
fn keep(data: &Path, lost: &Lost) -> Result<(), String> {
    let text = serde_json::to_string(lost).map_err(shown)?;
    write_atomically(&file(data), text.as_bytes(), 0o600).map_err(shown)
}

/// The comparison that is there. One that cannot be read is one that says nothing.
fn kept(data: &Path, term: Term) -> Option<Lost> {
    let text = match read_if_there(&file(data)) {
        Ok(text) => text?,
        Err(error) => {
            tracing::error!(%error, "what this former primary had more is not known any more");
            return Some(unknown(data, term));
        }
    };
    let read = serde_json::from_str(&text);
    read.inspect_err(
        |error| tracing::error!(%error, "what this former primary had more is not understood"),
    )
    .unwrap_or_else(|_| Some(unknown(data, term)))
}

/// What is told where nothing can be compared.
fn unknown(data: &Path, term: Term) -> Lost {
    Lost {
        term,
        timeline: 0,
        fork: 0,
        end: 0,
        commits: None,
        synchronous: !lenient::is_marked(data),
        unknown: true,
    }
}

impl<S: Store> Supervisor<S> {
    /// Tells again how this former primary compared, which an earlier run of the agent found out: nobody may have heard it.
    pub(super) fn recall_comparison(&self) {
        let before = self.reporter.now();
        if before.lost.is_none()
            && let Some(lost) = kept(&self.settings.data, before.term)
        {
            self.reporter.change(|state| state.lost = Some(lost));
        }
    }

    /// Tells what this former primary had written that the new one does not have, while it still has it.
    ///
    /// # Errors
    /// It cannot be kept, so the data may not be changed yet.
    pub(super) async fn compare_with_successor(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader.clone() else {
            return Ok(());
        };
        let data = self.settings.data.clone();
        let told = self.reporter.now().lost;
        if standby::is_standby(&data) || told.is_some_and(|lost| lost.term == leader.term) {
            return Ok(());
        }
        let lost = self.compared(&leader, &data).await;
        let lost = lost.unwrap_or_else(|| unknown(&data, leader.term));
        tracing::warn!(?lost, "this former primary was compared with its successor");
        keep(&data, &lost)?;
        self.reporter.change(|state| state.lost = Some(lost));
        Ok(())
    }

    async fn compared(&mut self, leader: &Leader, data: &Path) -> Option<Lost> {
        let end = self.wal_end().await;
        let end = end.inspect_err(|error| {
            tracing::error!(error, "whether anything is lost cannot be found out");
        });
        let end = end.ok()?;
        let fork = match path(&leader.record, place(end)) {
            Way::Streams => end.lsn,
            Way::Left { at } => at.0,
            Way::Unknown => {
                tracing::error!("the Lease knows nothing of the timeline of the data here");
                return None;
            }
        };
        let commits = match self.installation() {
            _ if fork >= end.lsn => Ok(0),
            Ok(installation) => position::commits_since(installation, data, end.timeline, fork)
                .await
                .map_err(shown),
            Err(error) => Err(error),
        };
        let commits = commits.inspect_err(|error| tracing::warn!(error, "commits are not counted"));
        Some(Lost {
            term: leader.term,
            timeline: end.timeline,
            fork,
            end: end.lsn.max(fork),
            commits: commits.ok(),
            // Not by the Lease: commits may wait for others since.
            synchronous: !lenient::is_marked(data),
            unknown: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compared_is_known_again_and_what_is_damaged_is_told_as_unknown() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        assert_eq!(kept(&data, Term(3)), None);
        let lost = Lost {
            commits: Some(2),
            unknown: false,
            ..unknown(&data, Term(3))
        };
        keep(&data, &lost).expect("kept");
        assert_eq!(kept(&data, Term(4)), Some(lost));
        std::fs::write(file(&data), "{").expect("written");
        let told = kept(&data, Term(4)).expect("something");
        assert!(told.unknown && told.term == Term(4), "{told:?}");
    }
}
