//! Figures of the event log: appends one by one and in batches, replay through gRPC, memory of the service. Rows of the table
//! in docs/performance.md. `PGO_BENCH_DIR` is where the log is put; a disk, not a memory file system.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use pgo_event::log::{Entry, Limits, Log};
use pgo_ids::{EventKey, Seq};
use pgo_proto::event::{
    ReadRequest, event_log_client::EventLogClient, read_request::From, read_response::What,
};
use pgo_tls::{Authority, LeafSpec, TlsFiles};
use tempfile::TempDir;

/// Appends of one event each.
const SINGLES: u64 = 5_000;

/// Events of a replay.
const MANY: u64 = 1_000_000;

/// Events of a batch: as many as the service takes from nsqd at once.
const BATCH: u64 = 256;

const STREAM: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn main() -> anyhow::Result<()> {
    let parent =
        env::var_os("PGO_BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let folder = TempDir::new_in(parent)?;
    let data = folder.path().join("data");
    let log = Log::open(&data, limits(), Timestamp::now())?;
    singles(&log)?;
    batches(&log)?;
    drop(log);
    let service = Service::start(folder.path(), &data)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let elapsed = runtime.block_on(replay(&service, folder.path()))?;
    row(
        "replay of 1 million events through gRPC",
        "under 3 s",
        &format!("{:.2} s", elapsed.as_secs_f64()),
        elapsed < Duration::from_secs(3),
    );
    let (resident, anonymous) = service.memory()?;
    row(
        "resident memory of the event service with 1 million events, after a replay",
        "under 40 MiB",
        &format!("{resident:.1} MiB, {anonymous:.1} MiB of it not from files"),
        resident < 40.0,
    );
    Ok(())
}

fn row(figure: &str, aim: &str, measured: &str, met: bool) {
    let met = if met { "yes" } else { "no" };
    println!("| {figure} | {aim} | {measured} | {met} |");
}

fn limits() -> Limits {
    Limits {
        segment_bytes: 16 << 20,
        most_bytes: u64::MAX,
        longest: Duration::from_secs(86_400 * 30),
    }
}

/// Of the size that events have.
fn entry(seq: u64) -> anyhow::Result<Entry> {
    let event = format!(
        r#"{{"eventheader":{{"EventType":"CreateClusterProgress","namespace":"pgouser1","username":"pgoadmin","timestamp":"2026-10-15T10:11:12.5Z","topic":["clustertopic","alltopic"]}},"clustername":"hippo{seq}","clusteridentifier":"{STREAM}","stream":"{STREAM}","seq":{seq},"operation":"{STREAM}","stage":"progress","severity":"INFO","step":"the instance is being made"}}"#
    );
    let key = EventKey {
        stream: STREAM.parse()?,
        seq: Seq(seq),
    };
    Ok(Entry {
        key,
        event: Bytes::from(event),
    })
}

fn singles(log: &Log) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for seq in 1..=SINGLES {
        let entry = entry(seq)?;
        let begin = Instant::now();
        log.append(vec![entry], Timestamp::now())?;
        times.push(begin.elapsed());
    }
    times.sort();
    let quantile = |of: usize| times[(times.len() - 1) * of / 100].as_secs_f64() * 1000.0;
    let (p50, p99, max) = (quantile(50), quantile(99), quantile(100));
    row(
        "event log: a durable append of one event, 5,000 of them",
        "p99 under 5 ms",
        &format!("p50 {p50:.2} ms, p99 {p99:.2} ms, longest {max:.2} ms"),
        p99 < 5.0,
    );
    Ok(())
}

fn batches(log: &Log) -> anyhow::Result<()> {
    let mut spent = Duration::ZERO;
    let mut seq = SINGLES + 1;
    while seq <= MANY {
        let end = (seq + BATCH).min(MANY + 1);
        let batch = (seq..end).map(entry).collect::<Result<_, _>>()?;
        let begin = Instant::now();
        log.append(batch, Timestamp::now())?;
        spent += begin.elapsed();
        seq = end;
    }
    let each = f64::from(u32::try_from(MANY - SINGLES)?) / spent.as_secs_f64();
    row(
        "event log: durable appends per second, in batches of 256",
        "50,000",
        &format!("{each:.0}"),
        each >= 50_000.0,
    );
    Ok(())
}

/// The service, without an nsqd to read from.
struct Service {
    child: Child,
    addr: SocketAddr,
}

impl Service {
    fn start(folder: &Path, data: &Path) -> anyhow::Result<Self> {
        let life = SignedDuration::from_hours(1);
        let authority = Authority::generate("bench", Timestamp::now(), life)?;
        for process in ["event", "apiserver"] {
            let folder = folder.join(process);
            fs::create_dir_all(&folder)?;
            let leaf = LeafSpec::of_identity(format!("{process}.pgo"), life);
            let leaf = authority.issue(&leaf, Timestamp::now())?;
            fs::write(folder.join("tls.crt"), leaf.certificate_pem)?;
            fs::write(folder.join("tls.key"), leaf.key_pem.as_bytes())?;
            fs::write(folder.join("ca.crt"), authority.certificate_pem())?;
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_pgo-event"))
            .env("EVENT_ADDR", "127.0.0.1:1")
            .env("PGO_TLS_DIR", folder.join("event"))
            .env("PGO_EVENT_DATA", data)
            .env("PGO_EVENT_RETENTION_BYTES", (8u64 << 30).to_string())
            .env("PGO_EVENT_LISTEN", "127.0.0.1:0")
            .env("PGO_ADMIN_ADDR", "127.0.0.1:0")
            .env("LOG_FORMAT", "json")
            .env("LOG_LEVEL", "info")
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("its output")?;
        let mut lines = BufReader::new(output).lines();
        let addr = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let record: serde_json::Value = serde_json::from_str(&line).ok()?;
            let serving = record["message"] == "serving the log";
            record["addr"].as_str().filter(|_| serving)?.parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        let addr = addr.context("the address of the event service")?;
        Ok(Self { child, addr })
    }

    /// Resident memory, and the part of it that is no file's, in MiB.
    fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mib = |name: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib / 1024.0)
        };
        Ok((
            mib("VmRSS:").context("VmRSS")?,
            mib("RssAnon:").context("RssAnon")?,
        ))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn replay(service: &Service, folder: &Path) -> anyhow::Result<Duration> {
    let files = Arc::new(TlsFiles::open(folder.join("apiserver"))?);
    let channel = pgo_tls::grpc::channel(&service.addr.to_string(), "event.pgo", files)?;
    let mut client = EventLogClient::new(channel);
    let begin = Instant::now();
    let request = ReadRequest {
        from: Some(From::Beginning(true)),
        ..ReadRequest::default()
    };
    let mut answers = client.read(request).await?.into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await? {
        match answer.what {
            Some(What::Record(_)) => count += 1,
            Some(What::Cut(cut)) => anyhow::bail!("cut: {cut}"),
            _ => {}
        }
    }
    let elapsed = begin.elapsed();
    anyhow::ensure!(count == MANY, "{count} events instead of {MANY}");
    Ok(elapsed)
}
