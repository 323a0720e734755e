//! A message with the application, and its answer.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::UnboundedSender},
    time::Instant,
};

use crate::codec::{Delivery, MessageId};

/// A message of a channel. To be answered with [`finish`](Self::finish) or [`requeue`](Self::requeue); dropping it
/// requeues it at once.
///
/// Answers are written in the background. One that comes too late (nsqd's timeout has passed, or the connection was
/// lost) has no effect but a line in the log: nsqd delivers the message again.
#[derive(Debug)]
pub struct Message {
    delivery: Delivery,
    /// When nsqd gives it to somebody else, unless it was touched.
    expires: Instant,
    timeout: Duration,
    session: u64,
    answers: UnboundedSender<Answer>,
    answered: bool,
    /// Its place among those with the application. Given back after the answer was sent.
    place: Option<OwnedSemaphorePermit>,
}

/// What the application says about a message.
#[derive(Debug)]
pub(super) struct Answer {
    /// The connection that brought it.
    pub session: u64,
    pub id: MessageId,
    /// Tells two deliveries of one message over the same connection apart.
    pub attempts: u16,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Finish,
    Requeue(Duration),
    Touch,
    /// Nothing: nsqd has given it up or is about to.
    Lapse,
}

impl Message {
    pub(super) fn new(
        delivery: Delivery,
        timeout: Duration,
        session: u64,
        answers: UnboundedSender<Answer>,
    ) -> Self {
        Self {
            delivery,
            expires: Instant::now() + timeout,
            timeout,
            session,
            answers,
            answered: false,
            place: None,
        }
    }

    pub(super) fn hand_out(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// Lets go of a message that nsqd gives to somebody else by itself. To requeue it could hit its next delivery.
    pub(super) fn lapse(mut self) {
        self.answer(Verdict::Lapse);
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires <= now
    }

    /// What was published.
    pub fn body(&self) -> &Bytes {
        &self.delivery.body
    }

    /// nsqd's name for the message; new with each publish.
    pub fn id(&self) -> MessageId {
        self.delivery.id
    }

    /// How often nsqd has delivered it, this time included.
    pub fn attempts(&self) -> u16 {
        self.delivery.attempts
    }

    /// When nsqd took it, by nsqd's clock.
    pub fn timestamp(&self) -> SystemTime {
        let nanoseconds = self.delivery.timestamp.try_into().unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }

    /// How long nsqd waits for the answer, counted from the delivery or the last [`touch`](Self::touch).
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The message is done: nsqd forgets it.
    pub fn finish(mut self) {
        self.answer(Verdict::Finish);
    }

    /// The message shall come again when `delay` has passed, to whichever consumer. nsqd shortens the delay to its
    /// `--max-req-timeout` (1 hour by default) and keeps it in memory only: after a restart it comes at once.
    pub fn requeue(mut self, delay: Duration) {
        self.answer(Verdict::Requeue(delay));
    }

    /// The work goes on: nsqd's timeout starts again. Together not longer than nsqd's `--max-msg-timeout` (15 min by
    /// default) from the delivery.
    pub fn touch(&self) {
        self.send(Verdict::Touch);
    }

    fn answer(&mut self, verdict: Verdict) {
        self.answered = true;
        self.send(verdict);
    }

    fn send(&self, verdict: Verdict) {
        // Without a consumer there is no connection, and nsqd delivers the message again.
        let _ = self.answers.send(Answer {
            session: self.session,
            id: self.delivery.id,
            attempts: self.delivery.attempts,
            verdict,
        });
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Verdict::Requeue(Duration::ZERO));
        }
    }
}
