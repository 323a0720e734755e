//! One nsqd of a consumer: one connection after the other, until told to end.

use std::{pin::pin, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{
    ConsumerConfig,
    flow::{Flow, LinkId},
    inbox::Inbox,
    message::{Answer, Origin, Verdict},
    session::Session,
    status::Status,
};
use crate::{
    backoff::Delays,
    connection::{Connection, Wishes},
    error::ConnectionError,
    name::{ChannelName, TopicName},
    server::Server,
};

/// What all links of a consumer have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub topic: TopicName,
    pub channel: ChannelName,
    pub config: ConsumerConfig,
    pub inbox: Arc<Inbox>,
    pub flow: Flow,
    pub status: Status,
}

/// What a link is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    /// The nsqd is gone for good.
    Retire,
    /// The consumer is closed.
    Close,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pub id: LinkId,
    pub server: Server,
    pub shared: Arc<Shared>,
    pub order: watch::Receiver<Order>,
    /// Goes into each message.
    answer: mpsc::UnboundedSender<Answer>,
    pub answers: mpsc::UnboundedReceiver<Answer>,
    /// Number of the current connection, or of the last.
    pub session: u64,
    /// Messages of former connections that are still with the application.
    stale: usize,
}

impl Link {
    pub fn new(
        id: LinkId,
        server: Server,
        shared: Arc<Shared>,
        order: watch::Receiver<Order>,
    ) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        Self {
            id,
            server,
            shared,
            order,
            answer,
            answers,
            session: 0,
            stale: 0,
        }
    }

    /// Returns how many messages were not answered when it was told to end.
    pub async fn run(mut self) -> usize {
        let mut delays = Delays::new(self.server.backoff);
        let unanswered = loop {
            let Some(opened) = self
                .meanwhile(open(&self.server, &self.shared.config))
                .await
            else {
                break 0;
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
            let (topic, channel) = (&self.shared.topic, &self.shared.channel);
            tracing::warn!(%topic, %channel, %reason, "no connection to nsqd; trying again");
            self.shared.status.disconnected(self.id, reason);
            let pause = sleep(delays.delay(rand::random()));
            if self.meanwhile(pause).await.is_none() {
                break 0;
            }
        };
        self.wait_for_the_last_answers().await;
        unanswered
    }

    /// Reads until told to end; returns how many messages were not answered then.
    async fn consume(&mut self, connection: Connection) -> Result<usize, ConnectionError> {
        self.session += 1;
        let mut session = Session::new(self, connection);
        let ended = session.run().await;
        let (connection, unanswered) = session.into_parts();
        self.stale += unanswered;
        self.shared.flow.leave(self.id, unanswered);
        self.shared.inbox.clear(self.id);
        while let Ok(answer) = self.answers.try_recv() {
            self.note_stale(&answer);
        }
        ended?;
        connection.shut_down().await;
        Ok(unanswered)
    }

    /// Waits for something that needs no connection, and notes answers to messages of former ones; `None` if told to end.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut order = self.order.clone();
        let mut future = pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return Some(done),
                () = ended(&mut order) => return None,
                Some(answer) = self.answers.recv() => self.note_stale(&answer),
            }
        }
    }

    /// An answer to a message of a former connection goes nowhere, but makes room for another message.
    pub fn note_stale(&mut self, answer: &Answer) {
        if answer.verdict != Verdict::Touch && self.stale > 0 {
            self.stale -= 1;
            self.shared.flow.stale_answered(1);
        }
    }

    /// As long as messages of a link are with the application, they count.
    async fn wait_for_the_last_answers(&mut self) {
        let mut order = self.order.clone();
        let mut closed = pin!(async move {
            // A sender that is gone is as good.
            let _ = order.wait_for(|order| *order == Order::Close).await;
        });
        while self.stale > 0 {
            tokio::select! {
                () = &mut closed => return,
                Some(answer) = self.answers.recv() => self.note_stale(&answer),
            }
        }
    }

    /// What a message of the current connection comes from.
    pub fn origin(&self, connection: &Connection) -> Origin {
        let granted = connection.granted();
        Origin {
            link: self.id,
            session: self.session,
            answers: self.answer.clone(),
            timeout: granted.message_timeout,
            max_timeout: granted.max_message_timeout,
        }
    }
}

/// Needs nothing of a link, so that the link can do other things meanwhile.
fn open(
    server: &Server,
    config: &ConsumerConfig,
) -> impl Future<Output = Result<Connection, ConnectionError>> + use<> {
    let server = server.clone();
    let wishes = Wishes {
        message_timeout: config.message_timeout,
        output_buffer: config.output_buffer,
        sample_rate: config.sample_rate,
    };
    async move { Connection::open(&server, &wishes).await }
}

/// Resolves when the link is to end.
pub(super) async fn ended(order: &mut watch::Receiver<Order>) {
    // A sender that is gone means that nobody wants the link any more.
    let _ = order.wait_for(|order| *order != Order::Run).await;
}
