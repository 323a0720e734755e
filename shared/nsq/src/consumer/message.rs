//! A message with the application, and its answer.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::UnboundedSender},
    time::{Instant, sleep},
};

use super::flow::LinkId;
use crate::codec::{Delivery, MessageId};

/// A message of a channel. To be answered with [`finish`](Self::finish) or [`requeue`](Self::requeue); dropping it
/// requeues it at once, as one that failed.
///
/// Answers are written in the background. One that comes too late (nsqd's timeout has passed, or the connection was
/// lost) has no effect but a line in the log: nsqd delivers the message again.
#[derive(Debug)]
pub struct Message {
    delivery: Delivery,
    arrived: Instant,
    /// Nanoseconds from the arrival to the last touch.
    touched: AtomicU64,
    origin: Origin,
    answered: bool,
    /// Its place among those with the application. Given back after the answer was sent.
    place: Option<OwnedSemaphorePermit>,
}

/// The connection that brought a message.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub link: LinkId,
    /// Tells the connections of one link apart.
    pub session: u64,
    pub answers: UnboundedSender<Answer>,
    /// What nsqd granted.
    pub timeout: Duration,
    pub max_timeout: Duration,
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
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Finish,
    Requeue(Duration),
    Touch,
    /// Nothing: nsqd has given it up or is about to.
    Lapse,
}

/// What an answer means for the consumer's backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    Neutral,
}

impl Message {
    pub(super) fn new(delivery: Delivery, origin: Origin) -> Self {
        Self {
            delivery,
            arrived: Instant::now(),
            touched: AtomicU64::new(0),
            origin,
            answered: false,
            place: None,
        }
    }

    pub(super) fn hand_out(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// Lets go of a message that nsqd gives to somebody else by itself. To requeue it could hit its next delivery.
    pub(super) fn lapse(mut self) {
        self.answer(Verdict::Lapse, Outcome::Neutral);
    }

    /// Finishes a message with which the application had nothing to do.
    pub(super) fn put_away(mut self) {
        self.answer(Verdict::Finish, Outcome::Neutral);
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires() <= now
    }

    pub(super) fn link(&self) -> LinkId {
        self.origin.link
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.delivery
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
        self.delivery.taken_at()
    }

    /// How long nsqd waits for the answer, counted from the delivery or the last [`touch`](Self::touch).
    pub fn timeout(&self) -> Duration {
        self.origin.timeout
    }

    /// When nsqd gives the message to somebody else, unless it is answered or touched before. By this machine's clock, and
    /// counted from the arrival: nsqd, which counts from the sending, is earlier by the time that the message was under way.
    pub fn deadline(&self) -> std::time::Instant {
        self.expires().into_std()
    }

    fn expires(&self) -> Instant {
        let touched = Duration::from_nanos(self.touched.load(Ordering::Relaxed));
        self.arrived + (touched + self.origin.timeout).min(self.latest())
    }

    /// The longest that nsqd waits, however often the message is touched.
    fn latest(&self) -> Duration {
        self.origin.max_timeout.max(self.origin.timeout)
    }

    /// The message is done: nsqd forgets it.
    pub fn finish(mut self) {
        self.answer(Verdict::Finish, Outcome::Success);
    }

    /// The message failed and shall come again when `delay` has passed, to whichever consumer. nsqd shortens the delay to
    /// its `--max-req-timeout` (1 hour by default) and keeps it in memory only: after a restart it comes at once.
    ///
    /// It counts as a failure for [`ConsumerConfig::backoff`](crate::ConsumerConfig::backoff).
    pub fn requeue(mut self, delay: Duration) {
        self.answer(Verdict::Requeue(delay), Outcome::Failure);
    }

    /// The same for a message with which nothing is wrong, but whose time has not come: no backoff follows.
    pub fn requeue_without_backoff(mut self, delay: Duration) {
        self.answer(Verdict::Requeue(delay), Outcome::Neutral);
    }

    /// The work goes on: nsqd's timeout starts again. Together not longer than nsqd's `--max-msg-timeout` (15 min by
    /// default) from the delivery.
    pub fn touch(&self) {
        let since = u64::try_from(self.arrived.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.touched.store(since, Ordering::Relaxed);
        self.send(Verdict::Touch, Outcome::Neutral);
    }

    /// Does some work and touches the message as often as it needs, for as long as nsqd allows.
    ///
    /// ```no_run
    /// # async fn work(_: &[u8]) -> Result<(), String> { Ok(()) }
    /// # async fn example(message: nsq::Message) {
    /// match message.touch_while(work(message.body())).await {
    ///     Ok(()) => message.finish(),
    ///     Err(reason) => {
    ///         eprintln!("{}: {reason}", message.id());
    ///         message.requeue(std::time::Duration::from_secs(30));
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn touch_while<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        // Twice as often as needed: one may be late.
        let pause = self.timeout() / 2;
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = sleep(pause) => {}
            }
            if self.arrived.elapsed() >= self.latest() {
                return work.await;
            }
            self.touch();
        }
    }

    fn answer(&mut self, verdict: Verdict, outcome: Outcome) {
        self.answered = true;
        self.send(verdict, outcome);
    }

    fn send(&self, verdict: Verdict, outcome: Outcome) {
        // Without a consumer there is no connection, and nsqd delivers the message again.
        let _ = self.origin.answers.send(Answer {
            session: self.origin.session,
            id: self.delivery.id,
            attempts: self.delivery.attempts,
            verdict,
            outcome,
        });
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Verdict::Requeue(Duration::ZERO), Outcome::Failure);
        }
    }
}
