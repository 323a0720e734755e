//! What the holder's agent has in hand, and whether that is enough to serve.

use std::collections::BTreeMap;

use crate::{Moment, Protocol, Record, Synchronous, VoterId, grants_needed};

/// A membership that may be the recorded one: who can grant, and how many have to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    /// The voters.
    pub voters: std::collections::BTreeSet<VoterId>,
    /// The rule that says how many of them vote.
    pub synchronous: Synchronous,
}

impl Membership {
    /// The membership that `record` has.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            voters: record.voters.clone(),
            synchronous: record.synchronous.clone(),
        }
    }
}

/// What the holder has in hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Whether this process has written the Lease since it started or released.
    pub written: bool,
    /// When the newest request to write the Lease began that was answered with success.
    pub own_write: Option<Moment>,
    /// By granter, when the request began that it answered.
    pub grants: BTreeMap<VoterId, Moment>,
    /// Memberships beside the recorded one that requests without an answer may have written.
    pub in_doubt: Vec<Membership>,
    /// Whether a request to write had no answer and the Lease has not been read since.
    pub unsettled: bool,
    /// A replica has promised a higher term.
    pub raise: Option<pgo_ids::Term>,
    /// After a release: until when it leaves the Lease to others.
    pub rests_until: Option<Moment>,
}

impl Authority {
    /// Until when what is in hand lets it serve, if nothing more comes; `None` where it needs nothing.
    ///
    /// # Errors
    /// It may not serve at all: this process has not written the Lease.
    pub fn until(
        &self,
        protocol: &Protocol,
        record: &Record,
    ) -> Result<Option<Moment>, NotWritten> {
        if !self.written {
            return Err(NotWritten);
        }
        let rules = &protocol.rules;
        let recorded = Membership::of(record);
        let old = (rules.old_membership_holds || self.in_doubt.is_empty()).then_some(&recorded);
        let new = self.in_doubt.iter().filter(|_| rules.new_membership_holds);
        let mut least: Option<Moment> = None;
        for membership in old.into_iter().chain(new) {
            match self.until_by(protocol, membership) {
                By::Nothing => {}
                By::Moment(until) => least = Some(least.map_or(until, |least| least.min(until))),
            }
        }
        Ok(least)
    }

    /// Whether it may serve at `now`. It kills its servers so long before the end that they are dead by then.
    #[must_use]
    pub fn may_serve(&self, protocol: &Protocol, record: &Record, now: Moment) -> bool {
        match self.until(protocol, record) {
            Ok(None) => true,
            Ok(Some(until)) => now.plus(protocol.timing.margin) < until,
            Err(NotWritten) => false,
        }
    }

    /// Whether the grants alone, for all memberships that may hold, last beyond `now` by half of T.
    #[must_use]
    pub fn grants_are_short(&self, protocol: &Protocol, record: &Record, now: Moment) -> bool {
        let grants = Self {
            own_write: None,
            ..self.clone()
        };
        match grants.until(protocol, record) {
            Ok(None) => false,
            Ok(Some(until)) => until < now.plus(protocol.timing.term / 2),
            Err(NotWritten) => true,
        }
    }

    fn until_by(&self, protocol: &Protocol, membership: &Membership) -> By {
        let needed = grants_needed(
            &protocol.rules,
            membership.voters.len(),
            membership.synchronous.k,
        );
        let Some(nth) = needed.checked_sub(1) else {
            return By::Nothing;
        };
        let mut granted: Vec<Moment> = self
            .grants
            .iter()
            .filter(|(by, _)| membership.voters.contains(by))
            .map(|(_, began)| *began)
            .collect();
        granted.sort_unstable_by(|a, b| b.cmp(a));
        let begun = granted.get(nth).copied().max(self.own_write);
        By::Moment(begun.map_or(Moment::default(), |begun| begun.plus(protocol.timing.term)))
    }

    /// What is left when authority is given up.
    #[must_use]
    pub fn forgotten(&self, rests_until: Option<Moment>) -> Self {
        Self {
            rests_until,
            in_doubt: self.in_doubt.clone(),
            unsettled: self.unsettled,
            raise: self.raise,
            ..Self::default()
        }
    }

    /// Drops what has run out.
    pub fn forget(&mut self, protocol: &Protocol, now: Moment) {
        let lasts = |began: &Moment| now < began.plus(protocol.timing.term);
        self.own_write = self.own_write.filter(lasts);
        self.grants.retain(|_, began| lasts(began));
        self.rests_until = self.rests_until.filter(|until| now < *until);
    }
}

/// This process has not written the Lease, so nothing else counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWritten;

enum By {
    /// No grant is needed.
    Nothing,
    /// What is in hand lasts until then.
    Moment(Moment),
}
