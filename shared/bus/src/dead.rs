//! Dead letters: messages that nobody could handle, on their way to the event service, which keeps them.
//!
//! ```text
//! consumer gives up ─► DeadLetter (JSON) ─► topic pgo.dead, channel kept ─► event service ─► a user: requeue or delete
//! ```

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use nsq::{
    Consumer, ConsumerConfig, Message, NameError, Producer, PublishError, Server, TopicName,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The topic on which they are.
pub const DEAD_TOPIC: &str = "pgo.dead";

/// The channel from which the event service keeps them.
pub const DEAD_CHANNEL: &str = "kept";

/// Bytes of a body that a dead letter has at most: as digits they are below nsqd's own limit of 1 MiB for a message.
pub const LONGEST_BODY: usize = 400 << 10;

/// What the ids of dead letters are made of besides the message's own.
const IDS: Uuid = Uuid::from_u128(0x33b1_4c7d_90a4_4a5c_8f60_52d3_a9b0_7e11);

/// A message that is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// What it was published to.
    pub topic: String,
    /// Whose reader could not handle it.
    pub channel: String,
    /// nsqd's name of it.
    pub message: String,
    /// How often nsqd had delivered it.
    pub attempts: u16,
    /// When it was given up.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
    /// What was published; its beginning where it is longer than [`LONGEST_BODY`].
    #[serde(with = "hexadecimal")]
    pub body: Vec<u8>,
    /// Bytes that were published and are not in `body`.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub left_out: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_nothing(bytes: &usize) -> bool {
    *bytes == 0
}

/// What of a body is kept, and how many bytes are not.
fn kept(body: &[u8]) -> (Vec<u8>, usize) {
    let (kept, rest) = body.split_at(body.len().min(LONGEST_BODY));
    (kept.to_vec(), rest.len())
}

impl DeadLetter {
    /// Its name; the same where the same message is given up twice.
    #[must_use]
    pub fn id(&self) -> String {
        let of = format!("{}/{}/{}", self.topic, self.channel, self.message);
        let id = Uuid::new_v5(&IDS, of.as_bytes()).simple().to_string();
        id[..12].to_owned()
    }

    /// What is kept of a message.
    fn of(
        message: &Message,
        (topic, channel): (&str, &str),
        reason: String,
        now: Timestamp,
    ) -> Self {
        let (body, left_out) = kept(message.body());
        Self {
            topic: topic.to_owned(),
            channel: channel.to_owned(),
            message: message.id().to_string(),
            attempts: message.attempts(),
            time: now,
            reason,
            body,
            left_out,
        }
    }

    /// What a message on [`DEAD_TOPIC`] says; one that says nothing of the kind is a dead letter itself.
    #[must_use]
    pub fn of_message(message: &Message, now: Timestamp) -> Self {
        serde_json::from_slice(message.body()).unwrap_or_else(|error| {
            let reason = format!("it is on {DEAD_TOPIC} and no dead letter: {error}");
            Self::of(message, (DEAD_TOPIC, DEAD_CHANNEL), reason, now)
        })
    }
}

/// Bytes as digits, so that any body is JSON.
mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let pairs = digits.as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            let text = std::str::from_utf8(pair)
                .ok()
                .filter(|text| text.len() == 2)?;
            u8::from_str_radix(text, 16).ok()
        };
        pairs
            .map(|pair| {
                byte(pair).ok_or_else(|| D::Error::custom("not pairs of hexadecimal digits"))
            })
            .collect()
    }
}

/// Puts messages away that cannot be handled.
#[derive(Clone, Debug)]
pub struct Undertaker {
    producer: Arc<Producer>,
    topic: TopicName,
}

impl Undertaker {
    /// Publishes dead letters by `producer`.
    ///
    /// # Errors
    /// None that constants can cause.
    pub fn new(producer: Arc<Producer>) -> Result<Self, NameError> {
        let topic = DEAD_TOPIC.parse()?;
        Ok(Self { producer, topic })
    }

    /// Publishes a dead letter. It is safe when the future resolves.
    ///
    /// # Errors
    /// nsqd did not acknowledge it.
    pub async fn put_away(&self, letter: &DeadLetter) -> Result<(), PublishError> {
        // None that a value of this type can cause.
        let body = serde_json::to_vec(letter).unwrap_or_default();
        self.producer.publish(&self.topic, Bytes::from(body)).await
    }

    /// Gives up a message that cannot be handled, in the background: it is finished once its dead letter is safe, and
    /// comes again else.
    pub fn give_up(&self, message: Message, (topic, channel): (&str, &str), reason: String) {
        let letter = DeadLetter::of(&message, (topic, channel), reason, Timestamp::now());
        let undertaker = self.clone();
        tokio::spawn(async move {
            match message.touch_while(undertaker.put_away(&letter)).await {
                Ok(()) => message.finish(),
                Err(error) => {
                    tracing::warn!(id = %message.id(), %error, "a message cannot be put away; it comes again");
                    message.requeue_without_backoff(std::time::Duration::from_secs(10));
                }
            }
        });
    }
}

/// Reads dead letters from nsqd.
///
/// # Errors
/// None that constants can cause.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn dead_consumer(server: Server) -> Result<Consumer, NameError> {
    let (topic, channel) = (DEAD_TOPIC.parse()?, DEAD_CHANNEL.parse()?);
    Ok(Consumer::subscribe(
        server,
        topic,
        channel,
        ConsumerConfig::default(),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter(body: Vec<u8>) -> DeadLetter {
        DeadLetter {
            topic: "alltopic".to_owned(),
            channel: "history".to_owned(),
            message: "0d1c2b3a49586776".to_owned(),
            attempts: 1,
            time: Timestamp::UNIX_EPOCH,
            reason: "no event".to_owned(),
            body,
            left_out: 0,
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_as_it_was_written(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let letter = letter(body);
            let text = serde_json::to_vec(&letter).expect("JSON");
            prop_assert_eq!(serde_json::from_slice::<DeadLetter>(&text).expect("a letter"), letter);
        }

        #[test]
        fn no_digits_make_it_panic(digits in ".{0,20}") {
            let json = serde_json::json!({
                "topic": "a", "channel": "b", "message": "c", "attempts": 1,
                "time": "2026-10-15T10:11:12Z", "reason": "", "body": digits,
            });
            let _ = serde_json::from_value::<DeadLetter>(json);
        }
    }

    #[test]
    fn the_id_is_that_of_the_message() {
        let one = letter(Vec::new());
        let again = DeadLetter {
            attempts: 2,
            ..one.clone()
        };
        let other = DeadLetter {
            message: "0d1c2b3a49586777".to_owned(),
            ..one.clone()
        };
        assert_eq!(one.id(), again.id());
        assert_ne!(one.id(), other.id());
        assert_eq!(one.id().len(), 12);
    }
}
