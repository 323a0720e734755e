//! What follows when messages fail: backoff.

use std::time::{Duration, Instant};

use nsq::{Backoff, Consumer, ConsumerConfig, Message, codec::Command};

use crate::{
    server::{FakeServer, id},
    soon::soon,
};

const DELAY: Duration = Duration::from_millis(200);

fn subscribe(fake: &FakeServer, config: ConsumerConfig) -> Consumer {
    let (topic, channel) = ("orders".parse().unwrap(), "billing".parse().unwrap());
    Consumer::subscribe(fake.server(), topic, channel, config)
}

fn with_backoff(max_in_flight: usize) -> ConsumerConfig {
    ConsumerConfig {
        max_in_flight,
        backoff: Some(Backoff {
            initial: DELAY,
            max: 4 * DELAY,
        }),
        ..ConsumerConfig::default()
    }
}

async fn next(consumer: &mut Consumer) -> Message {
    soon("a message", consumer.next()).await.unwrap()
}

fn requeue(number: u8, delay: Duration) -> Command {
    let id = id(number);
    Command::Requeue { id, delay }
}

#[tokio::test]
async fn after_a_failure_nothing_is_asked_for_and_then_one() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, with_backoff(5));
    let (mut peer, window) = fake.accept_consumer().await;
    assert_eq!(window, 5);
    peer.deliver(1, 1).await;
    next(&mut consumer).await.requeue(Duration::from_secs(9));

    // The window closes before the message is given back, which would come again at once.
    assert_eq!(peer.command().await, Command::Ready(0));
    let start = Instant::now();
    assert_eq!(peer.command().await, requeue(1, Duration::from_secs(9)));
    assert_eq!(peer.command().await, Command::Ready(1));
    // Half of it is left to chance; the start was seen a little late.
    assert!(start.elapsed() >= DELAY / 4, "{:?}", start.elapsed());

    peer.deliver(2, 1).await;
    next(&mut consumer).await.finish();
    assert_eq!(peer.command().await, Command::Ready(5));
    assert_eq!(peer.command().await, Command::Finish(id(2)));
}

#[tokio::test]
async fn each_failure_of_the_one_message_makes_the_way_back_longer() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, with_backoff(5));
    let (mut peer, _) = fake.accept_consumer().await;
    for number in 1..=2 {
        peer.deliver(number, 1).await;
        // Dropped without an answer.
        drop(next(&mut consumer).await);
        assert_eq!(peer.command().await, Command::Ready(0));
        assert_eq!(peer.command().await, requeue(number, Duration::ZERO));
        assert_eq!(peer.command().await, Command::Ready(1));
    }
    for (number, window) in [(3, 0), (4, 5)] {
        peer.deliver(number, 1).await;
        next(&mut consumer).await.finish();
        assert_eq!(peer.command().await, Command::Ready(window));
        assert_eq!(peer.command().await, Command::Finish(id(number)));
        if window == 0 {
            assert_eq!(peer.command().await, Command::Ready(1));
        }
    }
}

#[tokio::test]
async fn what_happens_during_the_delay_does_not_count() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, with_backoff(3));
    let (mut peer, _) = fake.accept_consumer().await;
    let mut held = Vec::new();
    for number in 1..=3 {
        peer.deliver(number, 1).await;
        held.push(next(&mut consumer).await);
    }
    held.drain(..)
        .for_each(|message| message.requeue(Duration::ZERO));
    assert_eq!(peer.command().await, Command::Ready(0));
    for number in 1..=3 {
        assert_eq!(peer.command().await, requeue(number, Duration::ZERO));
    }
    assert_eq!(peer.command().await, Command::Ready(1));
    // One success makes good what were three failures at once.
    peer.deliver(4, 1).await;
    next(&mut consumer).await.finish();
    assert_eq!(peer.command().await, Command::Ready(3));
}

#[tokio::test]
async fn a_message_that_only_comes_later_causes_no_backoff() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, with_backoff(5));
    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 1).await;
    let later = Duration::from_secs(60);
    next(&mut consumer).await.requeue_without_backoff(later);
    assert_eq!(peer.command().await, requeue(1, later));
    peer.show_arrival().await;
}

#[tokio::test]
async fn without_backoff_the_window_stays() {
    let fake = FakeServer::start().await;
    let config = ConsumerConfig {
        backoff: None,
        ..with_backoff(5)
    };
    let mut consumer = subscribe(&fake, config);
    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 1).await;
    drop(next(&mut consumer).await);
    assert_eq!(peer.command().await, requeue(1, Duration::ZERO));
    peer.show_arrival().await;
}
