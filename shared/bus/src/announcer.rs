//! Telling the other services news over NSQ, at no risk for who tells.
//!
//! ```text
//! tell() ─► queue (bounded) ─► one message with all that waits ─► nsqd ─► an ephemeral channel per process ─► Listener
//! ```
//!
//! News are hints: whoever hears one looks at the truth. So nobody waits for them, nothing is kept of them, and one that is
//! lost costs time and nothing else.

use std::{
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nsq::{
    ChannelName, Consumer, ConsumerConfig, NameError, OutputBuffer, Producer, ProducerConfig,
    Server, State, TopicName,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, watch};

/// News that wait at most; while nsqd is away, later ones are lost.
const QUEUE: usize = 1024;

/// News in one message at most: far below nsqd's limit of 1 MiB for a message.
const BATCH: usize = 256;

/// How long a message may wait for nsqd. News that are older are of no use: the watches have brought it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Messages that nsqd sends ahead. With no memory queue nsqd drops what an ephemeral channel is not ready for.
const IN_FLIGHT: usize = 256;

/// Tells news on a topic. Clones are handles of the same; it ends with the last of them.
pub struct Announcer<T> {
    /// None: there is nobody to tell.
    queue: Option<mpsc::Sender<T>>,
    lost: Arc<AtomicU64>,
}

impl<T> Clone for Announcer<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            lost: self.lost.clone(),
        }
    }
}

impl<T> fmt::Debug for Announcer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl<T: Serialize + Send + 'static> Announcer<T> {
    /// Begins to connect to `server`, and goes on for ever.
    ///
    /// # Errors
    /// `topic` is no name of a topic.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(server: Server, topic: &str) -> Result<Self, NameError> {
        let topic: TopicName = topic.parse()?;
        let config = ProducerConfig {
            send_timeout: PATIENCE,
            response_timeout: PATIENCE,
            ..ProducerConfig::default()
        };
        let producer = Producer::connect(server, config);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let lost = Arc::<AtomicU64>::default();
        tokio::spawn(announce(receiver, producer, topic, lost.clone()));
        Ok(Self {
            queue: Some(sender),
            lost,
        })
    }

    /// One that tells nobody.
    #[must_use]
    pub fn off() -> Self {
        Self {
            queue: None,
            lost: Arc::default(),
        }
    }

    /// Tells news, or loses it where too many wait already. Never waits.
    pub fn tell(&self, news: T) {
        if let Some(queue) = &self.queue
            && queue.try_send(news).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// News that nsqd did not get, or may not have got, since the beginning.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// What comes while nsqd answers makes the next message: a burst is a few of them, which an ephemeral channel can take.
async fn announce<T: Serialize>(
    mut queue: mpsc::Receiver<T>,
    producer: Producer,
    topic: TopicName,
    lost: Arc<AtomicU64>,
) {
    let mut news = Vec::new();
    let mut failing = false;
    while queue.recv_many(&mut news, BATCH).await > 0 {
        let body = serde_json::to_vec(&news);
        match publish(&producer, &topic, body).await {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    let lost = lost.load(Ordering::Relaxed);
                    tracing::info!(%topic, lost, "news reach nsqd again");
                }
            }
            Err(error) => {
                let count = u64::try_from(news.len()).unwrap_or(u64::MAX);
                lost.fetch_add(count, Ordering::Relaxed);
                // Once: without nsqd each of them fails.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%topic, error, "news do not reach nsqd; whom they concern learns of it later, from Kubernetes");
                }
            }
        }
        news.clear();
    }
    producer.close().await;
}

async fn publish(
    producer: &Producer,
    topic: &TopicName,
    body: Result<Vec<u8>, serde_json::Error>,
) -> Result<(), String> {
    let body = body.map_err(|error| error.to_string())?;
    let published = producer.publish(topic, body).await;
    published.map_err(|error| error.to_string())
}

/// Hears the news on a topic that are told while it is connected.
#[derive(Debug)]
pub struct Listener<T> {
    consumer: Consumer,
    heard: VecDeque<T>,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Listener<T> {
    /// Begins to listen, on a channel of its own that is gone with the connection. `role` begins its name, for who looks at
    /// nsqd's statistics.
    ///
    /// # Errors
    /// `topic` or `role` cannot be in a name.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn subscribe(server: Server, topic: &str, role: &str) -> Result<Self, NameError> {
        let own: u32 = rand::random();
        let channel: ChannelName = format!("{role}-{own:08x}#ephemeral").parse()?;
        let config = ConsumerConfig {
            max_in_flight: IN_FLIGHT,
            output_buffer: OutputBuffer::Off,
            backoff: None,
            ..ConsumerConfig::default()
        };
        Ok(Self {
            consumer: Consumer::subscribe(server, topic.parse()?, channel, config),
            heard: VecDeque::new(),
            of: PhantomData,
        })
    }

    /// The next news. Dropping the future loses nothing. `None` only if the runtime has stopped.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            if let Some(news) = self.heard.pop_front() {
                return Some(news);
            }
            let message = self.consumer.next().await?;
            match serde_json::from_slice::<Vec<T>>(message.body()) {
                Ok(news) => self.heard.extend(news),
                Err(error) => {
                    tracing::warn!(id = %message.id(), %error, "a message that is no news of ours");
                }
            }
            message.finish();
        }
    }

    /// The state of the connection.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.consumer.state()
    }
}
