//! Messages whose time has not come.

use std::time::{Duration, Instant};

use nsq::{ConsumerConfig, PublishError};

use super::harness::{Nsqd, channel, eventually, soon, stays_quiet, topic};

fn config() -> ConsumerConfig {
    ConsumerConfig {
        max_in_flight: 10,
        backoff: None,
        ..ConsumerConfig::default()
    }
}

#[tokio::test]
async fn a_deferred_message_comes_not_before_its_time_and_others_pass_it() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(config());
    let delay = Duration::from_millis(800);
    let start = Instant::now();
    let deferred = producer.publish_deferred(&topic(), delay, "later");
    let at_once = producer.publish(&topic(), "now");
    soon("the acknowledgement", deferred).await.unwrap();
    soon("the acknowledgement", at_once).await.unwrap();

    let first = soon("a message", consumer.next()).await.unwrap();
    assert_eq!(first.body(), "now");
    first.finish();
    eventually("the deferral", || {
        nsqd.channel_stats(&topic(), &channel())["deferred_count"] == 1
    })
    .await;
    let second = soon("a message", consumer.next()).await.unwrap();
    assert_eq!((&second.body()[..], second.attempts()), (&b"later"[..], 1));
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    second.finish();
}

#[tokio::test]
async fn without_a_delay_it_comes_at_once() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(config());
    let published = producer.publish_deferred(&topic(), Duration::ZERO, "now");
    soon("the acknowledgement", published).await.unwrap();
    soon("a message", consumer.next()).await.unwrap().finish();
}

#[tokio::test]
async fn a_publish_that_is_deferred_too_long_is_refused_and_a_requeue_is_shortened() {
    let nsqd = Nsqd::start(&["--max-req-timeout=1s"]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(config());
    for delay in [Duration::from_millis(1001), Duration::MAX] {
        let refused = producer.publish_deferred(&topic(), delay, "never");
        let result = soon("the refusal", refused).await;
        assert!(
            matches!(&result, Err(PublishError::Rejected(error)) if error.code == "E_INVALID"),
            "{result:?}"
        );
    }
    let longest = producer.publish_deferred(&topic(), Duration::from_secs(1), "tea");
    soon("the acknowledgement", longest).await.unwrap();

    let message = soon("a message", consumer.next()).await.unwrap();
    let start = Instant::now();
    message.requeue(Duration::MAX);
    let again = soon("a message", consumer.next()).await.unwrap();
    assert_eq!((&again.body()[..], again.attempts()), (&b"tea"[..], 2));
    assert!(start.elapsed() >= Duration::from_secs(1));
    again.finish();
}

#[tokio::test]
async fn a_paused_channel_gives_nothing_until_it_goes_on() {
    let nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(config());
    let mut state = consumer.state();
    soon("the start", state.wait_for(nsq::State::is_connected))
        .await
        .unwrap();
    nsqd.command("channel/pause?topic=orders&channel=billing");
    soon("the acknowledgement", producer.publish(&topic(), "tea"))
        .await
        .unwrap();
    assert!(stays_quiet(&mut consumer, Duration::from_millis(300)).await);
    nsqd.command("channel/unpause?topic=orders&channel=billing");
    soon("a message", consumer.next()).await.unwrap().finish();
}
