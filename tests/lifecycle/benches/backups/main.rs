//! What backups and restores take, beside pgBackRest alone where it can do the same: rows of the table in
//! docs/performance.md.
//!
//! `ROW` is `backup`, `throughput` or `lost`; each has `RUNS` runs (10). What was measured is kept in
//! `.local/bench/<row>.jsonl` until a row is whole, so that an interrupted row goes on where it was.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement fails by panicking, as a test does"
)]

mod backup;
mod bare;
#[path = "../changes/book.rs"]
mod book;
mod filled;
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod lost;
mod throughput;

/// Runs of each row, unless `RUNS` says otherwise.
const RUNS: usize = 10;

fn main() {
    let runs = std::env::var("RUNS")
        .ok()
        .map_or(RUNS, |text| text.parse().expect("RUNS is a number"));
    let wanted = std::env::var("ROW").unwrap_or_default();
    let measure = match wanted.as_str() {
        "backup" => backup::measure,
        "throughput" => throughput::measure,
        "lost" => lost::measure,
        other => panic!("ROW is {other:?}; here it is backup, throughput or lost"),
    };
    harness::containers::until_whole();
    let rows = measure(runs);
    println!("| figure | aim | measured | met |\n|---|---|---|---|");
    print!("{rows}");
}

/// The value in the middle of those that `run` has under `name`, the smallest and the largest.
fn of(measured: &[serde_json::Value], name: &str) -> Spread {
    let value = |run: &serde_json::Value| run[name].as_f64().unwrap_or(f64::NAN);
    let mut values: Vec<f64> = measured.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    Spread {
        least: values[0],
        median: values[values.len() / 2],
        most: values[values.len() - 1],
    }
}

/// How a value is spread over the runs.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

/// "yes" or "no".
fn verdict(met: bool) -> &'static str {
    if met { "yes" } else { "no" }
}
