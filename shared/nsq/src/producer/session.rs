//! One connection of a producer: writes what is queued and matches nsqd's answers to it.
//!
//! nsqd answers the commands of one connection in their order, so the oldest unanswered one is meant.

use std::{collections::VecDeque, ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::queue::{Entry, Queue};
use crate::{
    codec::{Frame, OK},
    connection::{Connection, arm},
    deadline::countable,
    error::{ConnectionError, PublishError},
};

/// Unanswered commands from which on nsqd has enough to do: it works off those of one connection one after another. What
/// comes behind them is gathered into larger writes then, until there is half as much of it as is unanswered, and is
/// not later for it.
const BUSY: usize = 128;

/// A command that was given to the connection and is not answered.
struct Sent {
    entry: Entry,
    /// Position of its end in the stream of commands.
    end: u64,
    /// The answer must be there by then.
    due: Instant,
}

pub(super) struct Session<'a> {
    connection: Connection,
    queue: &'a Queue,
    in_flight: VecDeque<Sent>,
    response_timeout: Duration,
    /// nsqd answered with an error and closed: it has not looked at what came behind.
    refused: bool,
    /// That was about a message.
    refused_message: bool,
}

impl<'a> Session<'a> {
    pub fn new(connection: Connection, queue: &'a Queue, response_timeout: Duration) -> Self {
        Self {
            connection,
            queue,
            in_flight: VecDeque::new(),
            response_timeout,
            refused: false,
            refused_message: false,
        }
    }

    /// Publishes until the queue is closed and all is answered (`Ok`), or the connection ends.
    pub async fn run(&mut self) -> Result<(), ConnectionError> {
        let mut timer = pin!(sleep_until(self.deadline()));
        loop {
            while let Some(frame) = self.connection.next_frame()? {
                self.answer(frame)?;
            }
            self.fill();
            if self.in_flight.is_empty() && self.queue.is_done() {
                return Ok(());
            }
            arm(timer.as_mut(), self.deadline());
            tokio::select! {
                advanced = self.connection.advance() => advanced?,
                () = self.queue.arrived() => {}
                () = timer.as_mut() => self.check(Instant::now())?,
            }
        }
    }

    /// Gives the connection what is queued, as far as it has room.
    fn fill(&mut self) {
        if !self.connection.has_room() {
            return;
        }
        let unanswered = self.in_flight.len();
        let enough = if unanswered < BUSY { 1 } else { unanswered / 2 };
        let due = Instant::now() + countable(self.response_timeout);
        let Self {
            connection,
            queue,
            in_flight,
            ..
        } = self;
        queue.take(enough, |entry| {
            connection.put(&entry.command);
            let end = connection.put_position();
            in_flight.push_back(Sent { entry, end, due });
            if connection.has_room() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }

    fn answer(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        match frame {
            Frame::Response(data) if data == OK => match self.in_flight.pop_front() {
                Some(sent) => sent.entry.resolve(Ok(())),
                None => return Err(self.connection.unexpected(&Frame::Response(data))),
            },
            Frame::Error(error) => {
                // nsqd could not ask its authentication service: nothing is wrong with the message, so it stays.
                if !error.is_about_authentication_service()
                    && let Some(sent) = self.in_flight.pop_front()
                {
                    let result = Err(PublishError::Rejected(error.clone()));
                    sent.entry.resolve(result);
                    self.refused_message = true;
                }
                if error.is_fatal() {
                    self.refused = true;
                    return Err(self.connection.refused(error));
                }
            }
            other => return Err(self.connection.unexpected(&other)),
        }
        Ok(())
    }

    /// The next moment at which something may be overdue.
    fn deadline(&self) -> Instant {
        let answer = self.in_flight.front().map(|sent| sent.due);
        [answer, self.queue.next_expiry()]
            .into_iter()
            .flatten()
            .fold(self.connection.deadline(), Instant::min)
    }

    fn check(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.connection.check(now)?;
        if self.in_flight.front().is_some_and(|sent| sent.due <= now) {
            let step = "the answer to a publish";
            return Err(self.connection.timed_out(step, self.response_timeout));
        }
        self.queue.expire(now, None);
        Ok(())
    }

    /// Whether the connection ended because nsqd refused a message.
    pub fn has_refused_message(&self) -> bool {
        self.refused_message
    }

    pub fn out_of_time(&self, limit: Duration) -> ConnectionError {
        self.connection.timed_out("closing the producer", limit)
    }

    /// Decides about what was not answered when the connection ended: nsqd carries out a command only when it has all of
    /// it, and none after one that it refused.
    pub fn settle(self, reason: ConnectionError) -> Arc<ConnectionError> {
        let reason = Arc::new(reason);
        let written = self.connection.written_position();
        let (unknown, untouched): (Vec<_>, Vec<_>) = self
            .in_flight
            .into_iter()
            .partition(|sent| !self.refused && sent.end <= written);
        for sent in unknown {
            let result = Err(PublishError::Unknown(reason.clone()));
            sent.entry.resolve(result);
        }
        self.queue
            .put_back(untouched.into_iter().map(|sent| sent.entry));
        reason
    }

    pub async fn shut_down(self) {
        self.connection.shut_down().await;
    }
}
