//! The relay with a broker in memory.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use pgo_bus::{Message, PublishFailed, Publisher, Relay};
use pgo_events::{Draft, Event, EventType, Topic};
use pgo_ids::{EventKey, Seq, StreamId};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Broker {
    received: Arc<Mutex<Vec<(Topic, String, u64)>>>,
    refuses: Arc<AtomicBool>,
    losses: watch::Sender<u64>,
}

impl Broker {
    fn new() -> Self {
        Self {
            received: Arc::default(),
            refuses: Arc::default(),
            losses: watch::Sender::new(0),
        }
    }

    fn on(&self, topic: Topic) -> Vec<(String, u64)> {
        let received = self.received.lock().expect("the messages");
        let of_topic = received.iter().filter(|(on, _, _)| *on == topic);
        of_topic.map(|(_, s, seq)| (s.clone(), *seq)).collect()
    }

    async fn has(&self, topic: Topic, wanted: &[(&str, u64)]) {
        let wanted: Vec<_> = wanted.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect();
        let there = async {
            while self.on(topic) != wanted {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let result = timeout(DEADLINE, there).await;
        assert!(result.is_ok(), "{:?} is not {wanted:?}", self.on(topic));
    }
}

impl Publisher for Broker {
    fn publish(&self, topic: Topic, body: Bytes) -> BoxFuture<'static, Result<(), PublishFailed>> {
        let refused = self.refuses.load(Ordering::SeqCst);
        if !refused {
            let key = Message::decode(&body).expect("a message").key;
            let entry = (topic, key.stream.to_string(), key.seq.0);
            self.received.lock().expect("the messages").push(entry);
        }
        Box::pin(async move {
            if refused {
                return Err(PublishFailed::Other("refused".to_owned()));
            }
            Ok(())
        })
    }

    fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }
}

fn stream(name: &str) -> StreamId {
    name.parse().expect("a stream")
}

fn events(name: &str, seqs: impl IntoIterator<Item = u64>) -> Vec<Event> {
    let event = |seq| {
        let draft = Draft {
            event_type: EventType::CreateCluster,
            time: "2026-10-15T10:11:12.5Z".parse().expect("a time"),
            namespace: "pgouser1".parse().expect("a namespace"),
            cluster: Some("hippo".parse().expect("a name")),
            operation: "25927091-b343-4017-be4b-71575f0b3eb5"
                .parse()
                .expect("an id"),
            actor: "pgoadmin".to_owned(),
            step: None,
            cause: None,
            duration_ms: None,
            details: std::collections::BTreeMap::new(),
        };
        let key = EventKey {
            stream: stream(name),
            seq: Seq(seq),
        };
        Event::new(draft, key)
    };
    seqs.into_iter().map(event).collect()
}

#[tokio::test]
async fn events_are_published_in_order_on_their_topics_and_on_the_one_of_all() {
    let broker = Broker::new();
    let relay = Relay::start(broker.clone());
    relay.offer(&stream("a"), events("a", 1..=2));
    relay.offer(&stream("a"), events("a", 1..=3));
    let wanted = [("a", 1), ("a", 2), ("a", 3)];
    broker.has(Topic::Cluster, &wanted).await;
    broker.has(Topic::All, &wanted).await;
    let published = async {
        while relay.publications() != (3, 0) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, published).await.expect("three are told");
}

#[tokio::test]
async fn a_lost_broker_gets_what_is_unconfirmed_again() {
    let broker = Broker::new();
    let relay = Relay::start(broker.clone());
    relay.offer(&stream("a"), events("a", 1..=3));
    broker
        .has(Topic::All, &[("a", 1), ("a", 2), ("a", 3)])
        .await;
    relay.confirm(&stream("a"), Seq(1));
    broker.losses.send_modify(|count| *count += 1);
    let wanted = [("a", 1), ("a", 2), ("a", 3), ("a", 2), ("a", 3)];
    broker.has(Topic::All, &wanted).await;
}

#[tokio::test]
async fn a_refusal_delays_and_loses_nothing() {
    let broker = Broker::new();
    broker.refuses.store(true, Ordering::SeqCst);
    let relay = Relay::start(broker.clone());
    relay.offer(&stream("a"), events("a", 1..=2));
    let failed = async {
        while relay.publications().1 == 0 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, failed)
        .await
        .expect("a failure is counted");
    broker.refuses.store(false, Ordering::SeqCst);
    broker.has(Topic::All, &[("a", 1), ("a", 2)]).await;
}

#[tokio::test]
async fn whoever_waits_for_confirmations_sees_them() {
    let broker = Broker::new();
    let relay = Relay::start(broker);
    let mut unconfirmed = relay.unconfirmed();
    relay.offer(&stream("a"), events("a", 1..=2));
    assert_eq!(*unconfirmed.borrow_and_update(), 2);
    relay.confirm(&stream("a"), Seq(2));
    let none = unconfirmed.wait_for(|count| *count == 0);
    assert!(timeout(DEADLINE, none).await.is_ok_and(|seen| seen.is_ok()));
    assert_eq!(relay.confirmed(&stream("a")), Some(Seq(2)));
}

#[tokio::test]
async fn a_relay_that_is_off_publishes_nothing_and_confirms_nothing() {
    let relay = Relay::off();
    relay.offer(&stream("a"), events("a", 1..=2));
    assert_eq!(relay.confirmed(&stream("a")), None);
    assert_eq!(*relay.unconfirmed().borrow(), 0);
}
