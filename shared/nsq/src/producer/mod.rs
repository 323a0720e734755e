//! Publishing.

mod queue;
mod session;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

use self::{queue::Queue, session::Session};
use crate::{
    backoff::Delays,
    codec::Command,
    connection::{Connection, Wishes},
    error::{ConnectionError, PublishError},
    name::TopicName,
    server::Server,
    state::State,
};

/// Bounds of a [`Producer`].
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// At most this many messages wait or are on their way; more are not sent. 10,000 unless set.
    pub max_messages: usize,
    /// At most this many bytes of bodies wait or are on their way; 64 MiB unless set.
    pub max_bytes: usize,
    /// How long a message waits to be written, over reconnects too; 10 s unless set.
    pub send_timeout: Duration,
    /// How long nsqd's answer to a publish is waited for before the connection is given up; 10 s unless set.
    pub response_timeout: Duration,
    /// How long closing waits for what was accepted before; 5 s unless set.
    pub close_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            max_messages: 10_000,
            max_bytes: 64 << 20,
            send_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// Publishes to one nsqd. Clones share one connection.
///
/// Messages are written in the order in which they were published, pipelined: to publish many, start them all and then
/// await them. When a connection ends, what nsqd certainly did not process is written again to the next one, in order;
/// only what it may have processed is reported as [`PublishError::Unknown`].
///
/// Dropping the last clone closes the producer as [`close`](Self::close) does, in the background.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    state: watch::Receiver<State>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Producer {
    /// Begins to connect, in the background, and goes on for ever; see [`state`](Self::state).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect(server: Server, config: ProducerConfig) -> Self {
        let queue = Arc::new(Queue::new(&config));
        let (sender, state) = watch::channel(State::Connecting);
        tokio::spawn(run(server, config, Taken(queue.clone()), sender));
        let handle = Arc::new(Handle { queue, state });
        Self { handle }
    }

    /// Publishes one message. nsqd takes 1 byte up to its `--max-msg-size` (1 MiB by default).
    ///
    /// The message is accepted at once, in the order of the calls, whether or not the result is awaited. The result is
    /// `Ok` once nsqd has acknowledged.
    pub fn publish(&self, topic: &TopicName, body: impl Into<Bytes>) -> Publication {
        let body = body.into();
        let bytes = body.len();
        let topic = topic.clone();
        self.accept(Command::Publish { topic, body }, 1, bytes)
    }

    /// Publishes several messages as one command, acknowledged together. All are refused if one of them is.
    ///
    /// Cheaper than as many calls of [`publish`](Self::publish); together they must not exceed nsqd's `--max-body-size`
    /// (5 MiB by default). No messages are a success.
    pub fn publish_many<B: Into<Bytes>>(
        &self,
        topic: &TopicName,
        bodies: impl IntoIterator<Item = B>,
    ) -> Publication {
        let bodies: Vec<Bytes> = bodies.into_iter().map(Into::into).collect();
        if bodies.is_empty() {
            return Publication::settled(Ok(()));
        }
        let messages = bodies.len();
        let bytes = bodies.iter().map(Bytes::len).sum();
        let topic = topic.clone();
        self.accept(Command::PublishMany { topic, bodies }, messages, bytes)
    }

    /// Publishes one message that no consumer gets before `delay` has passed; milliseconds count. nsqd refuses delays beyond
    /// its `--max-req-timeout` (1 hour by default).
    ///
    /// The delay lives in nsqd's memory only: where the message goes to disk, because the memory queue is full or nsqd
    /// stops, it is delivered as soon as it is read again. So this is good for slowing down and no good for appointments.
    pub fn publish_deferred(
        &self,
        topic: &TopicName,
        delay: Duration,
        body: impl Into<Bytes>,
    ) -> Publication {
        let body = body.into();
        let bytes = body.len();
        let topic = topic.clone();
        self.accept(Command::PublishDeferred { topic, delay, body }, 1, bytes)
    }

    fn accept(&self, command: Command, messages: usize, bytes: usize) -> Publication {
        match self.handle.queue.push(command, messages, bytes) {
            Ok(result) => Publication { result },
            Err(reason) => Publication::settled(Err(PublishError::NotSent(reason))),
        }
    }

    /// The connection as it is now, and a way to wait for its changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.handle.state.clone()
    }

    /// Accepts no more messages, waits until those accepted have their result (at most
    /// [`close_timeout`](ProducerConfig::close_timeout)), and ends the connection. For all clones.
    pub async fn close(&self) {
        self.handle.queue.close();
        let mut state = self.state();
        // An error means that the task is gone, which is as good.
        let _ = state.wait_for(|state| matches!(state, State::Closed)).await;
    }
}

/// The result of a publish, as a future. Dropping it does not take the message back.
#[derive(Debug)]
#[must_use = "whether nsqd has the message is only known by awaiting it"]
pub struct Publication {
    result: oneshot::Receiver<Result<(), PublishError>>,
}

impl Publication {
    fn settled(outcome: Result<(), PublishError>) -> Self {
        let (sender, result) = oneshot::channel();
        // The receiver is right here.
        let _ = sender.send(outcome);
        Self { result }
    }
}

impl Future for Publication {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context).map(|result| {
            result
                .unwrap_or_else(|_| Err(PublishError::Unknown(Arc::new(ConnectionError::Stopped))))
        })
    }
}

/// The task's hold on the queue. Without the task nothing is sent any more, also if it was torn down with its runtime,
/// before its first step even.
struct Taken(Arc<Queue>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The task of a producer: one connection after the other, until it is closed.
async fn run(server: Server, config: ProducerConfig, taken: Taken, state: watch::Sender<State>) {
    let queue = &taken.0;
    let mut delays = Delays::new(server.backoff);
    let wishes = Wishes::default();
    let mut last = None;
    let mut out_of_time = pin!(async {
        queue.closed().await;
        sleep(config.close_timeout).await;
    });
    loop {
        let opened = tokio::select! {
            opened = Connection::open(&server, &wishes) => opened,
            () = queue.wait_out(last.as_ref()) => break,
            () = &mut out_of_time => break,
        };
        let started = Instant::now();
        let mut refused = false;
        let reason = match opened {
            Ok(connection) => {
                tracing::debug!(address = server.address, "connected to nsqd to publish");
                state.send_replace(State::Connected);
                let mut session = Session::new(connection, queue, config.response_timeout);
                let ended = tokio::select! {
                    ended = session.run() => ended,
                    () = &mut out_of_time => {
                        let reason = session.out_of_time(config.close_timeout);
                        session.settle(reason);
                        break;
                    }
                };
                match ended {
                    Ok(()) => {
                        session.shut_down().await;
                        break;
                    }
                    Err(reason) => {
                        refused = session.has_refused_message();
                        session.settle(reason)
                    }
                }
            }
            Err(reason) => Arc::new(reason),
        };
        if refused {
            delays.refused();
        } else {
            delays.connection_ended(started.elapsed());
        }
        tracing::warn!(address = server.address, %reason, "no connection to nsqd; trying again");
        last = Some(reason.clone());
        state.send_replace(State::Disconnected { reason });
        tokio::select! {
            () = sleep(delays.delay(rand::random())) => {}
            () = queue.wait_out(last.as_ref()) => break,
            () = &mut out_of_time => break,
        }
    }
    queue.abandon();
    state.send_replace(State::Closed);
}
