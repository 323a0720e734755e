//! From nsqd into the file.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use nsq::Consumer;
use pgo_bus::DeadLetter;
use pgo_telemetry::CancellationToken;

use super::{ChangeError, Letters, Shelf};
use crate::metrics::Metrics;

/// Until one that cannot be written comes again.
const RETRY: Duration = Duration::from_secs(10);

/// Keeps dead letters until `shutdown`. One that cannot be written comes again.
pub async fn keep(
    mut consumer: Consumer,
    shelf: Arc<Shelf>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    count(&shelf, &metrics).await;
    loop {
        let message = tokio::select! {
            () = shutdown.cancelled() => break,
            message = consumer.next() => message,
        };
        let Some(message) = message else { break };
        let letter = DeadLetter::of_message(&message, Timestamp::now());
        match put(&shelf, letter.clone()).await {
            Ok(true) => {
                metrics.dead_letter();
                tracing::warn!(
                    id = letter.id(),
                    topic = letter.topic,
                    channel = letter.channel,
                    attempts = letter.attempts,
                    reason = letter.reason,
                    "a message that nobody could handle is kept; look with pgo show deadletter"
                );
                message.finish();
            }
            Ok(false) => message.finish(),
            Err(error) => {
                tracing::error!(%error, "a dead letter is not kept; it comes again");
                message.requeue(RETRY);
            }
        }
        count(&shelf, &metrics).await;
    }
    consumer.close().await;
}

async fn put(shelf: &Arc<Shelf>, letter: DeadLetter) -> Result<bool, ChangeError> {
    shelf.change(move |letters| letters.put(&letter)).await
}

/// Tells the metrics how many there are.
pub(crate) async fn count(shelf: &Arc<Shelf>, metrics: &Metrics) {
    if let Ok(all) = shelf.with(Letters::all).await {
        metrics.dead_letters_are(all.len());
    }
}
