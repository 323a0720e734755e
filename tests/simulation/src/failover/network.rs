//! What lies between the instances, and between them and the API server.

use std::collections::BTreeSet;

use crate::{
    chance::Chance,
    failover::clock::{MS, Time},
};

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// An instance.
    Instance(usize),
    /// The API server.
    Api,
}

/// The network. What is cut is cut in one direction.
#[derive(Debug, Default)]
pub struct Network {
    cut: BTreeSet<(End, End)>,
    /// How long a message takes at least, and at most beyond that.
    pub delay: (Time, Time),
    /// How many in a thousand are lost.
    pub lost: u64,
    /// Until when nothing is cut for a moment again.
    pub rests_until: Time,
}

impl Network {
    /// One in which nothing is cut.
    pub fn new(delay: (Time, Time), lost: u64) -> Self {
        Self {
            delay,
            lost,
            ..Self::default()
        }
    }

    /// When a message arrives that is sent now; never where it is lost.
    pub fn send(&self, (from, to): (End, End), now: Time, chance: &mut Chance) -> Option<Time> {
        if !self.carries(from, to) || chance.happens(self.lost) {
            return None;
        }
        let (least, more) = self.delay;
        // Most messages are fast.
        let more = if chance.happens(900) { more / 10 } else { more };
        Some(now + least + chance.below(more + 1))
    }

    /// Whether messages go this way at all.
    pub fn carries(&self, from: End, to: End) -> bool {
        self.cut.is_empty() || !self.cut.contains(&(from, to))
    }

    /// Whether two instances reach each other.
    pub fn connects(&self, one: usize, other: usize) -> bool {
        let (one, other) = (End::Instance(one), End::Instance(other));
        self.carries(one, other) && self.carries(other, one)
    }

    /// Cuts the ways from one end to these, or in both directions.
    pub fn cut(&mut self, one: End, others: impl Iterator<Item = End>, both: bool) {
        for other in others {
            self.cut.insert((one, other));
            if both {
                self.cut.insert((other, one));
            }
        }
    }

    /// Mends all ways of one end.
    pub fn mend(&mut self, end: End) {
        self.cut.retain(|(from, to)| *from != end && *to != end);
    }

    /// Nothing is cut or lost, and messages are fast.
    pub fn calm(&mut self) {
        *self = Self {
            delay: (MS / 5, 5 * MS),
            ..Self::default()
        };
    }
}
