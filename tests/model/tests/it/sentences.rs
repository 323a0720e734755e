//! Each sentence of the protocol that is there because of the model: left out, the model finds what goes wrong.

mod data;
mod time;

use std::{collections::BTreeSet, fs, path::Path};

use pgo_ha::Rules;
use pgo_model_tests::explore::Wrong;

/// What leaving out a sentence leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    TwoPrimaries,
    LostCommit,
    LostGrant,
    Stuck,
}

const ALL: Rules = Rules::PROTOCOL;

/// The sentences of the protocol that are required to be needed, in its order, and what each is left out by. A sentence that says
/// several things has several.
const MARKED: [(&str, &[&str]); 18] = [
    (
        "a time-out is no answer to a write",
        &["timeout_is_no_answer"],
    ),
    (
        "terms are stored before they are acted on, and lower ones refused",
        &["term_is_stored", "lower_terms_are_refused"],
    ),
    (
        "the primary counts a grant from before its request, and the granter longer by the drift",
        &["grant_counts_from_request", "granter_allows_for_drift"],
    ),
    (
        "a granter that restarted waits",
        &["restarted_granter_waits"],
    ),
    ("who starts writes the Lease first", &["start_writes_lease"]),
    (
        "during a change of members both memberships hold",
        &["old_membership_holds", "new_membership_holds"],
    ),
    (
        "lost authority kills every backend",
        &["lost_authority_kills"],
    ),
    (
        "the holder raises a term that is used up",
        &["holder_raises"],
    ),
    (
        "a promotion needs votes and a Lease that rests between two reads",
        &[
            "promotion_needs_votes",
            "promotion_needs_wait",
            "wait_counts_from_receipt",
            "wait_is_for_one_version",
            "wait_ends_with_read",
        ],
    ),
    (
        "its term is the next one, its voters those of that version",
        &["term_rises", "term_is_next", "voters_of_that_version"],
    ),
    (
        "a voter gives up its grant and its receiver and stores the term",
        &[
            "vote_waits_for_grant",
            "vote_stops_receiver",
            "vote_stores_term",
        ],
    ),
    (
        "it may vote again in the term",
        &["several_votes_in_a_term"],
    ),
    (
        "the furthest ahead is promoted: by the timeline of its last record, then by position",
        &[
            "furthest_ahead",
            "timeline_of_record",
            "timeline_before_position",
        ],
    ),
    (
        "the former primary takes the candidate's place among the voters",
        &["promoted_leaves_voters", "former_primary_joins_voters"],
    ),
    ("a new timeline was never used", &["timeline_is_new"]),
    (
        "who releases has stopped, forgets all, and names the version; it serves again by a new write",
        &[
            "releaser_stops_first",
            "releaser_forgets",
            "release_names_version",
            "releaser_writes_again",
        ],
    ),
    (
        "a member is recorded before it is configured, and removed only when the rest have all",
        &[
            "added_is_recorded_first",
            "removed_is_recorded_last",
            "leaver_loses_walsender",
            "walsenders_reload",
            "mark_is_taken_after",
            "mark_is_waited_for",
        ],
    ),
    (
        "who is copied does not vote before it has caught up",
        &["copy_marks_no_vote", "mark_stays_until_caught_up"],
    ),
];

/// What is left out besides: no mark asks for it, and something goes wrong without it all the same.
const UNMARKED: [&str; 4] = [
    "write_counts_from_request",
    "lost_lease_needs_authority",
    "votes_meet_acknowledgers",
    "fallback_keeps_rule",
];

fn found(sentence: &str, harm: Harm, wrong: Option<Wrong>) {
    let wrong = wrong.unwrap_or_else(|| panic!("without {sentence} nothing goes wrong"));
    println!(
        "without {sentence}: {harm:?} after {} moves",
        wrong.trace.len()
    );
    let what = match harm {
        Harm::TwoPrimaries => "at most one serves",
        Harm::LostCommit => "no acknowledged commit is lost",
        Harm::LostGrant => "an API server that stalls costs no grant",
        Harm::Stuck => "nothing can go on from here",
    };
    assert_eq!(wrong.what, what, "{sentence}: {:#?}", wrong.trace);
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
fn each_marked_sentence_has_what_it_is_left_out_by() {
    let marked = MARKED.iter().inspect(|(sentence, left_out)| {
        assert!(!left_out.is_empty(), "nothing leaves out: {sentence}");
    });
    let marked = marked.flat_map(|(_, left_out)| *left_out);
    let named: Vec<String> = marked
        .chain(&UNMARKED)
        .map(|name| (*name).to_owned())
        .collect();
    let all: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(all.len(), named.len(), "each stands for one sentence");
    assert_eq!(all, sentences());
}

#[test]
fn every_sentence_is_left_out_by_a_test_and_told_in_the_documentation() {
    let here = [
        include_str!("sentences/time.rs"),
        include_str!("sentences/data.rs"),
    ]
    .concat();
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
