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
    log::{Entry, Log},
    metrics::Metrics,
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
        loop {
            let (log, again) = (self.log.clone(), entries.clone());
            let written = spawn_blocking(move || log.append(again, Timestamp::now())).await;
            let reason = match written {
                Ok(Ok(())) => break,
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
        }
        if said.is_some() {
            tracing::info!("the log takes events again");
        }
        self.condition.met();
        self.metrics.appended_in(entries.len(), begin.elapsed());
        Ok(())
    }
}
