//! Equal situations as equal states: time is relative to now, versions count only by which are equal and which is the
//! Lease's, and what cannot matter any more is dropped.

use std::{collections::BTreeSet, mem};

use pgo_ha::{Agent, Moment, Role, Version};

use super::{
    HOLDER, UNIT, WAITER,
    state::{Kept, NODES, NOW, Node, Sent, State, Swap, number, version},
};

/// Older than this is as good as any older.
fn clamp(moment: Moment) -> Moment {
    moment.max(NOW.minus(HOLDER.term))
}

impl State {
    /// Lets one unit pass on the clock of an instance.
    pub(super) fn pass(&mut self, of: usize) {
        if let Node::Up { agent, disk } = self.nodes[of].node() {
            let mut agent = agent.clone();
            for moment in moments(&mut agent) {
                *moment = clamp(moment.minus(UNIT));
            }
            self.nodes[of] = Kept::new(Node::Up { agent, disk: *disk });
        }
    }

    /// Brings the state into its one form. Where another version begins the wait anew, it is nothing how long one was waited
    /// for that is not there any more.
    pub(super) fn normalize(&mut self, delays: bool, waits_anew: bool) {
        let current = self.version;
        self.settle(current);
        for node in 0..NODES {
            if let Node::Up { agent, disk } = self.nodes[node].node() {
                let mut shorter = agent.clone();
                forget(&mut shorter, current, delays, waits_anew);
                let dead =
                    |swap: &Swap| swap.writer == node && swap.done.is_none() && swap.expected == 0;
                if let Some(call) = &mut shorter.call
                    && self.swaps.iter().any(dead)
                {
                    // It will hear that it was not done, whatever it was.
                    call.began = NOW;
                    call.write = Some(self.record.clone());
                }
                if shorter != *agent {
                    let disk = *disk;
                    self.nodes[node] = Kept::new(Node::Up {
                        agent: shorter,
                        disk,
                    });
                }
            }
        }
        self.rename();
    }

    /// Drops writes that can never be done and nobody waits for; of one that somebody waits for in vain, what it was; and
    /// of two equal ones that which nobody waits for: who waits for the other learns by reading that one was done.
    fn settle(&mut self, current: u32) {
        let swaps = mem::take(&mut self.swaps);
        for swap in &swaps {
            let dead = swap.done.is_none() && swap.expected != current;
            let waiting = Swap {
                waits: true,
                ..swap.clone()
            };
            if dead && swap.waits {
                self.swaps.insert(Swap {
                    expected: 0,
                    record: self.record.clone(),
                    ..swap.clone()
                });
            } else if swap.waits || (!dead && swap.done.is_none() && !swaps.contains(&waiting)) {
                self.swaps.insert(swap.clone());
            }
        }
    }

    /// Of versions it matters only which are the Lease's, and which are named by a release: those get numbers in their
    /// order. All others are 0: nobody compares one of them with another agent's.
    fn rename(&mut self) {
        let named = self.sent.iter().map(|sent| sent.version);
        let mut order: BTreeSet<u32> = named.chain([self.version]).collect();
        order.remove(&0);
        let to = |number: u32| {
            let place = order.iter().zip(1..).find(|(used, _)| **used == number);
            place.map_or(0, |(_, place)| place)
        };
        self.version = to(self.version);
        for node in &mut self.nodes {
            if let Node::Up { agent, disk } = node.node()
                && versions(agent).any(|version| to(number(version)) != number(version))
            {
                let mut renamed = agent.clone();
                for of in versions_mut(&mut renamed) {
                    *of = version(to(number(of)));
                }
                *node = Kept::new(Node::Up {
                    agent: renamed,
                    disk: *disk,
                });
            }
        }
        let swaps = mem::take(&mut self.swaps).into_iter();
        self.swaps = swaps
            .map(|swap| Swap {
                expected: to(swap.expected),
                done: swap.done.map(to),
                ..swap
            })
            .collect();
        let sent = mem::take(&mut self.sent).into_iter();
        self.sent = sent
            .map(|sent| Sent {
                version: to(sent.version),
                ..sent
            })
            .collect();
    }
}

/// All versions that an agent remembers.
fn versions(agent: &Agent) -> impl Iterator<Item = &Version> {
    let campaign = match &agent.role {
        Role::Candidate(campaign) => Some(&campaign.version),
        _ => None,
    };
    let seen = agent.seen.as_ref().map(|seen| &seen.version);
    let release = agent.release.as_ref().map(|release| &release.version);
    seen.into_iter().chain(campaign).chain(release)
}

/// The same, to change them.
fn versions_mut(agent: &mut Agent) -> impl Iterator<Item = &mut Version> {
    let campaign = match &mut agent.role {
        Role::Candidate(campaign) => Some(&mut campaign.version),
        _ => None,
    };
    let seen = agent.seen.as_mut().map(|seen| &mut seen.version);
    let release = agent.release.as_mut().map(|release| &mut release.version);
    seen.into_iter().chain(campaign).chain(release)
}

/// All moments that an agent remembers.
fn moments(agent: &mut Agent) -> Vec<&mut Moment> {
    let mut all = Vec::new();
    all.extend(agent.granter.restarted_until.as_mut());
    all.extend(agent.granter.given.as_mut().map(|given| &mut given.until));
    all.extend(agent.seen.as_mut().map(|seen| &mut seen.since));
    all.extend(agent.call.as_mut().map(|call| &mut call.began));
    all.extend(agent.told.as_mut());
    match &mut agent.role {
        Role::Replica => {}
        Role::Candidate(campaign) => all.extend(campaign.yields_until.as_mut()),
        Role::Holder(authority) => {
            all.extend(authority.own_write.as_mut());
            all.extend(authority.grants.values_mut());
            all.extend(authority.rests_until.as_mut());
        }
    }
    all
}

/// What the agent itself forgets with its next step, and what cannot matter to it.
fn forget(agent: &mut Agent, current: u32, delays: bool, waits_anew: bool) {
    agent.granter.forget(&WAITER, NOW);
    agent.told = agent.told.filter(|until| NOW < *until);
    if let Role::Candidate(campaign) = &mut agent.role {
        campaign.yields_until = campaign.yields_until.filter(|until| NOW < *until);
    }
    if let Role::Holder(authority) = &mut agent.role {
        let lasts = |began: &Moment| NOW < began.plus(HOLDER.term);
        authority.own_write = authority.own_write.filter(lasts);
        authority.grants.retain(|_, began| lasts(began));
        authority.rests_until = authority.rests_until.filter(|until| NOW < *until);
        if let Some(seen) = &mut agent.seen {
            // It waits for nobody.
            seen.since = NOW;
            seen.ripe = false;
        }
    } else if let Some(seen) = &mut agent.seen {
        let is_current = number(&seen.version) == current;
        if seen.ripe {
            // It has waited long enough, and needs no more than another read where it hears the primary again.
            seen.since = NOW.minus(HOLDER.term);
        }
        let is_stale = !is_current && waits_anew;
        if is_stale {
            // It waits in vain.
            seen.since = NOW;
        }
        if is_stale && (!delays || (!seen.ripe && agent.role == Role::Replica)) {
            agent.seen = None;
            agent.role = Role::Replica;
        }
    }
    // Only how old a request to write is can matter, and only as long as it counts.
    if let Some(call) = &mut agent.call {
        call.began = call.began.max(NOW.minus(HOLDER.term));
    }
}
