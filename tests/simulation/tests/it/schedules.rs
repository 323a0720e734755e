//! Schedules of faults.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use pgo_simulation::{Count, Failure, Wrong, campaign, run};

/// How many schedules every test run goes through.
const SCHEDULES: u64 = 100_000;

/// Within how many schedules each part that is wrong must be found.
const FOUND_WITHIN: u64 = 2000;

/// Schedules that a thread takes at a time.
const CHUNK: u64 = 250;

/// The seeds that were asked for: `SEED=123`, `SEEDS=5000` or `SEEDS=5000-9000`; every test run has its own.
fn seeds() -> Range<u64> {
    if let Some(seed) = asked("SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match asked("SEEDS") {
        Some(text) => match text.split_once('-') {
            Some((first, last)) => number(first)..number(last) + 1,
            None => 0..number(&text),
        },
        None => 0..SCHEDULES,
    }
}

/// A setting, where it is made.
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(text: &str) -> u64 {
    let number = text.trim().parse();
    number.unwrap_or_else(|error| panic!("SEED, SEEDS or CAMPAIGN: {text:?}: {error}"))
}

/// Runs them on all cores; the first failure by its seed, or what all have done.
fn run_all(seeds: Range<u64>) -> Result<Count, Box<Failure>> {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Ok::<_, Box<Failure>>(Count::default()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= seeds.end {
                        return;
                    }
                    let done = chunk(first..seeds.end.min(first + CHUNK));
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match (&mut *sum, done) {
                        (Ok(sum), Ok(done)) => *sum += done,
                        (Err(known), Err(failure)) if known.seed <= failure.seed => {}
                        (_, Err(failure)) => {
                            *sum = Err(failure);
                            next.store(seeds.end, Ordering::Relaxed);
                        }
                        (Err(_), Ok(_)) => {}
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn chunk(seeds: Range<u64>) -> Result<Count, Box<Failure>> {
    let mut sum = Count::default();
    for seed in seeds {
        sum += run(seed, None)?;
    }
    Ok(sum)
}

#[test]
fn no_schedule_of_faults_breaks_a_promise() {
    let (begun, seeds) = (Instant::now(), seeds());
    let schedules = seeds.end - seeds.start;
    match run_all(seeds) {
        Ok(count) => println!("{schedules} schedules in {:?}: {count:#?}", begun.elapsed()),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn schedules_are_what_they_are_for() {
    let count = run_all(0..1000).unwrap_or_else(|failure| panic!("{failure}"));
    // Each a little under what was counted, so that it is noticed when the schedules become harmless.
    assert!(count.operations > 1500, "{count:?}");
    assert!(count.events > 8000, "{count:?}");
    assert!(count.conflicts > 500, "{count:?}");
    assert!(count.kills > 1000, "{count:?}");
    assert!(count.pages > 150, "{count:?}");
    assert!(count.overflows > 10, "{count:?}");
    assert!(count.backlogs > 1000, "{count:?}");
}

#[test]
fn a_thousand_operations_survive_kills_of_everything() {
    let seed = asked("CAMPAIGN").map_or(0, |text| number(&text));
    let count = campaign(seed, 1000).unwrap_or_else(|failure| panic!("{failure}"));
    println!("campaign {seed}: {count:#?}");
    assert!(count.operations >= 1000 && count.kills > 1000, "{count:?}");
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
