//! `pgo watch --pgo-event-address`: 4.1's way, straight from an nsqd that speaks plain NSQ.
//!
//! Each message is printed as 4.1 prints it: the topic, a bar, and the body as it is. There is no history, no order and no
//! filter.

use clap::Args;
use nsq::{ChannelName, Consumer, ConsumerConfig, Server, State, TopicName};
use rand::Rng as _;

use super::Failure;
use crate::output;

/// As many messages as 4.1's client takes at a time.
const MAX_IN_FLIGHT: usize = 200;

/// The flag.
#[derive(Args, Clone, Debug)]
pub struct DirectFlags {
    /// Read from this nsqd (host:port) instead of through the apiserver, as 4.1 does
    #[arg(short = 'a', long, value_name = "ADDRESS")]
    pgo_event_address: Option<String>,
}

impl DirectFlags {
    /// The address, if one was given.
    pub fn address(&self) -> Option<&str> {
        self.pgo_event_address
            .as_deref()
            .filter(|address| !address.is_empty())
    }
}

/// What to read, and where.
#[derive(Debug)]
pub struct Watch {
    /// `host:port`.
    pub address: String,
    /// Any topic.
    pub topic: String,
}

impl Watch {
    /// Prints messages for ever; nsqd is tried again for ever, too.
    pub async fn run(self) -> Result<(), Failure> {
        let wrong = |what: &str, error: nsq::NameError| Failure::Usage(format!("{what}: {error}"));
        let topic: TopicName = self.topic.parse().map_err(|error| wrong("topic", error))?;
        // 4.1's name: it is gone with the connection.
        let channel = format!("tail{:06}#ephemeral", rand::rng().random_range(0..999_999));
        let channel: ChannelName = channel.parse().map_err(|error| wrong("channel", error))?;
        output::note(&format!("Adding consumer for topic: {}", self.topic));
        let config = ConsumerConfig {
            max_in_flight: MAX_IN_FLIGHT,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::subscribe(Server::new(&self.address), topic, channel, config);
        let mut state = consumer.state();
        loop {
            tokio::select! {
                message = consumer.next() => {
                    let Some(message) = message else {
                        return Err(Failure::Failed("the reader of nsqd ended".to_owned()));
                    };
                    let body = String::from_utf8_lossy(message.body()).into_owned();
                    output::print(&format!("{} | {}\n", self.topic, output::lines(&body)))
                        .map_err(Failure::Output)?;
                    message.finish();
                }
                changed = state.changed() => {
                    if changed.is_err() {
                        return Err(Failure::Failed("the reader of nsqd ended".to_owned()));
                    }
                    if let State::Disconnected { reason } = &*state.borrow_and_update() {
                        output::note(&format!("pgo: no connection to nsqd at {}: {reason}; trying again", self.address));
                    }
                }
            }
        }
    }
}
