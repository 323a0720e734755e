//! What becomes of messages that failed too often.

use std::{
    error::Error,
    fmt,
    future::Future,
    num::NonZeroU16,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::message::Message;
use crate::{
    codec::MessageId,
    name::{ChannelName, TopicName},
    producer::Producer,
};

/// Until a message that could not be put away comes again for the next try, unless set.
const RETRY: Duration = Duration::from_secs(10);

/// When to give a message up, and where to put it then.
///
/// A message that nsqd has delivered more often than `max_attempts` times is not handed out again. It is put away, and only
/// when that has succeeded it is finished, so that none is lost in between; if putting it away fails it is requeued and
/// tried again after some seconds. It may be put away twice, as all in NSQ may happen twice.
///
/// nsqd counts the attempts, over all consumers of the channel.
///
/// ```no_run
/// use std::num::NonZeroU16;
/// use nsq::{ConsumerConfig, DeadLetters, Producer, ProducerConfig, Server};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::connect(Server::new("127.0.0.1:4150"), ProducerConfig::default());
/// let five = NonZeroU16::new(5).ok_or("not zero")?;
/// let config = ConsumerConfig {
///     dead_letters: Some(DeadLetters::to_topic(five, producer, "orders.dead".parse()?)),
///     ..ConsumerConfig::default()
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    max_attempts: NonZeroU16,
    put_away: Arc<PutAway>,
    retry: Duration,
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;
type PutAway = dyn Fn(DeadLetter) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

/// A message that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What it was published to.
    pub topic: TopicName,
    /// Whose consumers could not handle it.
    pub channel: ChannelName,
    /// nsqd's name for it.
    pub id: MessageId,
    /// How often nsqd has delivered it, this time, in which nobody saw it, included.
    pub attempts: u16,
    /// When nsqd took it, by nsqd's clock.
    pub timestamp: SystemTime,
    /// What was published.
    pub body: Bytes,
}

impl DeadLetters {
    /// Publishes the body, as it is, to a topic, and waits for the acknowledgement.
    pub fn to_topic(max_attempts: NonZeroU16, producer: Producer, topic: TopicName) -> Self {
        Self::with(max_attempts, move |letter| {
            let published = producer.publish(&topic, letter.body);
            async move { Ok(published.await?) }
        })
    }

    /// Calls a function. It runs beside the handling of other messages, while the message is touched; what it returns must
    /// come to an end.
    pub fn with<F>(
        max_attempts: NonZeroU16,
        put_away: impl Fn(DeadLetter) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        Self {
            max_attempts,
            put_away: Arc::new(move |letter| Box::pin(put_away(letter))),
            retry: RETRY,
        }
    }

    /// Drops it, with a line in the log.
    pub fn discard(max_attempts: NonZeroU16) -> Self {
        Self::with(max_attempts, |_| async { Ok(()) })
    }

    /// The same, with another delay until a message that could not be put away is tried again; 10 s unless set.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry = delay;
        self
    }

    /// How often a message is handed out at most.
    pub fn max_attempts(&self) -> NonZeroU16 {
        self.max_attempts
    }

    /// Whether it is time to give the message up.
    pub(super) fn are_due(&self, message: &Message) -> bool {
        message.attempts() > self.max_attempts.get()
    }

    /// Puts a message away, in the background.
    pub(super) fn take(&self, message: Message, topic: &TopicName, channel: &ChannelName) {
        let delivery = message.delivery();
        let letter = DeadLetter {
            topic: topic.clone(),
            channel: channel.clone(),
            id: delivery.id,
            attempts: delivery.attempts,
            timestamp: delivery.taken_at(),
            body: delivery.body.clone(),
        };
        let (id, attempts) = (letter.id, letter.attempts);
        tracing::warn!(%topic, %channel, %id, attempts, "giving a message up");
        let (putting_away, retry) = ((self.put_away)(letter), self.retry);
        tokio::spawn(async move {
            match message.touch_while(putting_away).await {
                Ok(()) => message.put_away(),
                Err(error) => {
                    tracing::warn!(%id, %error, ?retry, "cannot put a message away; trying again");
                    message.requeue_without_backoff(retry);
                }
            }
        });
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("max_attempts", &self.max_attempts)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
