//! What the replica that leads does, or the only one: take events over from nsqd.

use std::sync::Arc;

use pgo_telemetry::{CancellationToken, Condition};
use tokio::sync::broadcast;

use crate::{
    append::Appender,
    consume::{self, Confirmation},
    log::Log,
    metrics::Metrics,
    replication::leading::Leading,
};

/// What is needed to take events over.
#[derive(Debug)]
pub struct Work {
    /// Where events come from.
    pub nsqd: nsq::Server,
    /// Where they go to.
    pub log: Arc<Log>,
    /// Told of what counts.
    pub confirmations: broadcast::Sender<Confirmation>,
    /// Counts.
    pub metrics: Metrics,
    /// Whether the log takes events.
    pub takes: Condition,
    /// Whether nsqd is there; of no interest to who follows.
    pub connected: Condition,
}

impl Work {
    /// Takes events over until `stop`, or until another replica leads.
    ///
    /// # Errors
    /// The reader of nsqd cannot begin, or ended by itself.
    pub async fn run(
        &self,
        leading: Option<Arc<Leading>>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let consumer = pgo_bus::history_consumer(self.nsqd.clone())?;
        let watching = consume::watch_connection(consumer.state(), self.connected.clone());
        let watching = tokio::spawn(watching);
        let appender = Appender {
            log: self.log.clone(),
            leading,
            condition: self.takes.clone(),
            metrics: self.metrics.clone(),
            shutdown: stop.clone(),
        };
        let confirmations = self.confirmations.clone();
        let ended = consume::consume(
            consumer,
            appender,
            confirmations,
            self.metrics.clone(),
            stop,
        )
        .await;
        watching.abort();
        self.connected.met();
        self.takes.met();
        ended
    }
}
