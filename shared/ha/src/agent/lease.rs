//! What the Lease says, and what became of writing it.

use pgo_ids::Term;

use super::{Effect, Role, Seen, Server, Step};
use crate::{Authority, Moment, Record, Version};

impl Step<'_> {
    pub(super) fn lease_read(&mut self, version: Version, record: Record) {
        let call = self.agent.call.take();
        let (rules, timing) = (&self.protocol.rules, &self.protocol.timing);
        let counts_from = match call {
            Some(call) if !rules.wait_counts_from_receipt => call.began,
            _ => self.now,
        };
        if let Role::Holder(authority) = &mut self.agent.role {
            authority.unsettled = false;
        }
        // One that comes earlier cannot end the wait: the API server may be away by the time that the grant has run out, and
        // then the primary would lose this grant for nothing.
        let is_silent = !self.agent.granter.hears_primary(self.now) || !rules.wait_ends_with_read;
        let now = self.now;
        let ends = |since: Moment| is_silent && now.since(since) >= timing.run_out();
        match &mut self.agent.seen {
            Some(seen) if seen.version == version => {
                seen.ripe |= ends(seen.since);
            }
            Some(seen) if !rules.wait_is_for_one_version => {
                let since = seen.since;
                let ripe = ends(since);
                self.saw(Seen {
                    version,
                    record,
                    since,
                    ripe,
                });
            }
            _ => self.saw(Seen {
                version,
                record,
                since: counts_from,
                ripe: false,
            }),
        }
        if let Some(seen) = &mut self.agent.seen {
            seen.ripe |= !self.protocol.rules.promotion_needs_wait;
        }
    }

    /// The Lease was lost, and made anew with nothing in it.
    ///
    /// Whoever has authority now knows that nobody was elected by the former one, and nobody can be by one that records
    /// nothing. As long as this version stands that stays so: it is replaced by what this agent knows, in a higher term.
    /// Anybody else knows nothing of the kind, and takes nothing.
    pub(super) fn lease_anew(&mut self, version: Version, term: Term) {
        let rules = &self.protocol.rules;
        let serves = self.agent.server == Server::Primary || !rules.lost_lease_needs_authority;
        if let (true, Role::Holder(authority), Some(seen)) =
            (serves, &mut self.agent.role, &mut self.agent.seen)
        {
            authority.unsettled = false;
            authority.raise = authority.raise.max(Some(term));
            seen.version = version;
            self.agent.call = None;
            self.agent.outdated = true;
            return;
        }
        self.lease_unknown();
        if let Some(seen) = &mut self.agent.seen {
            seen.ripe = false;
        }
        self.agent.release = None;
        if matches!(self.agent.role, Role::Candidate(_)) {
            self.agent.role = Role::Replica;
        }
    }

    /// The Lease is another one than before.
    fn saw(&mut self, seen: Seen) {
        let rules = &self.protocol.rules;
        let record = seen.record.clone();
        let version = seen.version.clone();
        if self.agent.seen.replace(seen).is_some() {
            // Somebody is there, which an order to take over did not expect.
            self.agent.told = None;
        }
        if let Some(release) = &self.agent.release
            && !release.counts_for(rules, &version)
        {
            self.agent.release = None;
        }
        match &mut self.agent.role {
            // Only its own writes, or those of a process before it, leave it the holder.
            Role::Holder(_) if record.holder == self.agent.me => {}
            Role::Candidate(campaign)
                if !rules.voters_of_that_version && record.holder == campaign.record.holder =>
            {
                campaign.version = version;
            }
            _ if record.holder == self.agent.me => {
                self.agent.role = Role::Holder(Authority {
                    written: !rules.start_writes_lease,
                    ..Authority::default()
                });
            }
            _ => self.give_way(),
        }
        self.follow();
    }

    /// Another one holds the Lease.
    fn give_way(&mut self) {
        if self.agent.server == Server::Primary {
            self.end_servers();
        }
        let agent = &mut *self.agent;
        agent.role = Role::Replica;
        agent.releasing = None;
        agent.configured = None;
        agent.configuring = None;
        agent.began_at = None;
        agent.wanted = None;
        agent.outdated = false;
    }

    /// Receives the WAL of another holder, in no lower term than it has promised.
    pub(super) fn follow(&mut self) {
        let Some(seen) = &self.agent.seen else {
            return;
        };
        let (holder, term) = (seen.record.holder, seen.record.term);
        let possible = holder != self.agent.me
            && self.agent.server == Server::Replica
            && self.agent.promise.allows(&self.protocol.rules, term)
            && !matches!(self.agent.role, Role::Candidate(_));
        if possible && self.agent.following != Some((holder, term)) {
            self.store(self.agent.promise.in_term(term));
            self.agent.following = Some((holder, term));
            self.agent.stopped = None;
            self.agent.owed.clear();
            self.effects.push(Effect::Follow { holder, term });
        }
    }

    pub(super) fn lease_written(&mut self, version: Version) {
        let Some(call) = self.agent.call.take() else {
            return;
        };
        let Some(record) = call.write else {
            return;
        };
        let counts = if self.protocol.rules.write_counts_from_request {
            call.began
        } else {
            self.now
        };
        let raised = self.agent.seen.as_ref().map(|seen| seen.record.term) != Some(record.term);
        let authority = match &self.agent.role {
            Role::Holder(authority) => Authority {
                grants: if raised {
                    Default::default()
                } else {
                    authority.grants.clone()
                },
                raise: authority.raise.filter(|term| *term > record.term),
                ..Authority::default()
            },
            _ => Authority::default(),
        };
        self.agent.role = Role::Holder(Authority {
            written: true,
            own_write: Some(counts),
            in_doubt: Vec::new(),
            unsettled: false,
            rests_until: None,
            ..authority
        });
        self.agent.release = None;
        self.agent.outdated = false;
        self.agent.seen = Some(Seen {
            version,
            record,
            since: self.now,
            ripe: false,
        });
    }

    pub(super) fn lease_conflict(&mut self) {
        self.agent.call = None;
        if let Role::Holder(authority) = &mut self.agent.role {
            authority.unsettled = true;
        }
        self.read();
    }

    pub(super) fn lease_unknown(&mut self) {
        let Some(call) = self.agent.call.take() else {
            return;
        };
        if let Role::Holder(authority) = &mut self.agent.role
            && call.write.is_some()
        {
            if self.protocol.rules.timeout_is_no_answer {
                authority.unsettled = true;
            } else {
                authority.written = true;
                authority.own_write = Some(call.began);
            }
        }
    }
}
