//! A real nsqd without TLS, and the feeder before it.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::Parser as _;
use nsq::{Consumer, ConsumerConfig, Server, State};
use pgo_direct::Settings;
use pgo_telemetry::{CancellationToken, Telemetry};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::event_service::EventService;

/// Longest wait for what should be there at once; reached only by a failing test.
pub const SOON: Duration = Duration::from_secs(30);

/// nsqd and the feeder; both end with this value.
pub struct Broker {
    nsqd: Child,
    _data: TempDir,
    address: String,
    pub telemetry: Telemetry,
    ending: CancellationToken,
}

impl Broker {
    pub fn start(events: &EventService) -> Self {
        let data = TempDir::new().unwrap();
        let mut nsqd = Command::new(nsqd_binary())
            .arg(format!("--data-path={}", data.path().display()))
            .args([
                "--tcp-address=127.0.0.1:0",
                "--http-address=127.0.0.1:0",
                "--https-address=",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(nsqd.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let (mut address, mut http) = (None, None);
        // In either order.
        while address.is_none() || http.is_none() {
            let line = lines.next().expect("nsqd says where it listens");
            if let Some((_, found)) = line.split_once("TCP: listening on ") {
                address = Some(found.to_owned());
            } else if let Some((_, found)) = line.split_once("HTTP: listening on ") {
                http = Some(found.to_owned());
            }
        }
        let (address, http) = (address.unwrap(), http.unwrap());
        // Until it ends: a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let settings = Settings::parse_from([
            "direct",
            &format!("--event-service={}", events.address),
            &format!(
                "--tls-dir={}",
                events.folder.path().join("direct").display()
            ),
            &format!("--nsqd={address}"),
            &format!("--nsqd-http={}", http.parse::<SocketAddr>().unwrap()),
        ]);
        let telemetry = Telemetry::without_logs("direct", "0");
        let ending = CancellationToken::new();
        let (own, end) = (telemetry.clone(), ending.clone());
        tokio::spawn(async move { pgo_direct::serve(&settings, &own, end).await.unwrap() });
        Self {
            nsqd,
            _data: data,
            address,
            telemetry,
            ending,
        }
    }

    /// A reader of a topic, whose channel is there.
    pub async fn subscribe(&self, topic: &str) -> Consumer {
        let (topic, channel) = (topic.parse().unwrap(), "tail#ephemeral".parse().unwrap());
        let server = Server::new(&self.address);
        let consumer = Consumer::subscribe(server, topic, channel, ConsumerConfig::default());
        let mut state = consumer.state();
        let connected = state.wait_for(|state| matches!(state, State::Connected));
        timeout(SOON, connected)
            .await
            .expect("a connection in time")
            .unwrap();
        consumer
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.ending.cancel();
        let _ = self.nsqd.kill();
        let _ = self.nsqd.wait();
    }
}

/// The next message, as text.
pub async fn next(consumer: &mut Consumer) -> String {
    let message = timeout(SOON, consumer.next())
        .await
        .expect("a message in time")
        .unwrap();
    let text = String::from_utf8(message.body().to_vec()).unwrap();
    message.finish();
    text
}

fn nsqd_binary() -> PathBuf {
    let path = std::env::var_os("NSQD_BIN").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/pgo/bin/nsqd"),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no nsqd at {}: build it with deploy/local/build/build.sh, or set NSQD_BIN",
        path.display()
    );
    path
}
