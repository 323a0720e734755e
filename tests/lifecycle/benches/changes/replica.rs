//! A replica more for a cluster with 1 GB of data: when it streams, and what the primary and its clients feel
//! meanwhile.
//!
//! Each run adds one to a primary that has none, which is copied itself then, and another one, for which the first is
//! copied; both are removed again with their data.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    book::Book,
    harness::{
        Cluster, kubectl,
        kubernetes::{apply, get, text},
        namespace, pgo, until,
        until::seen,
        writer::Writer,
    },
    load::used_by,
    median_and_worst,
};

/// How long it may take until a replica streams, or is gone.
const LIMIT: Duration = Duration::from_secs(300);

/// How long the client and the primary are looked at before.
const BEFORE: Duration = Duration::from_secs(10);

/// Pause after the changes before, so that what they left to do is done.
const CALM: Duration = Duration::from_secs(5);

/// 1 GB of rows that do not compress to less: they are too short for that.
const FILLER: &str = "CREATE TABLE filler AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, 1030000) AS i";

/// Whose data is copied.
const SOURCES: [&str; 2] = ["primary", "replica"];

/// Measures.
pub fn measure(runs: usize) -> String {
    let book = Book::open("replica");
    let mut measured = book.runs();
    if measured.len() < runs {
        let cluster = filled();
        let client = Writer::begin(&cluster);
        while measured.len() < runs {
            let run = once(&cluster, &client);
            eprintln!("replica {} of {runs}: {run}", measured.len() + 1);
            book.note(&run);
            measured.push(run);
        }
    }
    let rows: Vec<String> = SOURCES
        .iter()
        .map(|source| row(source, &measured))
        .collect();
    book.forget();
    rows.concat()
}

fn row(source: &str, measured: &[Value]) -> String {
    let of = |name: &'static str| {
        let values = measured
            .iter()
            .map(move |run| run[source][name].as_f64().unwrap_or(f64::NAN));
        median_and_worst(values)
    };
    let ((took, worst), (extra, most)) = (of("took_s"), of("extra_cpu_s"));
    let ((before, _), (during, _), (pause, longest)) =
        (of("rows_before"), of("rows_during"), of("pause_ms"));
    format!(
        "| replica added to a cluster with 1 GB, copied from the {source}: until it streams, {} runs | | median {took:.1} s, worst \
         {worst:.1} s; processor time of the primary's container beyond that before: median {extra:.1} s, most {most:.1} s; a \
         client's rows per second {before:.0} before and {during:.0} meanwhile (medians), longest pause between two of them median \
         {pause:.0} ms, worst {longest:.0} ms | |\n",
        measured.len(),
    )
}

/// A cluster with a primary alone, and the data.
fn filled() -> Cluster {
    let cluster = Cluster::named("bench-replica");
    let storage =
        json!({"storagetype": "dynamic", "storageclass": "local", "size": "4Gi", "fsgroup": "26"});
    let spec = json!({"PrimaryStorage": storage, "ReplicaStorage": storage});
    apply(&cluster.manifest(spec)).ok();
    cluster.until_ready();
    cluster.ask(FILLER);
    cluster.psql_as_superuser("CHECKPOINT").ok();
    cluster
}

fn once(cluster: &Cluster, client: &Writer) -> Value {
    let begun = add(cluster, client, 1, SOURCES[0]);
    let further = add(cluster, client, 2, SOURCES[1]);
    for (name, ..) in replicas(cluster) {
        let target = format!("--target={name}");
        pgo(&[
            "scaledown",
            &cluster.name,
            &target,
            "--delete-data",
            "--no-prompt",
        ])
        .ok();
    }
    until("no replica", LIMIT, || {
        let left = replicas(cluster);
        let bound = kubectl(&[
            "get",
            "persistentvolumeclaims",
            "-n",
            &namespace(),
            "-o",
            "name",
        ])
        .ok();
        let claims = bound.out.matches(&format!("/{}-", cluster.name)).count();
        seen(left.is_empty() && claims == 0, || {
            format!("{left:?}, {claims} claims")
        })
    });
    json!({SOURCES[0]: begun, SOURCES[1]: further})
}

/// Name of each replica, and whether it streams.
fn replicas(cluster: &Cluster) -> Vec<(String, bool)> {
    let object = cluster.object().expect("it is there");
    let instances = object["status"]["instances"].as_array().cloned();
    let instances = instances.unwrap_or_default().into_iter();
    let replicas = instances.filter(|one| one["name"] != cluster.name.as_str());
    replicas
        .map(|one| {
            (
                text(&one, "/name"),
                one["streaming"] == true && one["ready"] == true,
            )
        })
        .collect()
}

/// Adds one, so that there are `count`, and sees what was copied.
fn add(cluster: &Cluster, client: &Writer, count: usize, source: &str) -> Value {
    let known = replicas(cluster);
    thread::sleep(CALM);
    let (begun, used) = (Instant::now(), used_by(&cluster.pod()));
    thread::sleep(BEFORE);
    let before = Load::since(cluster, client, begun, used);

    let (begun, used) = (Instant::now(), used_by(&cluster.pod()));
    pgo(&["scale", &cluster.name, "--replica-count=1", "--no-prompt"]).ok();
    let all = until("another replica that streams", LIMIT, || {
        let all = replicas(cluster);
        let streams = all.len() == count && all.iter().all(|(_, streams)| *streams);
        seen(streams, || format!("{all:?}")).map(|()| all)
    });
    let took = begun.elapsed().as_secs_f64();
    let during = Load::since(cluster, client, begun, used);
    let new = all
        .iter()
        .find(|one| !known.contains(one))
        .expect("it is new");
    assert_eq!(
        copied_from(&new.0),
        source,
        "what {} was copied from",
        new.0
    );
    json!({
        "took_s": took,
        "extra_cpu_s": (during.used - before.used) * took,
        "rows_before": before.rows,
        "rows_during": during.rows,
        "pause_ms": during.pause,
    })
}

/// What the agent of a replica says of it.
fn copied_from(replica: &str) -> &'static str {
    assert!(
        get("pod", replica, &namespace()).is_some(),
        "{replica} has a pod"
    );
    let said = kubectl(&["logs", "-n", &namespace(), replica, "-c", "database"]).ok();
    match said.out.contains("the data of a replica was copied") {
        true => SOURCES[1],
        false => SOURCES[0],
    }
}

/// What was going on in a while.
struct Load {
    /// Processor time of the primary's container, in seconds per second.
    used: f64,
    /// Acknowledged rows per second.
    rows: f64,
    /// The longest pause between two of them, in milliseconds.
    pause: f64,
}

impl Load {
    fn since(cluster: &Cluster, client: &Writer, begun: Instant, used: Duration) -> Self {
        let used = used_by(&cluster.pod()).saturating_sub(used).as_secs_f64();
        let (lasted, notes) = (begun.elapsed().as_secs_f64(), client.notes());
        let rows = notes.acknowledged.iter().filter(|(_, at)| *at >= begun);
        Self {
            used: used / lasted,
            rows: rows.count() as f64 / lasted,
            pause: notes.longest_pause(begun).as_secs_f64() * 1000.0,
        }
    }
}
