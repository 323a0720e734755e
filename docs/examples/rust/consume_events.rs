//! Reads PGO's events from NSQ, each once and in order, and prints a line for each.
//!
//! ```text
//! consume-events NSQD EVENTS TLS-FOLDER CHANNEL [COUNT]
//! ```
//!
//! NSQD and EVENTS are `HOST:PORT` of nsqd and of the history over HTTP; what NSQ has lost is had from there. The folder holds `tls.crt`, `tls.key` and `ca.crt`. The channel is this program's own; it gets everything from when it is
//! made. With a count, the program ends after so many events.
//!
//! In a project of your own: `nsq = { path = "…/shared/nsq" }`, `rustls`, `tokio-rustls`, `serde_json`, and `tokio` with
//! `io-util`, `macros`, `net`, `rt-multi-thread` and `time`.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fs::File,
    io::BufReader,
    path::Path,
    sync::Arc,
    time::Duration,
};

use nsq::{Consumer, ConsumerConfig, Message, Secret, Server};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

/// The name in nsqd's certificate, whatever its address.
const NSQD: &str = "nsqd.pgo";

/// The name in the event service's certificate, whatever its address.
const EVENTS: &str = "event.pgo";

/// What to say where nsqd asks for a secret. It is none: the certificate decides.
const SECRET: &str = "certificate";

/// How long an event waits for those before it. They are late, were lost by an nsqd that was killed, or are from before the
/// channel was made.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the history may take.
const HISTORY_DEADLINE: Duration = Duration::from_secs(10);

/// How long a gap waits for a history that does not answer, or does not have so much yet. nsqd lets a message be held for 15 min
/// (its `--max-msg-timeout`).
const HISTORY_PATIENCE: Duration = Duration::from_secs(300);

/// Until the history is asked again.
const HISTORY_PAUSE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, events, folder, channel, count @ ..] = arguments.as_slice() else {
        return Err("consume-events NSQD EVENTS TLS-FOLDER CHANNEL [COUNT]".into());
    };
    let count: Option<usize> = count.first().map(|count| count.parse()).transpose()?;

    let tls = Arc::new(tls(Path::new(folder))?);
    let history = History {
        address: events.clone(),
        tls: tls.clone(),
    };
    let server = Server::new(address)
        .with_tls(tls, NSQD.try_into()?)
        .with_secret(Secret::new(SECRET)?);
    let config = ConsumerConfig {
        // As many may be held here until the ones before them have come.
        max_in_flight: 100,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::subscribe(server, "alltopic".parse()?, channel.parse()?, config);
    let mut streams = Streams::default();
    let mut printed = 0;
    while count.is_none_or(|count| printed < count) {
        // Whoever came too early is let go in the end, also when nothing comes.
        if let Ok(message) = timeout(Duration::from_millis(100), consumer.next()).await {
            streams.take(message.ok_or("the consumer ended")?);
        }
        while let Some(next) = streams.next(Instant::now()) {
            match next {
                Next::Event(event, messages) => {
                    println!("{}", line(&event));
                    printed += 1;
                    // Only now: if this program dies before, nsqd delivers the event again.
                    messages.into_iter().for_each(Message::finish);
                }
                Next::Gap(gap) => match history.fill(&gap).await {
                    Some(events) => {
                        for event in events {
                            println!("{}", line(&event));
                            printed += 1;
                        }
                        streams.passed(&gap);
                    }
                    None => streams.hold(&gap),
                },
            }
        }
    }
    consumer.close().await;
    Ok(())
}

fn tls(folder: &Path) -> Result<ClientConfig, Box<dyn Error>> {
    let open = |name: &str| File::open(folder.join(name)).map(BufReader::new);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(open("ca.crt")?) {
        roots.add(certificate?)?;
    }
    let own: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(open("tls.crt")?).collect();
    let key = PrivateKeyDer::from_pem_reader(open("tls.key")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder
        .with_root_certificates(roots)
        .with_client_auth_cert(own?, key)?)
}

/// An event that waits, since when, and each message with it: which of them nsqd still knows as ours is not certain.
type Waiting = (Instant, Value, Vec<Message>);

/// What is known of each stream: its last event, and those that came too early.
///
/// A program with a database keeps the last `seq` of each stream in it, and writes it in the transaction in which it writes
/// what the event means to it: then nothing is done twice, whatever dies when.
#[derive(Default)]
struct Streams {
    known: HashMap<String, (u64, BTreeMap<u64, Waiting>)>,
    /// Those with a gap: since when the history is asked, and when again.
    gaps: HashMap<String, (Instant, Instant)>,
}

impl Streams {
    /// Takes a message; a repeat of what was printed is finished and forgotten.
    fn take(&mut self, message: Message) {
        let event: Value = serde_json::from_slice(message.body()).unwrap_or_default();
        let (Some(stream), Some(seq)) = (event["stream"].as_str(), event["seq"].as_u64()) else {
            eprintln!("not an event of PGO: {}", message.id());
            return message.finish();
        };
        let (last, waiting) = self.known.entry(stream.to_owned()).or_default();
        if seq <= *last {
            return message.finish();
        }
        let first = || (Instant::now(), event, Vec::new());
        waiting.entry(seq).or_insert_with(first).2.push(message);
    }

    /// What is next in its stream, or has waited long enough for what is before it.
    fn next(&mut self, now: Instant) -> Option<Next> {
        let gaps = &self.gaps;
        self.known.iter_mut().find_map(|(stream, (last, waiting))| {
            let first = waiting.first_entry()?;
            let (seq, since) = (*first.key(), first.get().0);
            if seq != *last + 1 && now.duration_since(since) < PATIENCE {
                return None;
            }
            // What was before the first one that came here is not missed.
            if seq != *last + 1 && *last > 0 {
                let (since, again) = gaps.get(stream).copied().unwrap_or((now, now));
                return (again <= now).then(|| {
                    Next::Gap(Gap {
                        stream: stream.clone(),
                        after: *last,
                        before: seq,
                        since,
                    })
                });
            }
            let (_, event, messages) = first.remove();
            *last = seq;
            Some(Next::Event(event, messages))
        })
    }

    /// Nothing is waited for any more in a gap.
    fn passed(&mut self, gap: &Gap) {
        self.gaps.remove(&gap.stream);
        if let Some((last, _)) = self.known.get_mut(&gap.stream) {
            *last = gap.before - 1;
        }
    }

    /// The history is asked again later. The messages that wait for it are kept from coming again meanwhile.
    fn hold(&mut self, gap: &Gap) {
        let again = Instant::now() + HISTORY_PAUSE;
        self.gaps.insert(gap.stream.clone(), (gap.since, again));
        let waiting = self.known.get(&gap.stream).map(|(_, waiting)| waiting);
        for (_, _, messages) in waiting.into_iter().flat_map(BTreeMap::values) {
            messages.iter().for_each(Message::touch);
        }
    }
}

/// What there is to do.
enum Next {
    Event(Value, Vec<Message>),
    Gap(Gap),
}

/// Events of a stream that did not come: those after and before these.
struct Gap {
    stream: String,
    after: u64,
    before: u64,
    /// Since when the history is asked.
    since: Instant,
}

/// The history over HTTP.
struct History {
    address: String,
    tls: Arc<ClientConfig>,
}

impl History {
    /// The events of a gap; says which are not in the history either. None where that is not known yet.
    async fn fill(&self, gap: &Gap) -> Option<Vec<Value>> {
        let reading = timeout(HISTORY_DEADLINE, self.read(gap)).await;
        let (events, whole, why) = match reading.unwrap_or_else(|late| Err(late.into())) {
            Ok((events, whole)) => (events, whole, "they are not in the history".to_owned()),
            Err(error) => (Vec::new(), false, error.to_string()),
        };
        if !whole && gap.since.elapsed() < HISTORY_PATIENCE {
            return None;
        }
        let missing = gap.before - gap.after - 1 - events.len() as u64;
        if missing > 0 {
            let Gap {
                stream,
                after,
                before,
                ..
            } = gap;
            eprintln!(
                "{missing} events of stream {stream} between {after} and {before} are missing: {why}"
            );
        }
        Some(events)
    }

    /// What the history has of a gap, and whether it will not have more. HTTP/1.0: the answer ends with the connection.
    async fn read(&self, gap: &Gap) -> Result<(Vec<Value>, bool), Box<dyn Error>> {
        let stream = TcpStream::connect(&self.address).await?;
        let connector = TlsConnector::from(self.tls.clone());
        let mut stream = connector.connect(EVENTS.try_into()?, stream).await?;
        let Gap {
            stream: id,
            after,
            before,
            ..
        } = gap;
        let target = format!("/v1/events?since={id}/{after}&filter=partitionkey%3D%27{id}%27");
        let request = format!("GET {target} HTTP/1.0\r\nHost: {EVENTS}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut lines = tokio::io::BufReader::new(stream).lines();
        let status = lines.next_line().await?.unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            return Err(format!("the history answers {status:?}").into());
        }
        while lines
            .next_line()
            .await?
            .is_some_and(|header| !header.is_empty())
        {}
        let mut events = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let mut line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["error"].is_string() {
                return Err(line["error"].to_string().into());
            }
            match line["event"]["seq"].as_u64() {
                Some(seq) if seq >= *before => return Ok((events, true)),
                Some(_) => events.push(line["event"].take()),
                // What was cut, or the end.
                None => {}
            }
        }
        let whole = events.len() as u64 == before - after - 1;
        Ok((events, whole))
    }
}

fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let header = &event["eventheader"];
    format!(
        "{} {}/{} {} {}/{}",
        text(&header["timestamp"]),
        text(&header["namespace"]),
        text(&event["clustername"]),
        text(&header["EventType"]),
        text(&event["stream"]),
        event["seq"]
    )
}
