//! The gRPC service, for the apiserver.

use std::{sync::Arc, time::Duration};

use nsq::{Producer, TopicName};
use pgo_bus::DeadLetter as Letter;
use pgo_proto::event::{
    DeadLetter, DeadLetterIds, DeadLetterList, DeadLetterOutcome, DeadLetterOutcomes,
    dead_letters_server::DeadLetters,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::{ChangeError, Error, Letters, Shelf, keep::count};
use crate::{
    identity::{Deed, require},
    metrics::Metrics,
};

/// So many bytes of a body are listed where all letters are: a list stays below gRPC's limit of 4 MiB.
const SHOWN: usize = 512;

/// So many bytes of all bodies together where letters are named.
const SHOWN_BY_NAME: usize = 2 << 20;

/// The most that can be named in one request.
const MOST_IDS: usize = 1000;

/// How long a change may take; usually it waits for two disks.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);

/// Dead letters, for other processes.
#[derive(Clone, Debug)]
pub struct DeadLetterService {
    /// What is kept.
    pub shelf: Arc<Shelf>,
    /// By which they go back.
    pub producer: Arc<Producer>,
    /// Counts.
    pub metrics: Metrics,
}

#[tonic::async_trait]
impl DeadLetters for DeadLetterService {
    async fn list(
        &self,
        request: Request<DeadLetterIds>,
    ) -> Result<Response<DeadLetterList>, Status> {
        let ids = ids(&request)?;
        let dropped = self.blocking(|letters| Ok(letters.dropped())).await?;
        let letters = if ids.is_empty() {
            let all = self.blocking(Letters::all).await?;
            all.iter().map(|letter| shown(letter, SHOWN)).collect()
        } else {
            let most = (SHOWN_BY_NAME / ids.len()).max(SHOWN);
            let mut found = Vec::new();
            for id in ids {
                let letter = self.blocking(move |letters| letters.get(&id)).await?;
                found.extend(letter.map(|letter| shown(&letter, most)));
            }
            found
        };
        Ok(Response::new(DeadLetterList { letters, dropped }))
    }

    async fn requeue(
        &self,
        request: Request<DeadLetterIds>,
    ) -> Result<Response<DeadLetterOutcomes>, Status> {
        let mut outcomes = Vec::new();
        for id in ids(&request)? {
            outcomes.push(self.requeue_one(id).await?);
        }
        count(&self.shelf, &self.metrics).await;
        Ok(Response::new(DeadLetterOutcomes { outcomes }))
    }

    async fn delete(
        &self,
        request: Request<DeadLetterIds>,
    ) -> Result<Response<DeadLetterOutcomes>, Status> {
        let mut outcomes = Vec::new();
        for id in ids(&request)? {
            let named = id.clone();
            let letter = self.blocking(move |letters| letters.get(&named)).await?;
            let named = id.clone();
            let there = self.remove(named).await?;
            let topic = letter.map(|letter| letter.topic).unwrap_or_default();
            let problem = if there { String::new() } else { no_such() };
            outcomes.push(DeadLetterOutcome { id, topic, problem });
        }
        count(&self.shelf, &self.metrics).await;
        Ok(Response::new(DeadLetterOutcomes { outcomes }))
    }
}

impl DeadLetterService {
    /// First published, then forgotten: killed in between, it is there twice and not lost.
    async fn requeue_one(&self, id: String) -> Result<DeadLetterOutcome, Status> {
        let named = id.clone();
        let letter = self.blocking(move |letters| letters.get(&named)).await?;
        let Some(letter) = letter else {
            let (topic, problem) = (String::new(), no_such());
            return Ok(DeadLetterOutcome { id, topic, problem });
        };
        let topic = letter.topic;
        let problem = match topic.parse::<TopicName>() {
            Ok(_) if letter.left_out > 0 => format!(
                "it stays: only the first {} of its {} bytes are kept, so that it cannot be published again; whoever made it has to",
                letter.body.len(),
                letter.body.len() + letter.left_out
            ),
            Ok(name) => match self.producer.publish(&name, letter.body).await {
                Ok(()) => String::new(),
                Err(error) => format!("it stays, nsqd does not have it: {error}"),
            },
            Err(error) => error.to_string(),
        };
        if problem.is_empty() {
            let named = id.clone();
            self.remove(named).await?;
            tracing::info!(id, topic, "a dead letter goes to its topic again");
        }
        Ok(DeadLetterOutcome { id, topic, problem })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Letters) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let done = self.shelf.with(work).await;
        done.map_err(|error| Status::internal(error.to_string()))
    }

    /// Whether it was there. It is gone on the other replica too then.
    async fn remove(&self, id: String) -> Result<bool, Status> {
        let removing = self.shelf.change(move |letters| letters.remove(&id));
        let removed = timeout(CHANGE_WITHIN, removing).await.map_err(|_| {
            Status::unavailable("the other replica of the event service does not know it yet, and that cannot be noted; ask again")
        })?;
        removed.map_err(|error| match error {
            ChangeError::Fenced(fenced) => Status::unavailable(format!("{fenced}; ask again")),
            error => Status::internal(error.to_string()),
        })
    }
}

fn ids(request: &Request<DeadLetterIds>) -> Result<Vec<String>, Status> {
    require(request, Deed::Decide)?;
    let ids = &request.get_ref().ids;
    match ids.len() {
        0..=MOST_IDS => Ok(ids.clone()),
        many => Err(Status::invalid_argument(format!(
            "{many} dead letters are named; name at most {MOST_IDS}"
        ))),
    }
}

fn no_such() -> String {
    "there is no such dead letter".to_owned()
}

fn shown(letter: &Letter, most: usize) -> DeadLetter {
    DeadLetter {
        id: letter.id(),
        topic: letter.topic.clone(),
        channel: letter.channel.clone(),
        attempts: letter.attempts.into(),
        time: Some(prost_types::Timestamp {
            seconds: letter.time.as_second(),
            nanos: letter.time.subsec_nanosecond(),
        }),
        reason: letter.reason.clone(),
        body: letter.body.iter().take(most).copied().collect(),
        size: u64::try_from(letter.body.len() + letter.left_out).unwrap_or(u64::MAX),
    }
}
