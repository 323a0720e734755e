//! A replica's agent: it looks at the Lease, and takes it when nobody else has it.

use std::collections::BTreeMap;

use pgo_ids::Term;

use super::{Effect, ORDER, Role, Seen, Server, Step};
use crate::{
    Campaign, Moment, NoVote, Position, Record, Release, Vote,
    campaign::{self, Outcome},
};

impl Step<'_> {
    /// Reads the Lease where the primary was not heard for a while, or where something rests on it.
    pub(super) fn look(&mut self, tick: bool) {
        let half = self.protocol.timing.run_out() / 2;
        let heard = self.agent.granter.hears_primary(self.now.plus(half));
        let wants = match (&self.agent.role, &self.agent.seen) {
            (_, None) | (Role::Candidate(_), _) => true,
            (Role::Holder(authority), _) => authority.unsettled,
            (Role::Replica, Some(seen)) => {
                let behind = self.agent.following != Some((seen.record.holder, seen.record.term));
                let released = self.agent.release.as_ref();
                !heard || behind || released.is_some_and(|release| release.version != seen.version)
            }
        };
        if tick && wants {
            self.read();
        }
    }

    pub(super) fn released(&mut self, release: Release) {
        let for_me = release.to.is_none_or(|to| to == self.agent.me);
        if for_me && release.by != self.agent.me {
            self.agent.release = Some(release);
            self.read();
        }
    }

    pub(super) fn failover(&mut self) {
        self.agent.told = Some(self.now.plus(self.protocol.timing.term * ORDER));
    }

    /// Begins a campaign where it may, goes on with it, and ends it by a swap.
    pub(super) fn campaign(&mut self, tick: bool) {
        let begins = matches!(self.agent.role, Role::Replica) && self.may_campaign();
        if begins {
            self.begin_campaign();
        }
        let me = self.agent.me;
        let Role::Candidate(campaign) = &self.agent.role else {
            return;
        };
        let campaign = campaign.clone();
        let release = self.release_for(&campaign);
        // First, so that others store and stop what they have to while this one does.
        if tick || begins {
            for of in campaign.record.voters.iter().copied() {
                if of != me && !campaign.votes.contains_key(&of) {
                    self.effects.push(Effect::AskVote {
                        of,
                        term: campaign.term,
                        version: campaign.version.clone(),
                        release: release.clone(),
                    });
                }
            }
        }
        let stands = campaign.stands
            || self
                .may_vote(campaign.term, &campaign.version, release.as_ref())
                .is_ok();
        let position = self.position_for_good().filter(|_| stands);
        if let Role::Candidate(campaign) = &mut self.agent.role {
            campaign.stands = stands;
            campaign
                .votes
                .extend(position.map(|position| (me, position)));
        }
        self.swap();
    }

    fn swap(&mut self) {
        let Role::Candidate(campaign) = &self.agent.role else {
            return;
        };
        let (rules, preferred) = (&self.protocol.rules, &self.agent.preferred);
        if campaign.yields(rules, self.agent.me, preferred, self.now) {
            return;
        }
        let count = campaign::count(
            self.protocol,
            &campaign.record,
            self.agent.me,
            &campaign.votes,
        );
        if let Outcome::Won(mut record) = count {
            if !rules.term_is_next {
                record = record.raised(campaign.term);
            }
            let expected = campaign.version.clone();
            self.write(expected, record);
        }
    }

    fn release_for(&self, campaign: &Campaign) -> Option<Release> {
        self.agent
            .release
            .clone()
            .filter(|release| release.counts_for(&self.protocol.rules, &campaign.version))
    }

    fn may_campaign(&self) -> bool {
        let agent = &*self.agent;
        let Some(seen) = &agent.seen else {
            return false;
        };
        let released = agent
            .release
            .as_ref()
            .is_some_and(|release| release.counts_for(&self.protocol.rules, &seen.version));
        let waited = seen.ripe
            && !agent.granter.hears_primary(self.now)
            && (agent.told.is_some()
                || (agent.autofail
                    && !agent.granter.leaves_lease(&self.protocol.timing, self.now)))
            && agent.granter.restarted_until.is_none();
        let able = agent.fit && agent.server == Server::Replica && agent.promise.no_vote.is_none();
        able && seen.record.voters.contains(&agent.me) && (released || waited)
    }

    fn begin_campaign(&mut self) {
        if let Some(seen) = &self.agent.seen {
            self.agent.role = Role::Candidate(Campaign {
                version: seen.version.clone(),
                term: self.term_to_win(&seen.record),
                record: seen.record.clone(),
                stands: false,
                votes: BTreeMap::new(),
                yields_until: self.yields_until(seen),
            });
            self.agent.told = None;
        }
    }

    fn term_to_win(&self, record: &Record) -> Term {
        let rules = &self.protocol.rules;
        match (rules.term_rises, rules.term_is_next) {
            (false, _) => record.term,
            (true, true) => record.next_term(),
            (true, false) => record.raised(self.agent.promise.term).next_term(),
        }
    }

    /// Until when a campaign that begins now leaves the Lease to a voter that is preferred.
    fn yields_until(&self, seen: &Seen) -> Option<Moment> {
        let agent = &*self.agent;
        let release = agent.release.as_ref();
        let release = release.filter(|one| one.counts_for(&self.protocol.rules, &seen.version));
        let is_named =
            agent.told.is_some() || release.is_some_and(|release| release.to == Some(agent.me));
        let is_preferred = agent.preferred.contains(&agent.me);
        let may_yield =
            !is_named && !is_preferred && !agent.preferred.is_disjoint(&seen.record.voters);
        may_yield.then(|| self.now.plus(self.protocol.timing.preference))
    }

    pub(super) fn receiver_stopped(&mut self, position: Position) {
        self.flushed(position);
        if self.agent.following.is_some() {
            // Told before it was told to receive again.
            return;
        }
        self.agent.stopped = Some(position);
        for owed in std::mem::take(&mut self.agent.owed) {
            // A term promised meanwhile may be higher.
            let answer = if self.agent.promise.allows(&self.protocol.rules, owed.term) {
                Ok(Vote {
                    term: owed.term,
                    position,
                })
            } else {
                Err(NoVote::Promised(self.agent.promise.term))
            };
            self.effects.push(Effect::AnswerVote {
                to: owed.to,
                term: owed.term,
                version: owed.version,
                answer,
            });
        }
    }

    pub(super) fn flushed(&mut self, position: Position) {
        self.agent.flushed = position;
        let promise = self.agent.promise.flushed(&self.protocol.rules, position);
        self.store(promise);
    }

    pub(super) fn copy_needed(&mut self, source: Position) {
        let Some((holder, _)) = self.agent.following else {
            return;
        };
        let promise = self.agent.promise.copying(&self.protocol.rules, source);
        self.store(promise);
        self.effects.push(Effect::Copy { holder });
    }
}
