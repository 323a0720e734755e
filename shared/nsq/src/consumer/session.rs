//! One connection of a consumer: brings messages, writes answers, keeps the window.
//!
//! nsqd sends while fewer than `RDY` messages are unanswered, so `RDY` is the window itself and is sent only when the
//! window changes. Messages of former connections, which nsqd has forgotten and the application has not, narrow it.

use std::{collections::HashMap, pin::pin};

use tokio::time::{Instant, sleep_until};

use super::{
    Worker, closed,
    message::{Answer, Message, Verdict},
};
use crate::{
    codec::{CLOSE_WAIT, Command, Delivery, Frame, MessageId},
    connection::{Connection, arm},
    error::{ConnectionError, ServerError},
    state::State,
};

pub(super) struct Session<'a> {
    worker: &'a mut Worker,
    connection: Connection,
    /// What nsqd waits for an answer to: the attempt by which it was delivered last.
    held: HashMap<MessageId, u16>,
    /// Messages of this connection that are in the inbox or with the application.
    outstanding: usize,
    /// The window that nsqd knows.
    ready: u32,
    draining: Option<Draining>,
}

/// The consumer was closed.
struct Draining {
    /// Not longer than until then.
    until: Instant,
    /// nsqd has confirmed that it sends no more.
    confirmed: bool,
}

impl<'a> Session<'a> {
    pub fn new(worker: &'a mut Worker, connection: Connection) -> Self {
        Self {
            worker,
            connection,
            held: HashMap::new(),
            outstanding: 0,
            ready: 0,
            draining: None,
        }
    }

    /// The connection, and how many of its messages are not answered.
    pub fn into_parts(self) -> (Connection, usize) {
        (self.connection, self.outstanding)
    }

    /// Subscribes and reads until the consumer is closed and drained (`Ok`), or the connection ends.
    pub async fn run(&mut self) -> Result<(), ConnectionError> {
        let subscribe = Command::Subscribe {
            topic: self.worker.topic.clone(),
            channel: self.worker.channel.clone(),
        };
        self.connection.ask(&subscribe).await?;
        tracing::debug!(topic = %self.worker.topic, channel = %self.worker.channel, "subscribed");
        self.worker.state.send_replace(State::Connected);

        let mut timer = pin!(sleep_until(self.deadline()));
        loop {
            self.take_frames()?;
            while let Ok(answer) = self.worker.answers.try_recv() {
                self.answer(&answer);
            }
            self.keep_window();
            if self.is_drained() {
                return Ok(());
            }
            arm(timer.as_mut(), self.deadline());
            tokio::select! {
                advanced = self.connection.advance() => advanced?,
                Some(answer) = self.worker.answers.recv() => self.answer(&answer),
                () = closed(&mut self.worker.closing), if self.draining.is_none() => self.drain(),
                () = timer.as_mut() => self.connection.check(Instant::now())?,
            }
        }
    }

    fn deadline(&self) -> Instant {
        let connection = self.connection.deadline();
        self.draining
            .as_ref()
            .map_or(connection, |draining| connection.min(draining.until))
    }

    /// Passes on what has arrived, all of it at once.
    fn take_frames(&mut self) -> Result<(), ConnectionError> {
        let mut arrived = Vec::new();
        while let Some(frame) = self.connection.next_frame()? {
            match frame {
                Frame::Message(delivery) => arrived.push(self.receive(delivery)),
                Frame::Error(error) if error.is_fatal() => {
                    return Err(self.connection.refused(error));
                }
                Frame::Error(error) => self.note_late_answer(&error),
                Frame::Response(data) if data == CLOSE_WAIT => {
                    if let Some(draining) = &mut self.draining {
                        draining.confirmed = true;
                    }
                }
                other => return Err(self.connection.unexpected(&other)),
            }
        }
        // While draining they are dropped here, which gives them back.
        if !arrived.is_empty() && self.draining.is_none() {
            self.worker.inbox.0.put(arrived);
        }
        Ok(())
    }

    fn receive(&mut self, delivery: Delivery) -> Message {
        self.held.insert(delivery.id, delivery.attempts);
        self.outstanding += 1;
        Message::new(
            delivery,
            self.connection.granted().message_timeout,
            self.worker.session,
            self.worker.answer.clone(),
        )
    }

    /// nsqd has given the message to somebody else by now, or will do so.
    fn note_late_answer(&self, error: &ServerError) {
        let (topic, channel) = (&self.worker.topic, &self.worker.channel);
        if error.code == "E_FIN_FAILED" {
            tracing::warn!(%topic, %channel, %error, "a message was finished too late");
        } else {
            tracing::debug!(%topic, %channel, %error, "an answer to a message came too late");
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let last = answer.verdict != Verdict::Touch;
        if answer.session != self.worker.session {
            if last {
                self.worker.stale = self.worker.stale.saturating_sub(1);
            }
            return;
        }
        if last {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        // After a timeout nsqd may have sent the message again over this connection. Then it means the later delivery by
        // the id, and only the news that the work is done is of use to it.
        let is_latest = self.held.get(&answer.id) == Some(&answer.attempts);
        if last && is_latest {
            self.held.remove(&answer.id);
        }
        let id = answer.id;
        match answer.verdict {
            Verdict::Finish => self.connection.put(&Command::Finish(id)),
            Verdict::Requeue(delay) if is_latest => {
                self.connection.put(&Command::Requeue { id, delay });
            }
            Verdict::Touch if is_latest => self.connection.put(&Command::Touch(id)),
            Verdict::Requeue(_) | Verdict::Touch | Verdict::Lapse => {}
        }
    }

    fn keep_window(&mut self) {
        if self.draining.is_some() {
            return;
        }
        let free = self
            .worker
            .config
            .max_in_flight
            .max(1)
            .saturating_sub(self.worker.stale);
        let window = u32::try_from(free)
            .unwrap_or(u32::MAX)
            .min(self.connection.granted().max_ready);
        if window != self.ready {
            self.connection.put(&Command::Ready(window));
            self.ready = window;
        }
    }

    /// Begins to close.
    fn drain(&mut self) {
        self.connection.put(&Command::Close);
        self.worker.inbox.0.clear();
        self.draining = Some(Draining {
            until: Instant::now() + self.worker.config.close_timeout,
            confirmed: false,
        });
    }

    fn is_drained(&self) -> bool {
        self.draining.as_ref().is_some_and(|draining| {
            let all = draining.confirmed && self.outstanding == 0 && self.connection.is_flushed();
            all || draining.until <= Instant::now()
        })
    }
}
