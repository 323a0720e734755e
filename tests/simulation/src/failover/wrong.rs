//! Parts that are wrong on purpose: the simulation must find each, or it would not find the same mistake in the product.
//!
//! Each is shown by about one in a thousand schedules at least. The protocol keeps a wrong part from doing harm in most of
//! them, since what one sentence of it promises others do, too; sentences that are not here need more coincidences than
//! chance brings together soon, and the model in `tests/model` finds each.

use pgo_ha::{Protocol, Rules};

/// Which part is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The guard is told nothing: an agent that is stopped leaves its server alone.
    GuardKnowsNothing,
    /// Process 1 starts an agent anew while the server of the one before it lives.
    ServerOutlivesAgent,
    /// Agents go by the time of day.
    TimeOfDay,
    /// The Lease is written whatever version is there.
    LeaseWithoutCompare,
    /// A server that is told to end is said to be dead and is not.
    KillIsSlow,
    /// A new primary waits for nobody's answer until it has been told for whose.
    RuleComesLate,
    /// It is not told that PostgreSQL does not start, nor that the volume hangs.
    FitnessIsNotTold,
    /// Nobody is told that WAL flows to a replica.
    ReplicasAreNotHeard,
    /// A request for the Lease that has no answer never ends.
    RequestsNeverEnd,
    /// Who was busy takes a new order to receive nothing for the one that it has answered.
    OrdersLookAlike,
    /// Commits go on with fewer answers than the rule asks for, whatever users chose.
    FallbackUnasked,
    /// A server that is about to be restarted tells clients that wait that their commit is durable.
    RestartAcknowledges,
    /// A primary that is to be restarted hands over.
    RestartHandsOver,
    /// A sentence of the protocol does not hold.
    Without(Sentence),
}

macro_rules! sentences {
    ($($(#[$doc:meta])* $name:ident: $rule:ident,)*) => {
        /// Sentences without which something goes wrong here soon ([`Rules`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Sentence {
            $($(#[$doc])* $name,)*
        }

        impl Sentence {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            fn left_out(self) -> Rules {
                match self {
                    $(Self::$name => Rules { $rule: false, ..Rules::PROTOCOL },)*
                }
            }
        }
    };
}

sentences! {
    /// See [`Rules::timeout_is_no_answer`].
    TimeoutIsNoAnswer: timeout_is_no_answer,
    /// See [`Rules::lower_terms_are_refused`].
    LowerTermsAreRefused: lower_terms_are_refused,
    /// See [`Rules::lost_authority_kills`].
    LostAuthorityKills: lost_authority_kills,
    /// See [`Rules::holder_raises`].
    HolderRaises: holder_raises,
    /// See [`Rules::promotion_needs_votes`].
    PromotionNeedsVotes: promotion_needs_votes,
    /// See [`Rules::promotion_needs_wait`].
    PromotionNeedsWait: promotion_needs_wait,
    /// See [`Rules::term_rises`].
    TermRises: term_rises,
    /// See [`Rules::voters_of_that_version`].
    VotersOfThatVersion: voters_of_that_version,
    /// See [`Rules::vote_waits_for_grant`].
    VoteWaitsForGrant: vote_waits_for_grant,
    /// See [`Rules::vote_stops_receiver`].
    VoteStopsReceiver: vote_stops_receiver,
    /// See [`Rules::vote_stores_term`].
    VoteStoresTerm: vote_stores_term,
    /// See [`Rules::several_votes_in_a_term`].
    SeveralVotesInATerm: several_votes_in_a_term,
    /// See [`Rules::furthest_ahead`].
    FurthestAhead: furthest_ahead,
    /// See [`Rules::former_primary_joins_voters`].
    FormerPrimaryJoinsVoters: former_primary_joins_voters,
    /// See [`Rules::timeline_is_new`].
    TimelineIsNew: timeline_is_new,
    /// See [`Rules::releaser_stops_first`].
    ReleaserStopsFirst: releaser_stops_first,
    /// See [`Rules::release_names_version`].
    ReleaseNamesVersion: release_names_version,
    /// See [`Rules::releaser_writes_again`].
    ReleaserWritesAgain: releaser_writes_again,
    /// See [`Rules::votes_meet_acknowledgers`].
    VotesMeetAcknowledgers: votes_meet_acknowledgers,
    /// See [`Rules::fallback_keeps_rule`].
    FallbackKeepsRule: fallback_keeps_rule,
}

/// What the agents go by.
pub fn protocol(wrong: Option<Wrong>) -> Protocol {
    match wrong {
        Some(Wrong::Without(sentence)) => Protocol {
            rules: sentence.left_out(),
            ..Protocol::PRODUCTION
        },
        _ => Protocol::PRODUCTION,
    }
}

impl Wrong {
    /// All there are.
    pub fn all() -> Vec<Self> {
        let parts = [
            Self::GuardKnowsNothing,
            Self::ServerOutlivesAgent,
            Self::TimeOfDay,
            Self::LeaseWithoutCompare,
            Self::KillIsSlow,
            Self::RuleComesLate,
            Self::FitnessIsNotTold,
            Self::ReplicasAreNotHeard,
            Self::RequestsNeverEnd,
            Self::OrdersLookAlike,
            Self::FallbackUnasked,
            Self::RestartAcknowledges,
            Self::RestartHandsOver,
        ];
        let sentences = Sentence::ALL
            .iter()
            .map(|left_out| Self::Without(*left_out));
        parts.into_iter().chain(sentences).collect()
    }
}
