//! Instances that can be exchanged: no decision goes by which identity is smaller, so two situations that differ only in who
//! is who go on alike, and one of them is looked at for both.
//!
//! Exact only for exchanges that leave what the bounds name as it is: memberships that the user may want, an instance that is
//! lost. Those are all that [`exchanges`] returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use pgo_ha::{
    Agent, Authority, Campaign, Given, Granter, Record, Release, Role, Seen, Synchronous, VoterId,
    members::Wanted,
};
use stateright::Model;
use uuid::Uuid;

/// The most instances of a model.
pub const MOST: usize = 4;

/// A model some of whose states are alike.
pub trait Alike: Model {
    /// A number that states have in common which are alike, and no others.
    fn print(&self, state: &Self::State) -> u64;
}

/// The identity of an instance.
#[must_use]
pub fn id(node: usize) -> VoterId {
    VoterId::from(Uuid::from_u128(node as u128))
}

/// The instance with an identity.
#[must_use]
pub fn node(id: VoterId) -> usize {
    (0..MOST).find(|node| self::id(*node) == id).unwrap_or(0)
}

/// Who takes whose place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange([usize; MOST]);

/// All exchanges among so many instances that leave each of these sets as it is. The first one exchanges nobody.
#[must_use]
pub fn exchanges(instances: usize, sets: &[BTreeSet<usize>]) -> Vec<Exchange> {
    let mut all = vec![Vec::new()];
    for _ in 0..instances {
        let longer = |order: &Vec<usize>| {
            let order = order.clone();
            let others = (0..instances).filter({
                let order = order.clone();
                move |node| !order.contains(node)
            });
            others.map(move |node| [order.clone(), vec![node]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    let fixes = |order: &Vec<usize>| {
        let moved = |set: &BTreeSet<usize>| set.iter().map(|node| order[*node]).collect();
        sets.iter().all(|set| *set == moved(set))
    };
    all.iter()
        .filter(|order| fixes(order))
        .map(|order| {
            let mut places = [0, 1, 2, 3];
            places[..instances].copy_from_slice(order);
            Exchange(places)
        })
        .collect()
}

/// Hashes what names instances, each as the one whose place it takes. Every field is named, so that none is forgotten.
impl Exchange {
    /// Whose place an instance takes.
    #[must_use]
    pub fn place(&self, node: usize) -> usize {
        self.0[node]
    }

    fn voter(&self, voter: VoterId, into: &mut impl Hasher) {
        into.write_usize(self.place(node(voter)));
    }

    fn voters(&self, voters: &BTreeSet<VoterId>, into: &mut impl Hasher) {
        let places = voters.iter().map(|voter| 1_u64 << self.place(node(*voter)));
        into.write_u64(places.sum());
    }

    fn by_voter<T: Hash>(&self, of: &BTreeMap<VoterId, T>, into: &mut impl Hasher) {
        let mut places = [None; MOST];
        for (voter, what) in of {
            places[self.place(node(*voter))] = Some(what);
        }
        places.hash(into);
    }

    /// What names instances by their number.
    pub fn by_node<T: Hash>(&self, of: &BTreeMap<usize, T>, into: &mut impl Hasher) {
        let mut places = [None; MOST];
        for (node, what) in of {
            places[self.place(*node)] = Some(what);
        }
        places.hash(into);
    }

    /// A rule.
    pub fn synchronous(&self, rule: &Synchronous, into: &mut impl Hasher) {
        let Synchronous { k, set } = rule;
        into.write_usize(*k);
        self.voters(set, into);
    }

    /// What the Lease records.
    pub fn record(&self, record: &Record, into: &mut impl Hasher) {
        let Record {
            holder,
            term,
            voters,
            synchronous,
            history,
        } = record;
        self.voter(*holder, into);
        self.voters(voters, into);
        self.synchronous(synchronous, into);
        (term, history).hash(into);
    }

    fn wanted(&self, wanted: &Wanted, into: &mut impl Hasher) {
        let Wanted {
            voters,
            synchronous,
            fallback,
        } = wanted;
        self.voters(voters, into);
        self.synchronous(synchronous, into);
        fallback.hash(into);
    }

    fn role(&self, role: &Role, into: &mut impl Hasher) {
        match role {
            Role::Replica => into.write_u64(0),
            Role::Candidate(Campaign {
                version,
                term,
                stands,
                votes,
                record,
                yields_until,
            }) => {
                into.write_u64(1);
                (version, term, stands, yields_until).hash(into);
                self.by_voter(votes, into);
                self.record(record, into);
            }
            Role::Holder(Authority {
                written,
                own_write,
                grants,
                in_doubt,
                unsettled,
                raise,
                rests_until,
            }) => {
                into.write_u64(2);
                (written, own_write, unsettled, raise, rests_until).hash(into);
                self.by_voter(grants, into);
                into.write_usize(in_doubt.len());
                for membership in in_doubt {
                    self.voters(&membership.voters, into);
                    self.synchronous(&membership.synchronous, into);
                }
            }
        }
    }

    /// An agent.
    pub fn agent(&self, agent: &Agent, into: &mut impl Hasher) {
        let Agent {
            me,
            promise,
            granter,
            role,
            server,
            seen,
            call,
            following,
            flushed,
            stopped,
            owed,
            release,
            releasing,
            fit,
            autofail,
            preferred,
            told,
            wanted,
            configured,
            configuring,
            began_at,
            outdated,
        } = agent;
        self.voter(*me, into);
        (promise, server, flushed, stopped).hash(into);
        (fit, autofail, told, began_at, outdated).hash(into);
        self.voters(preferred, into);
        self.granter(granter, into);
        self.role(role, into);
        some(seen.as_ref(), into, |seen, into| self.seen(seen, into));
        some(call.as_ref(), into, |call, into| {
            call.began.hash(into);
            some(call.write.as_ref(), into, |record, into| {
                self.record(record, into);
            });
        });
        some(following.as_ref(), into, |(holder, term), into| {
            term.hash(into);
            self.voter(*holder, into);
        });
        into.write_usize(owed.len());
        for owed in owed {
            (owed.term, &owed.version).hash(into);
            self.voter(owed.to, into);
        }
        self.release(release.as_ref(), releasing.as_ref(), into);
        some(wanted.as_ref(), into, |wanted, into| {
            self.wanted(wanted, into);
        });
        some(configured.as_ref(), into, |(rule, held), into| {
            held.hash(into);
            self.synchronous(rule, into);
        });
        some(configuring.as_ref(), into, |rule, into| {
            self.synchronous(rule, into);
        });
    }

    fn seen(&self, seen: &Seen, into: &mut impl Hasher) {
        let Seen {
            version,
            record,
            since,
            ripe,
        } = seen;
        (version, since, ripe).hash(into);
        self.record(record, into);
    }

    fn release(
        &self,
        release: Option<&Release>,
        releasing: Option<&Option<VoterId>>,
        into: &mut impl Hasher,
    ) {
        some(release, into, |Release { by, version, to }, into| {
            version.hash(into);
            self.voter(*by, into);
            some(to.as_ref(), into, |to, into| self.voter(*to, into));
        });
        some(releasing, into, |to, into| {
            some(to.as_ref(), into, |to, into| self.voter(*to, into));
        });
    }

    fn granter(&self, granter: &Granter, into: &mut impl Hasher) {
        let Granter {
            restarted_until,
            given,
        } = granter;
        restarted_until.hash(into);
        some(given.as_ref(), into, |Given { to, until }, into| {
            until.hash(into);
            self.voter(*to, into);
        });
    }
}

/// Hashes what may be there.
pub fn some<T, H: Hasher>(what: Option<T>, into: &mut H, hash: impl FnOnce(T, &mut H)) {
    into.write_u64(u64::from(what.is_some()));
    if let Some(what) = what {
        hash(what, into);
    }
}
