//! The producer: what becomes of a message when the server fails in the middle of things.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use nsq::{
    ConnectionError, NotSent, Producer, ProducerConfig, PublishError, ServerError, State,
    TopicName,
    codec::{Command, Frame},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    server::{FakeServer, Peer},
    soon::{self, soon},
};

fn topic() -> TopicName {
    "orders".parse().unwrap()
}

/// The body of the next publish.
async fn body(peer: &mut Peer) -> String {
    match peer.command().await {
        Command::Publish { body, .. } => String::from_utf8(body.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn is_disconnected(state: &State) -> bool {
    matches!(state, State::Disconnected { .. })
}

async fn why_disconnected(producer: &Producer) -> Arc<ConnectionError> {
    match soon::state(&mut producer.state(), is_disconnected).await {
        State::Disconnected { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_are_matched_in_order_and_a_lost_one_is_unknown() {
    let fake = FakeServer::start().await;
    let producer = Producer::connect(fake.server(), ProducerConfig::default());
    let publications = ["a", "b", "c"].map(|body| producer.publish(&topic(), body));
    let mut peer = fake.accept().await;
    for expected in ["a", "b", "c"] {
        assert_eq!(body(&mut peer).await, expected);
    }
    peer.ok().await;
    drop(peer);

    let results = soon("the results", join_all(publications)).await;
    assert!(results[0].is_ok());
    for result in &results[1..] {
        assert!(
            matches!(result, Err(PublishError::Unknown(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn what_stands_behind_a_refused_message_is_sent_again_in_order() {
    let fake = FakeServer::start().await;
    let producer = Producer::connect(fake.server(), ProducerConfig::default());
    let publications = ["a", "b", "c", "d"].map(|body| producer.publish(&topic(), body));
    let mut peer = fake.accept().await;
    for expected in ["a", "b", "c", "d"] {
        assert_eq!(body(&mut peer).await, expected);
    }
    peer.ok().await;
    let refusal = ServerError {
        code: "E_BAD_MESSAGE".to_owned(),
        text: "PUB message too big".to_owned(),
    };
    peer.send(Frame::Error(refusal.clone())).await;

    let mut peer = fake.accept().await;
    for expected in ["c", "d"] {
        assert_eq!(body(&mut peer).await, expected);
        peer.ok().await;
    }
    let results = soon("the results", join_all(publications)).await;
    assert!(
        matches!(&results[1], Err(PublishError::Rejected(error)) if *error == refusal),
        "{results:?}"
    );
    assert!(results[0].is_ok() && results[2].is_ok() && results[3].is_ok());
}

#[tokio::test]
async fn a_message_that_was_written_in_part_is_sent_again() {
    // More than the kernel takes for both ends of a connection that is not read.
    const SIZE: usize = 24 << 20;
    let fake = FakeServer::start().await;
    let producer = Producer::connect(fake.server(), ProducerConfig::default());
    let publication = producer.publish(&topic(), vec![b'x'; SIZE]);
    let mut peer = fake.accept().await;
    let mut first = [0; 1024];
    soon("the first bytes", peer.stream.read_exact(&mut first))
        .await
        .unwrap();
    drop(peer);

    let mut peer = fake.accept().await;
    assert_eq!(body(&mut peer).await.len(), SIZE);
    peer.ok().await;
    soon("the result", publication).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let fake = FakeServer::start().await;
    let config = ProducerConfig {
        response_timeout: Duration::from_millis(200),
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(fake.server(), config);
    let mut peer = fake.accept().await;
    let publication = producer.publish(&topic(), "a");
    assert_eq!(body(&mut peer).await, "a");
    let result = soon("the result", publication).await;
    let Err(PublishError::Unknown(reason)) = result else {
        panic!("{result:?}")
    };
    assert!(reason.to_string().contains("200ms"), "{reason}");

    let mut peer = fake.accept().await;
    let publication = producer.publish(&topic(), "b");
    assert_eq!(body(&mut peer).await, "b");
    peer.ok().await;
    soon("the next", publication).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_read_is_given_up() {
    let fake = FakeServer::start().await;
    let mut server = fake.server();
    server.write_timeout = Duration::from_millis(200);
    let producer = Producer::connect(server, ProducerConfig::default());
    let publication = producer.publish(&topic(), vec![b'x'; 24 << 20]);
    let deaf = fake.accept().await;
    // On a busy machine this end too may read too slowly, now and then.
    let (mut peer, command) = loop {
        let mut peer = fake.accept().await;
        if let Some(command) = soon("a command, or the end", peer.next()).await {
            break (peer, command);
        }
    };
    let Command::Publish { body, .. } = command else {
        panic!("{command:?}")
    };
    assert_eq!(body.len(), 24 << 20);
    peer.ok().await;
    soon("the result", publication).await.unwrap();
    drop(deaf);
}

#[tokio::test]
async fn a_server_that_does_not_identify_itself_is_given_up() {
    let fake = FakeServer::start().await;
    let producer = Producer::connect(fake.server(), ProducerConfig::default());
    let silent = fake.accept_raw().await;
    let reason = why_disconnected(&producer).await;
    assert!(
        matches!(*reason, ConnectionError::Timeout { .. }),
        "{reason:?}"
    );
    drop(silent);
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_the_connection_only() {
    let fake = FakeServer::start().await;
    let producer = Producer::connect(fake.server(), ProducerConfig::default());
    for nonsense in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        &[0, 0, 0, 4, 0, 0, 0, 9],
    ] {
        let mut peer = fake.accept().await;
        soon::state(&mut producer.state(), State::is_connected).await;
        peer.stream.write_all(nonsense).await.unwrap();
        let reason = why_disconnected(&producer).await;
        assert!(
            matches!(*reason, ConnectionError::Protocol { .. }),
            "{reason:?}"
        );
    }
    let mut peer = fake.accept().await;
    soon::state(&mut producer.state(), State::is_connected).await;
    peer.ok().await;
    let reason = why_disconnected(&producer).await;
    assert!(
        matches!(*reason, ConnectionError::Unexpected { .. }),
        "{reason:?}"
    );

    let publication = producer.publish(&topic(), "a");
    let mut peer = fake.accept().await;
    assert_eq!(body(&mut peer).await, "a");
    peer.ok().await;
    soon("the result", publication).await.unwrap();
}

#[tokio::test]
async fn an_old_server_that_does_not_negotiate_will_do() {
    let fake = FakeServer::start().await;
    let producer = Producer::connect(fake.server(), ProducerConfig::default());
    let mut peer = fake.accept_raw().await;
    let identity = peer.identify("OK").await;
    assert_eq!(identity["feature_negotiation"], true);
    assert_eq!(identity["tls_v1"], false);
    assert_eq!(identity["heartbeat_interval"], 30_000);
    let publication = producer.publish(&topic(), "a");
    assert_eq!(body(&mut peer).await, "a");
    peer.ok().await;
    soon("the result", publication).await.unwrap();
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_not_asked_in_a_busy_loop() {
    let fake = FakeServer::start().await;
    let producer = Producer::connect(fake.server(), ProducerConfig::default());
    let start = Instant::now();
    for _ in 0..8 {
        drop(fake.accept().await);
    }
    // Delays of 10, 20, 40, 80, 100, 100, 100 ms, halved at most.
    assert!(start.elapsed() >= Duration::from_millis(225));
    producer.close().await;
}

#[tokio::test]
async fn refused_messages_do_not_make_the_others_wait_longer_and_longer() {
    let fake = FakeServer::start().await;
    let mut server = fake.server();
    server.backoff.max = Duration::from_secs(60);
    let producer = Producer::connect(server, ProducerConfig::default());
    let start = Instant::now();
    for _ in 0..15 {
        let publication = producer.publish(&topic(), "a");
        let mut peer = fake.accept().await;
        assert_eq!(body(&mut peer).await, "a");
        peer.send(Frame::Error(ServerError {
            code: "E_BAD_MESSAGE".to_owned(),
            text: "too big".to_owned(),
        }))
        .await;
        let result = soon("the result", publication).await;
        assert!(matches!(result, Err(PublishError::Rejected(_))));
    }
    // Delays of 10 ms each. Doubled each time the last one alone would be 80 s.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn heartbeats_are_answered() {
    let fake = FakeServer::start().await;
    let _producer = Producer::connect(fake.server(), ProducerConfig::default());
    let mut peer = fake.accept().await;
    peer.send(Frame::Response("_heartbeat_".into())).await;
    assert_eq!(peer.command().await, Command::Nop);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() {
    let fake = FakeServer::start().await;
    let config = ProducerConfig {
        max_messages: 3,
        max_bytes: 100,
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(fake.server(), config);
    let mut peer = fake.accept().await;
    let full = |result: Result<(), PublishError>| {
        matches!(
            result,
            Err(PublishError::NotSent(NotSent::QueueFull { .. }))
        )
    };
    let too_big = producer.publish(&topic(), vec![b'x'; 101]);
    assert!(full(soon("the refusal", too_big).await));
    let accepted = producer.publish_many(&topic(), ["a", "b", "c"]);
    assert!(full(
        soon("the refusal", producer.publish(&topic(), "d")).await
    ));

    assert!(matches!(peer.command().await, Command::PublishMany { .. }));
    peer.ok().await;
    soon("the result", accepted).await.unwrap();
    let accepted = producer.publish(&topic(), "d");
    assert_eq!(body(&mut peer).await, "d");
    peer.ok().await;
    soon("the result", accepted).await.unwrap();
}

#[tokio::test]
async fn closing_without_a_server_takes_no_longer_than_allowed() {
    let fake = FakeServer::start().await;
    let server = fake.server();
    drop(fake);
    let config = ProducerConfig {
        close_timeout: Duration::from_millis(100),
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(server, config);
    let publication = producer.publish(&topic(), "a");
    soon("closing", producer.close()).await;
    let result = soon("the result", publication).await;
    assert!(
        matches!(result, Err(PublishError::NotSent(NotSent::Closed))),
        "{result:?}"
    );
}

#[test]
fn a_result_comes_even_if_the_runtime_stops() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (producer, publication) = runtime.block_on(async {
        let fake = FakeServer::start().await;
        let producer = Producer::connect(fake.server(), ProducerConfig::default());
        let publication = producer.publish(&topic(), "a");
        let mut peer = fake.accept().await;
        assert_eq!(body(&mut peer).await, "a");
        (producer, publication)
    });
    drop(runtime);
    let result = futures::executor::block_on(publication);
    assert!(
        matches!(result, Err(PublishError::Unknown(_))),
        "{result:?}"
    );
    let late = futures::executor::block_on(producer.publish(&topic(), "b"));
    assert!(
        matches!(late, Err(PublishError::NotSent(NotSent::Closed))),
        "{late:?}"
    );
}

#[tokio::test]
async fn for_ever_is_a_time_to_wait() {
    let fake = FakeServer::start().await;
    let mut server = fake.server();
    server.write_timeout = Duration::MAX;
    server.connect_timeout = Duration::MAX;
    server.handshake_timeout = Duration::MAX;
    server.backoff.initial = Duration::MAX;
    server.backoff.max = Duration::MAX;
    let config = ProducerConfig {
        send_timeout: Duration::MAX,
        response_timeout: Duration::MAX,
        close_timeout: Duration::MAX,
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(server, config);
    let publication = producer.publish(&topic(), "a");
    let mut peer = fake.accept().await;
    assert_eq!(body(&mut peer).await, "a");
    peer.ok().await;
    soon("the result", publication).await.unwrap();
    let second = producer.publish(&topic(), "b");
    assert_eq!(body(&mut peer).await, "b");
    drop(peer);
    let lost = soon("the result", second).await;
    assert!(matches!(lost, Err(PublishError::Unknown(_))), "{lost:?}");
    // It waits for the next try, and does nothing worse.
    assert!(is_disconnected(
        &soon::state(&mut producer.state(), is_disconnected).await
    ));
}
