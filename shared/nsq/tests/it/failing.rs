//! What follows when messages fail: backoff, and giving up.

use std::{
    num::NonZeroU16,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nsq::{
    Backoff, Consumer, ConsumerConfig, DeadLetter, DeadLetters, Message, Producer, ProducerConfig,
    codec::Command,
};

use crate::{
    server::{FakeServer, Peer, id},
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

fn giving_up(dead_letters: DeadLetters) -> ConsumerConfig {
    ConsumerConfig {
        max_in_flight: 2,
        dead_letters: Some(dead_letters),
        ..ConsumerConfig::default()
    }
}

fn twice() -> NonZeroU16 {
    NonZeroU16::new(2).unwrap()
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

#[tokio::test]
async fn a_message_that_came_too_often_is_put_away_and_then_finished() {
    let fake = FakeServer::start().await;
    let letters: Arc<Mutex<Vec<DeadLetter>>> = Arc::default();
    let dead_letters = DeadLetters::with(twice(), {
        let letters = letters.clone();
        move |letter| {
            letters.lock().unwrap().push(letter);
            async { Ok(()) }
        }
    });
    let mut consumer = subscribe(&fake, giving_up(dead_letters));
    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 3).await;
    assert_eq!(peer.command().await, Command::Finish(id(1)));
    peer.deliver(2, 2).await;
    next(&mut consumer).await.finish();
    assert_eq!(peer.command().await, Command::Finish(id(2)));

    let letters = letters.lock().unwrap();
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    assert_eq!(letter.id, id(1));
    assert_eq!(letter.attempts, 3);
    assert_eq!(letter.topic.as_str(), "orders");
    assert_eq!(letter.channel.as_str(), "billing");
    assert_eq!(letter.body, "1");
}

#[tokio::test]
async fn a_message_is_finished_only_when_it_is_acknowledged_as_a_dead_letter() {
    let (fake, dead) = (FakeServer::start().await, FakeServer::start().await);
    let producer = Producer::connect(dead.server(), ProducerConfig::default());
    let topic = "orders.dead".parse().unwrap();
    let dead_letters = DeadLetters::to_topic(twice(), producer, topic);
    let _consumer = subscribe(&fake, giving_up(dead_letters));
    let (mut peer, _) = fake.accept_consumer().await;
    let mut dead_peer = dead.accept().await;
    peer.deliver(1, 3).await;
    let Command::Publish { topic, body } = dead_peer.command().await else {
        panic!("a publish was expected")
    };
    assert_eq!((topic.as_str(), &body[..]), ("orders.dead", &b"1"[..]));
    peer.show_arrival().await;
    dead_peer.ok().await;
    assert_eq!(peer.command().await, Command::Finish(id(1)));
}

#[tokio::test]
async fn a_message_that_cannot_be_put_away_is_tried_again_and_kept_alive_meanwhile() {
    let fake = FakeServer::start().await;
    let (fail, failure) = tokio::sync::oneshot::channel::<()>();
    let failure = Mutex::new(Some(failure));
    let dead_letters = DeadLetters::with(twice(), move |_| {
        let failure = failure.lock().unwrap().take();
        async move {
            if let Some(failure) = failure {
                failure.await?;
            }
            Err("no place for the dead".into())
        }
    });
    let again = Duration::from_secs(3);
    let config = giving_up(dead_letters.retry_after(again));
    let mut consumer = subscribe(&fake, config);
    let mut peer = fake.accept_raw().await;
    peer.identify(r#"{"msg_timeout": 1000}"#).await;
    assert!(matches!(peer.command().await, Command::Subscribe { .. }));
    peer.ok().await;
    assert_eq!(peer.command().await, Command::Ready(2));
    peer.deliver(1, 3).await;
    assert_eq!(peer.command().await, Command::Touch(id(1)));
    // Others are not kept waiting.
    peer.deliver(2, 1).await;
    next(&mut consumer).await.finish();
    assert_eq!(peer.command().await, Command::Finish(id(2)));
    drop(fail);
    loop {
        match peer.command().await {
            Command::Touch(_) => {}
            other => break assert_eq!(other, requeue(1, again)),
        }
    }
    // This is no failure of the application: the window stays.
    peer.show_arrival().await;
}

#[tokio::test]
async fn closing_waits_for_a_message_that_is_being_put_away() {
    let fake = FakeServer::start().await;
    let (done, doing) = tokio::sync::oneshot::channel::<()>();
    let doing = Mutex::new(Some(doing));
    let dead_letters = DeadLetters::with(twice(), move |_| {
        let doing = doing.lock().unwrap().take();
        async move {
            doing.unwrap().await?;
            Ok(())
        }
    });
    let consumer = subscribe(&fake, giving_up(dead_letters));
    let (mut peer, _) = fake.accept_consumer().await;
    peer.deliver(1, 3).await;
    peer.show_arrival().await;
    let closing = tokio::spawn(consumer.close());
    assert_eq!(peer.command().await, Command::Close);
    peer.send(nsq::codec::Frame::Response("CLOSE_WAIT".into()))
        .await;
    done.send(()).unwrap();
    assert_eq!(peer.command().await, Command::Finish(id(1)));
    end(peer).await;
    assert_eq!(soon("closing", closing).await.unwrap(), 0);
}

async fn end(mut peer: Peer) {
    assert_eq!(soon("the end", peer.next()).await, None);
}

#[tokio::test]
async fn work_that_takes_long_is_kept_alive_and_its_deadline_moves() {
    let fake = FakeServer::start().await;
    let mut consumer = subscribe(&fake, with_backoff(1));
    let mut peer = fake.accept_raw().await;
    peer.identify(r#"{"msg_timeout": 1000, "max_msg_timeout": 1700}"#)
        .await;
    assert!(matches!(peer.command().await, Command::Subscribe { .. }));
    peer.ok().await;
    assert_eq!(peer.command().await, Command::Ready(1));
    peer.deliver(1, 1).await;
    let message = next(&mut consumer).await;
    let first = message.deadline();
    let work = tokio::time::sleep(Duration::from_millis(2200));
    message.touch_while(work).await;
    // Touched after 0.5, 1 and 1.5 s; later nsqd does not listen to it any more.
    assert_eq!(message.deadline() - first, Duration::from_millis(700));
    message.finish();
    for _ in 0..3 {
        assert_eq!(peer.command().await, Command::Touch(id(1)));
    }
    assert_eq!(peer.command().await, Command::Finish(id(1)));
}
