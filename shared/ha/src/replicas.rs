//! Which replicas are to vote: what the primary wants of its membership, by whom it heard of.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{Moment, Record, Synchronous, VoterId, members::Wanted};

/// A voter of which nothing was heard for so long leaves: one that is dead for long must not keep the others from electing
/// (`docs/high-availability.md`). It joins again when it streams again.
pub const ABSENCE: Duration = Duration::from_secs(30);

/// How long fewer may stream than commits wait for until the others are not waited for any more, where the user chose so:
/// longer than a replica takes that is restarted or follows a new primary.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the replicas since this instance serves.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    /// When each was seen to stream last.
    streamed: BTreeMap<VoterId, Moment>,
    /// When each was heard of last, in whatever state.
    heard: BTreeMap<VoterId, Moment>,
    /// Those that belong to the cluster no more.
    removed: BTreeSet<VoterId>,
    /// Those that do not vote since their data is not complete yet.
    lacking: BTreeSet<VoterId>,
    /// Since when this instance serves.
    begun: Moment,
}

/// How old a sign of streaming may be for a replica that wants to join, or that is to take over in order.
const FRESH: Duration = Duration::from_secs(3);

impl Replicas {
    /// Nothing was heard yet: who votes counts as heard of just now.
    #[must_use]
    pub fn begin(record: &Record, now: Moment) -> Self {
        Self {
            heard: record.voters.iter().map(|voter| (*voter, now)).collect(),
            begun: now,
            ..Self::default()
        }
    }

    /// A replica is there, and streams or not.
    pub fn hear(&mut self, voter: VoterId, streams: bool, now: Moment) {
        self.heard.insert(voter, now);
        if streams {
            self.streamed.insert(voter, now);
            self.removed.remove(&voter);
        }
    }

    /// A replica says whether it lacks data that its source had when it was copied or rewound, and so does not vote.
    pub fn lacks(&mut self, voter: VoterId, data: bool) {
        if data {
            self.lacking.insert(voter);
        } else {
            self.lacking.remove(&voter);
        }
    }

    /// Whether a replica does not vote since it lacks data.
    pub(crate) fn lacks_data(&self, voter: VoterId) -> bool {
        self.lacking.contains(&voter)
    }

    /// Whether a replica streams, as far as is known.
    pub(crate) fn streams(&self, voter: VoterId, now: Moment) -> bool {
        let streamed = self.streamed.get(&voter);
        streamed.is_some_and(|at| now.since(*at) < FRESH)
    }

    /// A replica does not belong to the cluster any more.
    pub fn remove(&mut self, voter: VoterId) {
        self.removed.insert(voter);
        self.streamed.remove(&voter);
    }

    /// The membership to have now: voters stay until they are gone for good or for [`ABSENCE`]; who streams joins. Commits
    /// wait for `k` of all voters; where so many have never been there, for as many as there are. Once they were there,
    /// none leaves whom that would be a fallback for: below `k` writes wait, unless `fallback` says that the user wants them
    /// to go on.
    #[must_use]
    pub fn wanted(&self, record: &Record, k: usize, fallback: bool, now: Moment) -> Wanted {
        let within = |seen: &BTreeMap<VoterId, Moment>, voter: &VoterId, limit| {
            seen.get(voter).is_some_and(|at| now.since(*at) < limit)
        };
        let stays =
            |voter: &&VoterId| within(&self.heard, voter, ABSENCE) && !self.removed.contains(voter);
        let joins = |voter: &&VoterId| self.streams(**voter, now);
        let mut voters: BTreeSet<VoterId> = record.voters.iter().filter(stays).copied().collect();
        voters.extend(self.streamed.keys().filter(joins));
        voters.remove(&record.holder);
        let k = k.min(voters.len().max(record.synchronous.k));
        let living = voters
            .iter()
            .filter(|voter| within(&self.streamed, voter, PATIENCE));
        let living = living.count();
        let has_waited = now.since(self.begun) >= PATIENCE;
        let fallback = (fallback && has_waited && living < k).then_some(living);
        if voters.len() < k || fallback.is_some() {
            voters.extend(&record.voters);
        }
        let set = if k == 0 {
            BTreeSet::new()
        } else {
            voters.clone()
        };
        Wanted {
            voters,
            synchronous: Synchronous { k, set },
            fallback,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn voter(number: u128) -> VoterId {
        VoterId::from(Uuid::from_u128(number))
    }

    fn at(seconds: u64) -> Moment {
        Moment::since_boot(Duration::from_secs(seconds))
    }

    fn voters(wanted: &Wanted) -> Vec<VoterId> {
        wanted.voters.iter().copied().collect()
    }

    #[test]
    fn who_streams_joins_and_who_only_reports_does_not() {
        let record = Record::first(voter(1));
        let mut replicas = Replicas::begin(&record, at(0));
        replicas.hear(voter(2), false, at(1));
        replicas.hear(voter(3), true, at(1));
        assert_eq!(
            voters(&replicas.wanted(&record, 0, false, at(2))),
            [voter(3)]
        );
        // Too long ago to begin with it.
        assert_eq!(voters(&replicas.wanted(&record, 0, false, at(9))), []);
    }

    #[test]
    fn a_voter_stays_over_a_short_absence_and_leaves_after_a_long_one() {
        let mut record = Record::first(voter(1));
        record.voters.insert(voter(2));
        let replicas = Replicas::begin(&record, at(100));
        assert_eq!(
            voters(&replicas.wanted(&record, 0, false, at(129))),
            [voter(2)]
        );
        assert_eq!(voters(&replicas.wanted(&record, 0, false, at(131))), []);
    }

    #[test]
    fn a_removed_replica_leaves_at_once() {
        let mut record = Record::first(voter(1));
        record.voters.insert(voter(2));
        let mut replicas = Replicas::begin(&record, at(0));
        replicas.hear(voter(2), true, at(1));
        replicas.remove(voter(2));
        assert_eq!(voters(&replicas.wanted(&record, 0, false, at(1))), []);
    }

    /// The record of a primary 1 whose commits wait for `k` of `voters`.
    fn recorded(k: usize, voters: &[u128]) -> Record {
        let voters: BTreeSet<VoterId> = voters.iter().copied().map(voter).collect();
        Record {
            synchronous: Synchronous {
                k,
                set: voters.clone(),
            },
            voters,
            ..Record::first(voter(1))
        }
    }

    #[test]
    fn nobody_leaves_where_fewer_than_asked_for_would_stay() {
        let record = recorded(1, &[2, 3]);
        let mut replicas = Replicas::begin(&record, at(0));
        replicas.hear(voter(3), true, at(60));
        let wanted = replicas.wanted(&record, 1, false, at(60));
        assert_eq!(voters(&wanted), [voter(3)]);
        assert_eq!(wanted.synchronous.k, 1);
        // That one goes, too.
        let record = recorded(1, &[3]);
        replicas.remove(voter(3));
        let wanted = replicas.wanted(&record, 1, false, at(120));
        assert_eq!(voters(&wanted), [voter(3)]);
        assert_eq!(wanted.synchronous, record.synchronous);
        // Unless the user wants it.
        assert_eq!(voters(&replicas.wanted(&record, 0, false, at(120))), []);
    }

    #[test]
    fn below_k_writes_go_on_after_a_while_only_where_the_user_chose_so() {
        let record = recorded(1, &[2, 3]);
        let mut replicas = Replicas::begin(&record, at(0));
        let fallback = |replicas: &Replicas, chosen, second| {
            let wanted = replicas.wanted(&record, 1, chosen, at(second));
            // Whoever has what was acknowledged goes on voting, and the rule stays.
            assert_eq!(wanted.synchronous, record.synchronous, "at {second}");
            wanted.fallback
        };
        assert_eq!(
            fallback(&replicas, true, 9),
            None,
            "they had no time to come"
        );
        assert_eq!(fallback(&replicas, true, 10), Some(0));
        assert_eq!(fallback(&replicas, false, 60), None);
        assert_eq!(fallback(&replicas, true, 60), Some(0));
        replicas.hear(voter(3), false, at(61));
        assert_eq!(fallback(&replicas, true, 61), Some(0), "it does not stream");
        replicas.hear(voter(3), true, at(62));
        replicas.hear(voter(2), true, at(62));
        assert_eq!(fallback(&replicas, true, 71), None);
        assert_eq!(fallback(&replicas, true, 72), Some(0));
    }

    #[test]
    fn one_that_lives_is_waited_for_where_two_are_asked_for() {
        let record = recorded(2, &[2, 3]);
        let mut replicas = Replicas::begin(&record, at(0));
        replicas.hear(voter(2), true, at(20));
        let wanted = replicas.wanted(&record, 2, true, at(25));
        assert_eq!((wanted.synchronous.k, wanted.fallback), (2, Some(1)));
        assert_eq!(wanted.voters, record.voters);
    }

    #[test]
    fn the_rule_asks_for_no_more_answers_than_there_are_voters() {
        let mut record = Record::first(voter(1));
        record.voters.insert(voter(2));
        let replicas = Replicas::begin(&record, at(0));
        let wanted = replicas.wanted(&record, 2, false, at(1));
        assert_eq!(wanted.synchronous.k, 1);
        assert_eq!(wanted.synchronous.set, wanted.voters);
    }
}
