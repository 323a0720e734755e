//! The holder's agent: it gathers authority, serves while it has it, and ends its servers before it has not.

use super::{Effect, Role, Server, Step};
use crate::{
    Membership, Position, Record, Release, Synchronous, Version, VoterId,
    members::{self, Wanted},
};

impl Step<'_> {
    /// Kills the servers where authority is about to run out. First of all in a step: nothing that arrives late revives it.
    ///
    /// What is in hand is kept, and more is asked for: this process has written the Lease and knows what it has asked since, so
    /// grants count for it as before, and new ones let it serve again once its servers are dead. It has told nobody that others
    /// need not wait.
    pub(super) fn fall_if_short(&mut self) {
        if self.agent.server != Server::Primary {
            return;
        }
        let lasts = match (&self.agent.role, &self.agent.seen) {
            (Role::Holder(authority), Some(seen)) => {
                authority.may_serve(self.protocol, &seen.record, self.now)
            }
            _ => false,
        };
        if !lasts {
            self.end_servers();
            self.agent.releasing = None;
        }
    }

    pub(super) fn end_servers(&mut self) {
        if self.protocol.rules.lost_authority_kills {
            self.agent.server = Server::Ending;
            self.effects.push(Effect::KillServers);
        } else {
            self.agent.server = Server::Replica;
        }
        self.agent.configured = None;
        self.agent.configuring = None;
    }

    pub(super) fn fit(&mut self, fit: bool) {
        self.agent.fit = fit;
        if !fit && self.agent.server == Server::Primary {
            self.agent.releasing = Some(None);
            self.effects.push(Effect::KillServers);
        }
    }

    pub(super) fn switchover(&mut self, to: Option<VoterId>) {
        let (Role::Holder(authority), Some(seen)) = (&self.agent.role, &self.agent.seen) else {
            return;
        };
        let settled =
            self.agent.call.is_none() && !authority.unsettled && authority.in_doubt.is_empty();
        let known = to.is_none_or(|to| seen.record.voters.contains(&to));
        if self.agent.server == Server::Primary
            && settled
            && known
            && !seen.record.voters.is_empty()
        {
            self.agent.releasing = Some(to);
            self.effects.push(Effect::ShutDown);
            if !self.protocol.rules.releaser_stops_first {
                self.tell_release(to);
            }
        }
    }

    pub(super) fn servers_stopped(&mut self, position: Option<Position>) {
        let releasing = self.agent.releasing.take();
        if self.agent.server == Server::Primary || self.agent.server == Server::Ending {
            self.agent.server = Server::Replica;
        }
        self.agent.configured = None;
        self.agent.configuring = None;
        self.agent.stopped = position;
        if let Some(position) = position {
            self.flushed(position);
        }
        if let Some(to) = releasing {
            self.release(to);
        }
        self.follow();
    }

    /// Gives everything up and says so, for a swap from the version seen last. Nothing of its own may be on its way.
    fn release(&mut self, to: Option<VoterId>) {
        let Role::Holder(authority) = &mut self.agent.role else {
            return;
        };
        let rests_until = Some(self.now.plus(self.protocol.timing.term));
        let rules = &self.protocol.rules;
        let mut left = authority.forgotten(rests_until);
        if !rules.releaser_forgets {
            left.own_write = authority.own_write;
            left.grants = authority.grants.clone();
        }
        left.written = !rules.releaser_writes_again || !rules.releaser_forgets;
        if !rules.releaser_writes_again {
            left.rests_until = None;
        }
        *authority = left;
        self.tell_release(to);
    }

    /// Says that it has released, if nothing of its own can change the version any more.
    fn tell_release(&mut self, to: Option<VoterId>) {
        let (Role::Holder(authority), Some(seen)) = (&self.agent.role, &self.agent.seen) else {
            return;
        };
        if self.agent.call.is_some() || authority.unsettled || !authority.in_doubt.is_empty() {
            return;
        }
        let release = Release {
            by: self.agent.me,
            version: seen.version.clone(),
            to,
        };
        let voters = seen.record.voters.iter().copied();
        let sent = voters.map(|to| Effect::SendRelease {
            to,
            release: release.clone(),
        });
        self.effects.extend(sent);
    }

    /// What the holder does when something has happened, or time has passed.
    pub(super) fn hold(&mut self, tick: bool) {
        let (Role::Holder(authority), Some(seen)) = (&self.agent.role, &self.agent.seen) else {
            return;
        };
        let resting = authority.rests_until.is_some()
            || !self.agent.fit
            || self.agent.promise.no_vote.is_some();
        let (record, authority) = (seen.record.clone(), authority.clone());
        let version = seen.version.clone();
        if authority.written && !resting {
            if tick {
                self.ask_for_grants(&record, &version);
            }
            if self.agent.server == Server::Replica
                && self.keeps_doubted(&record.synchronous)
                && authority.may_serve(self.protocol, &record, self.now)
            {
                self.serve(&record);
            }
        }
        if self.agent.releasing.is_none() && !resting && self.agent.server != Server::Ending {
            self.change_members(&record);
            self.write_as_holder(&record);
        }
    }

    fn ask_for_grants(&mut self, record: &Record, version: &Version) {
        let Role::Holder(authority) = &self.agent.role else {
            return;
        };
        let joining = self.agent.wanted.iter().flat_map(|wanted| &wanted.voters);
        let doubted = authority
            .in_doubt
            .iter()
            .flat_map(|membership| &membership.voters);
        let all: std::collections::BTreeSet<VoterId> = record
            .voters
            .iter()
            .chain(joining)
            .chain(doubted)
            .copied()
            .collect();
        for of in all {
            if of != self.agent.me {
                self.effects.push(Effect::AskGrant {
                    of,
                    term: record.term,
                    version: version.clone(),
                    sent: self.now,
                });
            }
        }
    }

    fn serve(&mut self, record: &Record) {
        self.agent.server = Server::Primary;
        self.agent.following = None;
        self.agent.stopped = None;
        // The order to stop the receiver that they wait for is void.
        self.agent.owed.clear();
        self.agent.configured = Some((record.synchronous.clone(), false));
        self.agent.configuring = None;
        self.effects.push(Effect::Serve {
            term: record.term,
            start: record.start(),
            synchronous: record.synchronous.clone(),
        });
    }

    /// Writes the Lease where something is to be recorded, or where grants alone do not last.
    fn write_as_holder(&mut self, record: &Record) {
        let (Role::Holder(authority), Some(seen)) = (&self.agent.role, &self.agent.seen) else {
            return;
        };
        if authority.unsettled || self.agent.call.is_some() {
            return;
        }
        let promised = self.agent.promise.term;
        let raise = self.protocol.rules.holder_raises;
        let term = match authority.raise {
            Some(asked) if raise => asked.max(promised),
            _ => promised,
        };
        let mut next = record.raised(term);
        let doubted = authority.in_doubt.last();
        if let Some(membership) = doubted {
            next.voters = membership.voters.clone();
            next.synchronous = membership.synchronous.clone();
        }
        if let Some(from) = self.agent.began_at
            && let Some(mut last) = next.history.last_entry()
        {
            last.get_mut().from = from;
        }
        let fresh = self.protocol.timing.term / 2;
        let renewed = authority
            .own_write
            .is_some_and(|began| self.now < began.plus(fresh));
        let short = !renewed && authority.grants_are_short(self.protocol, record, self.now);
        // A read that shows what was in doubt does not end the doubt: only a write of its own does, and until then nothing
        // else could be changed.
        let doubts = doubted.is_some();
        if next != *record || !authority.written || short || doubts || self.agent.outdated {
            let expected = seen.version.clone();
            self.store(self.agent.promise.in_term(next.term));
            self.write(expected, next);
        }
    }

    /// Goes one step towards the membership that is wanted.
    fn change_members(&mut self, record: &Record) {
        let (Some(wanted), Some((configured, held))) = (&self.agent.wanted, &self.agent.configured)
        else {
            return;
        };
        let step = members::next_step(&self.protocol.rules, record, configured, *held, wanted);
        match step {
            members::Step::Record(next) if self.will_hold(record, &next) => {
                self.intend(record, next);
            }
            members::Step::Configure(rule)
                if self.agent.configuring.as_ref() != Some(&rule) && self.keeps_doubted(&rule) =>
            {
                self.agent.configuring = Some(rule.clone());
                self.effects.push(Effect::Configure(rule));
            }
            _ => {}
        }
    }

    /// Whether no rule is on its way to PostgreSQL that would let through what another recorded rule does not.
    fn will_hold(&self, record: &Record, next: &Wanted) -> bool {
        let coming = self.agent.configuring.as_ref();
        next.synchronous == record.synchronous
            || self.falls_back()
            || coming.is_none_or(|coming| members::implies(coming, &next.synchronous))
    }

    /// Whether a rule lets nothing through that one does not which a write without an answer may have recorded. A fallback
    /// may: by it nothing is promised.
    fn keeps_doubted(&self, rule: &Synchronous) -> bool {
        let Role::Holder(authority) = &self.agent.role else {
            return false;
        };
        let mut doubted = authority.in_doubt.iter();
        self.falls_back() || doubted.all(|doubted| members::implies(rule, &doubted.synchronous))
    }

    fn falls_back(&self) -> bool {
        self.agent.wanted.as_ref().is_some_and(Wanted::falls_back)
    }

    /// From here on the new membership has to hold, too; so it is tried only when it does.
    fn intend(&mut self, record: &Record, next: Wanted) {
        let Role::Holder(authority) = &mut self.agent.role else {
            return;
        };
        let membership = Membership {
            voters: next.voters,
            synchronous: next.synchronous,
        };
        let mut tried = authority.clone();
        tried.in_doubt.push(membership);
        let holds = tried.may_serve(self.protocol, record, self.now);
        if self.agent.call.is_none() && authority.in_doubt.is_empty() && authority.written && holds
        {
            authority.in_doubt = tried.in_doubt;
        }
    }

    pub(super) fn configured(&mut self, rule: Synchronous) {
        self.agent.configuring = None;
        if self.agent.server == Server::Primary {
            self.agent.configured = Some((rule, false));
        }
    }
}
