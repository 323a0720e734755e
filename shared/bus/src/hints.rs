//! Hints that events are on disk, over NSQ: they tell the relay to ask the event service, whose word alone counts.
//!
//! The event service tells the same over gRPC, as a stream ([`follow_confirmations`](crate::follow_confirmations)). A hint
//! helps where that stream stalls without ending; what it says is not believed, since nobody may trim an outbox but by
//! what is on disk.

use std::time::Duration;

use nsq::{NameError, Server};
use pgo_ids::{Seq, StreamId};
use pgo_proto::event::{WatermarksRequest, event_log_client::EventLogClient};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::transport::Channel;

use crate::{
    Announcer, Listener, Relay,
    confirmations::{in_time, take},
};

/// The topic of hints.
pub const CONFIRM_TOPIC: &str = "pgo.confirm";

/// How long the stream of confirmations may take to bring what a hint tells of, before it is asked for.
const GRACE: Duration = Duration::from_millis(100);

/// Streams that are asked for at once.
const AT_ONCE: usize = 1000;

/// All events of a stream up to this place are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The stream.
    pub stream: StreamId,
    /// The place.
    pub seq: Seq,
}

impl Announcer<Hint> {
    /// Gives hints on nsqd.
    ///
    /// # Errors
    /// None that a constant can cause.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn hints(server: Server) -> Result<Self, NameError> {
        Self::connect(server, CONFIRM_TOPIC)
    }
}

impl Listener<Hint> {
    /// Listens for hints, in the name of `role`.
    ///
    /// # Errors
    /// `role` cannot be in the name of a channel.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn hints(server: Server, role: &str) -> Result<Self, NameError> {
        Self::subscribe(server, CONFIRM_TOPIC, role)
    }
}

/// Asks the event service behind `channel` about each hint that the relay does not know of by itself in a moment, for ever;
/// tells the relay what it answers, and calls `on` with it. Ends with a relay that is off, or with the runtime.
pub async fn follow_hints(
    mut hints: Listener<Hint>,
    channel: Channel,
    relay: Relay,
    on: impl Fn(&StreamId, Seq) + Send,
) {
    let mut client = EventLogClient::new(channel);
    while !relay.is_off() {
        let Some(first) = hints.next().await else {
            return;
        };
        let mut told = vec![first];
        let until = Instant::now() + GRACE;
        while told.len() < AT_ONCE
            && let Ok(Some(hint)) = timeout_at(until, hints.next()).await
        {
            told.push(hint);
        }
        sleep_until(until).await;
        let streams = unknown(&relay, told);
        if streams.is_empty() {
            continue;
        }
        let asked = client.watermarks(WatermarksRequest { streams });
        match in_time(asked).await {
            Ok(answer) => {
                for watermark in answer.into_inner().watermarks {
                    take(&watermark, &relay, &on);
                }
            }
            Err(status) => {
                tracing::debug!(code = ?status.code(), message = status.message(), "a hint, and no answer from the event service");
            }
        }
    }
}

/// Streams whose hint is about events that the relay still waits for.
fn unknown(relay: &Relay, told: Vec<Hint>) -> Vec<String> {
    // In order, as the relay has them.
    let unconfirmed = relay.unconfirmed_streams();
    let news = told
        .into_iter()
        .filter(|hint| relay.confirmed(&hint.stream).unwrap_or_default() < hint.seq)
        .filter(|hint| unconfirmed.binary_search(&hint.stream).is_ok());
    let mut streams: Vec<String> = news.map(|hint| hint.stream.into()).collect();
    streams.sort_unstable();
    streams.dedup();
    streams
}
