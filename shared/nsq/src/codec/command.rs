//! What a client sends: a line, and a body for some: `size (4) | bytes`.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CodecError, MessageId, check_size, u32_at};
use crate::{
    name::{ChannelName, TopicName},
    secret::Secret,
};

/// Longest line looked at. The longest that means something is `SUB` with two names of 64 bytes.
const MAX_LINE: usize = 256;

/// Longest delay written, in milliseconds (24 days). nsqd shortens that of a requeue to its `--max-req-timeout` (1 hour by
/// default) and refuses it for a publish, but overflows in looking at it from 292 years on.
const MAX_DELAY_MS: u128 = i32::MAX as u128;

/// One unit that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `IDENTIFY`: who the client is and which features it wants, as JSON. The first command of a connection.
    Identify(Bytes),
    /// `AUTH`: proves who the client is, where nsqd asks for it.
    Auth(Secret),
    /// `SUB`: makes the connection a consumer.
    Subscribe {
        /// What to read.
        topic: TopicName,
        /// Shared with whom.
        channel: ChannelName,
    },
    /// `PUB`: one message.
    Publish {
        /// To which topic.
        topic: TopicName,
        /// At least one byte; nsqd refuses an empty one.
        body: Bytes,
    },
    /// `MPUB`: several messages, acknowledged together.
    PublishMany {
        /// To which topic.
        topic: TopicName,
        /// At least one.
        bodies: Vec<Bytes>,
    },
    /// `DPUB`: one message that is not delivered before its time.
    PublishDeferred {
        /// To which topic.
        topic: TopicName,
        /// Not before this time has passed; milliseconds count.
        delay: Duration,
        /// At least one byte.
        body: Bytes,
    },
    /// `RDY`: nsqd may have this many messages in flight to the connection.
    Ready(u32),
    /// `FIN`: the message is done.
    Finish(MessageId),
    /// `REQ`: the message shall come again, to whichever consumer.
    Requeue {
        /// Which.
        id: MessageId,
        /// Not before this time has passed; milliseconds count.
        delay: Duration,
    },
    /// `TOUCH`: the work goes on; nsqd's timeout starts again.
    Touch(MessageId),
    /// `CLS`: no more messages, please.
    Close,
    /// `NOP`: the answer to a heartbeat.
    Nop,
}

impl Command {
    /// Appends the command to `buffer`, as it goes to nsqd.
    pub fn encode(&self, buffer: &mut BytesMut) {
        match self {
            Self::Identify(body) => {
                line(buffer, &[b"IDENTIFY"]);
                sized(buffer, body);
            }
            Self::Auth(secret) => {
                line(buffer, &[b"AUTH"]);
                sized(buffer, secret.expose());
            }
            Self::Subscribe { topic, channel } => {
                let names = [topic.as_str().as_bytes(), channel.as_str().as_bytes()];
                line(buffer, &[b"SUB", names[0], names[1]]);
            }
            Self::Publish { topic, body } => {
                line(buffer, &[b"PUB", topic.as_str().as_bytes()]);
                sized(buffer, body);
            }
            Self::PublishMany { topic, bodies } => {
                line(buffer, &[b"MPUB", topic.as_str().as_bytes()]);
                let size: usize = bodies.iter().map(|body| 4 + body.len()).sum();
                buffer.put_u32((4 + size) as u32);
                buffer.put_u32(bodies.len() as u32);
                bodies.iter().for_each(|body| sized(buffer, body));
            }
            Self::PublishDeferred { topic, delay, body } => {
                let delay = milliseconds(*delay);
                line(
                    buffer,
                    &[b"DPUB", topic.as_str().as_bytes(), delay.as_bytes()],
                );
                sized(buffer, body);
            }
            Self::Ready(count) => line(buffer, &[b"RDY", count.to_string().as_bytes()]),
            Self::Finish(id) => line(buffer, &[b"FIN", id.as_bytes()]),
            Self::Requeue { id, delay } => {
                let delay = milliseconds(*delay);
                line(buffer, &[b"REQ", id.as_bytes(), delay.as_bytes()]);
            }
            Self::Touch(id) => line(buffer, &[b"TOUCH", id.as_bytes()]),
            Self::Close => line(buffer, &[b"CLS"]),
            Self::Nop => line(buffer, &[b"NOP"]),
        }
    }

    /// Takes one command off the front of `buffer`; `None` if it is not all there yet. For servers.
    ///
    /// # Errors
    ///
    /// The bytes are no command, or its body is larger than `max` bytes.
    pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Self>, CodecError> {
        let Some(end) = buffer.iter().take(MAX_LINE).position(|b| *b == b'\n') else {
            return check_size("command line", buffer.len(), 0, MAX_LINE - 1).map(|()| None);
        };
        let text = &buffer[..end];
        let words: Vec<&[u8]> = text
            .strip_suffix(b"\r")
            .unwrap_or(text)
            .split(|b| *b == b' ')
            .collect();
        let bad = || CodecError::Command(text.escape_ascii().to_string());

        let bodiless = match words[..] {
            [b"SUB", topic, channel] => Self::Subscribe {
                topic: word(topic, bad)?.parse()?,
                channel: word(channel, bad)?.parse()?,
            },
            [b"RDY", count] => Self::Ready(number(count, bad)?),
            [b"FIN", id] => Self::Finish(message_id(id, bad)?),
            [b"REQ", id, delay] => Self::Requeue {
                id: message_id(id, bad)?,
                delay: Duration::from_millis(number(delay, bad)?.into()),
            },
            [b"TOUCH", id] => Self::Touch(message_id(id, bad)?),
            [b"CLS"] => Self::Close,
            [b"NOP"] => Self::Nop,
            [b"IDENTIFY"] => {
                return Ok(body(buffer, end + 1, max)?.map(Self::Identify));
            }
            [b"AUTH"] => {
                let secret = body(buffer, end + 1, max)?.map(Secret::new);
                return Ok(secret.transpose()?.map(Self::Auth));
            }
            [b"PUB", topic] => {
                let topic = word(topic, bad)?.parse()?;
                let body = body(buffer, end + 1, max)?;
                return Ok(body.map(|body| Self::Publish { topic, body }));
            }
            [b"DPUB", topic, delay] => {
                let topic = word(topic, bad)?.parse()?;
                let delay = Duration::from_millis(number(delay, bad)?.into());
                let body = body(buffer, end + 1, max)?;
                return Ok(body.map(|body| Self::PublishDeferred { topic, delay, body }));
            }
            [b"MPUB", topic] => {
                let topic = word(topic, bad)?.parse()?;
                let Some(body) = body(buffer, end + 1, max)? else {
                    return Ok(None);
                };
                let bodies = split(body)?;
                return Ok(Some(Self::PublishMany { topic, bodies }));
            }
            _ => return Err(bad()),
        };
        buffer.advance(end + 1);
        Ok(Some(bodiless))
    }
}

fn line(buffer: &mut BytesMut, words: &[&[u8]]) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            buffer.put_u8(b' ');
        }
        buffer.extend_from_slice(word);
    }
    buffer.put_u8(b'\n');
}

fn milliseconds(delay: Duration) -> String {
    delay.as_millis().min(MAX_DELAY_MS).to_string()
}

fn sized(buffer: &mut BytesMut, body: &[u8]) {
    buffer.put_u32(body.len() as u32);
    buffer.extend_from_slice(body);
}

fn word(bytes: &[u8], bad: impl Fn() -> CodecError) -> Result<&str, CodecError> {
    std::str::from_utf8(bytes).map_err(|_| bad())
}

fn number(bytes: &[u8], bad: impl Fn() -> CodecError) -> Result<u32, CodecError> {
    word(bytes, &bad)?.parse().map_err(|_| bad())
}

fn message_id(bytes: &[u8], bad: impl Fn() -> CodecError) -> Result<MessageId, CodecError> {
    <[u8; 16]>::try_from(bytes).map_err(|_| bad())?.try_into()
}

/// The body whose size stands at `start`; takes line and body off `buffer` once it is all there.
fn body(buffer: &mut BytesMut, start: usize, max: usize) -> Result<Option<Bytes>, CodecError> {
    let Some(size) = u32_at(buffer, start) else {
        return Ok(None);
    };
    let size = size as usize;
    check_size("body", size, 1, max)?;
    if buffer.len() - start - 4 < size {
        return Ok(None);
    }
    buffer.advance(start + 4);
    Ok(Some(buffer.split_to(size).freeze()))
}

/// The messages in the body of an `MPUB`.
fn split(mut rest: Bytes) -> Result<Vec<Bytes>, CodecError> {
    let wrong = |rest: &Bytes, wanted: usize| CodecError::Size {
        what: "batch",
        size: rest.len() as u64,
        min: wanted as u64,
        max: wanted as u64,
    };
    let count = rest.try_get_u32().map_err(|_| wrong(&rest, 4))?;
    let mut bodies = Vec::new();
    for _ in 0..count {
        let size = rest.try_get_u32().map_err(|_| wrong(&rest, 4))? as usize;
        if rest.len() < size {
            return Err(wrong(&rest, size));
        }
        bodies.push(rest.split_to(size));
    }
    if rest.is_empty() {
        Ok(bodies)
    } else {
        Err(wrong(&rest, 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = String> {
        "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?"
    }

    /// Ids that nsqd makes: hexadecimal digits.
    fn ids() -> impl Strategy<Value = MessageId> {
        "[0-9a-f]{16}".prop_map(|id| {
            MessageId::try_from(<[u8; 16]>::try_from(id.as_bytes()).unwrap()).unwrap()
        })
    }

    fn bodies() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 1..100).prop_map(Bytes::from)
    }

    fn commands() -> impl Strategy<Value = Command> {
        let topics = || names().prop_map(|name| TopicName::new(&name).unwrap());
        prop_oneof![
            bodies().prop_map(Command::Identify),
            bodies().prop_map(|secret| Command::Auth(Secret::new(secret).unwrap())),
            (topics(), names()).prop_map(|(topic, channel)| Command::Subscribe {
                topic,
                channel: channel.parse().unwrap()
            }),
            (topics(), bodies()).prop_map(|(topic, body)| Command::Publish { topic, body }),
            (topics(), prop::collection::vec(bodies(), 1..5))
                .prop_map(|(topic, bodies)| Command::PublishMany { topic, bodies }),
            (topics(), 0..=i32::MAX as u64, bodies()).prop_map(|(topic, delay, body)| {
                Command::PublishDeferred {
                    topic,
                    delay: Duration::from_millis(delay),
                    body,
                }
            }),
            any::<u32>().prop_map(Command::Ready),
            ids().prop_map(Command::Finish),
            (ids(), 0..=i32::MAX as u64).prop_map(|(id, delay)| Command::Requeue {
                id,
                delay: Duration::from_millis(delay)
            }),
            ids().prop_map(Command::Touch),
            Just(Command::Close),
            Just(Command::Nop),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_the_bytes_arrive(
            sent in prop::collection::vec(commands(), 0..8),
            cuts in prop::collection::vec(1usize..50, 1..40),
        ) {
            let mut wire = BytesMut::new();
            sent.iter().for_each(|command| command.encode(&mut wire));
            let mut arrived = BytesMut::new();
            let mut received = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            while !wire.is_empty() {
                let length = cuts.next().unwrap().min(wire.len());
                arrived.extend_from_slice(&wire.split_to(length));
                while let Some(command) = Command::decode(&mut arrived, 4096).unwrap() {
                    received.push(command);
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert!(arrived.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Command::decode(&mut buffer, 256) {}
        }

        #[test]
        fn bytes_that_look_like_commands_do_not_make_it_panic(
            command in commands(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut buffer = BytesMut::new();
            command.encode(&mut buffer);
            let at = at.index(buffer.len());
            buffer[at] = byte;
            while let Ok(Some(_)) = Command::decode(&mut buffer, 256) {}
        }
    }

    #[test]
    fn commands_have_the_bytes_of_the_protocol() {
        let id = MessageId::try_from(*b"0123456789abcdef").unwrap();
        let bytes = |command: Command| {
            let mut buffer = BytesMut::new();
            command.encode(&mut buffer);
            buffer.escape_ascii().to_string()
        };
        let topic: TopicName = "t".parse().unwrap();
        assert_eq!(
            bytes(Command::PublishMany {
                topic,
                bodies: vec!["a".into(), "bc".into()]
            }),
            r"MPUB t\n\x00\x00\x00\x0f\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02bc"
        );
        assert_eq!(
            bytes(Command::PublishDeferred {
                topic: "t".parse().unwrap(),
                delay: Duration::from_micros(1_500_999),
                body: "a".into()
            }),
            r"DPUB t 1500\n\x00\x00\x00\x01a"
        );
        assert_eq!(
            bytes(Command::Auth(Secret::new("s3").unwrap())),
            r"AUTH\n\x00\x00\x00\x02s3"
        );
        assert_eq!(bytes(Command::Ready(7)), r"RDY 7\n");
        assert_eq!(
            bytes(Command::Requeue {
                id,
                delay: Duration::from_millis(1500)
            }),
            r"REQ 0123456789abcdef 1500\n"
        );
        assert_eq!(
            bytes(Command::Requeue {
                id,
                delay: Duration::MAX
            }),
            r"REQ 0123456789abcdef 2147483647\n"
        );
    }

    #[test]
    fn a_line_without_end_is_refused_when_it_is_too_long_to_be_one() {
        let mut buffer = BytesMut::from(&[b'a'; 256][..]);
        assert!(Command::decode(&mut buffer, 10).is_err());
        let mut buffer = BytesMut::from(&[b'a'; 255][..]);
        assert_eq!(Command::decode(&mut buffer, 10), Ok(None));
    }
}
