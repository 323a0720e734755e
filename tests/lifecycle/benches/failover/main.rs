//! How long writes pause when a primary fails or is exchanged: rows of the table in docs/performance.md, as a client sees
//! them that writes through a Service, with PGO and with Patroni on the same nodes, one after the other.
//!
//! `ROW` is one of the names in [`rows`]; each row has `RUNS` runs (30), and `PATRONI_RUNS` (as many) of each of Patroni's
//! settings. What was measured is kept in `.local/bench/failover.jsonl` until the table is printed, so that what was
//! interrupted goes on where it was.

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
mod patroni;
mod peer;
mod rows;
mod subject;
mod table;

use book::Book;
use harness::containers::until_whole;
use peer::Peer;
use rows::Row;

/// Runs of each row, unless `RUNS` says otherwise.
const RUNS: usize = 30;

fn main() {
    let rows = wanted_rows();
    let own = number("RUNS").unwrap_or(RUNS);
    let theirs = number("PATRONI_RUNS").unwrap_or(own);
    let book = Book::open();
    until_whole();
    for peer in Peer::ALL {
        let runs = if peer == Peer::Pgo { own } else { theirs };
        measure(peer, &rows, runs, &book);
    }
    print!("{}", table::head());
    for row in &rows {
        let runs = Peer::ALL.map(|peer| book.runs(*row, peer));
        print!("{}", table::line(*row, &runs));
    }
    book.forget(&rows);
}

/// What of these rows is not measured yet.
fn measure(peer: Peer, rows: &[Row], runs: usize, book: &Book) {
    let rows = rows.iter().copied();
    let open: Vec<Row> = rows
        .filter(|row| book.runs(*row, peer).len() < runs)
        .collect();
    if open.is_empty() {
        return;
    }
    let subject = peer.begin();
    for row in open {
        for at in book.runs(row, peer).len()..runs {
            let run = row.measure(&*subject);
            let (row_name, name) = (row.name(), peer.name());
            eprintln!("{row_name}, {name}, {} of {runs}: {run}", at + 1);
            book.note(row, peer, &run);
        }
    }
}

fn wanted_rows() -> Vec<Row> {
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
    rows
}

/// The number that this variable has.
fn number(variable: &str) -> Option<usize> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}; a number is needed"))
    })
}
