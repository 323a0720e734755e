//! The replica that follows: copies the log of the one that leads, record by record.

use std::sync::Arc;

use jiff::Timestamp;
use pgo_ids::EventKey;
use pgo_proto::event::{
    CopyBatch, CopyLettersRequest, CopyLettersResponse, CopyRequest, CopyResponse, FetchRequest,
    FetchResponse, copy_response::What, event_replica_client::EventReplicaClient,
};
use tokio::task::spawn_blocking;
use tonic::{Status, transport::Channel};

use super::{convert, leading::Change};
use crate::{
    dead::{self, Shelf, copy},
    log::{self, Log, Term},
};

/// The other replica.
#[tonic::async_trait]
pub trait Other: Send + Sync {
    /// Asks for what comes next.
    async fn copy(&self, request: CopyRequest) -> Result<CopyResponse, Status>;

    /// Asks for records.
    async fn fetch(&self, request: FetchRequest) -> Result<FetchResponse, Status>;

    /// Asks for dead letters.
    async fn copy_letters(
        &self,
        request: CopyLettersRequest,
    ) -> Result<CopyLettersResponse, Status>;
}

#[tonic::async_trait]
impl Other for EventReplicaClient<Channel> {
    async fn copy(&self, request: CopyRequest) -> Result<CopyResponse, Status> {
        let mut client = self.clone();
        Ok(Self::copy(&mut client, request).await?.into_inner())
    }

    async fn fetch(&self, request: FetchRequest) -> Result<FetchResponse, Status> {
        let mut client = self.clone();
        Ok(Self::fetch(&mut client, request).await?.into_inner())
    }

    async fn copy_letters(
        &self,
        request: CopyLettersRequest,
    ) -> Result<CopyLettersResponse, Status> {
        let mut client = self.clone();
        let copied = Self::copy_letters(&mut client, request).await?;
        Ok(copied.into_inner())
    }
}

/// Why a step did not succeed; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The other replica.
    #[error("the replica that leads does not answer: {:?}: {}", .0.code(), .0.message())]
    Other(#[from] Status),
    /// Its answer makes no sense.
    #[error("the replica that leads gave an answer that is none")]
    Answer,
    /// The own disk.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The own disk.
    #[error(transparent)]
    Letters(#[from] dead::Error),
}

/// What a step led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Whether this replica has everything that counts, and may take over.
    pub in_sync: bool,
    /// What counts since.
    pub committed: Vec<EventKey>,
    /// The newest change of dead letters.
    pub letters: Change,
}

/// A replica that follows.
#[derive(Clone, Debug)]
pub struct Following {
    /// The copy.
    pub log: Arc<Log>,
    /// The copy of the dead letters.
    pub shelf: Arc<Shelf>,
    /// Name of this replica.
    pub me: String,
    /// Where it can be asked.
    pub address: String,
}

impl Following {
    /// Asks for what makes the dead letters here the same as those of the other replica. May be given up at any time.
    ///
    /// # Errors
    /// The other replica does not answer, or does not lead in that term; or the own letters cannot be read.
    pub async fn ask_letters(
        &self,
        other: &dyn Other,
        term: Term,
    ) -> Result<CopyLettersResponse, StepError> {
        let shelf = self.shelf.clone();
        let asking = spawn_blocking(move || copy::ask(&*shelf.letters()?, term)).await;
        let request = asking.map_err(|_| StepError::Answer)??;
        Ok(other.copy_letters(request).await?)
    }

    /// Does what an answer about dead letters says, and tells up to which change they are here; 0: there are more. Must be
    /// waited for, as [`Self::apply`].
    ///
    /// # Errors
    /// They cannot be written; they are as they were.
    pub async fn apply_letters(&self, answer: CopyLettersResponse) -> Result<Change, StepError> {
        let (shelf, change) = (self.shelf.clone(), answer.change);
        let applying = spawn_blocking(move || copy::apply(&*shelf.letters()?, &answer)).await;
        applying.map_err(|_| StepError::Answer)??;
        Ok(change)
    }

    /// Asks once; dead letters are here up to that change. May be given up at any time.
    ///
    /// # Errors
    /// The other replica does not answer, or does not lead in that term.
    pub async fn ask(
        &self,
        other: &dyn Other,
        term: Term,
        letters: Change,
    ) -> Result<CopyResponse, StepError> {
        let (end, last_term) = self.log.tip();
        let request = CopyRequest {
            replica: self.me.clone(),
            address: self.address.clone(),
            term,
            epoch: self.log.lineage().epoch().to_owned(),
            end,
            last_term,
            committed: *self.log.head().borrow(),
            letters,
        };
        Ok(other.copy(request).await?)
    }

    /// Does what an answer says. Must be waited for: this replica can do nothing else before it is done.
    ///
    /// # Errors
    /// See [`StepError`]; the log is as it was, or further.
    pub async fn apply(&self, answer: CopyResponse) -> Result<Step, StepError> {
        let log = self.log.clone();
        let done = spawn_blocking(move || apply(&log, answer)).await;
        done.map_err(|_| StepError::Answer)?
    }
}

fn apply(log: &Log, answer: CopyResponse) -> Result<Step, StepError> {
    let lineage = convert::lineage_from_proto(answer.lineage).ok_or(StepError::Answer)?;
    let now = Timestamp::now();
    match answer.what.ok_or(StepError::Answer)? {
        What::StartAt(first) => {
            tracing::warn!(
                first,
                records = log.end() - log.oldest(),
                "this log is another than that of the replica that leads; it begins anew"
            );
            let quiet = convert::marks_from_proto(answer.quiet).ok_or(StepError::Answer)?;
            log.start_over(lineage, first, quiet, now)?;
            Ok(Step::default())
        }
        What::CutTo(end) => {
            let gone = log.cut_back(end, now)?;
            tracing::warn!(
                end,
                gone,
                "records that the replica that leads does not have are taken out"
            );
            Ok(Step::default())
        }
        What::Batch(CopyBatch {
            records,
            committed,
            in_sync,
            letters,
        }) => {
            let records = convert::from_proto(records).ok_or(StepError::Answer)?;
            log.adopt(lineage)?;
            log.write_copies(records)?;
            let committed = log.commit(committed.min(log.end()));
            if in_sync {
                log.prove_tail();
            }
            Ok(Step {
                in_sync,
                committed,
                letters,
            })
        }
    }
}

/// Gets damaged records back from the other replica. Tells how many.
///
/// # Errors
/// The other replica does not answer, or the own disk fails.
pub async fn mend(log: &Arc<Log>, other: &dyn Other) -> Result<u64, StepError> {
    let mut mended = 0;
    for range in log.damaged_ranges() {
        let mut from = range.start;
        while from < range.end {
            let request = FetchRequest {
                from,
                to: range.end,
                uncommitted: false,
            };
            let records = other.fetch(request).await?.records;
            let records = convert::from_proto(records).ok_or(StepError::Answer)?;
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            let log = log.clone();
            let done = spawn_blocking(move || log.mend(&records)).await;
            mended += done.map_err(|_| StepError::Answer)??;
        }
    }
    Ok(mended)
}

/// Records for the other replica.
///
/// # Errors
/// A file cannot be read.
pub fn fetch(log: &Log, request: FetchRequest) -> Result<FetchResponse, log::Error> {
    let most = usize::try_from(request.to.saturating_sub(request.from)).unwrap_or(usize::MAX);
    let most = most.min(512);
    let records = match request.uncommitted {
        true => log.read_all(request.from, most)?,
        false => log.read(request.from, most)?,
    };
    let wanted = records.iter().filter(|record| record.offset < request.to);
    Ok(FetchResponse {
        records: wanted.map(|record| convert::to_proto(record)).collect(),
    })
}
