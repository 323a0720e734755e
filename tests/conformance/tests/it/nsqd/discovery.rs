//! Several nsqds that come and go, found through real nsqlookupds that come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use nsq::{ChannelName, Consumer, ConsumerConfig, Message, State, TopicName};

use super::{
    harness::{Nsqd, channel, eventually, next_body, soon, stays_quiet, topic},
    lookupd::{Nsqlookupd, discovery},
};

fn nsqd(lookupds: &[&Nsqlookupd]) -> Nsqd {
    let arguments: Vec<String> = lookupds.iter().map(|l| l.argument()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Nsqd::start(&arguments)
}

fn consumer(lookupds: &[&Nsqlookupd], max_in_flight: usize) -> Consumer {
    let config = ConsumerConfig {
        max_in_flight,
        ..ConsumerConfig::default()
    };
    Consumer::discover(discovery(lookupds), topic(), channel(), config)
}

/// Publishes these to one nsqd.
async fn publish(nsqd: &Nsqd, bodies: impl IntoIterator<Item = String>) {
    let producer = nsqd.producer();
    let publications = bodies
        .into_iter()
        .map(|body| producer.publish(&topic(), body));
    for result in soon("the acknowledgements", join_all(publications)).await {
        result.unwrap();
    }
}

fn numbered(name: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|n| format!("{name}.{n}")).collect()
}

async fn receive_all(consumer: &mut Consumer, mut wanted: BTreeSet<String>) {
    soon("all messages", async {
        while !wanted.is_empty() {
            wanted.remove(&next_body(consumer).await);
        }
    })
    .await;
}

/// Waits until the consumer has exactly these nsqds, connected.
async fn connected_to(consumer: &Consumer, nsqds: &[&Nsqd]) {
    let wanted: BTreeSet<String> = nsqds.iter().map(|n| n.address().to_string()).collect();
    let mut nodes = consumer.nodes();
    let has_them = |nodes: &BTreeMap<String, State>| {
        nodes.keys().eq(wanted.iter()) && nodes.values().all(State::is_connected)
    };
    if tokio::time::timeout(super::harness::SOON, nodes.wait_for(has_them))
        .await
        .is_err()
    {
        panic!("{wanted:?} were wanted; there are {:?}", nodes.borrow());
    }
}

/// Messages in flight, over all.
fn in_flight(nsqds: &[&Nsqd]) -> u64 {
    let counts = nsqds.iter().map(|nsqd| {
        let stats = nsqd.channel_stats(&topic(), &channel());
        stats["in_flight_count"].as_u64().unwrap_or(0)
    });
    counts.sum()
}

/// Two nsqds, and a consumer that has found both and read what each has.
async fn two_that_are_read(lookupd: &Nsqlookupd) -> ([Nsqd; 2], Consumer) {
    let nsqds = [nsqd(&[lookupd]), nsqd(&[lookupd])];
    let mut all = BTreeSet::new();
    for (nsqd, name) in nsqds.iter().zip(["first", "second"]) {
        publish(nsqd, numbered(name, 5)).await;
        all.extend(numbered(name, 5));
    }
    let mut consumer = consumer(&[lookupd], 10);
    receive_all(&mut consumer, all).await;
    (nsqds, consumer)
}

#[tokio::test]
async fn nsqds_are_found_as_they_get_the_topic() {
    let lookupd = Nsqlookupd::start();
    let (first, second) = (nsqd(&[&lookupd]), nsqd(&[&lookupd]));
    let mut consumer = consumer(&[&lookupd], 10);
    assert!(stays_quiet(&mut consumer, Duration::from_millis(500)).await);
    assert!(matches!(*consumer.state().borrow(), State::Connecting));

    publish(&first, numbered("first", 20)).await;
    receive_all(&mut consumer, numbered("first", 20)).await;
    connected_to(&consumer, &[&first]).await;
    publish(&second, numbered("second", 20)).await;
    receive_all(&mut consumer, numbered("second", 20)).await;
    connected_to(&consumer, &[&first, &second]).await;
    assert_eq!(soon("closing", consumer.close()).await, 0);
}

#[tokio::test]
async fn an_ephemeral_topic_is_found_by_its_whole_name() {
    let lookupd = Nsqlookupd::start();
    let nsqd = nsqd(&[&lookupd]);
    let topic: TopicName = "look#ephemeral".parse().unwrap();
    let channel: ChannelName = "one#ephemeral".parse().unwrap();
    let config = ConsumerConfig::default();
    let mut consumer = Consumer::discover(discovery(&[&lookupd]), topic.clone(), channel, config);
    let producer = nsqd.producer();
    soon("the acknowledgement", producer.publish(&topic, "tea"))
        .await
        .unwrap();
    assert_eq!(next_body(&mut consumer).await, "tea");
}

#[tokio::test]
async fn the_bound_holds_while_nsqds_come_and_go() {
    let lookupd = Nsqlookupd::start();
    let mut nsqds = [nsqd(&[&lookupd]), nsqd(&[&lookupd]), nsqd(&[&lookupd])];
    let mut consumer = consumer(&[&lookupd], 4);
    publish(&nsqds[0], numbered("0", 50)).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(soon("a message", consumer.next()).await.unwrap());
    }
    publish(&nsqds[1], numbered("1", 50)).await;
    publish(&nsqds[2], numbered("2", 50)).await;
    let all: Vec<&Nsqd> = nsqds.iter().collect();
    connected_to(&consumer, &all).await;
    for _ in 0..10 {
        assert_eq!(in_flight(&all), 4);
        assert!(stays_quiet(&mut consumer, Duration::from_millis(50)).await);
    }
    // One place is free, and one message comes, wherever from. nsqd may still have to read the answer to the other.
    held.remove(0).finish();
    held.push(soon("a message", consumer.next()).await.unwrap());
    eventually("four in flight", || in_flight(&all) == 4).await;
    for _ in 0..10 {
        assert_eq!(in_flight(&all), 4);
        assert!(stays_quiet(&mut consumer, Duration::from_millis(50)).await);
    }

    // What is held of an nsqd that is gone goes on to count.
    nsqds[0].kill();
    let rest = [&nsqds[1], &nsqds[2]];
    connected_to(&consumer, &rest).await;
    assert!(stays_quiet(&mut consumer, Duration::from_millis(500)).await);
    held.drain(..).for_each(Message::finish);
    let mut received = BTreeSet::new();
    soon("all messages of the others", async {
        while received.len() < 99 {
            received.insert(next_body(&mut consumer).await);
            assert!(in_flight(&rest) <= 4);
        }
    })
    .await;
}

#[tokio::test]
async fn with_fewer_places_than_nsqds_each_has_its_turn() {
    let lookupd = Nsqlookupd::start();
    let nsqds = [nsqd(&[&lookupd]), nsqd(&[&lookupd]), nsqd(&[&lookupd])];
    let mut wanted = BTreeSet::new();
    for (number, nsqd) in nsqds.iter().enumerate() {
        let bodies = numbered(&number.to_string(), 30);
        publish(nsqd, bodies.clone()).await;
        wanted.extend(bodies);
    }
    let all: Vec<&Nsqd> = nsqds.iter().collect();
    let mut consumer = consumer(&[&lookupd], 1);
    soon("all messages", async {
        while !wanted.is_empty() {
            let message = consumer.next().await.unwrap();
            // nsqd may still have to read the answer to the one before.
            eventually("one in flight", || in_flight(&all) == 1).await;
            wanted.remove(std::str::from_utf8(message.body()).unwrap());
            message.finish();
        }
    })
    .await;
}

#[tokio::test]
async fn while_no_nsqlookupd_is_there_all_goes_on() {
    let mut lookupd = Nsqlookupd::start();
    let mut nsqd = nsqd(&[&lookupd]);
    publish(&nsqd, numbered("before", 5)).await;
    let mut consumer = consumer(&[&lookupd], 10);
    receive_all(&mut consumer, numbered("before", 5)).await;

    lookupd.kill();
    publish(&nsqd, numbered("during", 5)).await;
    receive_all(&mut consumer, numbered("during", 5)).await;
    // The consumer knows where it was.
    nsqd.kill();
    let mut state = consumer.state();
    let lost = state.wait_for(|state| !state.is_connected());
    soon("the loss", lost).await.unwrap();
    nsqd.restart();
    publish(&nsqd, numbered("after", 5)).await;
    receive_all(&mut consumer, numbered("after", 5)).await;
    lookupd.restart();
    publish(&nsqd, numbered("at last", 5)).await;
    receive_all(&mut consumer, numbered("at last", 5)).await;
}

#[tokio::test]
async fn an_nsqlookupd_that_starts_anew_and_knows_nothing_does_no_harm() {
    let mut lookupd = Nsqlookupd::start();
    let nsqd = nsqd(&[&lookupd]);
    publish(&nsqd, numbered("before", 5)).await;
    let mut consumer = consumer(&[&lookupd], 10);
    receive_all(&mut consumer, numbered("before", 5)).await;
    lookupd.kill();
    lookupd.restart();
    assert!(!lookupd.lists(nsqd.address(), "orders"));
    // Several questions are answered so.
    assert!(stays_quiet(&mut consumer, Duration::from_secs(1)).await);
    connected_to(&consumer, &[&nsqd]).await;
    publish(&nsqd, numbered("after", 5)).await;
    receive_all(&mut consumer, numbered("after", 5)).await;
}

#[tokio::test]
async fn one_of_two_nsqlookupds_is_enough() {
    let mut lookupds = [Nsqlookupd::start(), Nsqlookupd::start()];
    let (first, second) = (nsqd(&[&lookupds[0]]), nsqd(&[&lookupds[1]]));
    let mut consumer = consumer(&[&lookupds[0], &lookupds[1]], 10);
    publish(&first, numbered("first", 5)).await;
    publish(&second, numbered("second", 5)).await;
    let all = numbered("first", 5)
        .into_iter()
        .chain(numbered("second", 5));
    receive_all(&mut consumer, all.collect()).await;
    connected_to(&consumer, &[&first, &second]).await;

    lookupds[0].kill();
    let third = nsqd(&[&lookupds[1]]);
    publish(&third, numbered("third", 5)).await;
    receive_all(&mut consumer, numbered("third", 5)).await;
    connected_to(&consumer, &[&first, &second, &third]).await;
}

#[tokio::test]
async fn a_topic_that_is_taken_from_an_nsqd_is_left_and_not_made_again() {
    let lookupd = Nsqlookupd::start();
    let ([first, second], mut consumer) = two_that_are_read(&lookupd).await;

    // As nsqadmin does it: the tombstone first, so that nobody finds the way back.
    let node = first.http_address();
    lookupd.command(&format!("topic/tombstone?topic=orders&node={node}"));
    eventually("the tombstone", || {
        !lookupd.lists(first.address(), "orders")
    })
    .await;
    assert!(stays_quiet(&mut consumer, Duration::from_millis(600)).await);
    connected_to(&consumer, &[&first, &second]).await;
    first.command("topic/delete?topic=orders");
    connected_to(&consumer, &[&second]).await;
    assert!(stays_quiet(&mut consumer, Duration::from_secs(1)).await);
    assert!(first.topic_stats(&topic()).is_null());
    publish(&second, numbered("more", 5)).await;
    receive_all(&mut consumer, numbered("more", 5)).await;
}

#[tokio::test]
async fn an_nsqd_that_is_gone_is_forgotten_and_found_when_it_comes_back() {
    let lookupd = Nsqlookupd::start();
    let ([mut first, second], mut consumer) = two_that_are_read(&lookupd).await;
    for round in 0..3 {
        first.kill();
        connected_to(&consumer, &[&second]).await;
        first.restart();
        let bodies = numbered(&round.to_string(), 5);
        publish(&first, bodies.clone()).await;
        receive_all(&mut consumer, bodies).await;
        connected_to(&consumer, &[&first, &second]).await;
    }
}
