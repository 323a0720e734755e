//! How many votes and grants are needed.
//!
//! With r voters beside the holder, v votes promote and r − v + 1 grants let it serve: every v of the r have one in
//! common with every r − v + 1 of them, so that a primary with its grants and a promotion exclude each other. In
//! synchronous modes every v voters also have one in common with every k that acknowledged a commit.

use crate::{Record, Rules};

/// The most replicas whose answer a commit can be made to wait for.
pub const MOST_K: usize = 64;

/// v: how many of `r` voters have to vote for a promotion, where a commit waits for `k` of them (0: for none).
#[must_use]
pub fn votes_needed(rules: &Rules, r: usize, k: usize) -> usize {
    let majority = r / 2 + 1;
    if k == 0 || !rules.votes_meet_acknowledgers {
        return majority;
    }
    majority.max((r + 1).saturating_sub(k))
}

/// How many of `r` voters have to have granted for the holder to serve: r − v + 1, none where there are no voters.
#[must_use]
pub fn grants_needed(rules: &Rules, r: usize, k: usize) -> usize {
    (r + 1).saturating_sub(votes_needed(rules, r, k))
}

impl Record {
    /// v, by what is recorded.
    #[must_use]
    pub fn votes_needed(&self, rules: &Rules) -> usize {
        votes_needed(rules, self.voters.len(), self.synchronous.k)
    }

    /// How many grants the holder needs, by what is recorded.
    #[must_use]
    pub fn grants_needed(&self, rules: &Rules) -> usize {
        grants_needed(rules, self.voters.len(), self.synchronous.k)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules::PROTOCOL;

    proptest! {
        #[test]
        fn votes_and_grants_have_a_voter_in_common(r in 0_usize..40, k in 0_usize..40) {
            prop_assert!(votes_needed(&RULES, r, k) + grants_needed(&RULES, r, k) > r);
        }

        #[test]
        fn votes_have_a_voter_in_common_with_acknowledgers(r in 1_usize..40, k in 1_usize..40) {
            prop_assume!(k <= r);
            prop_assert!(votes_needed(&RULES, r, k) + k > r);
        }

        #[test]
        fn two_elections_have_a_voter_in_common(r in 1_usize..40, k in 0_usize..40) {
            prop_assert!(2 * votes_needed(&RULES, r, k) > r);
        }

        #[test]
        fn no_more_votes_are_needed_than_there_are_voters(r in 1_usize..40, k in 0_usize..40) {
            prop_assume!(k <= r);
            prop_assert!(votes_needed(&RULES, r, k) <= r);
        }
    }

    #[test]
    fn a_primary_without_voters_needs_no_grant_and_nobody_can_follow_it() {
        assert_eq!(grants_needed(&RULES, 0, 0), 0);
        assert_eq!(votes_needed(&RULES, 0, 0), 1);
    }

    #[test]
    fn of_two_replicas_both_vote_and_one_grants() {
        for k in 0..=2 {
            assert_eq!(votes_needed(&RULES, 2, k), 2);
            assert_eq!(grants_needed(&RULES, 2, k), 1);
        }
    }
}
