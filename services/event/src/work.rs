//! What the replica that leads does, or the only one: take events over from nsqd, and all that must not be done twice.

use std::sync::Arc;

use anyhow::Context as _;
use pgo_bus::Undertaker;
use pgo_telemetry::{CancellationToken, Condition};
use tokio::{sync::broadcast, task::JoinSet};

use crate::{
    append::Appender,
    consume::{self, Confirmation},
    dead::{self, Shelf},
    log::Log,
    metrics::Metrics,
    mirror::Mirror,
    news,
    replication::leading::Leading,
};

/// What is needed to take events over.
pub struct Work {
    /// Where events come from.
    pub nsqd: nsq::Server,
    /// Where they go to.
    pub log: Arc<Log>,
    /// Told of what counts.
    pub confirmations: broadcast::Sender<Confirmation>,
    /// Puts away what nobody can handle.
    pub undertaker: Undertaker,
    /// Where that is kept.
    pub shelf: Arc<Shelf>,
    /// Tells Kubernetes, where that is wanted.
    pub mirror: Option<Mirror>,
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
        let after_another = leading.as_ref().is_some_and(|l| l.is_after_another());
        let mut beside = self.beside(after_another, &stop)?;
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
            self.undertaker.clone(),
            self.metrics.clone(),
            stop,
        )
        .await;
        beside.shutdown().await;
        watching.abort();
        self.connected.met();
        self.takes.met();
        ended
    }
    /// Begins hints, drains, the keeping of dead letters and the mirror; they end with the set.
    fn beside(&self, after_another: bool, stop: &CancellationToken) -> anyhow::Result<JoinSet<()>> {
        let mut beside = news::begin(&self.nsqd, &self.confirmations)?;
        let consumer = pgo_bus::dead_consumer(self.nsqd.clone()).context("read dead letters")?;
        let (shelf, metrics) = (self.shelf.clone(), self.metrics.clone());
        beside.spawn(dead::keep(consumer, shelf, metrics, stop.clone()));
        if let Some(mirror) = self.mirror.clone() {
            if after_another {
                mirror.forget();
            }
            let shutdown = stop.clone();
            beside.spawn(Mirror { shutdown, ..mirror }.run());
        }
        Ok(beside)
    }
}
