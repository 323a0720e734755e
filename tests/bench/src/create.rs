//! How long from `pgo create cluster` to the first committed write through the cluster's Service.

use std::{
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    figures::{Figure, Sample, count, verdict},
    programs::{Beside, clean_up_after, ms, namespace, run, unique, until},
};

/// Runs, one after the other.
const RUNS: usize = 20;

/// The aim, in milliseconds.
const AIM: f64 = 3000.0;

/// A creation that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// Pause between two looks at whether the Service leads anywhere, and then between two attempts to write.
const PAUSE: Duration = Duration::from_millis(5);

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(2);

/// A password of this measurement's own, so that it need not be asked for in between.
const PASSWORD: &str = "of-a-benchmark";

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let runs = count(RUNS)?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let name = unique("bench-create");
        let took = once(&name);
        let delete = [
            "delete",
            "cluster",
            &name,
            "--no-prompt",
            "--delete-data",
            "--wait",
        ];
        times.push(ms(clean_up_after(took, || run("pgo", &delete))?));
        eprint!(" {:.1}s", times[times.len() - 1] / 1000.0);
    }
    eprintln!();
    let sample = Sample::of(times);
    let median = sample.quantile(0.5);
    Ok(vec![Figure {
        what: format!(
            "`pgo create cluster` to the first committed write, images present, {runs} runs"
        ),
        aim: "median under 3 s",
        measured: format!(
            "median {:.2} s, shortest {:.2} s, longest {:.2} s",
            median / 1000.0,
            sample.quantile(0.0) / 1000.0,
            sample.quantile(1.0) / 1000.0
        ),
        met: verdict(median < AIM, (runs, RUNS)),
    }])
}

fn once(name: &str) -> anyhow::Result<Duration> {
    let namespace = namespace()?;
    let selector = format!("pg-cluster={name}");
    let mut services = Beside::start(
        "kubectl",
        &[
            "get",
            "services",
            "--namespace",
            &namespace,
            "--selector",
            &selector,
            "--watch",
            "--output",
            "jsonpath={.spec.clusterIP}{\"\\n\"}",
        ],
    )?;
    let out = services.0.stdout.take().context("kubectl has no output")?;
    let (sender, addresses) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            // Nobody waits any more when the measurement has ended.
            let _ = sender.send(line);
        }
    });
    let begun = Instant::now();
    run("pgo", &["create", "cluster", name, "--password", PASSWORD])?;
    let address = addresses
        .recv_timeout(LIMIT)
        .context("the Service of the cluster was not seen")?;
    let address: IpAddr = address
        .trim()
        .parse()
        .with_context(|| format!("the Service's address {address:?}"))?;
    // A psql every few milliseconds would take a core from what is measured; a connection that is refused takes nothing.
    let postgres = SocketAddr::new(address, 5432);
    until("a connection", LIMIT, PAUSE, || {
        Ok(TcpStream::connect_timeout(&postgres, CONNECT)
            .is_ok()
            .then_some(()))
    })?;
    until("the first write", LIMIT, PAUSE, || {
        Ok(writes(&address.to_string())?.then_some(()))
    })?;
    Ok(begun.elapsed())
}

/// Whether a write is committed.
fn writes(address: &str) -> anyhow::Result<bool> {
    let status = Command::new("psql")
        .args([
            "--host",
            address,
            "--dbname",
            "userdb",
            "--no-psqlrc",
            "--quiet",
        ])
        .args(["--command", "create table first_write ()"])
        .env("PGUSER", "testuser")
        .env("PGPASSWORD", PASSWORD)
        .env("PGSSLMODE", "require")
        .env("PGCONNECT_TIMEOUT", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start psql")?;
    Ok(status.success())
}
