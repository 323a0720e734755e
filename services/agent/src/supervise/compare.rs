//! What a former primary had written that its successor does not have, found out while its data is still as it was.

use pgo_ha::{Path, path};
use pgo_postgres::{position, standby};

use super::{Supervisor, authority::place, lenient, shown};
use crate::{state::Lost, store::Store};

impl<S: Store> Supervisor<S> {
    /// Tells what this former primary had written that the new one does not have, while it still has it.
    pub(super) async fn compare_with_successor(&mut self) {
        let Some(leader) = self.leader.clone() else {
            return;
        };
        let data = self.settings.data.clone();
        let told = self.reporter.now().lost;
        if standby::is_standby(&data) || told.is_some_and(|lost| lost.term == leader.term) {
            return;
        }
        let end = match self.wal_end().await {
            Ok(end) => end,
            Err(error) => {
                return tracing::error!(error, "whether anything is lost cannot be found out");
            }
        };
        let fork = match path(&leader.record, place(end)) {
            Path::Streams => end.lsn,
            Path::Left { at } => at.0,
            Path::Unknown => {
                return tracing::error!("the Lease knows nothing of the timeline of the data here");
            }
        };
        let commits = match self.installation() {
            _ if fork >= end.lsn => Ok(0),
            Ok(installation) => position::commits_since(installation, &data, end.timeline, fork)
                .await
                .map_err(shown),
            Err(error) => Err(error),
        };
        let commits = commits.inspect_err(|error| tracing::warn!(error, "commits are not counted"));
        let lost = Lost {
            term: leader.term,
            timeline: end.timeline,
            fork,
            end: end.lsn.max(fork),
            commits: commits.ok(),
            // Not by the Lease: commits may wait for others since.
            synchronous: !lenient::is_marked(&data),
        };
        tracing::warn!(?lost, "this former primary was compared with its successor");
        self.reporter.change(|state| state.lost = Some(lost));
    }
}
