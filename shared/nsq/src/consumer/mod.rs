//! Subscribing.

mod inbox;
mod message;
mod session;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

pub use self::message::Message;
use self::{inbox::Inbox, message::Answer, session::Session};
use crate::{
    backoff::Delays,
    connection::{Connection, Wishes},
    error::ConnectionError,
    name::{ChannelName, TopicName},
    server::{OutputBuffer, Server},
    state::State,
};

/// How a [`Consumer`] reads.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// At most this many messages are with the application at a time; 1 unless set, and never less. A message is with
    /// the application until it is finished, requeued or dropped.
    pub max_in_flight: usize,
    /// After this time nsqd gives an unanswered message to whichever consumer is free. nsqd's `--msg-timeout` (60 s by
    /// default) unless set; nsqd takes 1 s up to its `--max-msg-timeout` (15 min by default).
    pub message_timeout: Option<Duration>,
    /// How nsqd gathers messages before it writes them; [`OutputBuffer::Off`] unless set.
    pub output_buffer: OutputBuffer,
    /// How long closing waits for messages that are with the application; 5 s unless set.
    pub close_timeout: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            max_in_flight: 1,
            message_timeout: None,
            output_buffer: OutputBuffer::Off,
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// Reads one channel of one nsqd.
///
/// Reconnects for ever. Messages that came over a lost connection and were not handed out yet are discarded: nsqd sends
/// them again. Those that were handed out still count towards `max_in_flight` until they are answered, but an answer to
/// them goes nowhere.
///
/// Dropping the consumer closes it as [`close`](Self::close) does, in the background.
#[derive(Debug)]
pub struct Consumer {
    inbox: Arc<Inbox>,
    state: watch::Receiver<State>,
    /// Dropped to close.
    open: watch::Sender<()>,
    task: JoinHandle<usize>,
}

impl Consumer {
    /// Begins to connect and to subscribe, in the background, and goes on for ever; see [`state`](Self::state).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn subscribe(
        server: Server,
        topic: TopicName,
        channel: ChannelName,
        config: ConsumerConfig,
    ) -> Self {
        let inbox = Arc::new(Inbox::new(config.max_in_flight.max(1)));
        let (state_sender, state) = watch::channel(State::Connecting);
        let (open, closing) = watch::channel(());
        let (answer, answers) = mpsc::unbounded_channel();
        let worker = Worker {
            server,
            topic,
            channel,
            config,
            inbox: Filled(inbox.clone()),
            state: state_sender,
            closing,
            answer,
            answers,
            session: 0,
            stale: 0,
        };
        let task = tokio::spawn(worker.run());
        Self {
            inbox,
            state,
            open,
            task,
        }
    }

    /// The next message, once there is one and fewer than `max_in_flight` are unanswered. Dropping the future loses
    /// nothing. `None` only if the runtime that the consumer was made on has stopped.
    pub async fn next(&mut self) -> Option<Message> {
        self.inbox.next().await
    }

    /// The connection as it is now, and a way to wait for its changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Asks nsqd for no more messages, gives back those that were not handed out, waits until those that were are answered
    /// (at most [`close_timeout`](ConsumerConfig::close_timeout)), and ends the connection.
    ///
    /// Returns how many were not answered in that time. nsqd delivers them again when their timeout has passed.
    pub async fn close(self) -> usize {
        let Self { open, task, .. } = self;
        drop(open);
        task.await.unwrap_or_default()
    }
}

/// The task of a consumer: one connection after the other, until it is closed.
struct Worker {
    server: Server,
    topic: TopicName,
    channel: ChannelName,
    config: ConsumerConfig,
    inbox: Filled,
    state: watch::Sender<State>,
    /// Its sender is dropped when the consumer is closed.
    closing: watch::Receiver<()>,
    /// Goes into each message.
    answer: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// Number of the current connection, or of the last.
    session: u64,
    /// Messages of former connections that are still with the application.
    stale: usize,
}

/// The task's hold on the inbox. Without the task nothing arrives any more, also if it was torn down with its runtime,
/// before its first step even.
struct Filled(Arc<Inbox>);

impl Drop for Filled {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Worker {
    /// Returns how many messages were not answered.
    async fn run(mut self) -> usize {
        let mut delays = Delays::new(self.server.backoff);
        let mut closing = self.closing.clone();
        let unanswered = loop {
            let opened = tokio::select! {
                opened = self.connect() => opened,
                () = closed(&mut closing) => break 0,
            };
            let started = Instant::now();
            let ended = match opened {
                Ok(connection) => self.consume(connection).await,
                Err(reason) => Err(reason),
            };
            let reason = match ended {
                Ok(unanswered) => break unanswered,
                Err(reason) => Arc::new(reason),
            };
            delays.connection_ended(started.elapsed());
            tracing::warn!(
                topic = %self.topic, channel = %self.channel, %reason,
                "no connection to nsqd; trying again"
            );
            self.state.send_replace(State::Disconnected { reason });
            tokio::select! {
                () = sleep(delays.delay(rand::random())) => {}
                () = closed(&mut closing) => break 0,
            }
        };
        self.state.send_replace(State::Closed);
        unanswered
    }

    async fn connect(&self) -> Result<Connection, ConnectionError> {
        let wishes = Wishes {
            message_timeout: self.config.message_timeout,
            output_buffer: self.config.output_buffer,
        };
        Connection::open(&self.server, &wishes).await
    }

    /// Reads until the consumer is closed; returns how many messages were not answered then.
    async fn consume(&mut self, connection: Connection) -> Result<usize, ConnectionError> {
        self.session += 1;
        let mut session = Session::new(self, connection);
        let ended = session.run().await;
        let (connection, unanswered) = session.into_parts();
        self.stale += unanswered;
        self.inbox.0.clear();
        ended?;
        connection.shut_down().await;
        Ok(unanswered)
    }
}

/// Resolves when the consumer was closed.
async fn closed(closing: &mut watch::Receiver<()>) {
    while closing.changed().await.is_ok() {}
}
