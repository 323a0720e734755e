//! What a consumer gets, holds, answers and leaves behind.

use std::time::{Duration, Instant};

use nsq::{ChannelName, Consumer, ConsumerConfig, Message, Producer};

use super::harness::{Nsqd, channel, eventually, next_body, soon, stays_quiet, topic};

const MOMENT: Duration = Duration::from_millis(300);

fn at_most(max_in_flight: usize) -> ConsumerConfig {
    ConsumerConfig {
        max_in_flight,
        ..ConsumerConfig::default()
    }
}

fn with_timeout(timeout: Duration) -> ConsumerConfig {
    ConsumerConfig {
        message_timeout: Some(timeout),
        ..ConsumerConfig::default()
    }
}

async fn publish(producer: &Producer, count: usize) {
    let bodies = (0..count).map(|n| n.to_string());
    soon(
        "the acknowledgement",
        producer.publish_many(&topic(), bodies),
    )
    .await
    .unwrap();
}

async fn next(consumer: &mut Consumer) -> Message {
    soon("a message", consumer.next()).await.unwrap()
}

#[tokio::test]
async fn a_requeued_message_comes_again_and_not_before_its_delay() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(at_most(1));
    publish(&producer, 1).await;

    next(&mut consumer).await.requeue(Duration::ZERO);
    let again = next(&mut consumer).await;
    assert_eq!(again.attempts(), 2);

    let delay = Duration::from_millis(700);
    let start = Instant::now();
    again.requeue(delay);
    let third = next(&mut consumer).await;
    assert_eq!(third.attempts(), 3);
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    third.finish();
    assert!(stays_quiet(&mut consumer, MOMENT).await);
}

#[tokio::test]
async fn a_message_that_is_dropped_comes_again_at_once() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(at_most(1));
    publish(&producer, 1).await;

    let id = next(&mut consumer).await.id();
    let again = next(&mut consumer).await;
    assert_eq!((again.id(), again.attempts()), (id, 2));
    again.finish();
}

#[tokio::test]
async fn late_answers_do_no_harm() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(with_timeout(Duration::from_secs(1)));
    publish(&producer, 1).await;

    let first = next(&mut consumer).await;
    assert_eq!(first.timeout(), Duration::from_secs(1));
    eventually("the timeout", || {
        let stats = nsqd.channel_stats(&topic(), &channel());
        stats["timeout_count"] == 1 && stats["in_flight_count"] == 1
    })
    .await;
    // nsqd has sent it again over the same connection; the first answer counts for that delivery.
    first.finish();
    let again = next(&mut consumer).await;
    assert_eq!(again.attempts(), 2);
    again.touch();
    again.finish();
    eventually("nsqd's complaint", || {
        nsqd.log().contains("E_TOUCH_FAILED") && nsqd.log().contains("E_FIN_FAILED")
    })
    .await;

    publish(&producer, 1).await;
    next(&mut consumer).await.finish();
    assert_eq!(
        nsqd.channel_stats(&topic(), &channel())["clients"][0]["message_count"],
        3,
        "all over one connection"
    );
}

#[tokio::test]
async fn touching_keeps_a_message_beyond_its_timeout() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(with_timeout(Duration::from_secs(1)));
    publish(&producer, 1).await;

    let message = next(&mut consumer).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        tokio::time::sleep(Duration::from_millis(250)).await;
        message.touch();
    }
    message.finish();
    eventually("the end of the work", || {
        nsqd.channel_stats(&topic(), &channel())["in_flight_count"] == 0
    })
    .await;
    assert_eq!(nsqd.channel_stats(&topic(), &channel())["timeout_count"], 0);
}

#[tokio::test]
async fn never_more_messages_are_out_than_allowed() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(at_most(5));
    publish(&producer, 50).await;

    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut consumer).await);
    }
    assert!(stays_quiet(&mut consumer, MOMENT).await);
    let stats = nsqd.channel_stats(&topic(), &channel());
    assert_eq!(
        (&stats["in_flight_count"], &stats["depth"]),
        (&5.into(), &45.into())
    );

    held.pop().unwrap().finish();
    held.push(next(&mut consumer).await);
    assert!(stays_quiet(&mut consumer, MOMENT).await);

    held.drain(..).for_each(Message::finish);
    for _ in 0..44 {
        next(&mut consumer).await.finish();
    }
    assert!(stays_quiet(&mut consumer, MOMENT).await);
}

#[tokio::test]
async fn a_window_beyond_what_nsqd_allows_is_narrowed() {
    let nsqd = Nsqd::start(&["--max-rdy-count=3"]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(at_most(100));
    publish(&producer, 10).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut consumer).await);
    }
    assert!(stays_quiet(&mut consumer, MOMENT).await);
}

#[tokio::test]
async fn messages_held_over_a_reconnect_count_towards_the_bound() {
    let mut nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(at_most(3));
    publish(&producer, 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut consumer).await);
    }

    nsqd.kill();
    let mut state = consumer.state();
    let lost = state.wait_for(|state| !state.is_connected());
    soon("the loss", lost).await.unwrap();
    nsqd.restart();
    let back = state.wait_for(nsq::State::is_connected);
    soon("the return", back).await.unwrap();
    publish(&producer, 5).await;
    assert!(stays_quiet(&mut consumer, MOMENT).await);
    let stats = nsqd.channel_stats(&topic(), &channel());
    assert_eq!(stats["clients"][0]["ready_count"], 0);
    assert_eq!(stats["in_flight_count"], 0);

    held.drain(..).for_each(Message::finish);
    for _ in 0..5 {
        next_body(&mut consumer).await;
    }
}

#[tokio::test]
async fn without_gathering_a_message_arrives_at_once() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(at_most(100));
    publish(&producer, 1).await;
    next(&mut consumer).await.finish();

    let start = Instant::now();
    for _ in 0..20 {
        publish(&producer, 1).await;
        next(&mut consumer).await.finish();
    }
    // nsqd's own buffer would hold each for up to 250 ms, 4 s in all.
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn an_ephemeral_channel_goes_with_its_consumer() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let channel: ChannelName = "look#ephemeral".parse().unwrap();
    let mut consumer = Consumer::subscribe(nsqd.server(), topic(), channel.clone(), at_most(1));
    publish(&producer, 1).await;
    next(&mut consumer).await.finish();
    assert!(!nsqd.channel_stats(&topic(), &channel).is_null());

    assert_eq!(soon("closing", consumer.close()).await, 0);
    eventually("the end of the channel", || {
        nsqd.channel_stats(&topic(), &channel).is_null()
    })
    .await;
}

#[tokio::test]
async fn closing_gives_back_what_was_not_handed_out_and_waits_for_what_was() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut first = nsqd.consumer(at_most(10));
    publish(&producer, 10).await;
    let held = next(&mut first).await;
    eventually("all in flight", || {
        nsqd.channel_stats(&topic(), &channel())["in_flight_count"] == 10
    })
    .await;

    let closing = tokio::spawn(first.close());
    // Nine come to the next consumer now, long before nsqd's timeout of 60 s.
    let mut second = nsqd.consumer(at_most(10));
    for _ in 0..9 {
        let message = next(&mut second).await;
        assert_eq!(message.attempts(), 2);
        message.finish();
    }
    assert!(stays_quiet(&mut second, MOMENT).await);
    assert!(!closing.is_finished());
    held.finish();
    assert_eq!(soon("closing", closing).await.unwrap(), 0);
    eventually("an empty channel", || {
        let stats = nsqd.channel_stats(&topic(), &channel());
        stats["in_flight_count"] == 0 && stats["depth"] == 0 && stats["client_count"] == 1
    })
    .await;
}

#[tokio::test]
async fn closing_does_not_wait_for_ever_and_says_what_was_not_answered() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig {
        max_in_flight: 2,
        close_timeout: Duration::from_millis(200),
        ..ConsumerConfig::default()
    });
    publish(&producer, 2).await;
    let held = [next(&mut consumer).await, next(&mut consumer).await];
    assert_eq!(soon("closing", consumer.close()).await, 2);
    drop(held);
}

#[tokio::test]
async fn dropping_the_consumer_gives_back_its_messages() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let first = nsqd.consumer(at_most(10));
    publish(&producer, 10).await;
    eventually("all in flight", || {
        nsqd.channel_stats(&topic(), &channel())["in_flight_count"] == 10
    })
    .await;
    drop(first);
    let mut second = nsqd.consumer(at_most(10));
    for _ in 0..10 {
        next(&mut second).await.finish();
    }
}
