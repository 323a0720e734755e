//! nsqd is killed, restarted or hangs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::future::join_all;
use nsq::{
    ConnectionError, Consumer, ConsumerConfig, NotSent, Producer, ProducerConfig, PublishError,
    State,
};

use super::harness::{Nsqd, channel, eventually, next_body, soon, stays_quiet, topic};

async fn connected(mut state: tokio::sync::watch::Receiver<State>) {
    let connected = state.wait_for(State::is_connected);
    soon("the connection", connected).await.unwrap();
}

#[tokio::test]
async fn what_nsqd_may_have_is_unknown_and_what_waited_is_published_after_the_restart() {
    let mut nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    soon("the first", producer.publish(&topic(), "first"))
        .await
        .unwrap();

    nsqd.freeze();
    let written = producer.publish(&topic(), "written");
    eventually("the bytes in the kernel", || nsqd.has_unread()).await;
    nsqd.kill();
    let result = soon("the result", written).await;
    assert!(
        matches!(result, Err(PublishError::Unknown(_))),
        "{result:?}"
    );

    let waiting = producer.publish(&topic(), "waiting");
    nsqd.restart();
    soon("the acknowledgement", waiting).await.unwrap();
    let mut consumer = nsqd.consumer(ConsumerConfig::default());
    // The first was in nsqd's memory only.
    assert_eq!(next_body(&mut consumer).await, "waiting");
    assert!(stays_quiet(&mut consumer, Duration::from_millis(300)).await);
}

#[tokio::test]
async fn what_waits_too_long_is_not_sent_and_says_why() {
    let mut nsqd = Nsqd::start(&[]);
    let config = ProducerConfig {
        send_timeout: Duration::from_millis(300),
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(nsqd.server(), config);
    connected(producer.state()).await;
    nsqd.kill();
    let mut state = producer.state();
    let lost = state.wait_for(|state| !state.is_connected());
    soon("the loss", lost).await.unwrap();

    let start = Instant::now();
    let result = soon("the result", producer.publish(&topic(), "tea")).await;
    let Err(PublishError::NotSent(NotSent::Expired { last: Some(_), .. })) = &result else {
        panic!("{result:?}")
    };
    assert!(start.elapsed() >= Duration::from_millis(300));
    let text = result.unwrap_err().to_string();
    assert!(text.contains(&nsqd.address().to_string()), "{text}");

    nsqd.restart();
    connected(producer.state()).await;
    soon("the next", producer.publish(&topic(), "coffee"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_goes_on_over_kills_in_the_middle_of_it() {
    let mut nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig {
        max_in_flight: 20,
        ..ConsumerConfig::default()
    });
    let stream = tokio::spawn({
        let producer = producer.clone();
        async move {
            loop {
                let part = (0..50).map(|n| producer.publish(&topic(), n.to_string()));
                for result in join_all(part).await {
                    let possible = matches!(
                        result,
                        Ok(()) | Err(PublishError::Unknown(_) | PublishError::NotSent(_))
                    );
                    assert!(possible, "{result:?}");
                }
            }
        }
    });
    for _ in 0..3 {
        for _ in 0..200 {
            next_body(&mut consumer).await;
        }
        nsqd.kill();
        nsqd.restart();
    }
    for _ in 0..200 {
        next_body(&mut consumer).await;
    }
    stream.abort();
    assert!(soon("the stream", stream).await.unwrap_err().is_cancelled());

    let last: BTreeSet<String> = (0..100).map(|n| format!("last.{n}")).collect();
    let publications = last.iter().map(|n| producer.publish(&topic(), n.clone()));
    for result in soon("the acknowledgements", join_all(publications)).await {
        result.unwrap();
    }
    soon("all messages of the end", async {
        let mut received = BTreeSet::new();
        while !last.is_subset(&received) {
            received.insert(next_body(&mut consumer).await);
        }
    })
    .await;
}

#[tokio::test]
async fn a_consumer_resumes_after_a_restart_and_tells_its_state() {
    let mut nsqd = Nsqd::start(&[]);
    let producer = nsqd.producer();
    let mut consumer = nsqd.consumer(ConsumerConfig::default());
    soon("before", producer.publish(&topic(), "before"))
        .await
        .unwrap();
    assert_eq!(next_body(&mut consumer).await, "before");
    let mut state = consumer.state();
    assert!(state.borrow_and_update().is_connected());

    nsqd.kill();
    soon("the loss", async {
        let lost = state.wait_for(|state| matches!(state, State::Disconnected { .. }));
        drop(lost.await.unwrap());
    })
    .await;
    nsqd.restart();
    connected(consumer.state()).await;
    soon("after", producer.publish(&topic(), "after"))
        .await
        .unwrap();
    assert_eq!(next_body(&mut consumer).await, "after");
    soon("closing", consumer.close()).await;
    assert!(matches!(*state.borrow(), State::Closed));
}

#[tokio::test]
async fn heartbeats_keep_idle_and_busy_connections_alive() {
    let nsqd = Nsqd::start(&[]);
    let mut server = nsqd.server();
    server.heartbeat = Duration::from_secs(1);
    let producer = Producer::connect(server.clone(), ProducerConfig::default());
    let mut consumer = Consumer::subscribe(server, topic(), channel(), ConsumerConfig::default());
    soon("the acknowledgement", producer.publish(&topic(), "tea"))
        .await
        .unwrap();
    let held = soon("the message", consumer.next()).await.unwrap();

    // nsqd drops a client that missed two.
    let mut states = [producer.state(), consumer.state()];
    states.iter_mut().for_each(|state| {
        assert!(state.borrow_and_update().is_connected());
    });
    let [publishing, consuming] = &mut states;
    let changed = async {
        tokio::select! {
            _ = publishing.changed() => {}
            _ = consuming.changed() => {}
        }
    };
    let quiet = tokio::time::timeout(Duration::from_millis(4500), changed).await;
    assert!(quiet.is_err(), "{states:?}");
    held.finish();
    soon("the next", producer.publish(&topic(), "coffee"))
        .await
        .unwrap();
    assert_eq!(next_body(&mut consumer).await, "coffee");
}

#[tokio::test]
async fn an_nsqd_that_hangs_is_noticed() {
    let nsqd = Nsqd::start(&[]);
    let mut server = nsqd.server();
    server.heartbeat = Duration::from_secs(1);
    let consumer = Consumer::subscribe(server, topic(), channel(), ConsumerConfig::default());
    connected(consumer.state()).await;
    nsqd.freeze();
    let mut state = consumer.state();
    let lost = state.wait_for(|state| {
        matches!(state, State::Disconnected { reason } if matches!(**reason, ConnectionError::Timeout { .. }))
    });
    soon("the loss", lost).await.unwrap();
}

#[tokio::test]
async fn an_nsqd_that_hangs_does_not_keep_a_producer_from_closing() {
    let nsqd = Nsqd::start(&[]);
    let config = ProducerConfig {
        close_timeout: Duration::from_millis(300),
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(nsqd.server(), config);
    connected(producer.state()).await;
    nsqd.freeze();
    let publication = producer.publish(&topic(), "tea");
    soon("closing", producer.close()).await;
    let result = soon("the result", publication).await;
    assert!(
        matches!(result, Err(PublishError::Unknown(_))),
        "{result:?}"
    );
}
