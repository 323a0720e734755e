//! How long writes pause when a primary fails or is exchanged: rows of the table in docs/performance.md, as a client sees
//! them that writes through the cluster's Service.
//!
//! `ROW` is one of the names in [`rows`]; each row has `RUNS` runs (30). What was measured is kept in
//! `.local/bench/failover.jsonl` until a row is whole, so that an interrupted row goes on where it was.

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
mod rows;

use book::Book;
use harness::{Cluster, containers::until_whole, writer};
use rows::Row;
use serde_json::json;

/// Runs of each row, unless `RUNS` says otherwise.
const RUNS: usize = 30;

fn main() {
    let wanted = std::env::var("ROW").unwrap_or_default();
    let rows: Vec<Row> = Row::ALL
        .into_iter()
        .filter(|row| wanted == "failover" || wanted == row.name())
        .collect();
    let names = Row::ALL.map(Row::name).join(", ");
    assert!(
        !rows.is_empty(),
        "ROW is {wanted:?}; here it is failover for all of: {names}"
    );
    let runs = std::env::var("RUNS")
        .ok()
        .map_or(RUNS, |text| text.parse().expect("RUNS is a number"));
    let book = Book::open();
    until_whole();
    let cluster = Cluster::of_three("bench-failover", &json!({}));
    let mut table = String::new();
    for row in rows {
        let mut measured = book.runs(row);
        // A table of its own for each row: the last one's rows are not looked through again and again.
        cluster.ask("DROP TABLE IF EXISTS numbered");
        let client = writer::Writer::begin(&cluster);
        while measured.len() < runs {
            let run = row.measure(&cluster, &client);
            eprintln!("{} {} of {runs}: {run}", row.name(), measured.len() + 1);
            book.note(row, &run);
            measured.push(run);
        }
        let notes = client.end();
        let missing = writer::missing(&cluster, &notes).len();
        table.push_str(&row.figure(&measured, missing));
        book.forget(row);
    }
    println!("{}", rows::CONDITIONS);
    println!("| figure | aim | measured | met |\n|---|---|---|---|");
    print!("{table}");
}
