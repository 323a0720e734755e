//! How long a command of `pgo` takes, from the start of the process to its end.

use std::time::Instant;

use crate::{
    figures::{Figure, Sample},
    programs::{ms, run, unique},
};

/// Runs of each.
const RUNS: usize = 20;

/// The aim, in milliseconds.
const AIM: f64 = 50.0;

/// Measures `pgo version` and `pgo show cluster` of one cluster that is there.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let cluster = unique("bench-client");
    run("pgo", &["create", "cluster", &cluster, "--wait"])?;
    let figures = [
        ("pgo version", vec!["version"]),
        ("pgo show cluster", vec!["show", "cluster", &cluster]),
    ]
    .map(|(name, arguments)| time(name, &arguments));
    run(
        "pgo",
        &[
            "delete",
            "cluster",
            &cluster,
            "--no-prompt",
            "--delete-data",
        ],
    )?;
    figures.into_iter().collect()
}

fn time(name: &str, arguments: &[&str]) -> anyhow::Result<Figure> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        run("pgo", arguments)?;
        times.push(ms(begun.elapsed()));
    }
    let sample = Sample::of(times);
    let median = sample.quantile(0.5);
    Ok(Figure {
        what: format!("`{name}`, a process of its own, {RUNS} runs"),
        aim: "under 50 ms",
        measured: format!(
            "median {median:.0} ms, longest {:.0} ms",
            sample.quantile(1.0)
        ),
        met: Some(median < AIM),
    })
}
