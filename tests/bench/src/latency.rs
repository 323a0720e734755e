//! How long from the API server's answer to the write of a status to the byte of its event on the standard output of
//! `pgo watch`.
//!
//! The reconciler logs each answer, at debug, with the time, the stream and the newest seq that the write carried. The
//! events are those of clusters that cannot be made: they need no pod, so nothing else is measured.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    figures::{Figure, Sample, count, verdict},
    programs::{Beside, clean_up_after, namespace, operator, run, unique, until},
};

/// Events that are measured.
const EVENTS: usize = 500;

/// The aim, in milliseconds.
const AIM: f64 = 5.0;

/// What the reconciler logs while this is measured.
const FILTER: &str = "info,pgo_reconciler::write=debug";

/// How long the last of them may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Pause between two requests: events come one operation at a time, as they do in life.
const PAUSE: Duration = Duration::from_millis(50);

/// When an event was shown, and of which type it is, by stream and seq.
type Shown = BTreeMap<(String, u64), (Timestamp, String)>;

/// When writes were answered, by stream, with the newest seq of each.
type Written = BTreeMap<String, Vec<(u64, Timestamp)>>;

/// Measures.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let events = count(EVENTS)?;
    let pods = reconcilers()?;
    for pod in &pods {
        log_level(pod, FILTER)?;
    }
    let (shown, written) = clean_up_after(collect(&pods, events), || {
        pods.iter().try_for_each(|pod| log_level(pod, "info"))
    })?;
    let mut by_type: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let latencies: Vec<f64> = shown
        .iter()
        .filter_map(|((stream, seq), (at, event_type))| {
            let writes = written.get(stream)?;
            // The first write that carried it.
            let (_, answered) = writes.iter().filter(|(newest, _)| newest >= seq).min()?;
            let latency = at.duration_since(*answered).as_secs_f64() * 1000.0;
            by_type.entry(event_type).or_default().push(latency);
            Some(latency)
        })
        .collect();
    for (event_type, latencies) in by_type {
        let sample = Sample::of(latencies);
        let (p50, p99) = (sample.quantile(0.5), sample.quantile(0.99));
        eprintln!(
            " {event_type}: {} events, p50 {p50:.1} ms, p99 {p99:.1} ms",
            sample.len()
        );
    }
    let sample = Sample::of(latencies);
    let p99 = sample.quantile(0.99);
    Ok(vec![Figure {
        what: format!(
            "event latency, from the API server's answer to the status write to the byte on the standard output of `pgo watch`, {} events",
            sample.len()
        ),
        aim: "p99 under 5 ms",
        measured: format!(
            "p50 {:.1} ms, p99 {p99:.1} ms, longest {:.1} ms",
            sample.quantile(0.5),
            sample.quantile(1.0)
        ),
        met: verdict(p99 < AIM && sample.len() >= events, (events, EVENTS)),
    }])
}

fn reconcilers() -> anyhow::Result<Vec<String>> {
    let path = "jsonpath={.items[*].metadata.name}";
    let operator = operator();
    let selector = "pgo-process=reconciler";
    let names = run(
        "kubectl",
        &["get", "pods", "-n", &operator, "-l", selector, "-o", path],
    )?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// Changes what a pod logs, through its administration port.
fn log_level(pod: &str, filter: &str) -> anyhow::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let forwarded = format!("{port}:9090");
    let _forward = Beside::start(
        "kubectl",
        &["port-forward", pod, "-n", &operator(), &forwarded],
    )?;
    let url = format!("http://127.0.0.1:{port}/log-level");
    let arguments = [
        "--silent",
        "--fail",
        "--request",
        "PUT",
        "--data",
        filter,
        &url,
    ];
    until(
        "the administration port",
        LIMIT,
        Duration::from_millis(100),
        || Ok(run("curl", &arguments).ok()),
    )?;
    Ok(())
}

/// Runs it: events on one side, the reconcilers' records on the other.
fn collect(pods: &[String], events: usize) -> anyhow::Result<(Shown, Written)> {
    let shown = Arc::<Mutex<Shown>>::default();
    let written = Arc::<Mutex<Written>>::default();
    let mut watch = Beside::start("pgo", &["watch", "alltopic", "-o", "json"])?;
    let out = watch.0.stdout.take().context("pgo watch has no output")?;
    each_line(out, shown.clone(), note_event);
    let mut logs = Vec::new();
    for pod in pods {
        let operator = operator();
        let arguments = ["logs", "--follow", "--since=1s", pod, "-n", &operator];
        let mut log = Beside::start("kubectl", &arguments)?;
        let out = log.0.stdout.take().context("kubectl logs has no output")?;
        each_line(out, written.clone(), note_write);
        logs.push(log);
    }
    // pgo watch says nothing when it begins to see.
    thread::sleep(Duration::from_secs(2));
    let kubernetes = Kubernetes::begin()?;
    let series = unique("bench-event");
    let seen = || shown.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut number = 0;
    while seen() < events {
        number += 1;
        let name = format!("{series}-{number}");
        kubernetes.send("POST", "", &impossible(&name)?.to_string())?;
        thread::sleep(PAUSE);
        kubernetes.send("DELETE", &format!("/{name}"), "{}")?;
        thread::sleep(PAUSE);
        anyhow::ensure!(
            number < EVENTS,
            "pgo watch shows too few events: {}",
            seen()
        );
    }
    thread::sleep(Duration::from_secs(3));
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let written = written
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Ok((shown, written))
}

/// Pgclusters by plain requests through one `kubectl proxy`: to start a kubectl for each takes more of two cores than all
/// that is measured.
struct Kubernetes {
    _proxy: Beside,
    address: String,
    path: String,
}

impl Kubernetes {
    fn begin() -> anyhow::Result<Self> {
        let mut proxy = Beside::start("kubectl", &["proxy", "--port=0"])?;
        let out = proxy
            .0
            .stdout
            .take()
            .context("kubectl proxy has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let address = line
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        let path = format!(
            "/apis/crunchydata.com/v1/namespaces/{}/pgclusters",
            namespace()?
        );
        Ok(Self {
            _proxy: proxy,
            address,
            path,
        })
    }

    fn send(&self, method: &str, below: &str, body: &str) -> anyhow::Result<()> {
        let mut connection = TcpStream::connect(&self.address)?;
        connection.set_read_timeout(Some(LIMIT))?;
        write!(
            connection,
            "{method} {}{below} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.path,
            body.len()
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        anyhow::ensure!(
            status.starts_with('2'),
            "{method} {}{below}: {answer}",
            self.path
        );
        Ok(())
    }
}

/// A cluster that is refused when it is looked at: its events come at once and nothing is made.
fn impossible(name: &str) -> anyhow::Result<Value> {
    Ok(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": name, "namespace": namespace()?},
        "spec": {"userlabels": {"service-type": "None of these"}},
    }))
}

fn each_line<T: Send + 'static>(
    out: impl Read + Send + 'static,
    into: Arc<Mutex<T>>,
    note: fn(&mut T, &Value, Timestamp),
) {
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let now = Timestamp::now();
            if let Ok(line) = serde_json::from_str(&line) {
                note(
                    &mut into.lock().unwrap_or_else(PoisonError::into_inner),
                    &line,
                    now,
                );
            }
        }
    });
}

fn note_event(shown: &mut Shown, line: &Value, now: Timestamp) {
    let event = &line["event"];
    if let (Some(stream), Some(seq)) = (event["stream"].as_str(), event["seq"].as_u64()) {
        let event_type = event["eventheader"]["EventType"]
            .as_str()
            .unwrap_or_default();
        shown
            .entry((stream.to_owned(), seq))
            .or_insert((now, event_type.to_owned()));
    }
}

fn note_write(written: &mut Written, record: &Value, _: Timestamp) {
    let field = |name: &str| record.get(name).unwrap_or(&record["fields"][name]).clone();
    let time = field("timestamp")
        .as_str()
        .and_then(|time| time.parse::<Timestamp>().ok());
    if let (Some(stream), Some(seq), Some(time)) =
        (field("stream").as_str(), field("seq").as_u64(), time)
    {
        written
            .entry(stream.to_owned())
            .or_default()
            .push((seq, time));
    }
}
