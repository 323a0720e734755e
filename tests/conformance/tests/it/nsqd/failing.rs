//! Messages that fail: backoff, and giving them up.

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

use nsq::{
    Backoff, Consumer, ConsumerConfig, DeadLetters, Message, Producer, SampleRate, TopicName,
};

use super::harness::{Nsqd, channel, eventually, next_body, soon, stays_quiet, topic};

const DELAY: Duration = Duration::from_millis(600);

fn with_backoff() -> ConsumerConfig {
    ConsumerConfig {
        max_in_flight: 5,
        backoff: Some(Backoff {
            initial: DELAY,
            max: Duration::from_secs(5),
        }),
        ..ConsumerConfig::default()
    }
}

async fn next(consumer: &mut Consumer) -> Message {
    soon("a message", consumer.next()).await.unwrap()
}

async fn publish(producer: &Producer, count: usize) {
    let bodies = (0..count).map(|n| n.to_string());
    let published = producer.publish_many(&topic(), bodies);
    soon("the acknowledgement", published).await.unwrap();
}

/// Waits until nsqd knows this window.
async fn window(nsqd: &Nsqd, wanted: u32) {
    eventually("the window", || {
        nsqd.channel_stats(&topic(), &channel())["clients"][0]["ready_count"] == wanted
    })
    .await;
}

#[tokio::test]
async fn after_a_failure_the_window_closes_opens_a_little_and_then_wide() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(with_backoff());
    window(&nsqd, 5).await;
    publish(&producer, 1).await;
    let start = Instant::now();
    drop(next(&mut consumer).await);
    window(&nsqd, 0).await;
    // It is in nsqd's queue again, and stays there.
    publish(&producer, 20).await;
    assert!(stays_quiet(&mut consumer, DELAY / 4).await);
    window(&nsqd, 1).await;
    assert!(start.elapsed() >= DELAY / 2);
    let probe = next(&mut consumer).await;
    assert!(stays_quiet(&mut consumer, DELAY / 4).await);
    probe.finish();
    window(&nsqd, 5).await;
    for _ in 0..20 {
        next_body(&mut consumer).await;
    }
}

#[tokio::test]
async fn a_consumer_whose_every_message_fails_slows_down() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(with_backoff());
    publish(&producer, 10).await;
    let start = Instant::now();
    let mut handled = 0;
    while start.elapsed() < Duration::from_secs(4) {
        let left = Duration::from_secs(4).saturating_sub(start.elapsed());
        match tokio::time::timeout(left, consumer.next()).await {
            Ok(message) => {
                drop(message);
                handled += 1;
            }
            Err(_) => break,
        }
    }
    // A first window of five, and one after each of the delays of (at least) 0.3, 0.6, 1.2 and 2.4 s.
    assert!((3..=9).contains(&handled), "{handled}");
}

#[tokio::test]
async fn a_message_that_fails_too_often_ends_among_the_dead_letters_and_nowhere_else() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let dead: TopicName = "orders.dead".parse().unwrap();
    let three = NonZeroU16::new(3).unwrap();
    let mut consumer = nsqd.consumer(ConsumerConfig {
        backoff: None,
        dead_letters: Some(DeadLetters::to_topic(three, producer.clone(), dead.clone())),
        ..with_backoff()
    });
    let published = producer.publish(&topic(), "poison");
    soon("the acknowledgement", published).await.unwrap();
    for attempt in 1..=3 {
        let message = next(&mut consumer).await;
        assert_eq!(message.attempts(), attempt);
        message.requeue(Duration::ZERO);
    }
    assert!(stays_quiet(&mut consumer, Duration::from_millis(300)).await);
    eventually("an empty channel", || {
        let stats = nsqd.channel_stats(&topic(), &channel());
        stats["depth"] == 0 && stats["in_flight_count"] == 0 && stats["deferred_count"] == 0
    })
    .await;
    let config = ConsumerConfig::default();
    let mut undertaker = Consumer::subscribe(nsqd.server(), dead, channel(), config);
    assert_eq!(next_body(&mut undertaker).await, "poison");

    // The next one is as good as ever.
    publish(&producer, 1).await;
    assert_eq!(next_body(&mut consumer).await, "0");
}

#[tokio::test]
async fn a_message_that_nobody_answers_is_given_up_too() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let dead: TopicName = "orders.dead".parse().unwrap();
    let one = NonZeroU16::new(1).unwrap();
    let mut consumer = nsqd.consumer(ConsumerConfig {
        message_timeout: Some(Duration::from_secs(1)),
        dead_letters: Some(DeadLetters::to_topic(one, producer.clone(), dead.clone())),
        ..with_backoff()
    });
    publish(&producer, 1).await;
    let held = next(&mut consumer).await;
    eventually("the dead letter", || {
        nsqd.topic_stats(&dead)["message_count"] == 1
    })
    .await;
    drop(held);
    assert!(stays_quiet(&mut consumer, Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_dead_letter_that_has_no_place_is_tried_again_until_it_has_one() {
    let nsqd = Nsqd::start(&["--max-msg-size=10"]);
    let morgue = Nsqd::start(&["--max-msg-size=3"]);
    let dead: TopicName = "orders.dead".parse().unwrap();
    let one = NonZeroU16::new(1).unwrap();
    let mut tries = 0;
    let elsewhere = morgue.producer();
    let (tried, mut tries_seen) = tokio::sync::mpsc::unbounded_channel();
    let letters = DeadLetters::with(one, move |letter| {
        let producer = elsewhere.clone();
        let topic = dead.clone();
        let _ = tried.send(letter.attempts);
        // The third time it is cut to a size that the other takes.
        let end = if letter.attempts < 4 {
            letter.body.len()
        } else {
            3
        };
        let body = letter.body.slice(..end);
        async move { Ok(producer.publish(&topic, body).await?) }
    });
    let mut consumer = nsqd.consumer(ConsumerConfig {
        backoff: None,
        dead_letters: Some(letters.retry_after(Duration::from_millis(100))),
        ..with_backoff()
    });
    let producer = nsqd.producer();
    let published = producer.publish(&topic(), "poison");
    soon("the acknowledgement", published).await.unwrap();
    drop(next(&mut consumer).await);
    eventually("an empty channel", || {
        let stats = nsqd.channel_stats(&topic(), &channel());
        while tries_seen.try_recv().is_ok() {
            tries += 1;
        }
        stats["depth"] == 0
            && stats["in_flight_count"] == 0
            && stats["deferred_count"] == 0
            && tries == 3
    })
    .await;
    let dead = "orders.dead".parse().unwrap();
    let config = ConsumerConfig::default();
    let mut undertaker = Consumer::subscribe(morgue.server(), dead, channel(), config);
    assert_eq!(next_body(&mut undertaker).await, "poi");
}

#[tokio::test]
async fn a_sample_is_a_part_of_the_messages() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig {
        max_in_flight: 100,
        sample_rate: Some(SampleRate::try_from(20).unwrap()),
        ..ConsumerConfig::default()
    });
    window(&nsqd, 100).await;
    publish(&producer, 2000).await;
    let mut seen = 0;
    while let Ok(Some(message)) =
        tokio::time::timeout(Duration::from_secs(1), consumer.next()).await
    {
        message.finish();
        seen += 1;
    }
    // 400 of 2000; the chance of being off by 150 is nil.
    assert!((250..=550).contains(&seen), "{seen}");
}
