//! NSQ clients against one nsqd: ours, tokio-nsq and go-nsq, in turns. Needs no Kubernetes: nsqd is started for each
//! measurement, with its queues in memory, so that the client and not the disk is measured.

mod nsqd;
mod ours;
mod tokio_nsq;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use nsqd::Nsqd;

use crate::{figures::Figure, programs::run};

/// Bytes of a message.
const SIZE: usize = 200;

/// Messages that are under way at a time when publishing is pipelined.
const WINDOW: usize = 5000;

/// Messages in flight of a consumer: the most that nsqd allows.
const IN_FLIGHT: u16 = 2500;

/// Rounds, each with every client; the median counts.
const ROUNDS: usize = 5;

/// Channel that is consumed.
const CHANNEL: &str = "bench";

/// Topic of all measurements, each with an nsqd of its own.
const TOPIC: &str = "bench";

/// The clients, in the order in which they take turns.
const CLIENTS: [Client; 3] = [Client::Ours, Client::TokioNsq, Client::GoNsq];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Ours,
    TokioNsq,
    GoNsq,
}

/// What is measured, how many messages it takes, and in which unit it comes.
#[derive(Clone, Copy, Debug)]
enum What {
    /// Microseconds at the median, each message acknowledged before the next.
    Publish,
    /// Messages per second.
    Pipeline,
    /// Messages per second.
    Consume,
}

impl What {
    fn count(self) -> usize {
        match self {
            Self::Publish => 5_000,
            Self::Pipeline => 200_000,
            Self::Consume => 300_000,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Pipeline => "pipeline",
            Self::Consume => "consume",
        }
    }
}

/// The medians of the three clients.
struct Measured {
    ours: f64,
    tokio_nsq: f64,
    go_nsq: f64,
}

/// Measures publishing and consuming.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let go = build_go()?;
    let publish = compare(What::Publish, &go)?;
    let pipeline = compare(What::Pipeline, &go)?;
    let consume = compare(What::Consume, &go)?;
    Ok(vec![
        Figure {
            what: format!("acknowledged publish, {SIZE} B, one at a time, p50"),
            aim: "under 100 µs",
            measured: format!(
                "nsq {:.0} µs, tokio-nsq {:.0} µs, go-nsq {:.0} µs",
                publish.ours, publish.tokio_nsq, publish.go_nsq
            ),
            met: Some(publish.ours < 100.0),
        },
        Figure {
            what: format!("pipelined publish, {SIZE} B, {WINDOW} under way"),
            aim: "at least 1.3 times go-nsq, not behind tokio-nsq",
            measured: pipeline.rates(),
            met: Some(
                pipeline.ours >= 1.3 * pipeline.go_nsq && pipeline.ours >= pipeline.tokio_nsq,
            ),
        },
        Figure {
            what: format!("consume and finish, {SIZE} B, {IN_FLIGHT} in flight"),
            aim: "at least 3 times go-nsq",
            measured: consume.rates(),
            met: Some(consume.ours >= 3.0 * consume.go_nsq),
        },
    ])
}

impl Measured {
    fn rates(&self) -> String {
        let thousand = |rate: f64| format!("{:.0} k/s", rate / 1000.0);
        format!(
            "nsq {}, tokio-nsq {}, go-nsq {}; {:.2} times go-nsq, {:.2} times tokio-nsq",
            thousand(self.ours),
            thousand(self.tokio_nsq),
            thousand(self.go_nsq),
            self.ours / self.go_nsq,
            self.ours / self.tokio_nsq
        )
    }
}

fn compare(what: What, go: &str) -> anyhow::Result<Measured> {
    let mut results: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (client, results) in CLIENTS.into_iter().zip(&mut results) {
            let result = measure_one(what, client, go)
                .with_context(|| format!("{} with {client:?}", what.word()))?;
            results.push(result);
        }
    }
    let [ours, tokio_nsq, go_nsq] = results.map(median);
    Ok(Measured {
        ours,
        tokio_nsq,
        go_nsq,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure_one(what: What, client: Client, go: &str) -> anyhow::Result<f64> {
    let nsqd = Nsqd::start()?;
    let address = nsqd.address();
    let count = what.count();
    let runtime = tokio::runtime::Runtime::new()?;
    if matches!(what, What::Consume) {
        nsqd.make_channel(TOPIC, CHANNEL)?;
        runtime.block_on(ours::fill(&address, count))?;
    }
    match client {
        Client::Ours => runtime.block_on(ours::measure(what, &address)),
        Client::TokioNsq => runtime.block_on(tokio_nsq::measure(what, &address)),
        Client::GoNsq => {
            let count = count.to_string();
            let said = run(go, &[what.word(), &address, TOPIC, &count])?;
            said.trim()
                .parse()
                .with_context(|| format!("go-nsq said {said:?}"))
        }
    }
}

/// Builds the program that uses go-nsq, and tells where it is.
fn build_go() -> anyhow::Result<String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go-nsq");
    let Some(folder) = std::env::current_exe()?.parent().map(PathBuf::from) else {
        bail!("this program is in no folder");
    };
    let program = folder.join("pgo-bench-go-nsq").display().to_string();
    let arguments = ["build", "-C", source, "-mod=readonly", "-o", &program, "."];
    run("go", &arguments).context("build tests/bench/go-nsq")?;
    Ok(program)
}
