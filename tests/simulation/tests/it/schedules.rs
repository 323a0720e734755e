//! Schedules of faults.

use std::time::Instant;

use pgo_simulation::{Count, Wrong, campaign, run};

use crate::seeds::{asked, number, run_all, seeds};

/// How many schedules every test run goes through.
const SCHEDULES: u64 = 100_000;

/// Within how many schedules each part that is wrong must be found.
const FOUND_WITHIN: u64 = 20_000;

#[test]
fn no_schedule_of_faults_breaks_a_promise() {
    let (begun, seeds) = (Instant::now(), seeds(SCHEDULES));
    let schedules = seeds.end - seeds.start;
    match run_all::<Count>(seeds, |seed| run(seed, None)) {
        Ok(count) => println!("{schedules} schedules in {:?}: {count:#?}", begun.elapsed()),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn schedules_are_what_they_are_for() {
    let count = run_all::<Count>(0..1000, |seed| run(seed, None));
    let count = count.unwrap_or_else(|failure| panic!("{failure}"));
    // Each a little under what was counted, so that it is noticed when the schedules become harmless.
    assert!(count.operations > 2600, "{count:?}");
    assert!(count.events > 14_000, "{count:?}");
    assert!(count.conflicts > 1100, "{count:?}");
    assert!(count.kills > 1400, "{count:?}");
    assert!(count.pages > 260, "{count:?}");
    assert!(count.overflows > 25, "{count:?}");
    assert!(count.backlogs > 4000, "{count:?}");
    assert!(count.added > 160, "{count:?}");
    assert!(count.removed > 30, "{count:?}");
    assert!(count.changes > 30, "{count:?}");
    assert!(count.reloads > 10, "{count:?}");
    assert!(count.restarts > 20, "{count:?}");
    assert!(count.upgrades > 4, "{count:?}");
    assert!(count.noted > 30, "{count:?}");
}

#[test]
fn a_thousand_operations_survive_kills_of_everything() {
    let seed = asked("CAMPAIGN").map_or(0, |text| number(&text));
    let count = campaign(seed, 1000).unwrap_or_else(|failure| panic!("{failure}"));
    println!("campaign {seed}: {count:#?}");
    assert!(count.operations >= 1000 && count.kills > 1000, "{count:?}");
    // Most of it is done, and not only refused.
    assert!(count.failed < 500, "{count:?}");
    assert!(count.added > 100 && count.removed > 50, "{count:?}");
    assert!(count.changes > 100 && count.reloads > 20, "{count:?}");
    assert!(count.restarts > 50 && count.upgrades > 20, "{count:?}");
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in 0..50 {
        let counts =
            [run(seed, None), run(seed, None)].map(|ran| ran.expect("no promise is broken"));
        assert_eq!(counts[0], counts[1], "seed {seed}");
    }
}

#[test]
fn each_part_that_is_wrong_is_found() {
    for wrong in Wrong::ALL {
        let found = (0..FOUND_WITHIN).find_map(|seed| run(seed, Some(wrong)).err());
        let failure =
            found.unwrap_or_else(|| panic!("{wrong:?} is not found in {FOUND_WITHIN} schedules"));
        println!("{wrong:?}: seed {}: {}", failure.seed, failure.what);
        let again = run(failure.seed, Some(wrong)).expect_err("it fails again");
        assert_eq!(again.what, failure.what);
        assert!(
            !failure.trace.is_empty()
                && failure
                    .to_string()
                    .contains(&format!("SEED={}", failure.seed))
        );
    }
}
