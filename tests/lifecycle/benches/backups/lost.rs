//! What is lost with the volumes: with all of a cluster's data at once, restored from its backups; and with the primary's of a
//! cluster whose commits wait for a replica.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    book::Book,
    filled::{until_it_streams, with_backups},
    harness::{
        Cluster, kubectl,
        kubernetes::text,
        namespace, pgo, until,
        until::seen,
        writer::{Notes, Writer, missing},
    },
    of, verdict,
};

/// How long a cluster may take until it serves again.
const LIMIT: Duration = Duration::from_secs(400);

/// How long the client writes before; a bit more in each run, so that WAL files are at another place each time.
const WRITES: Duration = Duration::from_secs(75);

/// See [`WRITES`].
const MORE: Duration = Duration::from_millis(7300);

/// How long a transaction may wait at most until its WAL file is ended: the installation's archive_timeout.
const TIMEOUT_S: f64 = 60.0;

/// Measures.
pub fn measure(runs: usize) -> String {
    let book = Book::open("lost");
    let mut measured = book.runs();
    while measured.len() < runs {
        let (all, one) = (all_volumes(measured.len()), of_the_primary());
        let run = json!({
            "lost_s": all.0, "lost_rows": all.1, "back_s": all.2, "sync_lost_rows": one.0, "sync_back_s": one.1,
        });
        eprintln!("lost {} of {runs}: {run}", measured.len() + 1);
        book.note(&run);
        measured.push(run);
    }
    let figure = |name| of(&measured, name);
    let (lost, rows, back) = (figure("lost_s"), figure("lost_rows"), figure("back_s"));
    let (sync, pause) = (figure("sync_lost_rows"), figure("sync_back_s"));
    let count = measured.len();
    let table = [
        format!(
            "| all data volumes of a cluster lost at once, archiving healthy, restored from the repository, {count} runs | lost at \
             most archive_timeout, 60 s | the last {:.1} s before (median), {:.1} s at worst: {:.0} acknowledged rows (median); from \
             `pgo restore` to the first write: median {:.1} s, worst {:.1} s | {} |\n",
            lost.median,
            lost.most,
            rows.median,
            back.median,
            back.most,
            verdict(lost.most <= TIMEOUT_S),
        ),
        format!(
            "| the primary's volume lost, synchronous mode, {count} runs | nothing lost | {:.0} acknowledged rows missing in all; no \
             write for {:.1} s (median), {:.1} s at worst | {} |\n",
            sync.most,
            pause.median,
            pause.most,
            verdict(sync.most == 0.0),
        ),
    ];
    book.forget();
    table.concat()
}

/// Seconds and rows that are lost, and seconds until the first write, with all volumes.
fn all_volumes(run: usize) -> (f64, usize, f64) {
    let cluster = with_backups("bench-lost", &json!({"replicas": "1"}));
    until_it_streams(&cluster);
    pgo(&[
        "backup",
        &cluster.name,
        "--backup-opts=--type=full",
        "--wait",
    ])
    .ok();
    let notes = written(
        &cluster,
        WRITES + MORE * u32::try_from(run).unwrap_or_default(),
        |_| {
            lose(&volumes(&cluster));
        },
    );
    let begun = Instant::now();
    pgo(&["restore", &cluster.name, "--no-prompt"]).ok();
    until("the first write after the restore", LIMIT, || {
        let answer = cluster.psql("CREATE TABLE after_the_restore ()");
        seen(answer.status.success(), || answer.to_string())
    });
    let back = begun.elapsed().as_secs_f64();
    let gone = missing(&cluster, &notes);
    let last = notes.acknowledged.last().expect("it wrote").1;
    let first = notes
        .acknowledged
        .iter()
        .find(|(row, _)| gone.contains(row));
    let lost = first.map_or(Duration::ZERO, |(_, at)| last - *at);
    (lost.as_secs_f64(), gone.len(), back)
}

/// Rows that are lost with the primary's volume, and seconds without a write.
fn of_the_primary() -> (usize, f64) {
    let cluster = with_backups(
        "bench-sync",
        &json!({"replicas": "1", "syncReplication": true}),
    );
    until_it_streams(&cluster);
    let notes = written(&cluster, Duration::from_secs(10), |writer| {
        let primary = primary(&cluster);
        lose(std::slice::from_ref(&primary));
        let changed = until("another primary", LIMIT, || {
            let now = self::primary(&cluster);
            seen(now != primary, || now).map(|()| Instant::now())
        });
        until("a write on it", LIMIT, || {
            seen(writer.wrote_since(changed), || "none".to_owned())
        });
    });
    let begun = notes.acknowledged.first().expect("it wrote").1;
    let pause = notes.longest_pause(begun).as_secs_f64();
    (missing(&cluster, &notes).len(), pause)
}

/// Name of the primary.
fn primary(cluster: &Cluster) -> String {
    let object = cluster.object().expect("it is there");
    text(&object, "/status/currentPrimary")
}

/// What a client knows that wrote for so long before, and meanwhile.
fn written(cluster: &Cluster, before: Duration, what: impl FnOnce(&Writer)) -> Notes {
    let writer = Writer::begin(cluster);
    until("rows for so long", LIMIT, || {
        let all = writer.notes().acknowledged;
        let lasted = all
            .last()
            .zip(all.first())
            .map(|(last, first)| last.1 - first.1);
        seen(lasted >= Some(before), || format!("{lasted:?}"))
    });
    what(&writer);
    writer.end()
}

/// Names of the instances, which are those of their pods and claims.
fn volumes(cluster: &Cluster) -> Vec<String> {
    let object = cluster.object().expect("it is there");
    let instances = object["status"]["instances"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    instances.iter().map(|one| text(one, "/name")).collect()
}

/// Pods and claims go at once, and with them the volumes.
fn lose(instances: &[String]) {
    let all = |kind: &str, flags: &[&str]| {
        let namespace = namespace();
        let mut line = vec!["delete", kind, "-n", &namespace];
        line.extend(instances.iter().map(String::as_str));
        line.extend(flags);
        kubectl(&line).ok();
    };
    all("persistentvolumeclaim", &["--wait=false"]);
    all("pod", &["--force", "--grace-period=0"]);
}
