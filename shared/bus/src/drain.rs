//! Keeps nsqd's volume from filling up with what nobody reads.
//!
//! A topic without any channel keeps its messages for the first one, on disk and for ever. Each topic of ours therefore
//! always has one more channel, which takes everything and does nothing with it. It is ephemeral: nsqd writes nothing to
//! disk for it, and where it has no memory queue it drops what cannot be delivered at once, which is as good. Other channels
//! of a topic get each message for themselves and notice nothing.

use std::time::Duration;

use nsq::{Consumer, ConsumerConfig, NameError, OutputBuffer, Server};
use pgo_events::Topic;
use tokio::task::JoinSet;

use crate::{COMMANDS_TOPIC, CONFIRM_TOPIC};

/// Name of the channel.
pub const DRAIN_CHANNEL: &str = "drain#ephemeral";

/// Messages that nsqd sends ahead.
const IN_FLIGHT: usize = 256;

/// Nobody waits for these messages, so nsqd may send many with one write.
const GATHER: OutputBuffer = OutputBuffer::Gather {
    bytes: 1 << 16,
    timeout: Duration::from_secs(1),
};

/// The topics that somebody publishes on and perhaps nobody reads: all but the one that the history is written from.
pub fn drained_topics() -> impl Iterator<Item = &'static str> {
    let events = Topic::ALL.into_iter().filter(|topic| *topic != Topic::All);
    events
        .map(Topic::as_str)
        .chain([COMMANDS_TOPIC, CONFIRM_TOPIC])
}

/// Takes everything from each of [`drained_topics`], until the set is dropped.
///
/// # Errors
/// None that constants can cause.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn drain(server: &Server) -> Result<JoinSet<()>, NameError> {
    let mut draining = JoinSet::new();
    for topic in drained_topics() {
        let config = ConsumerConfig {
            max_in_flight: IN_FLIGHT,
            output_buffer: GATHER,
            backoff: None,
            ..ConsumerConfig::default()
        };
        let (topic, channel) = (topic.parse()?, DRAIN_CHANNEL.parse()?);
        let mut consumer = Consumer::subscribe(server.clone(), topic, channel, config);
        draining.spawn(async move {
            while let Some(message) = consumer.next().await {
                message.finish();
            }
        });
    }
    Ok(draining)
}
