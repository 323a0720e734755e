//! What a replica's agent answers to the primary that asks for a grant, and to a candidate that asks for a vote.

use pgo_ids::Term;

use crate::{Moment, Promise, Protocol, Release, Timing, Version, VoterId};

/// A grant that was given and may not have run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Given {
    /// To whom.
    pub to: VoterId,
    /// Until when by the granter's clock: T·(1+ρ) from its answer.
    pub until: Moment,
}

/// What a replica's agent has given since it started. Lost with the process, which is why the next one waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Granter {
    /// Until when something may hold that the process before this one has granted.
    pub restarted_until: Option<Moment>,
    /// The grant it gave last. There is one at most: another holder means that this one has run out.
    pub given: Option<Given>,
}

/// Why there is no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoVote {
    /// Asked for a term that is lower than the promised one, or that the Lease records already.
    Promised(Term),
    /// A grant has not run out: the primary may be serving by it.
    Granting,
    /// It does not know what it granted before it restarted, and that has not run out.
    Restarted,
    /// Its data is being copied.
    Copying,
    /// Servers of its own time as primary are not known to be dead.
    Serving,
}

impl Granter {
    /// A process that started at `now`.
    #[must_use]
    pub fn started(protocol: &Protocol, now: Moment) -> Self {
        let wait = protocol.rules.restarted_granter_waits;
        Self {
            restarted_until: wait.then(|| now.plus(protocol.timing.run_out())),
            given: None,
        }
    }

    /// Answers a request for a grant: the promise to store before the answer goes, or the promised term that forbids it.
    ///
    /// # Errors
    /// A higher term has been promised.
    pub fn grant(
        &mut self,
        protocol: &Protocol,
        promise: &Promise,
        to: VoterId,
        term: Term,
        now: Moment,
    ) -> Result<Promise, Term> {
        if !promise.allows(&protocol.rules, term) {
            return Err(promise.term);
        }
        let lasts = if protocol.rules.granter_allows_for_drift {
            protocol.timing.run_out()
        } else {
            protocol.timing.term
        };
        self.given = Some(Given {
            to,
            until: now.plus(lasts),
        });
        Ok(promise.in_term(term))
    }

    /// Whether it may vote in `term` for a swap from `version`; the promise to store before it says so.
    ///
    /// A primary that released has forgotten what it was granted, so nothing has to run out for a swap from the version
    /// that it named.
    ///
    /// # Errors
    /// It may not, for now or in this term.
    pub fn vote(
        &self,
        protocol: &Protocol,
        promise: &Promise,
        term: Term,
        version: &Version,
        release: Option<&Release>,
        now: Moment,
    ) -> Result<Promise, NoVote> {
        let rules = &protocol.rules;
        if !promise.allows(rules, term) || (!rules.several_votes_in_a_term && term == promise.term)
        {
            return Err(NoVote::Promised(promise.term));
        }
        if promise.no_vote.is_some() {
            return Err(NoVote::Copying);
        }
        let released = release.is_some_and(|release| release.counts_for(rules, version));
        let by = |given: &Given| release.is_some_and(|release| release.by == given.to);
        match &self.given {
            Some(given)
                if now < given.until && rules.vote_waits_for_grant && !(released && by(given)) =>
            {
                return Err(NoVote::Granting);
            }
            _ => {}
        }
        if !released && self.restarted_until.is_some_and(|until| now < until) {
            return Err(NoVote::Restarted);
        }
        Ok(promise.in_term(term))
    }

    /// Drops what nothing goes by any more.
    pub fn forget(&mut self, timing: &Timing, now: Moment) {
        self.restarted_until = self.restarted_until.filter(|until| now < *until);
        if !self.leaves_lease(timing, now) {
            self.given = None;
        }
    }

    /// Whether the Lease is left to the primary that was granted last, also where that grant has run out.
    #[must_use]
    pub fn leaves_lease(&self, timing: &Timing, now: Moment) -> bool {
        self.given
            .is_some_and(|given| now < given.until.plus(timing.patience))
    }

    /// Whether a primary is heard: a grant that it asked for has not run out.
    #[must_use]
    pub fn hears_primary(&self, now: Moment) -> bool {
        self.given.is_some_and(|given| now < given.until)
    }
}
