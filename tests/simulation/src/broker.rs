//! nsqd as it is: queues on disk, what is in flight in memory only, at least once, in any order.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use pgo_events::Event;
use pgo_ids::Seq;

use crate::{chance::Chance, climate::Climate};

/// After this, what its holder has not finished is handed out again; as the reader of the history asks for.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A message of the topic that all events are on.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event.
    pub event: Arc<Event>,
    /// What its publisher says of the stream.
    pub unconfirmed_from: Seq,
    /// Both as bytes, where the schedule has them encoded.
    pub body: Option<Bytes>,
}

/// A message that somebody holds.
#[derive(Clone, Debug)]
struct Flying {
    id: u64,
    message: Message,
    /// Connection of the holder.
    to: u64,
    deadline: Timestamp,
}

/// nsqd with channel `history` of topic `alltopic`.
#[derive(Debug, Default)]
pub struct Broker {
    /// Whether it runs.
    pub up: bool,
    queue: Vec<Message>,
    in_flight: Vec<Flying>,
    ids: u64,
}

impl Broker {
    /// Takes a message.
    pub fn publish(&mut self, message: Message) {
        self.queue.push(message);
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Hands the next message to the holder of a connection.
    pub fn hand_out(
        &mut self,
        to: u64,
        now: Timestamp,
        climate: &Climate,
        chance: &mut Chance,
    ) -> Option<(u64, Message)> {
        if !self.up || self.queue.is_empty() {
            return None;
        }
        let place = if chance.happens(climate.reordering) {
            chance.place(self.queue.len())
        } else {
            0
        };
        let message = self.queue.remove(place);
        self.ids += 1;
        self.in_flight.push(Flying {
            id: self.ids,
            message: message.clone(),
            to,
            deadline: now + MESSAGE_TIMEOUT,
        });
        Some((self.ids, message))
    }

    /// A message is done, if this connection still holds it.
    pub fn finish(&mut self, id: u64, from: u64) {
        self.in_flight
            .retain(|flying| flying.id != id || flying.to != from);
    }

    /// What was held too long is handed out again.
    pub fn time_out(&mut self, now: Timestamp) {
        let (over, held) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition(|flying: &Flying| flying.deadline <= now);
        self.in_flight = held;
        self.queue
            .extend(over.into_iter().map(|flying| flying.message));
    }

    /// kill -9. What is in flight is lost, and in its first moments a topic with all that is in it.
    pub fn kill(&mut self, chance: &mut Chance) {
        self.up = false;
        self.in_flight.clear();
        if chance.happens(200) {
            self.queue.clear();
        }
    }
}
