//! Before a replica leads that has just opened its log: has the other one more?
//!
//! ```text
//! the register names this one, the other still in sync ─► the other asks, and says where its log ends
//!                                                            │ more: fetched      not in time: it may be gone for long
//!                                                            ▼
//!                                            the register names this one alone ─► what is here counts
//! ```
//!
//! Damage to the very last write before a power cut looks like a write that did not end, and is cut when the log is opened
//! (`log::load`). Both replicas have what counts, so that it is on the other one; led by the damaged one, that would take it out.

use std::{sync::Arc, time::Duration};

use pgo_proto::event::{CopyRequest, FetchRequest};
use tokio::{task::spawn_blocking, time::timeout};
use tonic::Status;

use super::{Fenced, Has, Leading};
use crate::{
    log::{Offset, Record, Tail, Term},
    replication::{
        convert,
        following::{Other, StepError},
    },
};

/// How long the other replica is waited for where nothing hints at damage: one that runs finds this one by the register,
/// which it reads every half second.
const FIND: Duration = Duration::from_secs(2);

/// The same where something was cut: after a power cut of both, the other pod may start this much later.
const START: Duration = Duration::from_secs(30);

/// How long it may take to fetch what the other has.
const FETCH: Duration = Duration::from_secs(10);

/// How another replica is reached at its address.
pub trait Reach: Sync {
    /// None where the address is none.
    fn at(&self, address: &str) -> Option<Box<dyn Other>>;
}

impl Leading {
    /// Takes over what the others have and this replica has lost, if that can be. What is here counts afterwards, and this
    /// replica may write. Returns at once where its end is known to be the end.
    ///
    /// # Errors
    /// Somebody else leads now.
    pub async fn gather(&self, reach: &dyn Reach) -> Result<(), Fenced> {
        let most = match self.log.tail() {
            Tail::Torn => START,
            Tail::Whole | Tail::Proven => FIND,
        };
        self.gather_within(most, reach).await
    }

    /// As [`Self::gather`], with the time that others have to say something.
    ///
    /// # Errors
    /// As of [`Self::gather`].
    pub async fn gather_within(&self, most: Duration, reach: &dyn Reach) -> Result<(), Fenced> {
        let mut compared = !self.quorum().required.is_empty();
        if timeout(most, self.all_have_asked()).await.is_err() {
            compared = false;
            tracing::warn!(
                "the other replica does not say whether it has more; this one goes on without knowing"
            );
        }
        for request in self.requests() {
            let fetching = timeout(FETCH, self.fetch_from(&request, reach)).await;
            let late = |_| StepError::Other(Status::deadline_exceeded("not fetched in 10 s"));
            match fetching.map_err(late).and_then(|fetched| fetched) {
                Ok(same) => compared &= same,
                Err(error) => {
                    compared = false;
                    tracing::error!(replica = request.replica, %error, "cannot fetch what the other replica has and this one may have lost");
                }
            }
        }
        while !self.quorum().required.is_empty() {
            self.go_on_alone().await?;
        }
        if compared {
            self.log.prove_tail();
        }
        let log = self.log.clone();
        let settling = spawn_blocking(move || log.go_on_from_torn()).await;
        match settling {
            Ok(Ok(())) => self.log.prove_tail(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "no new epoch can be begun behind the end that was cut; the next write tries again");
            }
            Err(error) => tracing::error!(%error, "beginning an epoch ended by itself"),
        }
        self.begin();
        Ok(())
    }

    /// What is here counts from now on.
    fn begin(&self) {
        let end = self.log.end();
        self.log.set_follows(false);
        self.log.commit(end);
        {
            let mut quorum = self.quorum();
            quorum.committed = quorum.committed.and(Has { end, letters: 0 });
            quorum.asked = None;
        }
        self.tell();
        tracing::info!(term = self.term, end, "this replica leads the log");
    }

    /// Notes what another has, and returns once this replica leads.
    ///
    /// # Errors
    /// `unavailable` where that takes longer than one that asks should wait.
    pub(super) async fn until_gathered(&self, request: &CopyRequest) -> Result<(), Status> {
        match &mut self.quorum().asked {
            Some(asked) => asked.insert(request.replica.clone(), request.clone()),
            None => return Ok(()),
        };
        self.tell();
        let late = |_| Status::unavailable("this replica does not lead yet; ask again");
        let gathered = timeout(self.patience, self.gathered()).await;
        gathered.map_err(late)
    }

    /// Returns once this replica leads: nobody is left out before that has been asked.
    pub(super) async fn gathered(&self) {
        let mut news = self.news.subscribe();
        while self.quorum().asked.is_some() {
            // The sender is this value's own.
            let _ = news.changed().await;
        }
    }

    async fn all_have_asked(&self) {
        let mut news = self.news.subscribe();
        let all = || {
            let quorum = self.quorum();
            let asked = |name| {
                quorum
                    .asked
                    .as_ref()
                    .is_none_or(|asked| asked.contains_key(name))
            };
            quorum.required.iter().all(asked)
        };
        while !all() {
            let _ = news.changed().await;
        }
    }

    /// Of those that have been in sync.
    fn requests(&self) -> Vec<CopyRequest> {
        let quorum = self.quorum();
        let asked = quorum.asked.iter().flat_map(|asked| asked.values());
        asked
            .filter(|request| quorum.required.contains(&request.replica))
            .cloned()
            .collect()
    }

    /// Gets what comes after the end of this log, if the other one goes on from the same record; tells whether it is known
    /// afterwards that nothing is missing behind the end.
    async fn fetch_from(
        &self,
        request: &CopyRequest,
        reach: &dyn Reach,
    ) -> Result<bool, StepError> {
        let (end, last_term) = self.log.tip();
        // As the last whole one is there, all before it are.
        let last = self.last_whole(end).await?;
        let same_log = self.log.lineage().continues(&request.epoch);
        if !same_log || request.end <= end || request.last_term < last_term {
            return Ok(same_log);
        }
        let unreachable = || Status::unavailable("its address is none");
        let other = reach.at(&request.address).ok_or_else(unreachable)?;
        let mut from = last.map_or(end, |(offset, _)| offset);
        let mut expected = last;
        while from < request.end {
            let wanted = FetchRequest {
                from,
                to: request.end,
                uncommitted: true,
            };
            let records = other.fetch(wanted).await?.records;
            let mut records = convert::from_proto(records).ok_or(StepError::Answer)?;
            let first = records.first().map(|record| (record.offset, record.term));
            if expected.take().is_some_and(|here| first != Some(here)) {
                tracing::warn!(
                    end,
                    "the log of the other replica goes on from other records; it is not taken"
                );
                return Ok(false);
            }
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            records.retain(|record| record.offset >= end);
            self.take(records).await?;
        }
        let fetched = self.log.end() - end;
        tracing::warn!(
            fetched,
            replica = request.replica,
            "the end of this log was lost; it is taken from the other replica"
        );
        Ok(self.log.end() >= request.end)
    }

    async fn last_whole(&self, end: Offset) -> Result<Option<(Offset, Term)>, StepError> {
        let log = self.log.clone();
        let reading = spawn_blocking(move || log.last_before(end));
        let last = reading.await.map_err(|_| StepError::Answer)??;
        Ok(last.map(|record| (record.offset, record.term)))
    }

    async fn take(&self, records: Vec<Arc<Record>>) -> Result<(), StepError> {
        if records.is_empty() {
            return Ok(());
        }
        let log = self.log.clone();
        let writing = spawn_blocking(move || log.write_copies(records));
        writing.await.map_err(|_| StepError::Answer)??;
        Ok(())
    }
}
