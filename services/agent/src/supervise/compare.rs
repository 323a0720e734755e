//! What a former primary had written that its successor does not have, found out while its data is still as it was, and kept
//! beside the data directory: after that it cannot be found out any more.

use std::path::{Path, PathBuf};

use pgo_ha::{Path as Way, path};
use pgo_ids::Term;
use pgo_postgres::{
    files::{read_if_there, write_atomically},
    position, standby,
};
use serde::Deserialize;

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

/// How many comparisons are kept: as many as the Lease keeps changes of the primary.
const MOST: usize = 16;

/// Comparisons as they are on the disk.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    All(Vec<Lost>),
    /// By agents that kept only the newest one.
    Newest(Lost),
}

/// Puts comparisons on the disk.
fn keep(data: &Path, lost: &[Lost]) -> Result<(), String> {
    let text = serde_json::to_string(lost).map_err(shown)?;
    write_atomically(&file(data), text.as_bytes(), 0o600).map_err(shown)
}

/// The comparisons that are there. What cannot be read is one that says nothing.
fn kept(data: &Path, term: Term) -> Vec<Lost> {
    let text = match read_if_there(&file(data)) {
        Ok(Some(text)) => text,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::error!(%error, "what this former primary had more is not known any more");
            return vec![unknown(data, term)];
        }
    };
    match serde_json::from_str(&text) {
        Ok(Kept::All(lost)) => lost,
        Ok(Kept::Newest(lost)) => vec![lost],
        Err(error) => {
            tracing::error!(%error, "what this former primary had more is not understood");
            vec![unknown(data, term)]
        }
    }
}

/// The comparisons with one more. Whoever tells of them may have been away for all of them.
fn with(mut all: Vec<Lost>, newest: Lost) -> Vec<Lost> {
    all.push(newest);
    while all.len() > MOST {
        let oldest = all.remove(0);
        tracing::warn!(?oldest, "this comparison is kept no longer");
    }
    all
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
    /// Tells again how this former primary compared, which earlier runs of the agent found out: nobody may have heard it.
    pub(super) fn recall_comparisons(&self) {
        let before = self.reporter.now();
        if before.lost.is_empty() {
            let lost = kept(&self.settings.data, before.term);
            self.reporter.change(|state| state.lost = lost);
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
        if standby::is_standby(&data) || told.iter().any(|lost| lost.term == leader.term) {
            return Ok(());
        }
        let lost = self.compared(&leader, &data).await;
        let lost = lost.unwrap_or_else(|| unknown(&data, leader.term));
        tracing::warn!(?lost, "this former primary was compared with its successor");
        let all = with(told, lost);
        keep(&data, &all)?;
        self.reporter.change(|state| state.lost = all);
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
        assert_eq!(kept(&data, Term(3)), []);
        let lost = |term| Lost {
            commits: Some(2),
            unknown: false,
            ..unknown(&data, Term(term))
        };
        let all = with(vec![lost(3)], lost(5));
        keep(&data, &all).expect("kept");
        assert_eq!(kept(&data, Term(6)), [lost(3), lost(5)]);
        let newest = serde_json::to_string(&lost(4)).expect("JSON");
        std::fs::write(file(&data), newest).expect("written");
        assert_eq!(kept(&data, Term(6)), [lost(4)]);
        std::fs::write(file(&data), "{").expect("written");
        let told = kept(&data, Term(4));
        assert!(told[0].unknown && told[0].term == Term(4), "{told:?}");
    }

    #[test]
    fn so_many_comparisons_are_kept_and_the_oldest_go() {
        let data = Path::new("hippo");
        let all = (1..=20).fold(Vec::new(), |all, term| with(all, unknown(data, Term(term))));
        let terms: Vec<u64> = all.iter().map(|lost| lost.term.0).collect();
        assert_eq!(terms, (5..=20).collect::<Vec<_>>());
    }
}
