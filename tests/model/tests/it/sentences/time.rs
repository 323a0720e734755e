//! Sentences about time and authority: without one, two serve.

use pgo_ha::Rules;
use pgo_model_tests::{
    clock::{self, Clock},
    explore,
};

use super::{ALL, Harm, found};

const CLOCK: clock::Bounds = clock::Bounds {
    terms: 2,
    crashes: 0,
    changes: Vec::new(),
    releases: 0,
    failures: 0,
    outdated: 0,
    losses: 0,
    stalls: false,
    autofail: true,
    preferred: Vec::new(),
    delays: false,
    voters: 1,
    k: 0,
};

fn two_primaries(sentence: &str, rules: Rules, bounds: clock::Bounds) {
    found(
        sentence,
        Harm::TwoPrimaries,
        explore::never(Clock::new(bounds, rules)).err(),
    );
}

#[test]
fn a_time_out_is_no_answer() {
    let rules = Rules {
        timeout_is_no_answer: false,
        ..ALL
    };
    two_primaries("timeout_is_no_answer", rules, CLOCK);
}

#[test]
fn terms_are_stored_and_lower_ones_refused() {
    let rules = Rules {
        term_is_stored: false,
        ..ALL
    };
    two_primaries(
        "term_is_stored",
        rules,
        clock::Bounds {
            crashes: 1,
            voters: 2,
            ..CLOCK
        },
    );
    let rules = Rules {
        lower_terms_are_refused: false,
        ..ALL
    };
    two_primaries("lower_terms_are_refused", rules, CLOCK);
}

#[test]
fn grants_are_counted_by_both_sides_so_that_they_run_out_in_order() {
    let rules = Rules {
        grant_counts_from_request: false,
        ..ALL
    };
    two_primaries("grant_counts_from_request", rules, CLOCK);
    let rules = Rules {
        granter_allows_for_drift: false,
        ..ALL
    };
    two_primaries("granter_allows_for_drift", rules, CLOCK);
    let rules = Rules {
        restarted_granter_waits: false,
        ..ALL
    };
    two_primaries(
        "restarted_granter_waits",
        rules,
        clock::Bounds {
            crashes: 1,
            voters: 2,
            ..CLOCK
        },
    );
}

#[test]
fn who_starts_writes_the_lease_before_it_serves() {
    let rules = Rules {
        start_writes_lease: false,
        ..ALL
    };
    two_primaries(
        "start_writes_lease",
        rules,
        clock::Bounds {
            crashes: 1,
            releases: 1,
            ..CLOCK
        },
    );
    let rules = Rules {
        write_counts_from_request: false,
        ..ALL
    };
    two_primaries("write_counts_from_request", rules, CLOCK);
}

#[test]
fn both_memberships_hold_during_a_change() {
    let rules = Rules {
        old_membership_holds: false,
        ..ALL
    };
    two_primaries(
        "old_membership_holds",
        rules,
        clock::Bounds {
            changes: vec![vec![2]],
            ..CLOCK
        },
    );
    let rules = Rules {
        new_membership_holds: false,
        ..ALL
    };
    two_primaries(
        "new_membership_holds",
        rules,
        clock::Bounds {
            changes: vec![vec![2]],
            ..CLOCK
        },
    );
}

#[test]
fn a_promotion_needs_votes_and_a_lease_that_rests() {
    let three = || clock::Bounds { voters: 2, ..CLOCK };
    let rules = Rules {
        promotion_needs_votes: false,
        ..ALL
    };
    two_primaries("promotion_needs_votes", rules, three());
    let rules = Rules {
        promotion_needs_wait: false,
        ..ALL
    };
    two_primaries("promotion_needs_wait", rules, three());
    let rules = Rules {
        wait_counts_from_receipt: false,
        ..ALL
    };
    two_primaries("wait_counts_from_receipt", rules, CLOCK);
    let rules = Rules {
        wait_is_for_one_version: false,
        ..ALL
    };
    two_primaries("wait_is_for_one_version", rules, CLOCK);
}

#[test]
fn the_wait_ends_with_a_read_of_after_the_last_grant() {
    let rules = Rules {
        wait_ends_with_read: false,
        ..ALL
    };
    let bounds = clock::Bounds {
        stalls: true,
        ..CLOCK
    };
    let wrong = explore::never(Clock::new(bounds, rules)).err();
    found("wait_ends_with_read", Harm::LostGrant, wrong);
}

#[test]
fn a_promotion_goes_by_what_is_recorded_at_that_version() {
    let rules = Rules {
        term_rises: false,
        ..ALL
    };
    two_primaries("term_rises", rules, clock::Bounds { voters: 2, ..CLOCK });
    let rules = Rules {
        voters_of_that_version: false,
        ..ALL
    };
    two_primaries(
        "voters_of_that_version",
        rules,
        clock::Bounds {
            changes: vec![vec![2]],
            ..CLOCK
        },
    );
}

#[test]
fn a_release_is_kept() {
    let one = || clock::Bounds {
        releases: 1,
        ..CLOCK
    };
    let rules = Rules {
        releaser_forgets: false,
        ..ALL
    };
    two_primaries("releaser_forgets", rules, one());
    let rules = Rules {
        releaser_stops_first: false,
        ..ALL
    };
    two_primaries("releaser_stops_first", rules, one());
    let rules = Rules {
        release_names_version: false,
        ..ALL
    };
    two_primaries("release_names_version", rules, one());
    let rules = Rules {
        releaser_writes_again: false,
        ..ALL
    };
    two_primaries("releaser_writes_again", rules, one());
}

#[test]
fn a_primary_whose_database_cannot_serve_keeps_its_release_too() {
    let one = || clock::Bounds {
        failures: 1,
        ..CLOCK
    };
    let rules = Rules {
        release_names_version: false,
        ..ALL
    };
    two_primaries("release_names_version, unfit", rules, one());
    let rules = Rules {
        releaser_writes_again: false,
        ..ALL
    };
    two_primaries("releaser_writes_again, unfit", rules, one());
}

#[test]
fn a_lease_that_was_lost_is_taken_up_only_with_authority() {
    let rules = Rules {
        lost_lease_needs_authority: false,
        ..ALL
    };
    let bounds = clock::Bounds {
        voters: 2,
        losses: 1,
        ..CLOCK
    };
    two_primaries("lost_lease_needs_authority", rules, bounds);
}

#[test]
fn a_voter_gives_up_its_grant_and_its_receiver_and_stores_the_term() {
    let three = || clock::Bounds { voters: 2, ..CLOCK };
    let rules = Rules {
        vote_waits_for_grant: false,
        ..ALL
    };
    two_primaries("vote_waits_for_grant", rules, three());
    let rules = Rules {
        vote_stores_term: false,
        ..ALL
    };
    two_primaries("vote_stores_term", rules, three());
}
