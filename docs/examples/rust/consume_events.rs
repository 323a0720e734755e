//! Reads PGO's events from NSQ, each once and in order, and prints a line for each.
//!
//! ```text
//! consume-events HOST:PORT TLS-FOLDER CHANNEL [COUNT]
//! ```
//!
//! The folder holds `tls.crt`, `tls.key` and `ca.crt`. The channel is this program's own; it gets everything from when it is
//! made. With a count, the program ends after so many events.
//!
//! In a project of your own: `nsq = { path = "…/shared/nsq" }`, `rustls`, `serde_json`, and `tokio` with `macros`,
//! `rt-multi-thread` and `time`.

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
use tokio::time::{Instant, timeout};

/// The name in nsqd's certificate, whatever its address.
const NSQD: &str = "nsqd.pgo";

/// What to say where nsqd asks for a secret. It is none: the certificate decides.
const SECRET: &str = "certificate";

/// How long an event waits for those before it. They are late, or from before the channel was made.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder, channel, count @ ..] = arguments.as_slice() else {
        return Err("consume-events HOST:PORT TLS-FOLDER CHANNEL [COUNT]".into());
    };
    let count: Option<usize> = count.first().map(|count| count.parse()).transpose()?;

    let server = Server::new(address)
        .with_tls(Arc::new(tls(Path::new(folder))?), NSQD.try_into()?)
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
        for (event, message) in streams.ready(Instant::now()) {
            println!("{}", line(&event));
            printed += 1;
            // Only now: if this program dies before, nsqd delivers the event again.
            message.finish();
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

/// An event that waits, and since when.
type Waiting = (Instant, Value, Message);

/// What is known of each stream: its last event, and those that came too early.
///
/// A program with a database keeps the last `seq` of each stream in it, and writes it in the transaction in which it writes
/// what the event means to it: then nothing is done twice, whatever dies when.
#[derive(Default)]
struct Streams(HashMap<String, (u64, BTreeMap<u64, Waiting>)>);

impl Streams {
    /// Takes a message; a repeat is finished and forgotten.
    fn take(&mut self, message: Message) {
        let event: Value = serde_json::from_slice(message.body()).unwrap_or_default();
        let (Some(stream), Some(seq)) = (event["stream"].as_str(), event["seq"].as_u64()) else {
            eprintln!("not an event of PGO: {}", message.id());
            return message.finish();
        };
        let (last, waiting) = self.0.entry(stream.to_owned()).or_default();
        if seq <= *last || waiting.contains_key(&seq) {
            return message.finish();
        }
        waiting.insert(seq, (Instant::now(), event, message));
    }

    /// What is next in its stream, or has waited long enough for what is before it.
    fn ready(&mut self, now: Instant) -> Vec<(Value, Message)> {
        let mut ready = Vec::new();
        for (last, waiting) in self.0.values_mut() {
            while let Some(first) = waiting.first_entry() {
                let (seq, since) = (*first.key(), first.get().0);
                if seq != *last + 1 && now.duration_since(since) < PATIENCE {
                    break;
                }
                let (_, event, message) = first.remove();
                *last = seq;
                ready.push((event, message));
            }
        }
        ready
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
