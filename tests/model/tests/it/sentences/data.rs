//! Sentences about data: without one, an acknowledged commit is lost, or nothing can go on.

use pgo_ha::Rules;
use pgo_model_tests::{
    data::{self, Data, Move::*, fallen_back, members},
    explore,
};
use stateright::Model;

use super::{ALL, Harm, found};

fn data() -> data::Bounds {
    data::Bounds {
        instances: 3,
        terms: 3,
        commits: 2,
        crashes: 0,
        deaths: 0,
        first: members(1, &[1, 2]),
        wanted: Vec::new(),
        lost: None,
        timeline_of_record: true,
        story: Vec::new(),
    }
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
fn all_who_want_to_follow_one_primary_do_so_in_the_same_term() {
    let rules = Rules {
        term_is_next: false,
        ..ALL
    };
    // Who is ahead is refused in the lower term, and who has the higher one is behind.
    let bounds = data::Bounds {
        commits: 1,
        crashes: 2,
        lost: Some(0),
        ..data()
    };
    stuck("term_is_next", rules, bounds);
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

#[test]
fn a_rule_counts_as_in_force_when_nobody_goes_by_the_former_one_and_holds_when_enough_have_flushed()
{
    let removed = || data::Bounds {
        terms: 2,
        commits: 1,
        wanted: vec![members(1, &[1])],
        ..data()
    };
    let raised = || data::Bounds {
        terms: 2,
        commits: 1,
        instances: 4,
        first: members(1, &[1, 2, 3]),
        wanted: vec![members(2, &[1, 2, 3])],
        ..data()
    };
    let leaver = Rules {
        leaver_loses_walsender: false,
        ..ALL
    };
    lost_commit("leaver_loses_walsender", leaver, removed());
    let reload = Rules {
        walsenders_reload: false,
        ..ALL
    };
    lost_commit("walsenders_reload", reload, raised());
    let after = Rules {
        mark_is_taken_after: false,
        ..ALL
    };
    lost_commit("mark_is_taken_after", after, removed());
    let waited_for = Rules {
        mark_is_waited_for: false,
        ..ALL
    };
    lost_commit("mark_is_waited_for", waited_for, removed());
}

#[test]
fn a_fallback_keeps_the_rule_that_commits_before_it_went_by() {
    let rules = Rules {
        fallback_keeps_rule: false,
        ..ALL
    };
    let bounds = data::Bounds {
        terms: 2,
        commits: 1,
        first: members(1, &[1, 2, 3]),
        wanted: vec![fallen_back(1, &[1, 2, 3], 0)],
        instances: 4,
        ..data()
    };
    lost_commit("fallback_keeps_rule", rules, bounds);
}

#[test]
fn a_voter_stops_its_receiver() {
    let rules = Rules {
        vote_stops_receiver: false,
        ..ALL
    };
    lost_commit("vote_stops_receiver", rules, data());
}
