//! What nsqd sends: `size (4) | type (4) | data`, where size counts type and data.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CodecError, HEARTBEAT, MessageId, check_size, u32_at};
use crate::error::ServerError;

/// Size and type.
const HEADER: usize = 8;
/// Timestamp, attempts, id.
const DELIVERY_HEADER: usize = 8 + 2 + 16;

/// One unit that nsqd sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The answer to a command, or a heartbeat.
    Response(Bytes),
    /// A command failed.
    Error(ServerError),
    /// A message of the subscribed channel.
    Message(Delivery),
}

/// A message on its way to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When nsqd took the message: nanoseconds since 1970, by nsqd's clock.
    pub timestamp: i64,
    /// How often nsqd has handed it out, this time included.
    pub attempts: u16,
    /// What to answer with.
    pub id: MessageId,
    /// What was published.
    pub body: Bytes,
}

impl Delivery {
    /// The timestamp as a time; 1970 if it lies before.
    pub fn taken_at(&self) -> SystemTime {
        let nanoseconds = self.timestamp.try_into().unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }
}

impl Frame {
    /// Whether nsqd asks for a sign of life.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self, Self::Response(data) if data == HEARTBEAT)
    }

    /// Takes one frame off the front of `buffer`; `None` if it is not all there yet.
    ///
    /// # Errors
    ///
    /// The bytes are no frame, or it is larger than `max` bytes (without the size itself).
    pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Self>, CodecError> {
        let Some(size) = u32_at(buffer, 0) else {
            return Ok(None);
        };
        let size = size as usize;
        check_size("frame", size, HEADER - 4, max)?;
        let Some(kind) = u32_at(buffer, 4) else {
            return Ok(None);
        };
        if kind > 2 {
            return Err(CodecError::FrameType(kind));
        }
        if buffer.len() - 4 < size {
            return Ok(None);
        }
        let mut data = buffer.split_to(4 + size).freeze();
        data.advance(HEADER);
        match kind {
            0 => Ok(Some(Self::Response(data))),
            1 => Ok(Some(Self::Error(server_error(&data)))),
            _ => Ok(Some(Self::Message(delivery(data)?))),
        }
    }

    /// Appends the frame to `buffer`, as nsqd would send it.
    pub fn encode(&self, buffer: &mut BytesMut) {
        let start = buffer.len();
        buffer.put_u32(0);
        match self {
            Self::Response(data) => {
                buffer.put_u32(0);
                buffer.extend_from_slice(data);
            }
            Self::Error(error) => {
                buffer.put_u32(1);
                buffer.extend_from_slice(error.to_string().as_bytes());
            }
            Self::Message(delivery) => {
                buffer.put_u32(2);
                buffer.put_i64(delivery.timestamp);
                buffer.put_u16(delivery.attempts);
                buffer.extend_from_slice(delivery.id.as_bytes());
                buffer.extend_from_slice(&delivery.body);
            }
        }
        let size = (buffer.len() - start - 4) as u32;
        buffer[start..start + 4].copy_from_slice(&size.to_be_bytes());
    }
}

fn server_error(data: &[u8]) -> ServerError {
    let answer = String::from_utf8_lossy(data);
    let (code, text) = answer.split_once(' ').unwrap_or((&answer, ""));
    ServerError {
        code: code.to_owned(),
        text: text.to_owned(),
    }
}

fn delivery(mut data: Bytes) -> Result<Delivery, CodecError> {
    check_size("message", data.len(), DELIVERY_HEADER, usize::MAX)?;
    let timestamp = data.get_i64();
    let attempts = data.get_u16();
    let mut id = [0; 16];
    data.copy_to_slice(&mut id);
    Ok(Delivery {
        timestamp,
        attempts,
        id: id.try_into()?,
        body: data,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        prop_oneof![
            bytes().prop_map(Frame::Response),
            ("[A-Z_]{1,20}", ".{0,40}")
                .prop_map(|(code, text)| { Frame::Error(ServerError { code, text }) }),
            (any::<i64>(), any::<u16>(), "[!-~]{16}", bytes()).prop_map(
                |(timestamp, attempts, id, body)| Frame::Message(Delivery {
                    timestamp,
                    attempts,
                    id: <[u8; 16]>::try_from(id.as_bytes())
                        .unwrap()
                        .try_into()
                        .unwrap(),
                    body,
                })
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_the_bytes_arrive(
            sent in prop::collection::vec(frames(), 0..8),
            cuts in prop::collection::vec(1usize..50, 1..40),
        ) {
            let mut wire = BytesMut::new();
            sent.iter().for_each(|frame| frame.encode(&mut wire));
            let mut arrived = BytesMut::new();
            let mut received = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            while !wire.is_empty() {
                let length = cuts.next().unwrap().min(wire.len());
                arrived.extend_from_slice(&wire.split_to(length));
                while let Some(frame) = Frame::decode(&mut arrived, 4096).unwrap() {
                    received.push(frame);
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert!(arrived.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut buffer, 256) {}
        }

        #[test]
        fn bytes_that_look_like_frames_do_not_make_it_panic(
            frame in frames(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut buffer = BytesMut::new();
            frame.encode(&mut buffer);
            let at = at.index(buffer.len());
            buffer[at] = byte;
            while let Ok(Some(_)) = Frame::decode(&mut buffer, 256) {}
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_at_once() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(
            Frame::decode(&mut buffer, 100),
            Err(CodecError::Size {
                what: "frame",
                size: 0xffff_ffff,
                min: 4,
                max: 100
            })
        );
    }

    #[test]
    fn an_error_is_split_into_code_and_text() {
        let mut buffer = BytesMut::new();
        buffer.put_u32(4 + 29);
        buffer.put_u32(1);
        buffer.extend_from_slice(b"E_FIN_FAILED FIN abc failed x");
        let Ok(Some(Frame::Error(error))) = Frame::decode(&mut buffer, 100) else {
            panic!("an error frame was expected")
        };
        assert_eq!(error.code, "E_FIN_FAILED");
        assert_eq!(error.text, "FIN abc failed x");
        assert!(!error.is_fatal());
    }
}
