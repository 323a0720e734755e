//! What the log needs beside being written: a task of its own, that nobody waits for.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use pgo_telemetry::CancellationToken;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    log::{Error, Log},
    metrics::Metrics,
};

/// Between two times at which the place up to which the log is confirmed is made durable.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// Between looks at the age and the size of the log, in such times.
const TIDY_EVERY: u64 = 12;

/// Between looks for damage, in such times: a day.
const LOOK_EVERY: u64 = 24 * 60 * 12;

/// Keeps the log in order until `shutdown`.
pub async fn keep(log: Arc<Log>, metrics: Metrics, shutdown: CancellationToken) {
    let mut ticks = interval(SYNC_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count: u64 = 0;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        run("sync", &log, Log::sync_confirmed).await;
        if count.is_multiple_of(TIDY_EVERY) {
            run("tidy", &log, |log| log.tidy(Timestamp::now())).await;
        }
        if count.is_multiple_of(LOOK_EVERY) {
            run("look for damage in", &log, Log::look_for_damage).await;
        }
        metrics.log_is(&log);
        count += 1;
    }
    run("sync", &log, Log::sync_confirmed).await;
}

/// Tried again at its next time; what does not work for long shows elsewhere: in the size of the log, in appends that fail.
async fn run(
    what: &'static str,
    log: &Arc<Log>,
    work: impl FnOnce(&Log) -> Result<(), Error> + Send + 'static,
) {
    let log = log.clone();
    match spawn_blocking(move || work(&log)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot {what} the log"),
        Err(error) => tracing::warn!(%error, "cannot {what} the log"),
    }
}
