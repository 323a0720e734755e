//! From the intake onto the disk: tried again until it is there.
//!
//! While the disk is full, or fails, nothing is confirmed: the publishers keep what they have and publish it again, and the
//! process says what is wrong and goes on by itself once there is room.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use pgo_telemetry::{CancellationToken, Condition};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    log::{Entry, Log, Offset},
    metrics::Metrics,
    replication::leading::Leading,
};

/// Pause after a write that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a failure that goes on is logged.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Appends to the log, and tells the readiness whether that is possible.
#[derive(Clone, Debug)]
pub struct Appender {
    /// Where to.
    pub log: Arc<Log>,
    /// The leadership, where there is another replica that must have the events too.
    pub leading: Option<Arc<Leading>>,
    /// Whether the log takes events.
    pub condition: Condition,
    /// Counts what failed, and measures.
    pub metrics: Metrics,
    /// Ends the attempts.
    pub shutdown: CancellationToken,
}

/// The process ends, or does not lead any more, before the events were safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the events were not appended before the end")]
pub struct Interrupted;

impl Appender {
    /// Appends events and returns when they are safe.
    ///
    /// # Errors
    /// The process ends first. Whether the events are in the log does not matter: they were not confirmed.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<(), Interrupted> {
        if entries.is_empty() {
            return Ok(());
        }
        let begin = Instant::now();
        let mut said: Option<Instant> = None;
        let end = loop {
            let (log, again) = (self.log.clone(), entries.clone());
            let term = self.leading.as_ref().map_or(0, |leading| leading.term());
            let written = spawn_blocking(move || log.write(again, term, Timestamp::now())).await;
            let reason = match written {
                Ok(Ok(end)) => break end,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            self.metrics.append_failed();
            self.condition.not_met(reason.clone());
            if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                tracing::error!(
                    reason,
                    "the log takes no events; nothing is confirmed until it does"
                );
                said = Some(Instant::now());
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(Interrupted),
                () = sleep(PAUSE) => {}
            }
        };
        if said.is_some() {
            tracing::info!("the log takes events again");
        }
        self.condition.met();
        self.make_safe(end).await?;
        self.metrics.appended_in(entries.len(), begin.elapsed());
        Ok(())
    }

    /// Lets what is on the own disk count.
    async fn make_safe(&self, end: Offset) -> Result<(), Interrupted> {
        let Some(leading) = &self.leading else {
            self.log.commit(end);
            return Ok(());
        };
        leading.tell();
        tokio::select! {
            () = self.shutdown.cancelled() => Err(Interrupted),
            safe = leading.safe(end) => safe.map_err(|fenced| {
                tracing::warn!(%fenced, "events are left to the replica that leads now");
                Interrupted
            }),
        }
    }
}
