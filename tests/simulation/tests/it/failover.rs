//! Schedules of faults under instances that elect their primary.

use std::time::Instant;

use pgo_simulation::failover::{Count, Wrong, run};

use crate::seeds::{run_all, seeds};

/// How many schedules every test run goes through: two thirds of a millisecond each.
const SCHEDULES: u64 = 100_000;

/// Within how many schedules each part that is wrong must be found. The rarest shows in one of a thousand.
const FOUND_WITHIN: u64 = 10_000;

#[test]
fn no_schedule_of_faults_makes_two_primaries_or_loses_what_was_promised() {
    let (begun, seeds) = (Instant::now(), seeds(SCHEDULES));
    let schedules = seeds.end - seeds.start;
    match run_all::<Count>(seeds, |seed| run(seed, None)) {
        Ok(count) => println!("{schedules} schedules in {:?}: {count:#?}", begun.elapsed()),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn schedules_are_what_they_are_for() {
    // Of so many since few have commits that wait for less, and those have many.
    let count = run_all::<Count>(0..5000, |seed| run(seed, None));
    let count = count.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{count:?}");
    // Each a little under what was counted, so that it is noticed when the schedules become harmless.
    assert!(count.takeovers > 2800, "{count:?}");
    assert!(count.releases > 1800, "{count:?}");
    assert!(count.faults > 34_000, "{count:?}");
    assert!(count.wishes > 16_000, "{count:?}");
    assert!(count.acknowledged > 210_000, "{count:?}");
    assert!(count.promised > 140_000, "{count:?}");
    assert!(count.lost > 450, "{count:?}");
    assert!(count.late > 5, "{count:?}");
    assert!(count.copies > 1400, "{count:?}");
    assert!(count.members > 1000, "{count:?}");
    assert!(count.restarts > 1700, "{count:?}");
    assert!(count.fallen_back > 100, "{count:?}");
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
    for wrong in Wrong::all() {
        let found = (0..FOUND_WITHIN).find_map(|seed| run(seed, Some(wrong)).err());
        let failure =
            found.unwrap_or_else(|| panic!("{wrong:?} is not found in {FOUND_WITHIN} schedules"));
        println!("{wrong:?}: seed {}: {}", failure.seed, failure.what);
        let again = run(failure.seed, Some(wrong)).expect_err("it fails again");
        assert_eq!(again.what, failure.what);
        assert!(!failure.trace.is_empty());
        assert!(
            failure
                .to_string()
                .contains(&format!("SEED={}", failure.seed))
        );
    }
}
