//! How many messages each nsqd may have in flight, so that together they never exceed the consumer's bound.
//!
//! nsqd has no answer to `RDY`, so a window that was narrowed may still be the old one for nsqd: until that has settled, and
//! as long as its messages are unanswered, the difference is given to nobody else.
//!
//! Where there are fewer places than connections, a place is a turn: it goes round, sooner from those that have nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::LinkId;

/// After this time nsqd has read a `RDY` that was written, and what it sent before has arrived.
pub(super) const SETTLE: Duration = Duration::from_millis(250);

/// A turn ends when nothing has come for so long.
pub(super) const IDLE_TURN: Duration = Duration::from_secs(1);

/// A turn ends after this time in any case.
pub(super) const BUSY_TURN: Duration = Duration::from_secs(5);

/// The connections of one consumer, in the order of their turns.
#[derive(Debug)]
pub(super) struct Windows {
    max_in_flight: usize,
    /// Messages of lost connections that are still with the application.
    stale: usize,
    /// What backoff leaves of the bound.
    limit: usize,
    links: Vec<Link>,
    /// All have what they should have, and nothing changes by itself.
    calm: bool,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    /// nsqd takes no larger window.
    max_ready: usize,
    /// Messages that came and are not answered.
    outstanding: usize,
    /// What it should have, once the others have made room.
    target: usize,
    /// What it is to have now.
    window: usize,
    /// The last `RDY` that was written.
    told: usize,
    /// What nsqd may still take for its window, and until when.
    unsettled: Option<(usize, Instant)>,
    turn_since: Instant,
    last_arrival: Instant,
}

impl Link {
    /// The most messages that may be in flight to it, now or by what nsqd has been told.
    fn charge(&self) -> usize {
        let unsettled = self.unsettled.map_or(0, |(window, _)| window);
        let windows = self.window.max(self.told).max(unsettled);
        windows.max(self.outstanding)
    }

    fn turn_ends(&self) -> Instant {
        let busy = self.turn_since + BUSY_TURN;
        if self.outstanding > 0 {
            busy
        } else {
            busy.min(self.turn_since.max(self.last_arrival) + IDLE_TURN)
        }
    }
}

impl Windows {
    pub fn new(max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            stale: 0,
            limit: usize::MAX,
            links: Vec::new(),
            calm: true,
        }
    }

    /// A connection is there; `max_ready` is nsqd's limit for its window.
    pub fn join(&mut self, id: LinkId, max_ready: usize, now: Instant) {
        self.links.push(Link {
            id,
            max_ready,
            outstanding: 0,
            target: 0,
            window: 0,
            told: 0,
            unsettled: None,
            turn_since: now,
            last_arrival: now,
        });
        self.arrange(now);
    }

    /// A connection was lost, with `unanswered` messages of it here.
    pub fn leave(&mut self, id: LinkId, unanswered: usize, now: Instant) {
        self.links.retain(|link| link.id != id);
        self.stale += unanswered;
        self.arrange(now);
    }

    /// Messages of lost connections were answered.
    pub fn stale_answered(&mut self, count: usize, now: Instant) {
        self.stale = self.stale.saturating_sub(count);
        self.arrange(now);
    }

    /// Messages came and were answered.
    pub fn progress(&mut self, id: LinkId, arrived: usize, answered: usize, now: Instant) {
        if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
            link.outstanding = (link.outstanding + arrived).saturating_sub(answered);
            if arrived > 0 {
                link.last_arrival = now;
            }
        }
        if !self.calm {
            self.arrange(now);
        }
    }

    /// `RDY` was written.
    pub fn told(&mut self, id: LinkId, window: usize, now: Instant) {
        if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
            if window < link.told {
                let before = link.unsettled.map_or(0, |(window, _)| window);
                link.unsettled = Some((before.max(link.told), now + SETTLE));
            }
            link.told = window;
        }
        self.arrange(now);
    }

    /// Sets what backoff leaves of the bound.
    pub fn limit(&mut self, limit: usize, now: Instant) {
        if self.limit != limit {
            self.limit = limit;
            self.arrange(now);
        }
    }

    /// The windows as they are to be now.
    pub fn iter(&self) -> impl Iterator<Item = (LinkId, usize)> + '_ {
        self.links.iter().map(|link| (link.id, link.window))
    }

    /// When [`arrange`](Self::arrange) changes something without anything else happening.
    pub fn next_change(&self) -> Option<Instant> {
        let settling = self
            .links
            .iter()
            .filter_map(|link| link.unsettled.map(|(_, until)| until));
        let hungry = self.links.iter().any(|link| link.window < link.target);
        let settled = hungry.then(|| settling.min()).flatten();
        let turn = self.holders().map(Link::turn_ends).min();
        [settled, turn].into_iter().flatten().min()
    }

    /// Those whose turn it is, where not all can have one. A turn begins when it was told.
    fn holders(&self) -> impl Iterator<Item = &Link> {
        let places = self.places();
        let taking_turns = places < self.links.len();
        let holders = self
            .links
            .iter()
            .take(if taking_turns { places } else { 0 });
        holders.filter(|link| link.told > 0)
    }

    /// All that may be in flight by connections that are there.
    fn room(&self) -> usize {
        self.max_in_flight.saturating_sub(self.stale)
    }

    fn places(&self) -> usize {
        self.room().min(self.limit)
    }

    /// Narrows what is too wide at once, and widens what is too narrow as far as the others leave room.
    pub fn arrange(&mut self, now: Instant) {
        for link in &mut self.links {
            link.unsettled = link.unsettled.filter(|(_, until)| now < *until);
        }
        self.pass_turns(now);
        self.set_targets();
        for link in &mut self.links {
            link.window = link.window.min(link.target);
        }
        let charged: usize = self.links.iter().map(Link::charge).sum();
        let mut free = self.room().saturating_sub(charged);
        for link in &mut self.links {
            if link.window < link.target {
                let before = link.charge();
                if link.window == 0 {
                    link.turn_since = now;
                }
                link.window = link.target.min(before + free);
                free -= link.charge() - before;
            }
        }
        let all_have_theirs = self.links.iter().all(|link| link.window == link.target);
        self.calm = all_have_theirs && self.places() >= self.links.len();
    }

    /// Those whose turn is over queue up behind the others.
    fn pass_turns(&mut self, now: Instant) {
        let over: Vec<LinkId> = self
            .holders()
            .filter(|link| link.turn_ends() <= now)
            .map(|link| link.id)
            .collect();
        for id in over {
            if let Some(at) = self.links.iter().position(|link| link.id == id) {
                let mut link = self.links.remove(at);
                // Its next turn may begin at once.
                link.turn_since = now;
                self.links.push(link);
            }
        }
    }

    /// An equal share for each, and what nsqd's limits leave over for the others.
    fn set_targets(&mut self) {
        let places = self.places();
        if places < self.links.len() {
            for (at, link) in self.links.iter_mut().enumerate() {
                link.target = usize::from(at < places).min(link.max_ready);
            }
            return;
        }
        let mut narrow_first: Vec<&mut Link> = self.links.iter_mut().collect();
        narrow_first.sort_by_key(|link| (link.max_ready, link.id));
        let mut left = places;
        let mut without = narrow_first.len();
        for link in narrow_first {
            link.target = left.div_ceil(without).min(link.max_ready);
            left -= link.target;
            without -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
