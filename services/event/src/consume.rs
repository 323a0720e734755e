//! From nsqd into the log: whatever has arrived is one batch.
//!
//! `next → judge → append (fsync) → confirm → finish`

use std::{collections::HashMap, sync::Arc};

use anyhow::Context as _;
use futures::FutureExt as _;
use nsq::{Consumer, Message, State, codec::MessageId};
use pgo_bus::{HISTORY_CHANNEL, Undertaker};
use pgo_events::Topic;
use pgo_ids::{Seq, StreamId};
use pgo_telemetry::{CancellationToken, Condition};
use tokio::sync::{broadcast, watch};

use crate::{
    append::{Appender, Interrupted},
    intake::{Arrived, Batch, Intake},
    log::Log,
    metrics::Metrics,
};

/// The most messages of a batch; more only make it later for the first of them.
const BATCH: usize = 256;

/// What is read here.
const HISTORY: (&str, &str) = (Topic::All.as_str(), HISTORY_CHANNEL);

/// Messages that are no events, with the reason.
type Strays = HashMap<MessageId, String>;

/// A watermark that is on disk.
pub type Confirmation = (StreamId, Seq);

/// Takes events over until `shutdown`.
///
/// # Errors
/// The reader of nsqd ended by itself.
pub async fn consume(
    mut consumer: Consumer,
    appender: Appender,
    confirmations: broadcast::Sender<Confirmation>,
    undertaker: Undertaker,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut intake = Intake::default();
    loop {
        let first = tokio::select! {
            () = shutdown.cancelled() => break,
            message = consumer.next() => message.context("the reader of nsqd ended")?,
        };
        let mut messages = vec![first];
        while messages.len() < BATCH
            && let Some(Some(message)) = consumer.next().now_or_never()
        {
            messages.push(message);
        }
        let mut strays = Strays::new();
        let batch = judge(&mut intake, &messages, &mut strays, &appender.log, &metrics);
        if take_over(batch, &messages, &appender, &confirmations)
            .await
            .is_err()
        {
            break;
        }
        for message in messages {
            match strays.remove(&message.id()) {
                Some(reason) => undertaker.give_up(message, HISTORY, reason),
                None => message.finish(),
            }
        }
    }
    let unanswered = consumer.close().await;
    tracing::info!(unanswered, "reading from nsqd has ended");
    Ok(())
}

fn judge(
    intake: &mut Intake,
    messages: &[Message],
    strays: &mut Strays,
    log: &Arc<Log>,
    metrics: &Metrics,
) -> Batch {
    let arrived: Vec<_> = messages
        .iter()
        .filter_map(|message| decode(message, strays, metrics))
        .collect();
    let batch = intake.judge(arrived, |stream| log.watermark(stream));
    metrics.took(&batch);
    for (stream, after, next) in &batch.cuts {
        if *after == Seq(0) {
            tracing::info!(%stream, %next, "nothing of the stream from before this event is in the log");
        } else {
            tracing::warn!(%stream, %after, %next, "the stream goes on after a gap: its publisher has no more what is missing");
        }
    }
    batch
}

/// Appends and confirms. nsqd keeps the messages for us as long as that takes.
async fn take_over(
    batch: Batch,
    messages: &[Message],
    appender: &Appender,
    confirmations: &broadcast::Sender<Confirmation>,
) -> Result<(), Interrupted> {
    let mut appending = std::pin::pin!(appender.append(batch.append));
    loop {
        let touch = messages
            .iter()
            .map(Message::timeout)
            .min()
            .unwrap_or_default()
            / 2;
        tokio::select! {
            appended = &mut appending => break appended?,
            () = tokio::time::sleep(touch) => messages.iter().for_each(Message::touch),
        }
    }
    for confirmation in batch.confirm {
        // Without listeners there is nobody to tell; who comes later asks for the watermarks.
        let _ = confirmations.send(confirmation);
    }
    Ok(())
}

/// What cannot be read is one of the strays: it would come again for ever.
fn decode(message: &Message, strays: &mut Strays, metrics: &Metrics) -> Option<Arrived> {
    match pgo_bus::Message::decode(message.body()) {
        Ok(decoded) => Some(Arrived {
            key: decoded.key,
            unconfirmed_from: decoded.unconfirmed_from,
            event: decoded.event,
        }),
        Err(error) => {
            metrics.malformed();
            tracing::warn!(id = %message.id(), bytes = message.body().len(), %error, "a message that is no event");
            strays.insert(message.id(), error.to_string());
            None
        }
    }
}

/// Tells the readiness whether nsqd is there, until the reader ends.
pub async fn watch_connection(mut state: watch::Receiver<State>, condition: Condition) {
    loop {
        match &*state.borrow_and_update() {
            State::Connected => condition.met(),
            State::Disconnected { reason } => condition.not_met(reason.to_string()),
            State::Connecting => condition.not_met("connecting"),
            _ => condition.not_met("closed"),
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}
