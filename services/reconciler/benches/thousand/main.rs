//! A thousand clusters of three instances: how much memory and processor time the reconciler needs for them at rest. A
//! row of the table in docs/performance.md.
//!
//! ```text
//! etcd ◄─ kube-apiserver ◄──────── reconciler ────── mTLS ──────► agents (another process, 198.18.x.y:8445)
//!                ▲                                                    ▲
//!                └── stage hands: scheduler, kubelets, volumes ───────┘ who is where
//! ```
//!
//! The reconciler, etcd and the API server are the real ones, and the reconciler makes all objects itself, from
//! Pgclusters. Nothing runs in the pods: [`hands`] gives them nodes, addresses and volumes, and [`agents`] says for
//! each what a healthy agent says.
//!
//! All of it is in a network of its own, in which those addresses are local (`tests/bench/run.sh`). `PGO_BIN` holds
//! kube-apiserver; etcd is on the path. `RECONCILER` is the reconciler's program, as the images have it. `CLUSTERS`
//! (1000) and `RUNS` (5, of a minute each) may be set, and `PGO_BENCH_DIR` is where etcd's data is put.

mod agents;
mod clusters;
mod hands;
mod process;

use std::{env, path::PathBuf, time::Duration};

use anyhow::Context as _;
use pgo_control_plane::{Platform, Process, Usage, issue};
use tempfile::TempDir;

/// Clusters that are on their way at the same time: as many as the machine makes without keeping each waiting.
const UNDER_WAY: usize = 20;

/// How long each may take until it is ready.
const LIMIT: Duration = Duration::from_secs(180);

/// How long the reconciler is left alone before it is looked at: what was made is told by then.
const CALM: Duration = Duration::from_secs(60);

/// How long one look takes. Five of them see each cluster reconciled once, as that happens every 300 s without a cause.
const LOOK: Duration = Duration::from_secs(60);

/// How often the agents of busy databases tell where they are (`services/agent/src/watch.rs`).
const BUSY: Duration = Duration::from_secs(10);

/// Aims.
const MEMORY: f64 = 60.0;
const SHARE: f64 = 1.0;

fn main() -> anyhow::Result<()> {
    pgo_tls::provider();
    let runtime = tokio::runtime::Runtime::new()?;
    if env::args().nth(1).as_deref() == Some(agents::ARGUMENT) {
        return runtime.block_on(agents::run());
    }
    runtime.block_on(measure())
}

/// A number from the environment.
fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    env::var(name).map_or(Ok(default), |text| {
        text.parse()
            .with_context(|| format!("{name}={text:?} is no number"))
    })
}

async fn measure() -> anyhow::Result<()> {
    let (count, runs) = (number("CLUSTERS", 1000)?, number("RUNS", 5)?);
    let parent =
        env::var_os("PGO_BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let folder = TempDir::new_in(parent)?;
    let platform = Platform::start(folder.path()).await?;
    issue(&platform.authority, "reconciler.pgo", folder.path())?;
    let agents = process::agents(folder.path())?;
    let hands = hands::begin(&platform.client, agents)?;

    let reconciler = process::reconciler(folder.path(), &platform.kubeconfig)?;
    let begun = std::time::Instant::now();
    for number in 0..count {
        hands.until_ready(number.saturating_sub(UNDER_WAY)).await?;
        reconciler.usage()?;
        clusters::make(&platform.client, number).await?;
    }
    hands.until_ready(count).await?;
    eprintln!(
        "{count} clusters of 3 are ready after {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    look(&reconciler, "that has made them", count, runs).await?;
    drop(reconciler);

    let reconciler = process::reconciler(folder.path(), &platform.kubeconfig)?;
    reconciler.until_calm().await?;
    look(
        &reconciler,
        "that was started when they were there",
        count,
        runs,
    )
    .await?;
    hands.tell_every(BUSY);
    look(
        &reconciler,
        "likewise, each agent telling its position every 10 s",
        count,
        runs,
    )
    .await?;
    Ok(())
}

/// Lets the reconciler rest, looks at it, and prints the row.
async fn look(reconciler: &Process, which: &str, count: usize, runs: usize) -> anyhow::Result<()> {
    tokio::time::sleep(CALM).await;
    let mut looks = Vec::new();
    let mut last = reconciler.usage()?;
    for _ in 0..runs {
        tokio::time::sleep(LOOK).await;
        let now = reconciler.usage()?;
        looks.push((now, now.share_since(last)));
        last = now;
    }
    let resident = looks
        .iter()
        .map(|(usage, _)| usage.resident)
        .fold(0.0, f64::max);
    let anonymous = looks
        .iter()
        .map(|(usage, _)| usage.anonymous)
        .fold(0.0, f64::max);
    let mean = looks.iter().map(|(_, share)| share).sum::<f64>() / looks.len() as f64;
    let most = looks.iter().map(|(_, share)| *share).fold(0.0, f64::max);
    let Usage { peak, .. } = last;
    println!(
        "| reconciler {which}, {count} clusters of 3, {runs} looks of a minute | under 60 MiB, under 1 % of a core | resident \
         {resident:.1} MiB, {anonymous:.1} MiB of it not from files, at most {peak:.1} MiB before; {mean:.2} % of a core, the \
         busiest minute {most:.2} % | {} |",
        if resident < MEMORY && mean < SHARE {
            "yes"
        } else {
            "no"
        },
    );
    Ok(())
}
