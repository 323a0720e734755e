//! What others ask and answer.

use pgo_ids::Term;

use super::{Effect, Owed, Role, Seen, Server, Step};
use crate::{Moment, NoVote, Position, Release, Version, Vote, VoterId};

impl Step<'_> {
    pub(super) fn grant_asked(
        &mut self,
        from: VoterId,
        term: Term,
        version: Option<&Version>,
        sent: Moment,
    ) {
        let is_old = |seen: &Seen| {
            seen.record.term < term || version.is_some_and(|version| *version != seen.version)
        };
        if self.agent.seen.as_ref().is_none_or(is_old) {
            self.read();
        }
        // Whoever has a primary of its own running learns from the Lease whether that is over.
        if self.agent.server != Server::Replica || from == self.agent.me {
            return;
        }
        let agent = &mut *self.agent;
        let granted = agent
            .granter
            .grant(self.protocol, &agent.promise, from, term, self.now);
        let answer = match granted {
            Ok(promise) => {
                // Somebody is there, which an order to take over did not expect, and what was read before ends no wait.
                agent.told = None;
                if let Some(seen) = &mut agent.seen
                    && self.protocol.rules.wait_ends_with_read
                {
                    seen.ripe = false;
                }
                self.store(promise);
                Ok(())
            }
            Err(promised) => Err(promised),
        };
        self.effects.push(Effect::AnswerGrant {
            to: from,
            term,
            sent,
            answer,
        });
    }

    pub(super) fn grant_answered(
        &mut self,
        by: VoterId,
        term: Term,
        sent: Moment,
        answer: Result<(), Term>,
    ) {
        let recorded = self.agent.seen.as_ref().map(|seen| seen.record.term);
        let Role::Holder(authority) = &mut self.agent.role else {
            return;
        };
        match answer {
            Ok(()) if recorded == Some(term) && authority.written => {
                let counts = if self.protocol.rules.grant_counts_from_request {
                    sent
                } else {
                    self.now
                };
                let newest = authority.grants.entry(by).or_insert(counts);
                *newest = (*newest).max(counts);
                authority.forget(self.protocol, self.now);
            }
            Err(promised) => self.promised(promised),
            Ok(()) => {}
        }
    }

    /// Whoever has promised a higher term than the Lease's follows, grants and votes again when the Lease has it.
    pub(super) fn promised(&mut self, promised: Term) {
        let recorded = self.agent.seen.as_ref().map(|seen| seen.record.term);
        if let Role::Holder(authority) = &mut self.agent.role
            && recorded.is_some_and(|term| term < promised)
        {
            authority.raise = authority.raise.max(Some(promised));
        }
    }

    pub(super) fn vote_asked(
        &mut self,
        from: VoterId,
        term: Term,
        version: Version,
        release: Option<&Release>,
    ) {
        let voted = match self.decided(term) {
            Some(recorded) => Err(NoVote::Promised(recorded)),
            None => self.may_vote(term, &version, release),
        };
        let answer = match voted {
            Ok(()) => match self.position_for_good() {
                Some(position) => Ok(Vote { term, position }),
                None => {
                    let owed = Owed {
                        to: from,
                        term,
                        version,
                    };
                    if !self.agent.owed.contains(&owed) {
                        self.agent.owed.push(owed);
                    }
                    return;
                }
            },
            Err(none) => Err(none),
        };
        self.effects.push(Effect::AnswerVote {
            to: from,
            term,
            version,
            answer,
        });
    }

    /// The term that the Lease is known to record, if it is this one: a swap raises it by one, so nobody can win it any more.
    /// A vote for it would stop the receiver for nothing, and no change of the Lease would follow that starts it again.
    fn decided(&self, term: Term) -> Option<Term> {
        let seen = self.agent.seen.as_ref()?;
        let is_decided = self.protocol.rules.term_rises && seen.record.term == term;
        is_decided.then_some(term)
    }

    /// Whether it may vote. If so the term is stored, and the receiver is told to stop.
    pub(super) fn may_vote(
        &mut self,
        term: Term,
        version: &Version,
        release: Option<&Release>,
    ) -> Result<(), NoVote> {
        if self.agent.server != Server::Replica {
            return Err(NoVote::Serving);
        }
        let agent = &*self.agent;
        let promise = agent.granter.vote(
            self.protocol,
            &agent.promise,
            term,
            version,
            release,
            self.now,
        )?;
        if self.protocol.rules.vote_stores_term {
            self.store(promise);
        }
        // Whoever started with a promise above the Lease's term follows nobody and has not been told how far its WAL reaches.
        let is_unknown = self.agent.stopped.is_none() && self.agent.owed.is_empty();
        let has_to_stop = self.agent.following.is_some() || is_unknown;
        if has_to_stop && self.protocol.rules.vote_stops_receiver {
            self.agent.following = None;
            self.agent.stopped = None;
            self.effects.push(Effect::StopReceiver);
        }
        Ok(())
    }

    /// How far it has flushed, if nothing can change that any more.
    pub(super) fn position_for_good(&self) -> Option<Position> {
        if self.protocol.rules.vote_stops_receiver {
            self.agent.stopped
        } else {
            Some(self.agent.flushed)
        }
    }

    pub(super) fn vote_answered(
        &mut self,
        by: VoterId,
        term: Term,
        version: &Version,
        answer: Result<Vote, NoVote>,
    ) {
        let Role::Candidate(campaign) = &mut self.agent.role else {
            return;
        };
        if let Ok(vote) = answer
            && campaign.term == term
            && campaign.version == *version
        {
            campaign.votes.insert(by, vote.position);
        }
    }
}
