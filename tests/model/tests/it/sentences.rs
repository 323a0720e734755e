//! Each sentence of the protocol that is there because of the model: left out, the model finds what goes wrong.

use std::{collections::BTreeSet, fs, path::Path};

use pgo_ha::Rules;
use pgo_model_tests::{
    clock::{self, Clock},
    data::{self, Data, Move::*, members},
    explore::{self, Wrong},
};
use stateright::Model;

/// What leaving out a sentence leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    TwoPrimaries,
    LostCommit,
    Stuck,
}

const ALL: Rules = Rules::PROTOCOL;

const CLOCK: clock::Bounds = clock::Bounds {
    terms: 2,
    crashes: 0,
    changes: Vec::new(),
    releases: 0,
    delays: false,
    voters: 1,
    k: 0,
};

fn data() -> data::Bounds {
    data::Bounds {
        instances: 3,
        terms: 3,
        commits: 2,
        crashes: 0,
        first: members(1, &[1, 2]),
        wanted: Vec::new(),
        lost: None,
        timeline_of_record: true,
        story: Vec::new(),
    }
}

fn two_primaries(sentence: &str, rules: Rules, bounds: clock::Bounds) {
    found(
        sentence,
        Harm::TwoPrimaries,
        explore::never(Clock::new(bounds, rules)).err(),
    );
}

fn lost_commit(sentence: &str, rules: Rules, bounds: data::Bounds) {
    if !bounds.story.is_empty() {
        let whole = Data::new(bounds.clone(), ALL);
        assert!(
            !whole.init_states().is_empty(),
            "{sentence}: the story cannot be told"
        );
        let looked = explore::never(whole);
        assert!(
            looked.is_ok(),
            "{sentence}: the story alone does harm: {looked:?}"
        );
    }
    found(
        sentence,
        Harm::LostCommit,
        explore::never(Data::new(bounds, rules)).err(),
    );
}

fn stuck(sentence: &str, rules: Rules, bounds: data::Bounds) {
    let model = Data::new(bounds, rules);
    let looked = explore::possible(
        &model,
        |state| model.can_go_on(state),
        |state| model.goes_on(state),
    );
    found(sentence, Harm::Stuck, looked.err());
}

fn found(sentence: &str, harm: Harm, wrong: Option<Wrong>) {
    let wrong = wrong.unwrap_or_else(|| panic!("without {sentence} nothing goes wrong"));
    println!(
        "without {sentence}: {harm:?} after {} moves",
        wrong.trace.len()
    );
    let what = match harm {
        Harm::TwoPrimaries => "at most one serves",
        Harm::LostCommit => "no acknowledged commit is lost",
        Harm::Stuck => "nothing can go on from here",
    };
    assert_eq!(wrong.what, what, "{sentence}: {:#?}", wrong.trace);
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
    let rules = Rules {
        vote_stops_receiver: false,
        ..ALL
    };
    lost_commit("vote_stops_receiver", rules, data());
}

#[test]
fn a_voter_may_vote_again_and_the_holder_raises() {
    let gone = |lost| data::Bounds {
        commits: 0,
        crashes: 1,
        lost: Some(lost),
        ..data()
    };
    let rules = Rules {
        several_votes_in_a_term: false,
        ..ALL
    };
    stuck("several_votes_in_a_term", rules, gone(0));
    let rules = Rules {
        holder_raises: false,
        ..ALL
    };
    stuck("holder_raises", rules, gone(2));
}

#[test]
fn the_one_furthest_ahead_is_promoted_and_ahead_is_the_later_timeline() {
    let rules = Rules {
        furthest_ahead: false,
        ..ALL
    };
    lost_commit("furthest_ahead", rules, data());
    lost_commit(
        "timeline_of_record",
        ALL,
        data::Bounds {
            timeline_of_record: false,
            ..data()
        },
    );
    // The first primary has written what nobody got; the second one begins with nothing of it.
    let story = vec![
        Tick(0),
        Commits(0),
        Commits(0),
        Tick(1),
        Campaigns(1),
        Tick(2),
        Votes(1, 2),
        Tick(2),
        Attaches(2),
        RunsOut(0),
    ];
    let rules = Rules {
        timeline_before_position: false,
        ..ALL
    };
    lost_commit(
        "timeline_before_position",
        rules,
        data::Bounds {
            commits: 3,
            story,
            ..data()
        },
    );
}

#[test]
fn each_promotion_takes_a_timeline_of_its_own() {
    // The second primary writes on its timeline and is not heard of; the third one takes the Lease.
    let story = vec![
        Tick(0),
        Tick(1),
        Campaigns(1),
        Tick(2),
        Votes(1, 2),
        Commits(1),
        RunsOut(0),
        Tick(2),
        Campaigns(2),
        Votes(2, 0),
    ];
    let rules = Rules {
        timeline_is_new: false,
        ..ALL
    };
    lost_commit(
        "timeline_is_new",
        rules,
        data::Bounds {
            terms: 4,
            story,
            ..data()
        },
    );
}

#[test]
fn an_instance_that_is_copied_does_not_vote() {
    // So many commits are acknowledged by the third instance, which is promoted; the first one has one more.
    let story = |acknowledged: u8| {
        let mut story = vec![Tick(0), Tick(2), Attaches(2)];
        for commit in 1..=acknowledged {
            story.extend([Commits(0), Streams(2), Acknowledges(0, commit)]);
        }
        story.extend([
            Commits(0),
            Campaigns(2),
            Tick(1),
            Votes(2, 1),
            RunsOut(0),
            Attaches(0),
        ]);
        story
    };
    let rules = Rules {
        copy_marks_no_vote: false,
        ..ALL
    };
    lost_commit(
        "copy_marks_no_vote",
        rules,
        data::Bounds {
            story: story(1),
            ..data()
        },
    );
    let rules = Rules {
        mark_stays_until_caught_up: false,
        ..ALL
    };
    let bounds = data::Bounds {
        commits: 3,
        story: story(2),
        ..data()
    };
    lost_commit("mark_stays_until_caught_up", rules, bounds);
}

#[test]
fn the_swap_exchanges_the_two_among_the_voters() {
    let rules = Rules {
        promoted_leaves_voters: false,
        ..ALL
    };
    let gone = data::Bounds {
        commits: 0,
        crashes: 1,
        lost: Some(1),
        ..data()
    };
    stuck("promoted_leaves_voters", rules, gone);
    let rules = Rules {
        former_primary_joins_voters: false,
        ..ALL
    };
    lost_commit(
        "former_primary_joins_voters",
        rules,
        data::Bounds {
            crashes: 1,
            ..data()
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
fn who_loses_authority_loses_every_backend() {
    let rules = Rules {
        lost_authority_kills: false,
        ..ALL
    };
    lost_commit("lost_authority_kills", rules, data());
}

#[test]
fn what_is_recorded_holds_for_what_was_acknowledged() {
    let change = |first, to| data::Bounds {
        terms: 2,
        commits: 1,
        first,
        wanted: vec![to],
        ..data()
    };
    let four = |bounds| data::Bounds {
        instances: 4,
        ..bounds
    };
    let (one, two) = (|| members(1, &[1]), || members(1, &[1, 2]));
    let three = |k| members(k, &[1, 2, 3]);
    let added = Rules {
        added_is_recorded_first: false,
        ..ALL
    };
    lost_commit("added_is_recorded_first", added, change(one(), two()));
    let removed = Rules {
        removed_is_recorded_last: false,
        ..ALL
    };
    lost_commit("removed_is_recorded_last", removed, change(two(), one()));
    lost_commit(
        "removed_is_recorded_last, raising k",
        removed,
        four(change(three(1), three(2))),
    );
    let rules = Rules {
        votes_meet_acknowledgers: false,
        ..ALL
    };
    let bounds = data::Bounds {
        terms: 2,
        commits: 1,
        first: three(1),
        ..data()
    };
    lost_commit("votes_meet_acknowledgers", rules, four(bounds));
}

/// Names of all sentences, as the type has them.
fn sentences() -> BTreeSet<String> {
    format!("{ALL:?}")
        .split(['{', ',', '}'])
        .filter_map(|part| part.split_once(": true"))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

#[test]
fn every_sentence_is_left_out_by_a_test_and_told_in_the_documentation() {
    let here =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sentences.rs"));
    let here = here.expect("this file");
    let told = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/high-availability.md");
    let told = fs::read_to_string(told).expect("the documentation");
    let all = sentences();
    assert!(all.len() > 30, "{all:?}");
    for sentence in all {
        assert!(
            here.contains(&format!("{sentence}: false")),
            "{sentence} is left out by no test"
        );
        assert!(
            told.contains(&format!("`{sentence}`")),
            "{sentence} is not told"
        );
    }
}
