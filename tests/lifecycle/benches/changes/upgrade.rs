//! A minor upgrade of three instances under a client that writes.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    book::Book,
    harness::{
        Cluster,
        kubernetes::text,
        minors::Minors,
        pgo, until,
        until::seen,
        writer::{Writer, missing},
    },
    median_and_worst,
};

/// How long an upgrade may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Measures; each run has a cluster of its own, as none goes back to an older version.
pub fn measure(runs: usize) -> String {
    let book = Book::open("upgrade");
    let images = Minors::make();
    let (from, to) = &images.versions;
    let mut measured = book.runs();
    while measured.len() < runs {
        let run = once(&images);
        eprintln!("upgrade {} of {runs}: {run}", measured.len() + 1);
        book.note(&run);
        measured.push(run);
    }
    let of = |name: &'static str| {
        measured
            .iter()
            .map(move |run| run[name].as_f64().unwrap_or(f64::NAN))
    };
    let ((pause, worst), (took, _)) = (
        median_and_worst(of("pause_ms")),
        median_and_worst(of("took_s")),
    );
    let lost: f64 = of("missing").sum();
    let row = format!(
        "| minor upgrade of 3 instances from {from} to {to}: longest pause between two acknowledged writes, {} runs | under 1 s | \
         median {:.2} s, worst {:.2} s; the upgrade takes {took:.0} s (median); {lost} acknowledged rows missing | {} |\n",
        measured.len(),
        pause / 1000.0,
        worst / 1000.0,
        if worst < 1000.0 { "yes" } else { "no" },
    );
    book.forget();
    row
}

fn once(images: &Minors) -> serde_json::Value {
    let spec = json!({"ccpimagetag": images.older});
    let cluster = Cluster::of_three("bench-upgrade", &spec);
    let writer = Writer::begin(&cluster);
    let begun = Instant::now();
    until("the client to write", LIMIT, || {
        seen(writer.wrote_since(begun), || "no row yet".to_owned())
    });
    let begun = Instant::now();
    let line = ["upgrade", &cluster.name, "--ccp-image-tag", &images.newer];
    pgo(&line).ok();
    until("all instances upgraded", LIMIT, || {
        let object = cluster.object().ok_or("it is not there")?;
        let done = text(&object, "/metadata/labels/minor-upgrade") == "upgrade-complete";
        seen(done, || object["status"]["operations"].to_string())
    });
    let took = begun.elapsed().as_secs_f64();
    cluster.until_all_stream("the upgrade");
    let notes = writer.end();
    let pause = notes.longest_pause(begun).as_secs_f64() * 1000.0;
    let missing = missing(&cluster, &notes).len();
    json!({"pause_ms": pause, "took_s": took, "missing": missing, "connections": notes.connections})
}
