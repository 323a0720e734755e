//! The protocol's sentences, each of which can be left out to see what it is for.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Which sentences of the protocol hold. Production has them all, [`Rules::PROTOCOL`]; the model in `tests/model`
        /// leaves out one after another and must find what then goes wrong. A test of the architecture sees to it that
        /// nothing else makes other rules.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::struct_excessive_bools, reason = "each is a sentence of its own that holds or does not")]
        pub struct Rules {
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Rules {
            /// All of them.
            pub const PROTOCOL: Self = Self { $($name: true,)* };
        }
    };
}

rules! {
    /// A request to write the Lease that had no answer may have been done: reading settles it, time does not.
    timeout_is_no_answer,
    /// An agent stores its term before it grants, votes, streams, rewinds or clones in it.
    term_is_stored,
    /// An agent refuses lower terms than it has stored.
    lower_terms_are_refused,
    /// The primary counts a grant from before it sent its request.
    grant_counts_from_request,
    /// The granter counts a grant longer than the primary by the drift of clocks.
    granter_allows_for_drift,
    /// A granter that restarted waits until what it may have granted has run out.
    restarted_granter_waits,
    /// An agent that starts while the Lease names it writes the Lease before it serves.
    start_writes_lease,
    /// The primary counts a write of the Lease from the start of the request.
    write_counts_from_request,
    /// From the start of a change of members the rule of the old membership holds on.
    old_membership_holds,
    /// From the start of a change of members the rule of the new membership holds, too.
    new_membership_holds,
    /// A Lease that was lost, and made anew without a record, is taken up only by who has authority.
    lost_lease_needs_authority,
    /// Who loses its authority kills every server process.
    lost_authority_kills,
    /// The holder raises its term when a replica has promised a higher one.
    holder_raises,
    /// A promotion needs votes.
    promotion_needs_votes,
    /// A promotion needs a Lease that has not changed for T·(1+ρ).
    promotion_needs_wait,
    /// The wait counts from the receipt of a read, not from its request.
    wait_counts_from_receipt,
    /// A read that shows another version begins the wait anew.
    wait_is_for_one_version,
    /// A read ends the wait that succeeds after the last grant has run out; none that came before a later one does.
    wait_ends_with_read,
    /// The new term is the Lease's term + 1, no lower.
    term_rises,
    /// Nor higher, whatever the candidate has promised.
    term_is_next,
    /// Votes needed and voters are those recorded at the version that the swap expects.
    voters_of_that_version,
    /// A voter lets its own grant run out before it votes.
    vote_waits_for_grant,
    /// A voter stops its WAL receiver before it votes.
    vote_stops_receiver,
    /// A voter stores the new term before it votes.
    vote_stores_term,
    /// A voter may vote for several candidates in one term.
    several_votes_in_a_term,
    /// Of two candidates the one whose last flushed record is on the later timeline is ahead.
    timeline_before_position,
    /// The timeline of a position is that of the last flushed record, not that of the recovery target.
    timeline_of_record,
    /// Only the candidate furthest ahead of its voters is promoted.
    furthest_ahead,
    /// The swap takes the candidate out of the voters.
    promoted_leaves_voters,
    /// The swap makes the former primary a voter.
    former_primary_joins_voters,
    /// The new timeline is a number never used before.
    timeline_is_new,
    /// Who releases forgets its grants and its own writes.
    releaser_forgets,
    /// Who releases has stopped serving before.
    releaser_stops_first,
    /// A release counts only for a swap from the version it names.
    release_names_version,
    /// Who released serves again only after a new write of its own.
    releaser_writes_again,
    /// Adding a member: recorded before it is configured. Also lowering k.
    added_is_recorded_first,
    /// Removing a member: recorded only when k of the rest have flushed all that it may have acknowledged. Also raising k.
    removed_is_recorded_last,
    /// A member that leaves the set has no walsender any more before the new rule counts as in force.
    leaver_loses_walsender,
    /// Every other walsender has read the new rule before that.
    walsenders_reload,
    /// Up to where k of the rest have to flush is taken after that.
    mark_is_taken_after,
    /// It is waited for that k of the rest have flushed up to there.
    mark_is_waited_for,
    /// Where commits wait for fewer because too few could answer, the recorded rule stays.
    fallback_keeps_rule,
    /// Votes needed in synchronous modes meet every k acknowledgers.
    votes_meet_acknowledgers,
    /// An instance stores a no-vote mark before it is rewound or cloned.
    copy_marks_no_vote,
    /// The no-vote mark stays until everything that the source had at the start is flushed.
    mark_stays_until_caught_up,
}
