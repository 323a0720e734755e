//! An nsqd that asks who its clients are, and a service that knows.

use std::{sync::Arc, time::Duration};

use nsq::{
    ConnectionError, Consumer, ConsumerConfig, NotSent, Producer, ProducerConfig, PublishError,
    Secret, Server, State,
};

use super::{
    authd::Authd,
    harness::{Nsqd, channel, eventually, next_body, soon, topic},
    raw::Raw,
    tls::Secured,
};

const BOTH: &[&str] = &["publish", "subscribe"];

fn guarded() -> (Authd, Nsqd) {
    let authd = Authd::start();
    let nsqd = Nsqd::start(&[&authd.argument()]);
    (authd, nsqd)
}

fn knowing(server: Server, secret: &str) -> Server {
    server.with_secret(Secret::new(secret).unwrap())
}

fn publisher(server: Server) -> Producer {
    let config = ProducerConfig {
        send_timeout: Duration::from_secs(1),
        ..ProducerConfig::default()
    };
    Producer::connect(server, config)
}

fn reader(server: Server) -> Consumer {
    Consumer::subscribe(server, topic(), channel(), ConsumerConfig::default())
}

async fn publish(producer: &Producer) -> Result<(), PublishError> {
    soon("the result", producer.publish(&topic(), "tea")).await
}

/// Why nothing can be published.
async fn refusal(server: Server) -> Arc<ConnectionError> {
    match publish(&publisher(server)).await {
        Err(PublishError::NotSent(NotSent::Expired {
            last: Some(reason), ..
        })) => reason,
        other => panic!("{other:?}"),
    }
}

fn code(reason: &ConnectionError) -> &str {
    match reason {
        ConnectionError::Refused { error, .. } => &error.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn with_the_right_secret_one_publishes_and_reads() {
    let (authd, nsqd) = guarded();
    authd.allow("s3cret", 60, &[("^orders$", ".*", BOTH)]);
    let producer = publisher(knowing(nsqd.server(), "s3cret"));
    let mut consumer = reader(knowing(nsqd.server(), "s3cret"));
    publish(&producer).await.unwrap();
    assert_eq!(next_body(&mut consumer).await, "tea");
    let client = &nsqd.channel_stats(&topic(), &channel())["clients"][0];
    assert_eq!(client["authed"], true);
    assert_eq!(client["auth_identity"], "the one with s3cret");
    assert!(authd.questions()[0].contains("tls=false"));
}

#[tokio::test]
async fn without_a_secret_or_with_a_wrong_one_nothing_goes() {
    let (authd, nsqd) = guarded();
    authd.allow("nothing", 60, &[]);
    let reason = refusal(nsqd.server()).await;
    assert!(
        matches!(*reason, ConnectionError::SecretRequired { .. }),
        "{reason:?}"
    );
    let reason = refusal(knowing(nsqd.server(), "wrong")).await;
    assert_eq!(code(&reason), "E_AUTH_FAILED");
    let reason = refusal(knowing(nsqd.server(), "nothing")).await;
    assert_eq!(code(&reason), "E_UNAUTHORIZED");
    assert!(!reason.to_string().contains("nothing"), "{reason}");
}

#[tokio::test]
async fn who_may_publish_one_topic_is_refused_at_another_and_goes_on() {
    let (authd, nsqd) = guarded();
    authd.allow("s3cret", 60, &[("^orders$", ".*", &["publish"])]);
    let producer = publisher(knowing(nsqd.server(), "s3cret"));
    let forbidden = "bills".parse().unwrap();
    for round in 0..3 {
        publish(&producer).await.unwrap();
        let results = [
            soon("the result", producer.publish(&forbidden, "tea")).await,
            soon("the result", producer.publish_many(&forbidden, ["a", "b"])).await,
            soon(
                "the result",
                producer.publish_deferred(&forbidden, Duration::from_secs(1), "tea"),
            )
            .await,
        ];
        for result in results {
            assert!(
                matches!(&result, Err(PublishError::Rejected(error)) if error.code == "E_UNAUTHORIZED"),
                "round {round}: {result:?}"
            );
        }
    }
    assert_eq!(nsqd.topic_stats(&topic())["message_count"], 3);
}

#[tokio::test]
async fn who_may_not_subscribe_is_told_so_and_reads_once_it_may() {
    let (authd, nsqd) = guarded();
    authd.allow("s3cret", 60, &[("^orders$", "^other$", BOTH)]);
    let mut consumer = reader(knowing(nsqd.server(), "s3cret"));
    let mut state = consumer.state();
    let refused = state.wait_for(
        |state| matches!(state, State::Disconnected { reason } if code(reason) == "E_UNAUTHORIZED"),
    );
    soon("the refusal", refused).await.unwrap();

    authd.allow("s3cret", 60, &[("^orders$", ".*", BOTH)]);
    let producer = publisher(knowing(nsqd.server(), "s3cret"));
    publish(&producer).await.unwrap();
    assert_eq!(next_body(&mut consumer).await, "tea");
}

#[tokio::test]
async fn what_is_published_while_the_service_is_away_waits_for_it() {
    let (authd, nsqd) = guarded();
    authd.allow("s3cret", 1, &[("^orders$", ".*", BOTH)]);
    let config = ProducerConfig {
        send_timeout: Duration::from_secs(20),
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(knowing(nsqd.server(), "s3cret"), config);
    publish(&producer).await.unwrap();
    authd.answer("s3cret", 500, "");
    // nsqd asks again when what it knows has expired.
    let asked = authd.questions().len();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let waiting = producer.publish(&topic(), "coffee");
    eventually("the question", || authd.questions().len() > asked).await;
    authd.allow("s3cret", 60, &[("^orders$", ".*", BOTH)]);
    soon("the result", waiting).await.unwrap();
    assert!(nsqd.log().contains("E_AUTH_FAILED"));
}

#[tokio::test]
async fn the_service_learns_the_name_in_the_certificate() {
    let authd = Authd::start();
    authd.allow("s3cret", 60, &[(".*", ".*", BOTH)]);
    let secured = Secured::start_with(&[&authd.argument()]);
    let producer = publisher(knowing(secured.server(true, "nsqd.test"), "s3cret"));
    publish(&producer).await.unwrap();
    let question = authd.questions().remove(0);
    assert!(question.contains("tls=true"), "{question}");
    assert!(question.contains("common_name=client.test"), "{question}");
}

#[tokio::test]
async fn an_nsqd_without_authentication_is_not_shown_the_secret() {
    let nsqd = Nsqd::start(&["--log-level=debug"]);
    let producer = publisher(knowing(nsqd.server(), "s3cret"));
    publish(&producer).await.unwrap();
    assert!(!nsqd.log().contains("s3cret"));
    assert!(!nsqd.log().contains("[AUTH]"));
}

#[tokio::test]
async fn every_command_waits_for_authentication() {
    let (authd, nsqd) = guarded();
    authd.allow("s3cret", 60, &[("^orders$", ".*", &["subscribe"])]);
    for command in [
        "PUB orders\n\0\0\0\x01x",
        "MPUB orders\n",
        "DPUB orders 1\n\0\0\0\x01x",
        "SUB orders billing\n",
    ] {
        let mut raw = Raw::connect(nsqd.address());
        raw.write(command.as_bytes());
        assert_eq!(raw.error().code, "E_AUTH_FIRST", "{command}");
        assert!(raw.is_closed());
    }
    let mut raw = Raw::connect(nsqd.address());
    raw.write(b"AUTH\n\0\0\0\x06s3cret");
    assert!(raw.response().contains("\"permission_count\":1"));
    raw.write(b"AUTH\n\0\0\0\x06s3cret");
    assert_eq!(raw.error().code, "E_INVALID");
}
