//! The codec against bytes of all kinds: arbitrary ones, and good ones that were damaged, in one piece and in many.
//!
//! What must hold for all of them: nothing panics; how the bytes were cut changes nothing; and no more memory is taken than
//! the bytes themselves have, whatever sizes they announce.

use std::{fmt::Debug, mem::discriminant, num::NonZeroU16, time::Duration};

use bytes::{Bytes, BytesMut};
use nsq::{
    Consumer, ConsumerConfig, DeadLetters, Secret, ServerError,
    codec::{CodecError, Command, Delivery, Frame, MessageId},
};
use proptest::{prelude::*, sample::Index};
use tokio::io::AsyncWriteExt as _;

use crate::{
    server::{FakeServer, id},
    soon::soon,
};

/// The most that a unit may have; small, so that sizes beyond it are met.
const MAX: usize = 2048;

fn ids() -> impl Strategy<Value = MessageId> {
    "[!-~]{16}".prop_map(|id| {
        let id: [u8; 16] = id.as_bytes().try_into().unwrap();
        id.try_into().unwrap()
    })
}

fn bodies() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 1..80).prop_map(Bytes::from)
}

fn frames() -> impl Strategy<Value = Frame> {
    prop_oneof![
        prop_oneof![
            Just(Bytes::from("OK")),
            Just(Bytes::from("_heartbeat_")),
            bodies()
        ]
        .prop_map(Frame::Response),
        ("E_[A-Z_]{1,12}", ".{0,30}")
            .prop_map(|(code, text)| Frame::Error(ServerError { code, text })),
        (any::<i64>(), any::<u16>(), ids(), bodies()).prop_map(
            |(timestamp, attempts, id, body)| {
                Frame::Message(Delivery {
                    timestamp,
                    attempts,
                    id,
                    body,
                })
            }
        ),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let names = || "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?";
    let delays = || any::<u32>().prop_map(|ms| Duration::from_millis(u64::from(ms) / 2));
    prop_oneof![
        bodies().prop_map(Command::Identify),
        bodies().prop_map(|secret| Command::Auth(Secret::new(secret).unwrap())),
        (names(), names()).prop_map(|(topic, channel)| Command::Subscribe {
            topic: topic.parse().unwrap(),
            channel: channel.parse().unwrap(),
        }),
        (names(), bodies()).prop_map(|(topic, body)| Command::Publish {
            topic: topic.parse().unwrap(),
            body
        }),
        (names(), prop::collection::vec(bodies(), 1..5)).prop_map(|(topic, bodies)| {
            let topic = topic.parse().unwrap();
            Command::PublishMany { topic, bodies }
        }),
        (names(), delays(), bodies()).prop_map(|(topic, delay, body)| {
            let topic = topic.parse().unwrap();
            Command::PublishDeferred { topic, delay, body }
        }),
        any::<u32>().prop_map(Command::Ready),
        ids().prop_map(Command::Finish),
        (ids(), delays()).prop_map(|(id, delay)| Command::Requeue { id, delay }),
        ids().prop_map(Command::Touch),
        Just(Command::Close),
        Just(Command::Nop),
    ]
}

/// What can happen to bytes on their way.
#[derive(Clone, Debug)]
enum Damage {
    Change(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    End(Index),
    /// Four bytes become a size.
    Size(Index, u32),
}

impl Damage {
    fn happen(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Change(at, byte) => bytes[at.index(length)] = *byte,
            Self::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + count));
            }
            Self::Repeat(at, count) => {
                let at = at.index(length);
                let again = bytes[at..length.min(at + count)].to_vec();
                bytes.splice(at..at, again);
            }
            Self::End(at) => bytes.truncate(at.index(length)),
            Self::Size(at, size) => {
                let at = at.index(length);
                let four = size.to_be_bytes();
                let end = length.min(at + 4);
                bytes[at..end].copy_from_slice(&four[..end - at]);
            }
        }
    }
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let index = any::<Index>;
    let sizes = prop_oneof![
        0u32..40,
        Just(MAX as u32),
        Just(MAX as u32 + 1),
        any::<u32>(),
        Just(u32::MAX),
        Just(i32::MAX as u32),
    ];
    let damage = prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Change(at, byte)),
        (index(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, more)| Damage::Insert(at, more)),
        (index(), 1usize..40).prop_map(|(at, count)| Damage::Remove(at, count)),
        (index(), 1usize..40).prop_map(|(at, count)| Damage::Repeat(at, count)),
        index().prop_map(Damage::End),
        (index(), sizes).prop_map(|(at, size)| Damage::Size(at, size)),
    ];
    prop::collection::vec(damage, 0..4)
}

/// Where bytes are cut: the lengths of the pieces, again and again.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..60, 1..10)
}

type Decode<T> = fn(&mut BytesMut, usize) -> Result<Option<T>, CodecError>;

/// All units, and how it ended.
fn decode_pieces<'a, T>(
    decode: Decode<T>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<T>, Option<CodecError>) {
    let mut buffer = BytesMut::new();
    let mut units = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.capacity();
            let decoded = decode(&mut buffer, MAX);
            assert!(buffer.capacity() <= before, "decoding took memory");
            match decoded {
                Ok(Some(unit)) => units.push(unit),
                Ok(None) => break,
                Err(error) => return (units, Some(error)),
            }
        }
    }
    (units, None)
}

fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    cuts.iter().cycle().map_while(move |cut| {
        let (piece, others) = rest.split_at(rest.len().min(*cut));
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Decodes both ways, and compares.
fn cuts_do_not_matter<T: Debug + PartialEq>(
    decode: Decode<T>,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<Vec<T>, TestCaseError> {
    let (whole, end) = decode_pieces(decode, [bytes].into_iter());
    let (in_pieces, end_in_pieces) = decode_pieces(decode, pieces(bytes, cuts));
    prop_assert_eq!(&whole, &in_pieces);
    // The text can name how much of a line was there.
    prop_assert_eq!(
        end.as_ref().map(discriminant),
        end_in_pieces.as_ref().map(discriminant),
        "{:?} and {:?}",
        end,
        end_in_pieces
    );
    Ok(whole)
}

/// Bytes of a frame's own, beyond its fixed part.
fn carried(frame: &Frame) -> usize {
    match frame {
        Frame::Response(data) => data.len(),
        Frame::Error(error) => error.code.len() + error.text.len(),
        Frame::Message(delivery) => delivery.body.len(),
    }
}

fn frames_survive(bytes: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let frames = cuts_do_not_matter(Frame::decode, bytes, cuts)?;
    // A byte that is no UTF-8 is shown as three.
    prop_assert!(frames.iter().map(carried).sum::<usize>() <= 3 * bytes.len());
    for frame in frames {
        let mut again = BytesMut::new();
        frame.encode(&mut again);
        prop_assert_eq!(Frame::decode(&mut again, 4 * MAX), Ok(Some(frame)));
    }
    Ok(())
}

fn commands_survive(bytes: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    for command in cuts_do_not_matter(Command::decode, bytes, cuts)? {
        if let Command::PublishMany { bodies, .. } = &command {
            prop_assert!(4 * bodies.len() <= bytes.len());
        }
        let mut again = BytesMut::new();
        command.encode(&mut again);
        let decoded = Command::decode(&mut again, MAX);
        // The longest delays are written shorter.
        let shortened = matches!(command, Command::Requeue { delay, .. } | Command::PublishDeferred { delay, .. }
            if delay.as_millis() > i32::MAX as u128);
        prop_assert!(shortened || decoded == Ok(Some(command)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn frames_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in cuts()) {
        frames_survive(&bytes, &cuts)?;
    }

    #[test]
    fn frames_survive_any_damage(frames in prop::collection::vec(frames(), 1..6), damages in damages(), cuts in cuts()) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let mut bytes = bytes.to_vec();
        damages.iter().for_each(|damage| damage.happen(&mut bytes));
        frames_survive(&bytes, &cuts)?;
    }

    #[test]
    fn commands_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), cuts in cuts()) {
        commands_survive(&bytes, &cuts)?;
    }

    #[test]
    fn commands_survive_any_line(line in "(IDENTIFY|AUTH|SUB|D?PUB|MPUB|RDY|FIN|REQ|TOUCH|CLS|NOP|[A-Z]{0,5})( [ -~]{0,20}){0,3}\r?\n", more in prop::collection::vec(any::<u8>(), 0..40), cuts in cuts()) {
        let bytes = [line.as_bytes(), &more].concat();
        commands_survive(&bytes, &cuts)?;
    }

    #[test]
    fn commands_survive_any_damage(commands in prop::collection::vec(commands(), 1..6), damages in damages(), cuts in cuts()) {
        let mut bytes = BytesMut::new();
        commands.iter().for_each(|command| command.encode(&mut bytes));
        let mut bytes = bytes.to_vec();
        damages.iter().for_each(|damage| damage.happen(&mut bytes));
        commands_survive(&bytes, &cuts)?;
    }

    #[test]
    fn what_is_not_damaged_arrives(frames in prop::collection::vec(frames(), 0..6), commands in prop::collection::vec(commands(), 0..6), cuts in cuts()) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        prop_assert_eq!(cuts_do_not_matter(Frame::decode, &bytes, &cuts)?, frames);
        let mut bytes = BytesMut::new();
        commands.iter().for_each(|command| command.encode(&mut bytes));
        prop_assert_eq!(cuts_do_not_matter(Command::decode, &bytes, &cuts)?, commands);
    }
}

proptest! {
    // Each case is a connection.
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_consumer_survives_any_server(frames in prop::collection::vec(frames(), 0..12), damages in damages(), cuts in cuts()) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let mut bytes = bytes.to_vec();
        damages.iter().for_each(|damage| damage.happen(&mut bytes));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(survive(&bytes, &cuts));
    }
}

/// A consumer gets these bytes after it has subscribed, and afterwards a good connection.
async fn survive(bytes: &[u8], cuts: &[usize]) {
    let fake = FakeServer::start().await;
    let config = ConsumerConfig {
        max_in_flight: 3,
        backoff: None,
        dead_letters: Some(DeadLetters::discard(NonZeroU16::MAX)),
        ..ConsumerConfig::default()
    };
    let (topic, channel) = ("orders".parse().unwrap(), "billing".parse().unwrap());
    let mut consumer = Consumer::subscribe(fake.server(), topic, channel, config);
    let (mut peer, _) = fake.accept_consumer().await;
    for piece in pieces(bytes, cuts) {
        // It may have had enough.
        if peer.stream.write_all(piece).await.is_err() {
            break;
        }
    }
    drop(peer);

    let mut peer = fake.accept().await;
    assert!(matches!(peer.command().await, Command::Subscribe { .. }));
    peer.ok().await;
    peer.deliver(1, 1).await;
    let good = soon("the good message", async {
        loop {
            let message = consumer.next().await.unwrap();
            if message.body() == "1" && message.id() == id(1) {
                break message;
            }
        }
    })
    .await;
    good.finish();
    loop {
        match peer.command().await {
            Command::Finish(finished) if finished == id(1) => break,
            Command::Ready(window) => assert!(window <= 3),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sizes_that_are_announced_take_no_memory_before_they_are_there() {
    let huge = i32::MAX as usize;
    for announced in [&b"\x7f\xff\xff\xfe\0\0\0\x02"[..], b"\x7f\xff\xff\xfe"] {
        let mut buffer = BytesMut::from(announced);
        let before = buffer.capacity();
        assert_eq!(Frame::decode(&mut buffer, huge), Ok(None));
        assert!(buffer.capacity() <= before);
    }
    for announced in [
        &b"PUB orders\n\x7f\xff\xff\xff"[..],
        b"IDENTIFY\n\x7f\xff\xff\xff",
        b"AUTH\n\x7f\xff\xff\xff",
        b"DPUB orders 1\n\x7f\xff\xff\xff",
        b"MPUB orders\n\x7f\xff\xff\xff\x7f\xff\xff\xff",
    ] {
        let mut buffer = BytesMut::from(announced);
        let before = buffer.capacity();
        assert_eq!(Command::decode(&mut buffer, huge), Ok(None));
        assert!(buffer.capacity() <= before);
    }
    // A batch that claims to have four thousand million messages in eight bytes.
    let mut buffer = BytesMut::from(&b"MPUB orders\n\0\0\0\x08\xff\xff\xff\xff\0\0\0\0"[..]);
    assert!(Command::decode(&mut buffer, huge).is_err());
}
