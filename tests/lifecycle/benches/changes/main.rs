//! What a client and the primary feel of changes that somebody asked for: rows of the table in docs/performance.md.
//!
//! `ROW` is `upgrade` or `replica`; each has `RUNS` runs (30). What was measured is kept in `.local/bench/<row>.jsonl`
//! until a row is whole, so that an interrupted row goes on where it was.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement fails by panicking, as a test does"
)]

mod book;
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod load;
mod replica;
mod upgrade;

use harness::containers::until_whole;

/// Runs of each row, unless `RUNS` says otherwise.
const RUNS: usize = 30;

/// What belongs to every figure.
const CONDITIONS: &str = "The client's deadlines for a connection and for a statement are 1 s; kube-proxy gathers changes for \
100 ms (minSyncPeriod).";

fn main() {
    let runs = std::env::var("RUNS")
        .ok()
        .map_or(RUNS, |text| text.parse().expect("RUNS is a number"));
    let wanted = std::env::var("ROW").unwrap_or_default();
    let measure = match wanted.as_str() {
        "upgrade" => upgrade::measure,
        "replica" => replica::measure,
        other => panic!("ROW is {other:?}; here it is upgrade or replica"),
    };
    until_whole();
    let rows = measure(runs);
    println!("{CONDITIONS}\n");
    println!("| figure | aim | measured | met |\n|---|---|---|---|");
    print!("{rows}");
}

/// Values in any order: the one in the middle, and the largest.
fn median_and_worst(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    (values[values.len() / 2], values[last])
}
