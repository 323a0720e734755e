//! A real nsqd without TLS, and the feeder before it.

use std::time::Duration;

use clap::Parser as _;
use nsq::{Consumer, ConsumerConfig, Server, State};
use pgo_direct::Settings;
use pgo_nsqd::Nsqd;
use pgo_telemetry::{CancellationToken, Telemetry};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};

use crate::event_service::EventService;

/// Longest wait for what should be there at once; reached only by a failing test.
pub const SOON: Duration = Duration::from_secs(30);

/// nsqd and the feeder; both end with this value.
pub struct Broker {
    nsqd: Nsqd,
    data: TempDir,
    pub telemetry: Telemetry,
    feeder: JoinHandle<()>,
}

impl Broker {
    pub fn start(events: &EventService) -> Self {
        let nsqd = Nsqd::start(Vec::new());
        let data = TempDir::new().unwrap();
        let telemetry = Telemetry::without_logs("direct", "0");
        Self {
            feeder: feed(events, &nsqd, &data, &telemetry),
            nsqd,
            data,
            telemetry,
        }
    }

    /// Ends the feeder in the middle of what it does.
    pub async fn kill_feeder(&mut self) {
        self.feeder.abort();
        let ended = (&mut self.feeder).await;
        assert!(ended.unwrap_err().is_cancelled());
    }

    /// Another feeder in the same pod.
    pub fn start_feeder(&mut self, events: &EventService) {
        self.feeder = feed(events, &self.nsqd, &self.data, &self.telemetry);
    }

    /// A reader of a topic, whose channel is there.
    pub async fn subscribe(&self, topic: &str) -> Consumer {
        let (topic, channel) = (topic.parse().unwrap(), "tail#ephemeral".parse().unwrap());
        let server = Server::new(self.nsqd.tcp().to_string());
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
        self.feeder.abort();
    }
}

fn feed(
    events: &EventService,
    nsqd: &Nsqd,
    data: &TempDir,
    telemetry: &Telemetry,
) -> JoinHandle<()> {
    let settings = Settings::parse_from([
        "direct",
        &format!("--event-service={}", events.address),
        &format!(
            "--tls-dir={}",
            events.folder.path().join("direct").display()
        ),
        &format!("--nsqd={}", nsqd.tcp()),
        &format!("--nsqd-http={}", nsqd.http()),
        &format!("--data={}", data.path().display()),
    ]);
    let telemetry = telemetry.clone();
    tokio::spawn(async move {
        let never = CancellationToken::new();
        pgo_direct::serve(&settings, &telemetry, never)
            .await
            .unwrap();
    })
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
