//! What is asked for and shown when a connection begins.

use std::{sync::Arc, time::Duration};

use nsq::{
    Compression, ConnectionError, Consumer, ConsumerConfig, DeflateLevel, Producer, ProducerConfig,
    SampleRate, Secret, Server, State, codec::Command, codec::Frame,
};
use tokio::io::AsyncWriteExt as _;

use crate::{
    server::FakeServer,
    soon::{self, soon},
};

const SECRET: &str = "correct horse";

fn with_secret(fake: &FakeServer) -> Server {
    fake.server().with_secret(Secret::new(SECRET).unwrap())
}

fn publish(server: Server) -> Producer {
    Producer::connect(server, ProducerConfig::default())
}

async fn connected(producer: &Producer) {
    soon::state(&mut producer.state(), State::is_connected).await;
}

async fn why_disconnected(producer: &Producer) -> Arc<ConnectionError> {
    let mut state = producer.state();
    let lost = |state: &State| matches!(state, State::Disconnected { .. });
    match soon::state(&mut state, lost).await {
        State::Disconnected { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_secret_is_shown_to_a_server_that_asks_for_it() {
    let fake = FakeServer::start().await;
    let producer = publish(with_secret(&fake));
    let mut peer = fake.accept_raw().await;
    peer.identify(r#"{"auth_required": true}"#).await;
    assert_eq!(
        peer.command().await,
        Command::Auth(Secret::new(SECRET).unwrap())
    );
    peer.send(Frame::Response(
        r#"{"identity":"me","identity_url":"","permission_count":1}"#.into(),
    ))
    .await;
    connected(&producer).await;
}

#[tokio::test]
async fn the_secret_is_not_shown_to_a_server_that_does_not_ask() {
    let fake = FakeServer::start().await;
    let producer = publish(with_secret(&fake));
    let mut peer = fake.accept_raw().await;
    let identity = peer.identify("{}").await;
    assert!(!identity.to_string().contains(SECRET));
    connected(&producer).await;
    // The next command is the answer to this, so none was sent before.
    peer.show_arrival().await;
}

#[tokio::test]
async fn a_client_without_secret_does_not_try_a_server_that_asks_for_one() {
    let fake = FakeServer::start().await;
    let producer = publish(fake.server());
    let mut peer = fake.accept_raw().await;
    peer.identify(r#"{"auth_required": true}"#).await;
    let reason = why_disconnected(&producer).await;
    assert!(
        matches!(*reason, ConnectionError::SecretRequired { .. }),
        "{reason:?}"
    );
}

#[tokio::test]
async fn the_secret_is_in_no_text() {
    let fake = FakeServer::start().await;
    let server = with_secret(&fake);
    let producer = publish(server.clone());
    let mut peer = fake.accept_raw().await;
    peer.identify(r#"{"auth_required": true}"#).await;
    let command = peer.command().await;
    peer.send(Frame::Response("what?".into())).await;
    let reason = why_disconnected(&producer).await;
    let texts = format!("{server:?} {producer:?} {command:?} {reason:?} {reason}");
    assert!(texts.contains("Secret(..)"), "{texts}");
    assert!(!texts.contains(SECRET), "{texts}");
    assert!(!texts.contains(&format!("{:?}", SECRET.as_bytes())));
}

#[tokio::test]
async fn compression_that_is_not_granted_is_done_without() {
    for compression in [
        Compression::Snappy,
        Compression::Deflate(DeflateLevel::try_from(3).unwrap()),
    ] {
        let fake = FakeServer::start().await;
        let producer = publish(fake.server().with_compression(compression));
        let mut peer = fake.accept_raw().await;
        let identity = peer
            .identify(r#"{"snappy": false, "deflate": false}"#)
            .await;
        let deflate = compression != Compression::Snappy;
        assert_eq!(identity["snappy"], !deflate);
        assert_eq!(identity["deflate"], deflate);
        assert_eq!(identity["deflate_level"], if deflate { 3 } else { 0 });
        connected(&producer).await;
        peer.show_arrival().await;
    }
}

#[tokio::test]
async fn compression_that_nobody_asked_for_is_not_begun() {
    let fake = FakeServer::start().await;
    let producer = publish(fake.server());
    let mut peer = fake.accept_raw().await;
    peer.identify(r#"{"snappy": true, "deflate": true}"#).await;
    connected(&producer).await;
    peer.show_arrival().await;
}

#[tokio::test]
async fn what_is_not_compressed_as_agreed_ends_the_connection_only() {
    for (compression, granted) in [
        (Compression::Snappy, r#"{"snappy": true}"#),
        (
            Compression::Deflate(DeflateLevel::default()),
            r#"{"deflate": true}"#,
        ),
    ] {
        let fake = FakeServer::start().await;
        let producer = publish(fake.server().with_compression(compression));
        let mut peer = fake.accept_raw().await;
        peer.identify(granted).await;
        peer.stream.write_all(&[0xfe; 400]).await.unwrap();
        let reason = why_disconnected(&producer).await;
        assert!(matches!(*reason, ConnectionError::Io { .. }), "{reason:?}");

        // The next connection may be better.
        let mut peer = fake.accept_raw().await;
        peer.identify("{}").await;
        connected(&producer).await;
        peer.show_arrival().await;
    }
}

#[tokio::test]
async fn with_deflate_a_consumer_asks_for_the_shortest_gathering_instead_of_none() {
    let fake = FakeServer::start().await;
    let server = fake
        .server()
        .with_compression(Compression::Deflate(DeflateLevel::default()));
    let (topic, channel) = ("orders".parse().unwrap(), "billing".parse().unwrap());
    let config = ConsumerConfig {
        sample_rate: Some(SampleRate::try_from(20).unwrap()),
        ..ConsumerConfig::default()
    };
    let _consumer = Consumer::subscribe(server, topic, channel, config);
    let mut peer = fake.accept_raw().await;
    let identity = peer.identify("{}").await;
    assert_eq!(identity["output_buffer_size"], 0);
    assert_eq!(identity["output_buffer_timeout"], 25);
    assert_eq!(identity["sample_rate"], 20);
}

#[tokio::test]
async fn a_publish_stays_when_nsqd_cannot_ask_its_authentication_service() {
    let fake = FakeServer::start().await;
    let producer = publish(with_secret(&fake));
    let mut peer = fake.accept().await;
    let topic = "orders".parse().unwrap();
    let publication = producer.publish(&topic, "tea");
    assert!(matches!(peer.command().await, Command::Publish { .. }));
    peer.send(Frame::Error(nsq::ServerError {
        code: "E_AUTH_FAILED".to_owned(),
        text: "AUTH failed".to_owned(),
    }))
    .await;

    let mut peer = fake.accept().await;
    assert!(matches!(peer.command().await, Command::Publish { .. }));
    peer.ok().await;
    soon("the result", publication).await.unwrap();
}

#[tokio::test]
async fn a_server_that_says_anything_at_all_does_no_harm() {
    let fake = FakeServer::start().await;
    let mut server = fake.server();
    server.handshake_timeout = Duration::from_millis(100);
    let producer = publish(server);
    let numbers = r#"{"max_rdy_count": 18446744073709551615, "msg_timeout": 18446744073709551615, "max_msg_timeout": 0}"#;
    for answer in [
        "",
        "null",
        "[]",
        r#"{"tls_v1": 1}"#,
        r#"{"max_rdy_count": -1}"#,
        numbers,
    ] {
        let mut peer = fake.accept_raw().await;
        peer.identify(answer).await;
    }
    let mut peer = fake.accept().await;
    peer.show_arrival().await;
    let publication = producer.publish(&"orders".parse().unwrap(), "tea");
    assert!(matches!(peer.command().await, Command::Publish { .. }));
    peer.ok().await;
    soon("the result", publication).await.unwrap();
}
