//! The consumer: bounds, lost connections, late answers, closing.

use std::time::Duration;

use nsq::{
    ConnectionError, Consumer, ConsumerConfig, Message, OutputBuffer, ServerError, State,
    codec::{Command, Frame},
};

use crate::{
    server::{FakeServer, id},
    soon::{self, soon},
};

fn subscribe(fake: &FakeServer, config: ConsumerConfig) -> Consumer {
    let (topic, channel) = ("orders".parse().unwrap(), "billing".parse().unwrap());
    Consumer::subscribe(fake.server(), topic, channel, config)
}

fn at_most(max_in_flight: usize) -> ConsumerConfig {
    ConsumerConfig {
        max_in_flight,
        backoff: None,
        ..ConsumerConfig::default()
    }
}

async fn next(consumer: &mut Consumer) -> Message {
    soon("a message", consumer.next()).await.unwrap()
}

async fn is_quiet(consumer: &mut Consumer) -> bool {
    let moment = Duration::from_millis(200);
    tokio::time::timeout(moment, consumer.next()).await.is_err()
}

#[tokio::test]
async fn it_asks_for_what_is_configured() {
    let fake = FakeServer::start().await;
    let _consumer = subscribe(
        &fake,
        ConsumerConfig {
            message_timeout: Some(Duration::from_secs(10)),
            output_buffer: OutputBuffer::Gather {
                bytes: 4096,
                timeout: Duration::from_millis(25),
            },
            ..ConsumerConfig::default()
        },
    );
    let mut peer = fake.accept_raw().await;
    let identity = peer.identify("{}").await;
    assert_eq!(identity["msg_timeout"], 10_000);
    assert_eq!(identity["output_buffer_size"], 4096);
    assert_eq!(identity["output_buffer_timeout"], 25);
    assert_eq!(
        peer.command().await,
        Command::Subscribe {
            topic: "orders".parse().unwrap(),
            channel: "billing".parse().unwrap()
        }
    );
}

#[tokio::test]
async fn heartbeats_are_answered_while_the_application_holds_all_it_may() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(1));
    let (mut peer, window) = fake.accept_consumer().await;
    assert_eq!(window, 1);
    peer.deliver(1, 1).await;
    let held = next(&mut consumer).await;
    assert_eq!(held.timestamp(), std::time::SystemTime::UNIX_EPOCH);
    peer.send(Frame::Response("_heartbeat_".into())).await;
    assert_eq!(peer.command().await, Command::Nop);
    held.touch();
    assert_eq!(peer.command().await, Command::Touch(id(1)));
    held.finish();
    assert_eq!(peer.command().await, Command::Finish(id(1)));
}

#[tokio::test]
async fn a_server_that_sends_more_than_asked_for_does_not_break_the_bound() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(2));
    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 1).await;
    peer.deliver(2, 1).await;
    let held = [next(&mut consumer).await, next(&mut consumer).await];
    for number in 3..=10 {
        peer.deliver(number, 1).await;
    }
    peer.show_arrival().await;
    assert!(is_quiet(&mut consumer).await);

    // The newest two wait; the others are left to nsqd's timeout.
    held.into_iter().for_each(Message::finish);
    for number in [9, 10] {
        let message = next(&mut consumer).await;
        assert_eq!(message.id(), id(number));
        message.finish();
    }
    assert!(is_quiet(&mut consumer).await);
}

#[tokio::test]
async fn messages_of_a_lost_connection_are_neither_handed_out_nor_answered() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(3));
    let (mut peer, window) = fake.accept_consumer().await;
    assert_eq!(window, 3);
    for number in 1..=3 {
        peer.deliver(number, 1).await;
    }
    let held = next(&mut consumer).await;
    assert_eq!(held.id(), id(1));
    drop(peer);

    // The one that is held narrows the window until it is answered.
    let (mut peer, window) = fake.accept_consumer().await;
    assert_eq!(window, 2);
    assert!(is_quiet(&mut consumer).await);
    held.finish();
    assert_eq!(peer.command().await, Command::Ready(3));
    peer.deliver(2, 2).await;
    next(&mut consumer).await.finish();
    assert_eq!(peer.command().await, Command::Finish(id(2)));
}

#[tokio::test]
async fn an_answer_to_an_earlier_delivery_does_not_take_away_the_later_one() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(2));
    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 1).await;
    let first = next(&mut consumer).await;
    peer.deliver(1, 2).await;
    let second = next(&mut consumer).await;
    first.touch();
    drop(first);
    second.requeue(Duration::from_secs(1));
    assert_eq!(
        peer.command().await,
        Command::Requeue {
            id: id(1),
            delay: Duration::from_secs(1)
        }
    );
}

#[tokio::test]
async fn a_message_that_expired_before_it_was_handed_out_is_not_handed_out() {
    let timeout = Duration::from_secs(1);
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(2));
    let mut peer = fake.accept_raw().await;
    peer.identify(r#"{"msg_timeout": 1000}"#).await;
    assert!(matches!(peer.command().await, Command::Subscribe { .. }));
    peer.ok().await;
    assert_eq!(peer.command().await, Command::Ready(2));
    peer.deliver(1, 1).await;
    peer.show_arrival().await;
    tokio::time::sleep(timeout).await;

    peer.deliver(1, 2).await;
    let message = next(&mut consumer).await;
    assert_eq!((message.attempts(), message.timeout()), (2, timeout));
    message.finish();
    assert_eq!(peer.command().await, Command::Finish(id(1)));
    assert!(is_quiet(&mut consumer).await);
}

#[tokio::test]
async fn a_late_answer_does_not_end_the_connection() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(1));
    let (mut peer, _) = fake.accept_consumer().await;
    for code in ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"] {
        let text = "FIN 0123456789abcdef failed ID not in flight".to_owned();
        let code = code.to_owned();
        peer.send(Frame::Error(ServerError { code, text })).await;
    }
    peer.deliver(1, 1).await;
    next(&mut consumer).await.finish();
    assert_eq!(peer.command().await, Command::Finish(id(1)));
}

#[tokio::test]
async fn a_refused_subscription_is_told_and_tried_again() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(1));
    let mut peer = fake.accept().await;
    assert!(matches!(peer.command().await, Command::Subscribe { .. }));
    peer.send(Frame::Error(ServerError {
        code: "E_UNAUTHORIZED".to_owned(),
        text: "AUTH failed".to_owned(),
    }))
    .await;
    let State::Disconnected { reason } = soon::state(&mut consumer.state(), |state| {
        matches!(state, State::Disconnected { .. })
    })
    .await
    else {
        panic!("it was asked for");
    };
    let ConnectionError::Refused { error, .. } = &*reason else {
        panic!("{reason:?}")
    };
    assert_eq!(error.code, "E_UNAUTHORIZED");

    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 1).await;
    next(&mut consumer).await.finish();
}

#[tokio::test]
async fn closing_gives_back_what_still_arrives() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, at_most(3));
    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 1).await;
    let held = next(&mut consumer).await;
    let closing = tokio::spawn(consumer.close());
    assert_eq!(peer.command().await, Command::Close);

    peer.deliver(2, 1).await;
    assert_eq!(
        peer.command().await,
        Command::Requeue {
            id: id(2),
            delay: Duration::ZERO
        }
    );
    peer.send(Frame::Response("CLOSE_WAIT".into())).await;
    held.finish();
    assert_eq!(peer.command().await, Command::Finish(id(1)));
    assert_eq!(soon("the end", peer.next()).await, None);
    drop(peer);
    assert_eq!(soon("closing", closing).await.unwrap(), 0);
}

#[tokio::test]
async fn closing_works_without_a_connection() {
    let fake = FakeServer::start().await;
    let consumer = subscribe(&fake, at_most(1));
    drop(fake);
    let mut state = consumer.state();
    assert_eq!(soon("closing", consumer.close()).await, 0);
    soon::state(&mut state, |state| matches!(state, State::Closed)).await;
}

#[test]
fn waiting_for_a_message_ends_when_the_runtime_stops() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut consumer = runtime.block_on(async {
        let fake = FakeServer::start().await;
        subscribe(&fake, at_most(1))
    });
    drop(runtime);
    assert!(futures::executor::block_on(consumer.next()).is_none());
}
