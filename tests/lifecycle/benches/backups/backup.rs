//! A full backup of 2 GB, a restore of it to the end of the archive and one to a point in time, each by PGO and by
//! pgBackRest alone, by turns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    bare::Bare,
    book::Book,
    filled::{MAKE, pgbench, with_backups},
    harness::{
        Cluster, kubectl, kubernetes::text, namespace, pgo, programs::run, until, until::seen,
    },
    of, verdict,
};

/// How long a restore may take.
const LIMIT: Duration = Duration::from_secs(300);

/// What is written between a backup and the point in time to which is restored.
const WRITE: [&str; 5] = ["--no-vacuum", "--client", "2", "--transactions", "5000"];

/// Measures.
pub fn measure(runs: usize) -> String {
    let book = Book::open("backup");
    let mut measured = book.runs();
    if measured.len() < runs {
        let cluster = with_backups("bench-backup", &json!({}));
        run(pgbench(&cluster.database(), &MAKE), "").ok();
        // The first one makes what pgBackRest alone is set up by.
        back_up(&cluster);
        let bare = Bare::like(&cluster);
        bare.pgbench(&MAKE);
        while measured.len() < runs {
            let run = json!({"pgo": of_pgo(&cluster), "bare": of_bare(&bare)});
            let run = flat(&run);
            eprintln!("backup {} of {runs}: {run}", measured.len() + 1);
            book.note(&run);
            measured.push(run);
        }
    }
    let table = [
        row(
            "full backup of 2 GB",
            "within 10 % plus 3 s",
            "backup_s",
            &measured,
        ),
        row(
            "restore of it to the end of the archive: command to the first answer",
            "within 10 % plus 3 s",
            "restore_s",
            &measured,
        ),
        row(
            "restore of it to a point in time, 10,000 transactions of pgbench later: command to the first answer",
            "",
            "time_s",
            &measured,
        ),
    ];
    book.forget();
    table.concat()
}

fn row(what: &str, aim: &str, name: &str, measured: &[Value]) -> String {
    let [pgo, bare] = ["pgo", "bare"].map(|whose| of(measured, &format!("{whose}_{name}")));
    let met = match aim {
        "" => "",
        _ => verdict(pgo.median <= bare.median * 1.1 + 3.0),
    };
    format!(
        "| {what}, {} runs | {aim} | median {:.1} s, {:.1} to {:.1} s; pgBackRest alone: median {:.1} s, {:.1} to {:.1} s | {met} |\n",
        measured.len(),
        pgo.median,
        pgo.least,
        pgo.most,
        bare.median,
        bare.least,
        bare.most,
    )
}

/// `{"pgo": {"backup_s": 1}}` as `{"pgo_backup_s": 1}`.
fn flat(run: &Value) -> Value {
    let mut all = json!({});
    for (whose, figures) in run.as_object().expect("an object") {
        for (name, value) in figures.as_object().expect("an object") {
            all[format!("{whose}_{name}")] = value.clone();
        }
    }
    all
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

fn back_up(cluster: &Cluster) {
    pgo(&[
        "backup",
        &cluster.name,
        "--backup-opts=--type=full",
        "--wait",
    ])
    .ok();
}

fn of_pgo(cluster: &Cluster) -> Value {
    let backup = timed(|| back_up(cluster));
    let whole = timed(|| restore(cluster, &[]));
    forget_former(cluster);
    run(pgbench(&cluster.database(), &WRITE), "").ok();
    let target = cluster.ask("SELECT clock_timestamp()");
    run(pgbench(&cluster.database(), &WRITE), "").ok();
    let target = format!("--pitr-target={target}");
    let time = timed(|| restore(cluster, &["--backup-opts=--type=time", &target]));
    forget_former(cluster);
    json!({"backup_s": backup, "restore_s": whole, "time_s": time})
}

/// Restores, until the first answer of the new instance, which is on a timeline of its own.
fn restore(cluster: &Cluster, flags: &[&str]) {
    // Of the function: the view has what a checkpoint knows.
    let timeline = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)";
    let before = cluster.ask(timeline);
    let mut all = vec!["restore", &cluster.name, "--no-prompt"];
    all.extend(flags);
    pgo(&all).ok();
    until("an answer of what was restored", LIMIT, || {
        let answer = cluster.psql(timeline);
        let now = answer.out.trim();
        seen(answer.status.success() && now != before, || {
            answer.to_string()
        })
    });
}

/// Removes the volume of who was primary before: there is no room for one of each run.
fn forget_former(cluster: &Cluster) {
    let restored = until("an end of the restore", LIMIT, || {
        let object = cluster.object().ok_or("it is not there")?;
        let status = &object["status"];
        let all = status["operations"].as_array().cloned();
        let over = all
            .unwrap_or_default()
            .iter()
            .all(|one| one["finished"].is_string());
        seen(over && status["restored"].is_object(), || {
            status.to_string()
        })
        .map(|()| status["restored"].clone())
    });
    let former = text(&restored, "/former");
    kubectl(&[
        "delete",
        "persistentvolumeclaim",
        "-n",
        &namespace(),
        &former,
    ])
    .ok();
}

fn of_bare(bare: &Bare) -> Value {
    let backup = timed(|| bare.back_up());
    let whole = timed(|| bare.restore(&[]));
    bare.pgbench(&WRITE);
    let target = bare.ask("postgres", "SELECT clock_timestamp()");
    bare.pgbench(&WRITE);
    let target = format!("--target={target}");
    let time = timed(|| bare.restore(&["--type=time", &target, "--target-action=promote"]));
    json!({"backup_s": backup, "restore_s": whole, "time_s": time})
}
