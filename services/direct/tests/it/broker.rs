//! A real nsqd without TLS, and the feeder before it.

use std::time::Duration;

use clap::Parser as _;
use nsq::{Consumer, ConsumerConfig, Server, State};
use pgo_direct::Settings;
use pgo_nsqd::Nsqd;
use pgo_telemetry::{CancellationToken, Telemetry};
use tokio::time::timeout;

use crate::event_service::EventService;

/// Longest wait for what should be there at once; reached only by a failing test.
pub const SOON: Duration = Duration::from_secs(30);

/// nsqd and the feeder; both end with this value.
pub struct Broker {
    nsqd: Nsqd,
    pub telemetry: Telemetry,
    ending: CancellationToken,
}

impl Broker {
    pub fn start(events: &EventService) -> Self {
        let nsqd = Nsqd::start(Vec::new());
        let settings = Settings::parse_from([
            "direct",
            &format!("--event-service={}", events.address),
            &format!(
                "--tls-dir={}",
                events.folder.path().join("direct").display()
            ),
            &format!("--nsqd={}", nsqd.tcp()),
            &format!("--nsqd-http={}", nsqd.http()),
        ]);
        let telemetry = Telemetry::without_logs("direct", "0");
        let ending = CancellationToken::new();
        let (own, end) = (telemetry.clone(), ending.clone());
        tokio::spawn(async move { pgo_direct::serve(&settings, &own, end).await.unwrap() });
        Self {
            nsqd,
            telemetry,
            ending,
        }
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
        self.ending.cancel();
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
