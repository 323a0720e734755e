//! Which schedules are run, on all cores.

use std::{
    ops::{AddAssign, Range},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use pgo_simulation::Failure;

/// Schedules that a thread takes at a time.
const CHUNK: u64 = 250;

/// The seeds that were asked for: `SEED=123`, `SEEDS=5000` or `SEEDS=5000-9000`; the first so many in every test run.
pub fn seeds(of_every_run: u64) -> Range<u64> {
    if let Some(seed) = asked("SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match asked("SEEDS") {
        Some(text) => match text.split_once('-') {
            Some((first, last)) => number(first)..number(last) + 1,
            None => 0..number(&text),
        },
        None => 0..of_every_run,
    }
}

/// A setting, where it is made.
pub fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

pub fn number(text: &str) -> u64 {
    let number = text.trim().parse();
    number.unwrap_or_else(|error| panic!("SEED, SEEDS or CAMPAIGN: {text:?}: {error}"))
}

/// Runs them on all cores; the first failure by its seed, or what all have done.
pub fn run_all<C: Default + AddAssign + Send>(
    seeds: Range<u64>,
    run: impl Fn(u64) -> Result<C, Box<Failure>> + Sync,
) -> Result<C, Box<Failure>> {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Ok::<_, Box<Failure>>(C::default()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= seeds.end {
                        return;
                    }
                    let done = chunk(first..seeds.end.min(first + CHUNK), &run);
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

fn chunk<C: Default + AddAssign>(
    seeds: Range<u64>,
    run: impl Fn(u64) -> Result<C, Box<Failure>>,
) -> Result<C, Box<Failure>> {
    let mut sum = C::default();
    for seed in seeds {
        sum += run(seed)?;
    }
    Ok(sum)
}
