//! Subscribing.
//!
//! ```text
//!             ┌─ link ── session ── connection ── nsqd
//! supervisor ─┼─ link ── session ── connection ── nsqd        each link a task; one inbox and one flow for all
//!      ▲      └─ …             │
//!  discovery                   ├─► inbox ─► Consumer::next ─► Message ─► answers ─► its session
//!                              └─► flow (windows, backoff)
//! ```

mod dead_letters;
mod flow;
mod inbox;
mod link;
mod message;
mod sampling;
mod session;
mod status;
mod supervisor;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

pub use self::{
    dead_letters::{DeadLetter, DeadLetters},
    message::Message,
    sampling::{SampleRate, SampleRateError},
};
use self::{
    flow::Flow,
    inbox::Inbox,
    link::Shared,
    status::Status,
    supervisor::{Filled, Source, Supervisor},
};
use crate::{
    discovery::Discovery,
    name::{ChannelName, TopicName},
    server::{Backoff, OutputBuffer, Server},
    state::State,
};

/// How a [`Consumer`] reads.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// At most this many messages are with the application at a time, over all nsqd together; 1 unless set, and never less.
    /// A message is with the application until it is finished, requeued or dropped.
    pub max_in_flight: usize,
    /// After this time nsqd gives an unanswered message to whichever consumer is free. nsqd's `--msg-timeout` (60 s by
    /// default) unless set; nsqd takes 1 s up to its `--max-msg-timeout` (15 min by default).
    pub message_timeout: Option<Duration>,
    /// How nsqd gathers messages before it writes them; [`OutputBuffer::Off`] unless set.
    pub output_buffer: OutputBuffer,
    /// How long closing waits for messages that are with the application; 5 s unless set.
    pub close_timeout: Duration,
    /// After a message failed (it was requeued, or dropped unanswered) nothing is asked for during a delay, and then a single
    /// message. If that one fails too, the next delay is twice as long; if it is finished, half as long, until there is none
    /// any more. This keeps consumers whose database is gone from turning over the whole queue, again and again.
    ///
    /// 1 s to 2 min unless set, as in other clients; `None` for no backoff.
    pub backoff: Option<Backoff>,
    /// When to give a message up, and where to put it then; never unless set.
    pub dead_letters: Option<DeadLetters>,
    /// Which part of the channel's messages to get, instead of all; the others are lost to the channel.
    pub sample_rate: Option<SampleRate>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            max_in_flight: 1,
            message_timeout: None,
            output_buffer: OutputBuffer::Off,
            close_timeout: Duration::from_secs(5),
            backoff: Some(Backoff {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(120),
            }),
            dead_letters: None,
            sample_rate: None,
        }
    }
}

/// Reads one channel, of one nsqd, of several, or of all that nsqlookupd knows.
///
/// Reconnects for ever. Messages that came over a lost connection and were not handed out yet are discarded: nsqd sends
/// them again. Those that were handed out still count towards `max_in_flight` until they are answered, but an answer to
/// them goes nowhere.
///
/// Dropping the consumer closes it as [`close`](Self::close) does, in the background.
///
/// # Several nsqd
///
/// `max_in_flight` is one bound for all of them: each gets an equal share. Where there are fewer places than nsqd, they
/// take turns of at most five seconds, and of one second if nothing comes.
#[derive(Debug)]
pub struct Consumer {
    inbox: Arc<Inbox>,
    state: watch::Receiver<State>,
    nodes: watch::Receiver<BTreeMap<String, State>>,
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
        Self::start(Source::Servers(vec![server]), topic, channel, config)
    }

    /// The same with several nsqd. Of several with the same address the first counts.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn subscribe_to_all(
        servers: impl IntoIterator<Item = Server>,
        topic: TopicName,
        channel: ChannelName,
        config: ConsumerConfig,
    ) -> Self {
        let servers = servers.into_iter().collect();
        Self::start(Source::Servers(servers), topic, channel, config)
    }

    /// The same with those nsqd that have the topic, now and later, as nsqlookupd knows them.
    ///
    /// An nsqd that is no longer listed is left as soon as its connection ends, and not before.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn discover(
        discovery: Discovery,
        topic: TopicName,
        channel: ChannelName,
        config: ConsumerConfig,
    ) -> Self {
        Self::start(Source::Discovered(discovery), topic, channel, config)
    }

    fn start(
        source: Source,
        topic: TopicName,
        channel: ChannelName,
        config: ConsumerConfig,
    ) -> Self {
        let max_in_flight = config.max_in_flight.max(1);
        let inbox = Arc::new(Inbox::new(max_in_flight));
        let flow = Flow::new(max_in_flight, config.backoff);
        let status = Status::new();
        let (state, nodes) = (status.state(), status.nodes());
        let (open, closing) = watch::channel(());
        let shared = Shared {
            topic,
            channel,
            config,
            inbox: inbox.clone(),
            flow,
            status,
        };
        let supervisor = Supervisor::new(Arc::new(shared), Filled(inbox.clone()));
        let task = tokio::spawn(supervisor.run(source, closing));
        Self {
            inbox,
            state,
            nodes,
            open,
            task,
        }
    }

    /// The next message, once there is one and fewer than `max_in_flight` are unanswered. Dropping the future loses
    /// nothing. `None` only if the runtime that the consumer was made on has stopped.
    pub async fn next(&mut self) -> Option<Message> {
        self.inbox.next().await
    }

    /// The state as it is now, and a way to wait for its changes. With several nsqd it is [`State::Connected`] if one of
    /// them is.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Each nsqd that is read from, by its address, with the state of its connection.
    pub fn nodes(&self) -> watch::Receiver<BTreeMap<String, State>> {
        self.nodes.clone()
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
