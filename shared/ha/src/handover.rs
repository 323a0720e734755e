//! Whether another instance would follow a primary that gives up in order.
//!
//! Looked at while the primary still serves: from its shutdown on nobody can write, and where nobody follows that was for
//! nothing. What is true now may change meanwhile, so this promises nothing; the protocol does not rest on it.

use std::collections::BTreeSet;

use crate::{Agent, Moment, Protocol, Replicas, Role, VoterId};

/// Why nobody would follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// This instance does not lead.
    NotHolder,
    /// The one that is to follow is no voter.
    NoVoter,
    /// The one that is to follow gives no sign of itself, or may not vote since it does not have all of its source's data yet.
    Away,
    /// The one that is to follow does not stream, so it would lack what was acknowledged.
    Behind,
    /// Anybody may follow, and no voter that answers streams.
    NoCandidate,
    /// Too few would vote.
    TooFewVotes {
        /// Who would.
        votes: BTreeSet<VoterId>,
        /// How many have to.
        needed: usize,
    },
}

impl Agent {
    /// Whether the voters that answer are enough to elect `to`, or any of them, once this instance has given up.
    ///
    /// A voter answers that has granted within half of T, which is what a grant is asked for in again and again: one that is
    /// cut off or gone is noticed a second later.
    ///
    /// # Errors
    /// What is in the way.
    pub fn could_hand_over(
        &self,
        protocol: &Protocol,
        replicas: &Replicas,
        to: Option<VoterId>,
        now: Moment,
    ) -> Result<(), Hindrance> {
        let (Role::Holder(authority), Some(seen)) = (&self.role, &self.seen) else {
            return Err(Hindrance::NotHolder);
        };
        let record = &seen.record;
        let lasts = protocol.timing.term / 2;
        let answers = |voter: &&VoterId| {
            let granted = authority.grants.get(voter);
            granted.is_some_and(|began| now < began.plus(lasts))
        };
        let voters = record.voters.iter().filter(answers);
        let votes: BTreeSet<VoterId> = voters
            .filter(|voter| !replicas.lacks_data(**voter))
            .copied()
            .collect();
        match to {
            Some(to) if !record.voters.contains(&to) => return Err(Hindrance::NoVoter),
            Some(to) if !votes.contains(&to) => return Err(Hindrance::Away),
            Some(to) if !replicas.streams(to, now) => return Err(Hindrance::Behind),
            Some(_) => {}
            None if !votes.iter().any(|voter| replicas.streams(*voter, now)) => {
                return Err(Hindrance::NoCandidate);
            }
            None => {}
        }
        let needed = record.votes_needed(&protocol.rules);
        if votes.len() < needed {
            return Err(Hindrance::TooFewVotes { votes, needed });
        }
        Ok(())
    }
}
