//! Measures the figures that PGO is held to, on the local Kubernetes with PGO installed, and prints them as a table.
//!
//! ```text
//! pgo-bench [create|latency|memory|client|many|nsq]...
//! ```
//!
//! Without an argument every row is measured. `.local/env` must be sourced, but for `nsq`. Nothing else should run on the
//! machine. `BENCH_COUNT` makes that fewer are measured of what is counted (create, latency, many), to try a row.

mod client;
mod clients;
mod create;
mod figures;
mod latency;
mod many;
mod memory;
mod programs;

use anyhow::bail;
use figures::Figure;

/// Measures one or more figures.
type Measure = fn() -> anyhow::Result<Vec<Figure>>;

/// Each row of the table with its name on the command line.
const ROWS: [(&str, Measure); 6] = [
    ("create", create::measure),
    ("latency", latency::measure),
    ("memory", memory::measure),
    ("client", client::measure),
    ("many", many::measure),
    ("nsq", clients::measure),
];

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let unknown = |name: &&String| !ROWS.iter().any(|(row, _)| row == name);
    if let Some(name) = wanted.iter().find(unknown) {
        let names: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
        bail!("there is no row {name}; there are: {}", names.join(", "));
    }
    let mut figures = Vec::new();
    let mut failed = Vec::new();
    for (row, measure) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|name| name == row) {
            eprintln!("measuring {row} ...");
            match measure() {
                Ok(measured) => figures.extend(measured),
                // What else was measured took minutes and is not thrown away.
                Err(error) => {
                    eprintln!("{row} was not measured: {error:#}");
                    failed.push(row);
                }
            }
        }
    }
    print!("{}", figures::table(&figures));
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("not measured: {}", failed.join(", ")),
    }
}
