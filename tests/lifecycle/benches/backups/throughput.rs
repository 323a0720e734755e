//! What a client of the primary feels of a backup that is made from a replica.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    book::Book,
    filled::{MAKE, pgbench, until_it_streams, with_backups},
    harness::{Cluster, pgo, programs::run, until, until::seen},
    of, verdict,
};

/// How long pgbench runs before a backup, so that both are looked at for about as long.
const BEFORE: Duration = Duration::from_secs(30);

/// How long pgbench may take to have done so.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures.
pub fn measure(runs: usize) -> String {
    let book = Book::open("throughput");
    let mut measured = book.runs();
    if measured.len() < runs {
        let cluster = with_a_replica();
        while measured.len() < runs {
            let run = once(&cluster);
            eprintln!("throughput {} of {runs}: {run}", measured.len() + 1);
            book.note(&run);
            measured.push(run);
        }
    }
    let (share, before, during, took) = (
        of(&measured, "share"),
        of(&measured, "before"),
        of(&measured, "during"),
        of(&measured, "took_s"),
    );
    let row = format!(
        "| pgbench with 4 clients on the primary during a full backup of 2 GB from the replica, against none, {} runs | at least 0.9 | \
         median {:.2}, {:.2} to {:.2} ({:.0} and {:.0} transactions per second, medians; the backup takes {:.1} s) | {} |\n",
        measured.len(),
        share.median,
        share.least,
        share.most,
        during.median,
        before.median,
        took.median,
        verdict(share.median >= 0.9),
    );
    book.forget();
    row
}

fn with_a_replica() -> Cluster {
    let cluster = with_backups("bench-throughput", &json!({"replicas": "1"}));
    run(pgbench(&cluster.database(), &MAKE), "").ok();
    until_it_streams(&cluster);
    cluster
}

fn once(cluster: &Cluster) -> Value {
    let client = Client::begin(cluster);
    until("pgbench for so long", LIMIT, || {
        let seconds = client.seconds.lock().expect("it is whole").len();
        seen(seconds as u64 >= BEFORE.as_secs(), || {
            format!("{seconds} s")
        })
    });
    let begun = Instant::now();
    pgo(&[
        "backup",
        &cluster.name,
        "--backup-opts=--type=full",
        "--wait",
    ])
    .ok();
    let ended = Instant::now();
    let before = client.rate(begun - BEFORE, begun);
    let during = client.rate(begun, ended);
    json!({
        "before": before,
        "during": during,
        "share": during / before,
        "took_s": (ended - begun).as_secs_f64(),
    })
}

/// pgbench, which tells how much it does each second.
struct Client {
    pgbench: Child,
    seconds: Arc<Mutex<Vec<(Instant, f64)>>>,
}

impl Client {
    fn begin(cluster: &Cluster) -> Self {
        let arguments = [
            "--no-vacuum",
            "--client",
            "4",
            "--time",
            "600",
            "--progress",
            "1",
        ];
        let mut command = pgbench(&cluster.database(), &arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut pgbench = command.spawn().expect("pgbench");
        let lines = BufReader::new(pgbench.stderr.take().expect("its standard error"));
        let seconds = Arc::<Mutex<Vec<(Instant, f64)>>>::default();
        thread::spawn({
            let seconds = Arc::clone(&seconds);
            move || {
                for line in lines.lines().map_while(Result::ok) {
                    if let Some(rate) = rate(&line) {
                        seconds
                            .lock()
                            .expect("it is whole")
                            .push((Instant::now(), rate));
                    }
                }
            }
        });
        Self { pgbench, seconds }
    }

    /// Transactions per second, of the seconds that lie between.
    fn rate(&self, from: Instant, to: Instant) -> f64 {
        let seconds = self.seconds.lock().expect("it is whole");
        let within = seconds
            .iter()
            .filter(|(at, _)| *at - Duration::from_secs(1) >= from && *at <= to);
        let rates: Vec<f64> = within.map(|(_, rate)| *rate).collect();
        rates.iter().sum::<f64>() / rates.len() as f64
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.pgbench.kill();
        let _ = self.pgbench.wait();
    }
}

/// Of a line such as `progress: 3.0 s, 1205.1 tps, lat 3.3 ms stddev 1.2, 0 failed`.
fn rate(line: &str) -> Option<f64> {
    let (_, behind) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    behind.split_once(" tps")?.0.parse().ok()
}
