//! The relay of one reconciler: the real backlog over a connection that fails.

use std::time::Instant;

use pgo_bus::{
    Message as Body,
    backlog::{Backlog, Job, Outcome},
};
use pgo_ids::{EventKey, Seq, StreamId};

use crate::{
    broker::{Broker, Message},
    chance::Chance,
    climate::Climate,
    wrong::Wrong,
};

/// An event on its way, and what the broker said of its two parts.
#[derive(Debug)]
struct Flight {
    job: Job,
    own_topics: Option<bool>,
    all_topic: Option<bool>,
}

/// A relay.
#[derive(Debug, Default)]
pub struct Publishing {
    /// What is to be published.
    pub backlog: Backlog,
    batch: Vec<Flight>,
    connected: bool,
    was_connected: bool,
    /// The broker was lost and found again while a batch was on its way.
    lost: bool,
}

impl Publishing {
    /// The broker is there, again perhaps.
    pub fn connect(&mut self, broker: &Broker) {
        if self.connected || !broker.up {
            return;
        }
        self.connected = true;
        if std::mem::replace(&mut self.was_connected, true) {
            if self.batch.is_empty() {
                self.backlog.reconnected();
            } else {
                self.lost = true;
            }
        }
    }

    /// The connection breaks: nothing more is heard of what is on its way.
    pub fn disconnect(&mut self) {
        self.connected = false;
        for flight in &mut self.batch {
            flight.own_topics.get_or_insert(false);
            flight.all_topic.get_or_insert(false);
        }
    }

    /// Whether a batch is on its way.
    pub fn is_busy(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Begins a batch where none is on its way, else goes on with the one that is.
    pub fn step(
        &mut self,
        broker: &mut Broker,
        climate: &Climate,
        chance: &mut Chance,
        wrong: Option<Wrong>,
        now: Instant,
    ) -> Result<(), String> {
        if self.batch.is_empty() {
            let most = chance.between(1, 40);
            self.batch = self
                .backlog
                .take(now, most)
                .into_iter()
                .map(|job| Flight {
                    own_topics: (!job.own_topics).then_some(true),
                    all_topic: (!job.all_topic).then_some(true),
                    job,
                })
                .collect();
        }
        if !self.connected {
            self.disconnect();
        }
        self.send(broker, climate, chance)?;
        self.settle(wrong, now);
        Ok(())
    }

    /// Sends some of what is on its way.
    fn send(
        &mut self,
        broker: &mut Broker,
        climate: &Climate,
        chance: &mut Chance,
    ) -> Result<(), String> {
        for _ in 0..chance.between(1, 6) {
            let unanswered =
                |flight: &&mut Flight| flight.all_topic.is_none() || flight.own_topics.is_none();
            let Some(flight) = self.batch.iter_mut().find(unanswered) else {
                break;
            };
            // The way breaks before it is there, or after.
            if chance.happens(climate.lost_acknowledgements / 2) {
                self.disconnect();
                break;
            }
            if flight.all_topic.is_none() {
                broker.publish(message(&flight.job, climate)?);
                if chance.happens(climate.lost_acknowledgements / 2) {
                    self.disconnect();
                    break;
                }
                flight.all_topic = Some(true);
            } else {
                flight.own_topics = Some(true);
            }
        }
        Ok(())
    }

    fn settle(&mut self, wrong: Option<Wrong>, now: Instant) {
        let outcomes: Vec<(EventKey, Outcome)> = self
            .batch
            .iter()
            .filter_map(|flight| {
                let outcome = Outcome {
                    own_topics: flight.own_topics?,
                    all_topic: flight.all_topic?,
                };
                Some((flight.job.event.key(), outcome))
            })
            .collect();
        if self.batch.is_empty() || outcomes.len() < self.batch.len() {
            return;
        }
        self.batch.clear();
        self.backlog.settle(&outcomes, now);
        if wrong == Some(Wrong::RelayTrimsEarly) {
            for (key, outcome) in outcomes.iter().filter(|(_, o)| o.complete()) {
                debug_assert!(outcome.all_topic);
                self.backlog.confirm(&key.stream, key.seq, now);
            }
        }
        if std::mem::take(&mut self.lost) {
            self.backlog.reconnected();
        }
    }

    /// Up to where a stream is known to be stored.
    pub fn confirmed(&self, stream: &StreamId) -> Seq {
        self.backlog.confirmed(stream).unwrap_or_default()
    }
}

/// A message as it is published.
fn message(job: &Job, climate: &Climate) -> Result<Message, String> {
    let encoded = climate
        .encoded
        .then(|| Body::encode(&job.event, job.unconfirmed_from));
    let body = encoded
        .transpose()
        .map_err(|error| format!("an event is not encoded: {error}"))?;
    Ok(Message {
        event: job.event.clone(),
        unconfirmed_from: job.unconfirmed_from,
        body: body.map(bytes::Bytes::from),
    })
}
