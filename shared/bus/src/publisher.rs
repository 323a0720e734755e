//! Where events are published: nsqd, or what stands for it in tests.

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use nsq::{Producer, ProducerConfig, PublishError, Server, State, TopicName};
use pgo_events::Topic;
use tokio::sync::watch;

/// Why a message was not acknowledged; it may have been published or not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishFailed {
    /// nsqd, or the way to it.
    #[error(transparent)]
    Nsq(#[from] PublishError),
    /// Another broker.
    #[error("{0}")]
    Other(String),
}

/// A broker.
pub trait Publisher: Send + Sync + 'static {
    /// Publishes a message: it is queued in the order of the calls, and acknowledged when the future resolves.
    fn publish(&self, topic: Topic, body: Bytes) -> BoxFuture<'static, Result<(), PublishFailed>>;

    /// How many times the broker was lost since the beginning: after each it may have forgotten what it had.
    fn losses(&self) -> watch::Receiver<u64>;
}

/// nsqd.
#[derive(Debug)]
pub struct NsqPublisher {
    producer: Producer,
    losses: watch::Receiver<u64>,
}

impl NsqPublisher {
    /// Begins to connect to `server`, and goes on for ever.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn connect(server: Server) -> Self {
        let producer = Producer::connect(server, ProducerConfig::default());
        let (sender, losses) = watch::channel(0);
        tokio::spawn(count_losses(producer.state(), sender));
        Self { producer, losses }
    }

    /// The state of the connection.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.producer.state()
    }
}

/// Counts when the next connection is there: until then nothing can be published anyway.
async fn count_losses(mut state: watch::Receiver<State>, losses: watch::Sender<u64>) {
    let mut first = true;
    while !losses.is_closed() {
        if matches!(*state.borrow_and_update(), State::Connected) && !std::mem::take(&mut first) {
            losses.send_modify(|count| *count += 1);
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

impl Publisher for NsqPublisher {
    fn publish(&self, topic: Topic, body: Bytes) -> BoxFuture<'static, Result<(), PublishFailed>> {
        match topic.as_str().parse::<TopicName>() {
            Ok(name) => {
                let acknowledged = self.producer.publish(&name, body);
                async move { Ok(acknowledged.await?) }.boxed()
            }
            Err(error) => {
                let reason = error.to_string();
                async move { Err(PublishFailed::Other(reason)) }.boxed()
            }
        }
    }

    fn losses(&self) -> watch::Receiver<u64> {
        self.losses.clone()
    }
}
