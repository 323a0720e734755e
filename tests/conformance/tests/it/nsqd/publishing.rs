//! What nsqd acknowledges and what it refuses.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use bytes::BytesMut;
use futures::future::join_all;
use nsq::{
    ConsumerConfig, NotSent, PublishError, TopicName,
    codec::{Frame, MAGIC},
};

use super::harness::{Nsqd, SOON, eventually, next_body, soon, stays_quiet, topic};

#[tokio::test]
async fn a_message_is_acknowledged_and_received() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig::default());

    soon("the acknowledgement", producer.publish(&topic(), "tea"))
        .await
        .unwrap();
    let message = soon("the message", consumer.next()).await.unwrap();
    assert_eq!(message.body(), "tea");
    assert_eq!(message.attempts(), 1);
    assert!(message.timestamp().elapsed().unwrap() < SOON);
    assert_eq!(message.timeout(), Duration::from_secs(60));
    message.finish();
    assert!(stays_quiet(&mut consumer, Duration::from_millis(300)).await);
}

#[tokio::test]
async fn thousands_in_one_go_are_all_acknowledged_and_received_once() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig {
        max_in_flight: 200,
        ..ConsumerConfig::default()
    });
    let numbers: BTreeSet<String> = (0..5000).map(|n| n.to_string()).collect();

    let publications: Vec<_> = numbers
        .iter()
        .map(|n| producer.publish(&topic(), n.clone()))
        .collect();
    for result in soon("the acknowledgements", join_all(publications)).await {
        result.unwrap();
    }
    let mut received = BTreeSet::new();
    for _ in 0..numbers.len() {
        assert!(received.insert(next_body(&mut consumer).await));
    }
    assert_eq!(received, numbers);
}

#[tokio::test]
async fn messages_published_together_are_acknowledged_together() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let bodies: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    soon(
        "the acknowledgement",
        producer.publish_many(&topic(), bodies),
    )
    .await
    .unwrap();
    assert_eq!(nsqd.topic_stats(&topic())["depth"], 100);

    let nothing = producer.publish_many(&topic(), Vec::<String>::new());
    soon("the result of nothing", nothing).await.unwrap();
    assert_eq!(nsqd.topic_stats(&topic())["message_count"], 100);
}

#[tokio::test]
async fn a_message_of_the_largest_size_goes_through() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig::default());
    let body: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    soon(
        "the acknowledgement",
        producer.publish(&topic(), body.clone()),
    )
    .await
    .unwrap();
    let message = soon("the message", consumer.next()).await.unwrap();
    assert!(message.body() == &body);
    message.finish();
}

#[tokio::test]
async fn a_message_that_is_too_big_is_refused_and_its_neighbours_arrive_once() {
    let nsqd = Nsqd::start(&["--max-msg-size=1024"]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig::default());

    let results = join_all([
        producer.publish(&topic(), "before"),
        producer.publish(&topic(), vec![b'x'; 1 << 20]),
        producer.publish(&topic(), "after"),
        producer.publish(&topic(), ""),
        producer.publish(&topic(), "last"),
    ]);
    let results = soon("the results", results).await;
    let refused = |result: &Result<(), PublishError>| matches!(result, Err(PublishError::Rejected(error)) if error.code == "E_BAD_MESSAGE");
    assert!(results[0].is_ok(), "{results:?}");
    assert!(refused(&results[1]), "{results:?}");
    assert!(results[2].is_ok(), "{results:?}");
    assert!(refused(&results[3]), "{results:?}");
    assert!(results[4].is_ok(), "{results:?}");

    let mut received = Vec::new();
    for _ in 0..3 {
        received.push(next_body(&mut consumer).await);
    }
    received.sort();
    assert_eq!(received, ["after", "before", "last"]);
    assert!(stays_quiet(&mut consumer, Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_name_is_good_exactly_when_nsqd_takes_it() {
    let nsqd = Nsqd::start(&[]);
    let long = |length: usize| "n".repeat(length);
    let names = [
        "a".to_owned(),
        "A.b_c-9".to_owned(),
        "a#ephemeral".to_owned(),
        "#ephemeral".to_owned(),
        "a#ephemeral#ephemeral".to_owned(),
        "a#other".to_owned(),
        "a/b".to_owned(),
        "ä".to_owned(),
        "a:b".to_owned(),
        "..".to_owned(),
        long(64),
        long(65),
        long(54) + "#ephemeral",
        long(55) + "#ephemeral",
    ];
    for name in names {
        let taken = publish_raw(&nsqd, &name);
        assert_eq!(
            TopicName::new(&name).is_ok(),
            taken == Frame::Response("OK".into()),
            "{name}: nsqd says {taken:?}"
        );
    }
}

/// What nsqd answers to a publish to a topic of any name.
fn publish_raw(nsqd: &Nsqd, name: &str) -> Frame {
    let mut stream = TcpStream::connect(nsqd.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(MAGIC).unwrap();
    write!(stream, "PUB {name}\n\0\0\0\x01x").unwrap();
    let mut answer = BytesMut::new();
    let mut chunk = [0; 1024];
    loop {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "nsqd closed without an answer");
        answer.extend_from_slice(&chunk[..length]);
        if let Some(frame) = Frame::decode(&mut answer, 1024).unwrap() {
            return frame;
        }
    }
}

#[tokio::test]
async fn closing_sends_what_was_accepted_and_takes_no_more() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let accepted: Vec<_> = (0..1000)
        .map(|n| producer.publish(&topic(), n.to_string()))
        .collect();
    soon("closing", producer.close()).await;
    for result in soon("the results", join_all(accepted)).await {
        result.unwrap();
    }
    assert_eq!(nsqd.topic_stats(&topic())["depth"], 1000);

    let refused = soon("the refusal", producer.publish(&topic(), "late")).await;
    assert!(
        matches!(refused, Err(PublishError::NotSent(NotSent::Closed))),
        "{refused:?}"
    );
    assert!(matches!(*producer.state().borrow(), nsq::State::Closed));
}

#[tokio::test]
async fn dropping_the_producer_sends_what_was_accepted() {
    let nsqd = Nsqd::start(&[]);
    let accepted = nsqd.producer().publish(&topic(), "tea");
    soon("the acknowledgement", accepted).await.unwrap();
    eventually("the end of the connection", || {
        nsqd.log().contains("exiting ioloop")
    })
    .await;
}

#[tokio::test]
async fn an_acknowledgement_does_not_wait_for_a_timer() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    soon("the first", producer.publish(&topic(), "warm"))
        .await
        .unwrap();
    let start = std::time::Instant::now();
    for _ in 0..100 {
        soon("the next", producer.publish(&topic(), "one"))
            .await
            .unwrap();
    }
    // About 0.1 ms each. A flush by a timer of 25 ms, nsqd's shortest, would make it 2.5 s.
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}
