//! The whole protocol: never two, nothing lost, never stuck.

use std::time::Instant;

use pgo_ha::Rules;
use pgo_model_tests::{
    clock::{self, Clock},
    data::{self, Data, fallen_back, members},
    explore,
};

use crate::holds;

/// Whether more is to be looked at than in every test run.
fn wide() -> bool {
    std::env::var("MODEL").is_ok_and(|text| text == "wide")
}

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
    voters: 2,
    k: 0,
};

fn data(k: usize) -> data::Bounds {
    data::Bounds {
        instances: 3,
        terms: 3,
        commits: 1,
        crashes: 1,
        deaths: 0,
        first: members(k, &[1, 2]),
        wanted: Vec::new(),
        lost: None,
        timeline_of_record: true,
        story: Vec::new(),
    }
}

/// Never two serve, and while a term is left one can serve again.
fn time(bounds: clock::Bounds) {
    let begun = Instant::now();
    let model = Clock::new(bounds, Rules::PROTOCOL);
    // Where nobody served when the Lease was lost, nobody goes on by itself.
    let left = |state: &clock::State| !state.anew && state.record.term.0 < model.bounds.terms;
    let serves = |state: &clock::State| model.serving(state).next().is_some();
    let looked = explore::possible(&model, left, serves);
    holds(
        &format!("{:?} in {:?}", model.bounds, begun.elapsed()),
        looked,
    );
}

/// No acknowledged commit is lost, and while a term is left one can be acknowledged again.
fn wal(bounds: data::Bounds) {
    let begun = Instant::now();
    let model = Data::new(bounds, Rules::PROTOCOL);
    let looked = explore::possible(
        &model,
        |state| model.can_go_on(state),
        |state| model.goes_on(state),
    );
    holds(
        &format!("{:?} in {:?}", model.bounds, begun.elapsed()),
        looked,
    );
}

#[test]
fn three_instances_elect_one_whatever_is_late_or_lost() {
    time(clock::Bounds {
        delays: true,
        ..CLOCK
    });
    if wide() {
        time(clock::Bounds {
            terms: 3,
            delays: true,
            ..CLOCK
        });
    }
}

#[test]
fn three_instances_elect_one_in_one_term_after_the_other() {
    time(clock::Bounds { terms: 3, ..CLOCK });
}

#[test]
fn three_instances_elect_one_when_some_crash() {
    time(clock::Bounds {
        crashes: 2,
        ..CLOCK
    });
    if wide() {
        time(clock::Bounds {
            terms: 3,
            crashes: 2,
            ..CLOCK
        });
    }
}

#[test]
fn three_instances_follow_a_release() {
    time(clock::Bounds {
        releases: 1,
        ..CLOCK
    });
    if wide() {
        time(clock::Bounds {
            releases: 1,
            crashes: 1,
            ..CLOCK
        });
    }
}

#[test]
fn one_whose_database_cannot_serve_is_followed() {
    time(clock::Bounds {
        failures: 1,
        voters: 1,
        ..CLOCK
    });
    if wide() {
        time(clock::Bounds {
            failures: 1,
            ..CLOCK
        });
        time(clock::Bounds {
            terms: 3,
            failures: 2,
            crashes: 1,
            voters: 1,
            ..CLOCK
        });
    }
}

#[test]
fn an_api_server_that_stalls_costs_a_primary_nothing() {
    let bounds = clock::Bounds {
        stalls: true,
        ..CLOCK
    };
    let looked = explore::never(Clock::new(bounds, Rules::PROTOCOL));
    holds("an API server that stalls", looked);
}

#[test]
fn nobody_follows_without_being_told_to_where_that_is_not_wanted() {
    time(clock::Bounds {
        autofail: false,
        voters: 1,
        ..CLOCK
    });
    if wide() {
        time(clock::Bounds {
            autofail: false,
            ..CLOCK
        });
    }
}

#[test]
fn one_is_preferred_and_the_other_follows_where_that_one_does_not() {
    time(clock::Bounds {
        preferred: vec![2],
        ..CLOCK
    });
    if wide() {
        time(clock::Bounds {
            preferred: vec![2],
            crashes: 1,
            releases: 1,
            ..CLOCK
        });
        time(clock::Bounds {
            terms: 3,
            preferred: vec![0, 2],
            ..CLOCK
        });
    }
}

#[test]
fn the_lease_is_written_for_what_stands_beside_the_record() {
    time(clock::Bounds {
        outdated: 1,
        ..CLOCK
    });
}

#[test]
fn a_lease_that_is_lost_and_made_anew_makes_no_second_primary() {
    time(clock::Bounds { losses: 1, ..CLOCK });
    if wide() {
        time(clock::Bounds {
            losses: 1,
            outdated: 1,
            releases: 1,
            crashes: 1,
            ..CLOCK
        });
    }
}

#[test]
fn three_instances_elect_one_in_each_synchronous_mode() {
    time(clock::Bounds {
        k: 1,
        crashes: 1,
        ..CLOCK
    });
    time(clock::Bounds { k: 2, ..CLOCK });
    if wide() {
        time(clock::Bounds {
            k: 2,
            crashes: 2,
            ..CLOCK
        });
    }
}

#[test]
fn two_instances_follow_each_other_through_crashes_and_releases() {
    let two = || clock::Bounds { voters: 1, ..CLOCK };
    time(clock::Bounds {
        terms: 3,
        crashes: 2,
        ..two()
    });
    time(clock::Bounds {
        releases: 1,
        ..two()
    });
    if wide() {
        time(clock::Bounds {
            terms: 3,
            crashes: 2,
            releases: 1,
            ..two()
        });
        time(clock::Bounds {
            terms: 3,
            crashes: 2,
            releases: 1,
            delays: true,
            ..two()
        });
    }
}

#[test]
fn members_come_and_go_while_one_serves() {
    time(clock::Bounds {
        voters: 1,
        changes: vec![vec![1, 2]],
        ..CLOCK
    });
    if wide() {
        time(clock::Bounds {
            changes: vec![vec![1]],
            ..CLOCK
        });
        time(clock::Bounds {
            voters: 1,
            changes: vec![vec![2]],
            crashes: 1,
            ..CLOCK
        });
    }
}

#[test]
fn everything_at_once_where_there_is_time_for_it() {
    if wide() {
        time(clock::Bounds {
            terms: 3,
            crashes: 2,
            releases: 1,
            changes: vec![vec![1, 2]],
            voters: 1,
            ..CLOCK
        });
    }
}

#[test]
fn what_the_rule_promised_is_not_lost_by_a_fallback_from_it() {
    let once = |k| data::Bounds {
        terms: 2,
        crashes: 0,
        ..data(k)
    };
    wal(data::Bounds {
        deaths: 1,
        wanted: vec![fallen_back(1, &[1, 2], 0)],
        ..once(1)
    });
    wal(data::Bounds {
        wanted: vec![fallen_back(2, &[1, 2], 1)],
        ..once(2)
    });
    if wide() {
        wal(data::Bounds {
            wanted: vec![fallen_back(1, &[1, 2], 0), members(1, &[1, 2])],
            deaths: 2,
            ..once(1)
        });
        wal(data::Bounds {
            wanted: vec![fallen_back(1, &[1, 2], 0), members(1, &[1, 2])],
            ..data(1)
        });
        wal(data::Bounds {
            instances: 4,
            first: members(1, &[1, 2, 3]),
            wanted: vec![fallen_back(1, &[1, 2, 3], 0)],
            ..data(1)
        });
    }
}

#[test]
fn no_acknowledged_commit_is_lost_whoever_crashes() {
    wal(data::Bounds {
        crashes: 2,
        ..data(1)
    });
    wal(data(2));
    if wide() {
        wal(data::Bounds {
            commits: 2,
            crashes: 2,
            ..data(1)
        });
        wal(data::Bounds {
            commits: 2,
            crashes: 2,
            ..data(2)
        });
        wal(data::Bounds {
            instances: 4,
            first: members(2, &[1, 2, 3]),
            ..data(2)
        });
    }
}

#[test]
fn an_instance_that_is_gone_for_good_stops_nothing() {
    for lost in 0..3 {
        wal(data::Bounds {
            commits: 0,
            lost: Some(lost),
            ..data(1)
        });
    }
}

#[test]
fn rules_change_while_commits_go_on() {
    let change = |from: data::Bounds, to| data::Bounds {
        terms: 2,
        crashes: 0,
        wanted: vec![to],
        ..from
    };
    let first = |first| data::Bounds { first, ..data(1) };
    wal(data::Bounds {
        deaths: 1,
        ..change(first(members(1, &[1])), members(1, &[1, 2]))
    });
    wal(change(first(members(1, &[1, 2])), members(1, &[1])));
    wal(change(first(members(1, &[1, 2])), members(2, &[1, 2])));
    wal(change(first(members(2, &[1, 2])), members(1, &[1, 2])));
    wal(change(first(members(0, &[1, 2])), members(1, &[1, 2])));
    if wide() {
        let four = |k| data::Bounds {
            instances: 4,
            ..first(members(k, &[1, 2, 3]))
        };
        wal(data::Bounds {
            deaths: 2,
            ..change(first(members(1, &[1, 2])), members(2, &[1, 2]))
        });
        wal(change(four(1), members(2, &[1, 2, 3])));
        wal(change(four(2), members(1, &[1, 2, 3])));
        wal(data::Bounds {
            terms: 3,
            ..change(first(members(1, &[1, 2])), members(1, &[1]))
        });
    }
}
