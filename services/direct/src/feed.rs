//! Each event of the log to each topic of it that somebody reads.

use bytes::Bytes;
use futures::future::join_all;
use pgo_bus::{Message, NsqPublisher, Publisher as _};
use pgo_events::Topic;

use crate::{log::Log, metrics::Metrics, subscribers::Subscribers};

/// From the log to nsqd.
pub(crate) struct Feed {
    pub(crate) log: Log,
    pub(crate) subscribers: Subscribers,
    pub(crate) nsqd: NsqPublisher,
    pub(crate) metrics: Metrics,
}

impl Feed {
    /// Feeds for ever. One event after the other: its readers get them in the log's order.
    pub(crate) async fn run(mut self) {
        loop {
            let event = self.log.next().await;
            match self.subscribers.topics().await {
                Ok(read) => {
                    let topics = topics(&event);
                    let topics = topics
                        .into_iter()
                        .filter(|topic| read.contains(topic.as_str()));
                    self.publish(topics.collect(), &event).await;
                }
                // It is about to start, and has no readers.
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "an event is not shown to those who read nsqd"
                    );
                }
            }
        }
    }

    async fn publish(&self, topics: Vec<Topic>, event: &Bytes) {
        let sent = topics
            .iter()
            .map(|topic| self.nsqd.publish(*topic, event.clone()));
        for (topic, outcome) in topics.iter().zip(join_all(sent).await) {
            match outcome {
                Ok(()) => self.metrics.published(),
                // Who reads it has lost nsqd too. The event is in the history.
                Err(error) => {
                    self.metrics.lost();
                    tracing::warn!(%topic, %error, "an event was not published");
                }
            }
        }
    }
}

/// Where an event goes; nowhere if it cannot be read, which is the case with none of ours. A topic of a later version is not
/// known here.
fn topics(event: &[u8]) -> Vec<Topic> {
    match Message::decode(event) {
        Ok(message) => {
            let known = message.topics.iter().filter_map(|name| name.parse().ok());
            known.chain([Topic::All]).collect()
        }
        Err(error) => {
            tracing::warn!(%error, bytes = event.len(), "an event that cannot be read");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_later_version_goes_to_its_topics_that_there_are() {
        let event = br#"{"eventheader":{"EventType":"NotYet","topic":["newtopic","clustertopic"]},"stream":"u","seq":1}"#;
        assert_eq!(topics(event), [Topic::Cluster, Topic::All]);
        assert_eq!(topics(b"{}"), []);
    }
}
