//! From nsqd into the log: whatever has arrived is one batch.
//!
//! `next → judge → append (fsync) → confirm → finish`

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures::FutureExt as _;
use jiff::Timestamp;
use nsq::{Consumer, Message, State, codec::MessageId};
use pgo_bus::{HISTORY_CHANNEL, Undertaker};
use pgo_events::Topic;
use pgo_ids::{Seq, StreamId};
use pgo_telemetry::{CancellationToken, Condition};
use tokio::{
    sync::{broadcast, watch},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    intake::{Arrived, Batch, Intake},
    log::Log,
    metrics::Metrics,
};

/// The most messages of a batch; more only make it later for the first of them.
const BATCH: usize = 256;

/// Between looks at the age and the size of the log.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// What is read here.
const HISTORY: (&str, &str) = (Topic::All.as_str(), HISTORY_CHANNEL);

/// Messages that are no events, with the reason.
type Strays = HashMap<MessageId, String>;

/// A watermark that is on disk.
pub type Confirmation = (StreamId, Seq);

/// Takes events over until `shutdown`.
///
/// # Errors
/// The log cannot be written. Nothing was finished or confirmed then that is not on disk; a new process opens the log anew
/// and gets the messages again.
pub async fn consume(
    mut consumer: Consumer,
    log: Arc<Log>,
    confirmations: broadcast::Sender<Confirmation>,
    undertaker: Undertaker,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut intake = Intake::default();
    let mut tidy = interval(TIDY_EVERY);
    tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tidy.tick() => {
                keep_tidy(&log, &metrics).await?;
                continue;
            }
            message = consumer.next() => message.context("the reader of nsqd ended")?,
        };
        let mut messages = vec![first];
        while messages.len() < BATCH
            && let Some(Some(message)) = consumer.next().now_or_never()
        {
            messages.push(message);
        }
        let mut strays = Strays::new();
        let arrived: Vec<_> = messages
            .iter()
            .filter_map(|m| decode(m, &mut strays, &metrics))
            .collect();
        let mut batch = intake.judge(arrived, |stream| log.watermark(stream));
        metrics.took(&batch);
        append(&mut batch, &log, &metrics).await?;
        for confirmation in batch.confirm {
            // Without listeners there is nobody to tell; who comes later asks for the watermarks.
            let _ = confirmations.send(confirmation);
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

/// What cannot be read is one of the strays: it would come again for ever.
fn decode(message: &Message, strays: &mut Strays, metrics: &Metrics) -> Option<Arrived> {
    match pgo_bus::Message::decode(message.body()) {
        Ok(decoded) => Some(Arrived {
            key: decoded.event.key(),
            unconfirmed_from: decoded.unconfirmed_from,
            // A copy: the body is a part of a buffer with many others, which it would keep.
            event: Bytes::copy_from_slice(message.body()),
        }),
        Err(error) => {
            metrics.malformed();
            tracing::warn!(id = %message.id(), bytes = message.body().len(), %error, "a message that is no event");
            strays.insert(message.id(), error.to_string());
            None
        }
    }
}

async fn append(batch: &mut Batch, log: &Arc<Log>, metrics: &Metrics) -> anyhow::Result<()> {
    for (stream, after, next) in &batch.cuts {
        if *after == Seq(0) {
            tracing::info!(%stream, %next, "nothing of the stream from before this event is in the log");
        } else {
            tracing::warn!(%stream, %after, %next, "the stream goes on after a gap: its publisher has no more what is missing");
        }
    }
    let entries = std::mem::take(&mut batch.append);
    if entries.is_empty() {
        return Ok(());
    }
    let begin = Instant::now();
    let log = log.clone();
    spawn_blocking(move || log.append(entries, Timestamp::now()))
        .await
        .context("append to the log")??;
    metrics.appended_in(begin.elapsed());
    Ok(())
}

async fn keep_tidy(log: &Arc<Log>, metrics: &Metrics) -> anyhow::Result<()> {
    let (log, metrics) = (log.clone(), metrics.clone());
    spawn_blocking(move || {
        let tidied = log.tidy(Timestamp::now());
        metrics.log_is(&log);
        tidied
    })
    .await
    .context("tidy the log")??;
    Ok(())
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
