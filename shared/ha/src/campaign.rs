//! How a voter becomes primary.

use std::collections::{BTreeMap, BTreeSet};

use pgo_ids::Term;

use crate::{Moment, Position, Protocol, Record, Rules, Version, VoterId};

/// A primary's word that it has stopped, and forgotten what it was granted and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// Who stopped.
    pub by: VoterId,
    /// The version of the Lease at which it did; its next write, before which it does not serve, makes this one void.
    pub version: Version,
    /// Who is to follow; anybody where nobody is named.
    pub to: Option<VoterId>,
}

impl Release {
    /// Whether it replaces the waits for a swap from `version`.
    #[must_use]
    pub fn counts_for(&self, rules: &Rules, version: &Version) -> bool {
        self.version == *version || !rules.release_names_version
    }
}

/// A vote: the voter has stored the term, received no WAL since, and lets no older grant hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// In which term.
    pub term: Term,
    /// How far the voter has flushed, for good.
    pub position: Position,
}

/// The try to take the Lease at one version of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Campaign {
    /// The version from which it swaps. Votes count for a swap from this one only.
    pub version: Version,
    /// The term to win.
    pub term: Term,
    /// Whether it has promised itself its own vote, which counts once its receiver has stopped.
    pub stands: bool,
    /// The votes it has, its own among them.
    pub votes: BTreeMap<VoterId, Position>,
    /// What was recorded at that version: by it votes are counted, and from it the swapped record is made.
    pub record: Record,
    /// Until when it leaves the Lease to a voter that is preferred and as far; never where somebody named this one.
    pub yields_until: Option<Moment>,
}

impl Campaign {
    /// Whether `me` does not swap yet, since another voter is `preferred` that may be as far: its vote says so, or has not come.
    /// One that is ahead is promoted whatever is preferred.
    #[must_use]
    pub fn yields(
        &self,
        rules: &Rules,
        me: VoterId,
        preferred: &BTreeSet<VoterId>,
        now: Moment,
    ) -> bool {
        let own = self.votes.get(&me).copied().unwrap_or_default();
        let is_as_far = |voter: &VoterId| {
            let vote = self.votes.get(voter);
            vote.is_none_or(|position| position.reaches(rules, own))
        };
        let mut others = self.record.voters.intersection(preferred);
        self.yields_until.is_some_and(|until| now < until)
            && !preferred.contains(&me)
            && others.any(is_as_far)
    }
}

/// How a count of votes ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More are needed.
    Counting,
    /// This voter has more than the candidate.
    Behind(VoterId),
    /// The record to swap in.
    Won(Record),
}

/// Counts votes for `me`, by what is recorded at the version that the swap expects.
#[must_use]
pub fn count(
    protocol: &Protocol,
    record: &Record,
    me: VoterId,
    votes: &BTreeMap<VoterId, Position>,
) -> Outcome {
    let rules = &protocol.rules;
    let Some(own) = votes.get(&me) else {
        return Outcome::Counting;
    };
    let of_voters = || {
        votes
            .iter()
            .filter(|(voter, _)| record.voters.contains(voter))
    };
    let enough = of_voters().count() >= record.votes_needed(rules);
    if !enough && rules.promotion_needs_votes {
        return Outcome::Counting;
    }
    let ahead = of_voters().find(|(_, position)| !own.reaches(rules, **position));
    match ahead {
        Some((voter, _)) if rules.furthest_ahead => Outcome::Behind(*voter),
        _ => Outcome::Won(record.promoted(rules, me, *own)),
    }
}
