//! How the event service reads: the settings of its channel.

use std::time::Duration;

use nsq::{Consumer, ConsumerConfig, NameError, OutputBuffer, Server};
use pgo_events::Topic;

/// The channel from which the history is written.
pub const HISTORY_CHANNEL: &str = "history";

/// Messages that nsqd sends ahead; those that arrive while a batch is written make the next one.
const IN_FLIGHT: usize = 256;

/// After this time nsqd gives messages to the successor of a reader that was killed. The relay publishes again earlier.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads all events from nsqd, each as soon as it is there.
///
/// However often one is delivered, it comes again: while the log takes nothing, those that wait behind the batch that is
/// being written come back with each timeout, and are good. What is no event the reader has to give up by itself.
///
/// # Errors
/// None that constants can cause.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn history_consumer(server: Server) -> Result<Consumer, NameError> {
    let config = ConsumerConfig {
        max_in_flight: IN_FLIGHT,
        message_timeout: Some(MESSAGE_TIMEOUT),
        output_buffer: OutputBuffer::Off,
        ..ConsumerConfig::default()
    };
    let topic = Topic::All.as_str().parse()?;
    let channel = HISTORY_CHANNEL.parse()?;
    Ok(Consumer::subscribe(server, topic, channel, config))
}
