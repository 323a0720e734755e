//! Every command of the protocol and every error that nsqd answers with, spoken by the codec alone.

use std::{collections::BTreeSet, fs, time::Duration};

use nsq::{
    ConnectionError, Consumer, ConsumerConfig, Producer, ProducerConfig, PublishError, State,
    codec::{Command, Delivery, Frame, MAGIC, MessageId},
};

use super::{
    authd::Authd,
    harness::{Nsqd, channel, next_body, soon, topic},
    raw::Raw,
};

fn identify(json: &str) -> Command {
    Command::Identify(json.to_owned().into())
}

fn subscribe() -> Command {
    Command::Subscribe {
        topic: topic(),
        channel: channel(),
    }
}

fn delivery(raw: &mut Raw) -> Delivery {
    match raw.next() {
        Some(Frame::Message(delivery)) => delivery,
        other => panic!("a message was expected: {other:?}"),
    }
}

#[test]
fn every_command_is_understood() {
    let authd = Authd::start();
    authd.allow("s3cret", 60, &[(".*", ".*", &["publish", "subscribe"])]);
    let nsqd = Nsqd::start(&[&authd.argument()]);
    let mut raw = Raw::connect(nsqd.address());
    raw.send(&identify(r#"{"feature_negotiation": true}"#));
    assert!(raw.response().contains("\"auth_required\":true"));
    raw.send(&Command::Auth(nsq::Secret::new("s3cret").unwrap()));
    assert!(raw.response().contains("permission_count"));
    raw.send(&Command::Nop);

    let topic = topic();
    raw.send(&Command::Publish {
        topic: topic.clone(),
        body: "one".into(),
    });
    raw.ok();
    raw.send(&Command::PublishMany {
        topic: topic.clone(),
        bodies: vec!["two".into(), "three".into()],
    });
    raw.ok();
    raw.send(&Command::PublishDeferred {
        topic,
        delay: Duration::from_millis(1),
        body: "four".into(),
    });
    raw.ok();

    raw.send(&subscribe());
    raw.ok();
    raw.send(&Command::Ready(1));
    let first = delivery(&mut raw);
    raw.send(&Command::Touch(first.id));
    raw.send(&Command::Requeue {
        id: first.id,
        delay: Duration::ZERO,
    });
    let mut left = BTreeSet::from(["one", "two", "three", "four"]);
    while !left.is_empty() {
        let delivery = delivery(&mut raw);
        let attempts = if delivery.id == first.id { 2 } else { 1 };
        assert_eq!(delivery.attempts, attempts);
        assert!(left.remove(std::str::from_utf8(&delivery.body).unwrap()));
        raw.send(&Command::Finish(delivery.id));
    }
    raw.send(&Command::Close);
    assert_eq!(raw.response(), "CLOSE_WAIT");
}

/// An id of a message that nsqd does not have.
const ID: &str = "0123456789abcdef";

/// What comes before the command, the command, and the code that nsqd answers with.
type Refusal = (&'static str, String, &'static str);

#[allow(clippy::too_many_lines, reason = "a table")]
fn refusals() -> Vec<Refusal> {
    const SUB: &str = "SUB orders billing\n";
    let body = |line: &str, body: &str| {
        let size = u32::try_from(body.len()).unwrap().to_be_bytes();
        // All sizes here are below 128, so that they are text too.
        let size = String::from_utf8(size.to_vec()).unwrap();
        format!("{line}\n{size}{body}")
    };
    let line = |line: &str| format!("{line}\n");
    let huge = |line: &str| format!("{line}\n\x7f\x7f\x7f\x7f");
    let with_features = r#"{"feature_negotiation": true, "snappy": true, "deflate": true}"#;
    vec![
        ("", line("HELP"), "E_INVALID"),
        ("", line(""), "E_INVALID"),
        ("", body("IDENTIFY", ""), "E_BAD_BODY"),
        ("", body("IDENTIFY", "{"), "E_BAD_BODY"),
        ("", huge("IDENTIFY"), "E_BAD_BODY"),
        (
            "",
            body("IDENTIFY", r#"{"heartbeat_interval": 1}"#),
            "E_BAD_BODY",
        ),
        ("", body("IDENTIFY", r#"{"msg_timeout": 1}"#), "E_BAD_BODY"),
        (
            "",
            body("IDENTIFY", r#"{"output_buffer_timeout": 1}"#),
            "E_BAD_BODY",
        ),
        (
            "",
            body("IDENTIFY", r#"{"output_buffer_size": 1}"#),
            "E_BAD_BODY",
        ),
        (
            "",
            body("IDENTIFY", r#"{"sample_rate": 100}"#),
            "E_BAD_BODY",
        ),
        ("", body("IDENTIFY", with_features), "E_IDENTIFY_FAILED"),
        (SUB, body("IDENTIFY", "{}"), "E_INVALID"),
        ("", line("AUTH now"), "E_INVALID"),
        ("", body("AUTH", ""), "E_BAD_BODY"),
        ("", huge("AUTH"), "E_BAD_BODY"),
        ("", body("AUTH", "s3cret"), "E_AUTH_DISABLED"),
        (SUB, body("AUTH", "s3cret"), "E_INVALID"),
        ("", line("SUB orders"), "E_INVALID"),
        ("", line("SUB $ billing"), "E_BAD_TOPIC"),
        ("", line("SUB orders $"), "E_BAD_CHANNEL"),
        (SUB, SUB.to_owned(), "E_INVALID"),
        ("", line("RDY 1"), "E_INVALID"),
        (SUB, line("RDY many"), "E_INVALID"),
        (SUB, line("RDY 2501"), "E_INVALID"),
        ("", line(&format!("FIN {ID}")), "E_INVALID"),
        (SUB, line("FIN"), "E_INVALID"),
        (SUB, line("FIN short"), "E_INVALID"),
        (SUB, line(&format!("FIN {ID}")), "E_FIN_FAILED"),
        ("", line(&format!("REQ {ID} 0")), "E_INVALID"),
        (SUB, line(&format!("REQ {ID}")), "E_INVALID"),
        (SUB, line(&format!("REQ {ID} soon")), "E_INVALID"),
        (SUB, line("REQ short 0"), "E_INVALID"),
        (SUB, line(&format!("REQ {ID} 0")), "E_REQ_FAILED"),
        ("", line(&format!("TOUCH {ID}")), "E_INVALID"),
        (SUB, line("TOUCH"), "E_INVALID"),
        (SUB, line("TOUCH short"), "E_INVALID"),
        (SUB, line(&format!("TOUCH {ID}")), "E_TOUCH_FAILED"),
        ("", line("CLS"), "E_INVALID"),
        ("", line("PUB"), "E_INVALID"),
        ("", body("PUB $", "x"), "E_BAD_TOPIC"),
        ("", body("PUB orders", ""), "E_BAD_MESSAGE"),
        ("", huge("PUB orders"), "E_BAD_MESSAGE"),
        ("", line("MPUB"), "E_INVALID"),
        ("", line("MPUB $"), "E_BAD_TOPIC"),
        ("", body("MPUB orders", ""), "E_BAD_BODY"),
        ("", huge("MPUB orders"), "E_BAD_BODY"),
        ("", body("MPUB orders", "\0\0\0\0"), "E_BAD_BODY"),
        (
            "",
            body("MPUB orders", "\0\0\0\x01\0\0\0\0"),
            "E_BAD_MESSAGE",
        ),
        (
            "",
            body("MPUB orders", "\0\0\0\x01\x7f\0\0\0"),
            "E_BAD_MESSAGE",
        ),
        ("", line("DPUB orders"), "E_INVALID"),
        ("", body("DPUB $ 1", "x"), "E_BAD_TOPIC"),
        ("", body("DPUB orders soon", "x"), "E_INVALID"),
        ("", body("DPUB orders 3600001", "x"), "E_INVALID"),
        ("", body("DPUB orders 1", ""), "E_BAD_MESSAGE"),
        ("", huge("DPUB orders 1"), "E_BAD_MESSAGE"),
    ]
}

/// The code with which nsqd refuses. It closes the connection exactly when the crate calls the error fatal.
fn refused(nsqd: &Nsqd, before: &str, command: &[u8]) -> String {
    let shown = command.escape_ascii();
    let mut raw = Raw::connect(nsqd.address());
    if !before.is_empty() {
        raw.write(before.as_bytes());
        raw.ok();
    }
    raw.write(command);
    let error = raw.error();
    assert_eq!(error.is_fatal(), raw.is_closed(), "{shown}: {error}");
    assert!(!error.text.is_empty(), "{shown}: {error}");
    error.code
}

#[test]
fn every_error_is_as_expected_and_closes_the_connection_if_it_is_fatal() {
    let nsqd = Nsqd::start(&[]);
    let mut seen = BTreeSet::new();
    for (before, command, code) in refusals() {
        let answer = refused(&nsqd, before, command.as_bytes());
        assert_eq!(answer, code, "{before:?}, then {command:?}");
        seen.insert(answer);
    }

    let mut raw = Raw::connect_with(nsqd.address(), b"  V1");
    seen.insert(raw.error().code);
    let mut raw = Raw::connect(nsqd.address());
    raw.send(&identify(r#"{"heartbeat_interval": -1}"#));
    raw.ok();
    raw.send(&subscribe());
    assert!(raw.error().text.contains("heartbeats disabled"));

    let narrow = Nsqd::start(&["--max-channel-consumers=1"]);
    let mut first = Raw::connect(narrow.address());
    first.send(&subscribe());
    first.ok();
    seen.insert(refused(&narrow, "", b"SUB orders billing\n"));

    let broken = without_disk();
    let publish = "orders\n\0\0\0\x01x";
    seen.insert(refused(&broken, "", format!("PUB {publish}").as_bytes()));
    let many = b"MPUB orders\n\0\0\0\x09\0\0\0\x01\0\0\0\x01x";
    seen.insert(refused(&broken, "", many));
    seen.insert(refused(&broken, "", b"DPUB orders 9\n\0\0\0\x01x"));

    let authd = Authd::start();
    authd.allow("s3cret", 60, &[("^other$", ".*", &["publish"])]);
    let guarded = Nsqd::start(&[&authd.argument()]);
    seen.insert(refused(&guarded, "", format!("PUB {publish}").as_bytes()));
    seen.insert(refused(&guarded, "", b"AUTH\n\0\0\0\x05wrong"));
    let mut raw = Raw::connect(guarded.address());
    raw.write(b"AUTH\n\0\0\0\x06s3cret");
    raw.response();
    raw.write(format!("PUB {publish}").as_bytes());
    seen.insert(raw.error().code);

    // All of nsqd 1.3.0's but E_AUTH_ERROR, which means that it cannot write JSON or cannot send.
    let all = [
        "E_AUTH_DISABLED",
        "E_AUTH_FAILED",
        "E_AUTH_FIRST",
        "E_BAD_BODY",
        "E_BAD_CHANNEL",
        "E_BAD_MESSAGE",
        "E_BAD_PROTOCOL",
        "E_BAD_TOPIC",
        "E_DPUB_FAILED",
        "E_FIN_FAILED",
        "E_IDENTIFY_FAILED",
        "E_INVALID",
        "E_MPUB_FAILED",
        "E_PUB_FAILED",
        "E_REQ_FAILED",
        "E_SUB_FAILED",
        "E_TOUCH_FAILED",
        "E_UNAUTHORIZED",
    ];
    assert_eq!(seen, all.map(str::to_owned).into());
}

/// An nsqd that keeps all messages on disk, and has none.
fn without_disk() -> Nsqd {
    let nsqd = Nsqd::start(&["--mem-queue-size=0"]);
    fs::remove_dir_all(nsqd.folder()).unwrap();
    nsqd
}

#[tokio::test]
async fn a_disk_that_fails_is_a_refusal_and_the_producer_goes_on() {
    let nsqd = without_disk();
    let producer = nsqd.producer();
    let (topic, later) = (topic(), Duration::from_secs(1));
    for round in 0..2 {
        for (publication, code) in [
            (producer.publish(&topic, "tea"), "E_PUB_FAILED"),
            (producer.publish_many(&topic, ["a", "b"]), "E_MPUB_FAILED"),
            (
                producer.publish_deferred(&topic, later, "tea"),
                "E_DPUB_FAILED",
            ),
        ] {
            let result = soon("the result", publication).await;
            assert!(
                matches!(&result, Err(PublishError::Rejected(error)) if error.code == code),
                "round {round}: {result:?}"
            );
        }
    }
    // Such a topic needs no disk.
    let in_memory = "look#ephemeral".parse().unwrap();
    soon("the result", producer.publish(&in_memory, "tea"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_batch_with_a_message_that_is_refused_is_refused_as_a_whole() {
    let nsqd = Nsqd::start(&["--max-msg-size=100", "--max-body-size=1000"]);
    let producer = nsqd.producer();
    let topic = topic();
    let big = "x".repeat(101);
    for (bodies, code) in [
        (vec!["good".to_owned(), String::new()], "E_BAD_MESSAGE"),
        (vec!["good".to_owned(), big], "E_BAD_MESSAGE"),
        (vec!["x".repeat(99); 20], "E_BAD_BODY"),
    ] {
        let result = soon("the result", producer.publish_many(&topic, bodies)).await;
        assert!(
            matches!(&result, Err(PublishError::Rejected(error)) if error.code == code),
            "{code}: {result:?}"
        );
    }
    assert_eq!(nsqd.topic_stats(&topic)["depth"], 0);
}

/// Why the state says that there is no connection.
async fn refusal(mut state: tokio::sync::watch::Receiver<State>) -> String {
    let refused = state.wait_for(|state| matches!(state, State::Disconnected { .. }));
    let state = soon("the refusal", refused).await.unwrap().clone();
    let State::Disconnected { reason } = state else {
        panic!("{state:?}")
    };
    match &*reason {
        ConnectionError::Refused { error, .. } => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn settings_that_nsqd_does_not_take_are_told() {
    let nsqd = Nsqd::start(&[]);
    let mut server = nsqd.server();
    server.heartbeat = Duration::from_secs(61);
    let producer = Producer::connect(server, ProducerConfig::default());
    let told = refusal(producer.state()).await;
    assert!(told.contains("E_BAD_BODY"), "{told}");
    assert!(told.contains("heartbeat interval (61000)"), "{told}");

    let consumer = nsqd.consumer(ConsumerConfig {
        message_timeout: Some(Duration::from_millis(999)),
        ..ConsumerConfig::default()
    });
    let told = refusal(consumer.state()).await;
    assert!(told.contains("msg timeout (999)"), "{told}");
}

#[tokio::test]
async fn a_channel_that_is_full_is_told_and_joined_when_there_is_room() {
    let nsqd = Nsqd::start(&["--max-channel-consumers=1"]);
    let first = nsqd.consumer(ConsumerConfig::default());
    let mut state = first.state();
    soon("the first", state.wait_for(State::is_connected))
        .await
        .unwrap();
    let mut second = nsqd.consumer(ConsumerConfig::default());
    let told = refusal(second.state()).await;
    assert!(told.contains("E_SUB_FAILED"), "{told}");
    soon("closing", first.close()).await;
    let producer = nsqd.producer();
    soon("the result", producer.publish(&topic(), "tea"))
        .await
        .unwrap();
    assert_eq!(next_body(&mut second).await, "tea");
}

#[tokio::test]
async fn a_deleted_channel_ends_the_connection_and_is_made_anew() {
    let nsqd = Nsqd::start(&[]);
    let mut consumer: Consumer = nsqd.consumer(ConsumerConfig::default());
    let mut state = consumer.state();
    soon("the start", state.wait_for(State::is_connected))
        .await
        .unwrap();
    nsqd.command("channel/delete?topic=orders&channel=billing");
    let lost = state.wait_for(|state| !state.is_connected());
    soon("the loss", lost).await.unwrap();
    soon("the return", state.wait_for(State::is_connected))
        .await
        .unwrap();
    let producer = nsqd.producer();
    soon("the result", producer.publish(&topic(), "tea"))
        .await
        .unwrap();
    assert_eq!(next_body(&mut consumer).await, "tea");
}

#[test]
fn ids_are_as_the_crate_takes_them() {
    let nsqd = Nsqd::start(&[]);
    let mut raw = Raw::connect(nsqd.address());
    raw.send(&subscribe());
    raw.ok();
    raw.send(&Command::Ready(1));
    raw.send(&Command::Publish {
        topic: topic(),
        body: "x".into(),
    });
    let mut id: Option<MessageId> = None;
    while id.is_none() {
        match raw.next() {
            Some(Frame::Message(delivery)) => id = Some(delivery.id),
            Some(Frame::Response(data)) => assert_eq!(data, "OK"),
            other => panic!("{other:?}"),
        }
    }
    let id = id.unwrap().to_string();
    assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(MAGIC, b"  V2");
}
