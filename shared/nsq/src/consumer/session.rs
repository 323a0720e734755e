//! One connection of a consumer: brings messages, writes answers, keeps the window.
//!
//! nsqd sends while fewer than `RDY` messages are unanswered, so `RDY` is the window itself and is sent only when the
//! window changes. How large it is to be is decided for all connections together, in [`flow`](super::flow).

use std::{collections::HashMap, pin::pin, sync::Arc};

use tokio::time::{Instant, sleep_until};

use super::{
    flow::{Gate, Progress},
    link::{Link, Shared, ended},
    message::{Answer, Message, Outcome, Verdict},
};
use crate::{
    codec::{CLOSE_WAIT, Command, Delivery, Frame, MessageId},
    connection::{Connection, arm},
    deadline::countable,
    error::{ConnectionError, ServerError},
};

pub(super) struct Session<'a> {
    link: &'a mut Link,
    shared: Arc<Shared>,
    connection: Connection,
    /// What nsqd waits for an answer to: the attempt by which it was delivered last.
    held: HashMap<MessageId, u16>,
    /// Messages of this connection that are in the inbox, with the application, or being given up.
    outstanding: usize,
    /// What the flow has not been told.
    progress: Progress,
    /// Answers that are not written. They come behind the window: nsqd must know that no more is wanted before it hears that
    /// a message failed, or it would send the same again at once.
    answers: Vec<Answer>,
    /// The window that nsqd knows.
    ready: u32,
    draining: Option<Draining>,
}

/// The link is to end.
struct Draining {
    /// Not longer than until then.
    until: Instant,
    /// nsqd has confirmed that it sends no more.
    confirmed: bool,
}

impl<'a> Session<'a> {
    pub fn new(link: &'a mut Link, connection: Connection) -> Self {
        Self {
            shared: link.shared.clone(),
            link,
            connection,
            held: HashMap::new(),
            outstanding: 0,
            progress: Progress::default(),
            answers: Vec::new(),
            ready: 0,
            draining: None,
        }
    }

    /// The connection, and how many of its messages are not answered.
    pub fn into_parts(self) -> (Connection, usize) {
        (self.connection, self.outstanding)
    }

    /// Subscribes and reads until the link is to end and drained (`Ok`), or the connection ends.
    pub async fn run(&mut self) -> Result<(), ConnectionError> {
        let (topic, channel) = (self.shared.topic.clone(), self.shared.channel.clone());
        let subscribe = Command::Subscribe { topic, channel };
        self.connection.ask(&subscribe).await?;
        let (topic, channel) = (&self.shared.topic, &self.shared.channel);
        tracing::debug!(%topic, %channel, address = self.link.server.address, "subscribed");
        self.shared.status.connected(self.link.id);
        let max_ready = self.connection.granted().max_ready;
        let gate = self.shared.flow.join(self.link.id, max_ready);

        let mut order = self.link.order.clone();
        let mut timer = pin!(sleep_until(self.deadline()));
        loop {
            self.take_frames()?;
            while let Ok(answer) = self.link.answers.try_recv() {
                self.note(answer);
            }
            self.report();
            self.keep_window(&gate);
            self.write_answers();
            if self.is_drained() {
                return Ok(());
            }
            arm(timer.as_mut(), self.deadline());
            tokio::select! {
                advanced = self.connection.advance() => advanced?,
                Some(answer) = self.link.answers.recv() => self.note(answer),
                () = gate.changed.notified() => {}
                () = ended(&mut order), if self.draining.is_none() => self.drain(),
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
                Frame::Message(delivery) => arrived.extend(self.receive(delivery)),
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
        if !arrived.is_empty() {
            self.shared.inbox.put(arrived);
        }
        Ok(())
    }

    /// The message, if the application shall have it.
    fn receive(&mut self, delivery: Delivery) -> Option<Message> {
        self.held.insert(delivery.id, delivery.attempts);
        self.outstanding += 1;
        self.progress.arrived += 1;
        let message = Message::new(delivery, self.link.origin(&self.connection));
        if self.draining.is_some() {
            // Dropping it gives it back.
            return None;
        }
        match &self.shared.config.dead_letters {
            Some(dead_letters) if dead_letters.are_due(&message) => {
                dead_letters.take(message, &self.shared.topic, &self.shared.channel);
                None
            }
            _ => Some(message),
        }
    }

    /// nsqd has given the message to somebody else by now, or will do so.
    fn note_late_answer(&self, error: &ServerError) {
        let (topic, channel) = (&self.shared.topic, &self.shared.channel);
        if error.code == "E_FIN_FAILED" {
            tracing::warn!(%topic, %channel, %error, "a message was finished too late");
        } else {
            tracing::debug!(%topic, %channel, %error, "an answer to a message came too late");
        }
    }

    fn note(&mut self, answer: Answer) {
        if answer.session != self.link.session {
            self.link.note_stale(&answer);
            return;
        }
        if answer.verdict != Verdict::Touch {
            self.outstanding = self.outstanding.saturating_sub(1);
            self.progress.answered += 1;
            self.progress.succeeded |= answer.outcome == Outcome::Success;
            self.progress.failed |= answer.outcome == Outcome::Failure;
        }
        self.answers.push(answer);
    }

    fn write_answers(&mut self) {
        for answer in self.answers.drain(..) {
            // After a timeout nsqd may have sent the message again over this connection. Then it means the later delivery
            // by the id, and only the news that the work is done is of use to it.
            let id = answer.id;
            let is_latest = self.held.get(&id) == Some(&answer.attempts);
            if answer.verdict != Verdict::Touch && is_latest {
                self.held.remove(&id);
            }
            match answer.verdict {
                Verdict::Finish => self.connection.put(&Command::Finish(id)),
                Verdict::Requeue(delay) if is_latest => {
                    self.connection.put(&Command::Requeue { id, delay });
                }
                Verdict::Touch if is_latest => self.connection.put(&Command::Touch(id)),
                Verdict::Requeue(_) | Verdict::Touch | Verdict::Lapse => {}
            }
        }
    }

    /// Tells the flow what has happened.
    fn report(&mut self) {
        let progress = std::mem::take(&mut self.progress);
        if progress != Progress::default() {
            self.shared.flow.progress(self.link.id, progress);
        }
    }

    fn keep_window(&mut self, gate: &Gate) {
        let window = gate.window();
        if self.draining.is_none() && window != self.ready {
            self.connection.put(&Command::Ready(window));
            self.ready = window;
            self.shared.flow.told(self.link.id, window);
        }
    }

    /// Begins to end.
    fn drain(&mut self) {
        self.connection.put(&Command::Close);
        self.draining = Some(Draining {
            until: Instant::now() + countable(self.shared.config.close_timeout),
            confirmed: false,
        });
        self.shared.inbox.clear(self.link.id);
    }

    fn is_drained(&self) -> bool {
        self.draining.as_ref().is_some_and(|draining| {
            let all = draining.confirmed && self.outstanding == 0 && self.connection.is_flushed();
            all || draining.until <= Instant::now()
        })
    }
}
