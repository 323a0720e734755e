//! The consumers of docs/examples, each run as somebody who copies it runs it: its packages from the registry, a channel of
//! its own, a client certificate. Each must print every event once, and each stream in order.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use nsq::{Producer, ProducerConfig};
use pgo_bus::Message;
use pgo_examples::{javascript, python, rust};
use pgo_ids::Seq;
use tokio::net::TcpListener;

use crate::{
    events::{event, events, stream},
    installation::{Installation, eventually, soon},
};

/// Events of each stream that are published in their order.
const ORDERED: u64 = 40;

/// A producer that is connected: nobody lets another one in while the event service is away.
async fn connected(installation: &Installation) -> Producer {
    let producer = Producer::connect(installation.nsq_server(), ProducerConfig::default());
    let mut state = producer.state();
    let connected = state.wait_for(nsq::State::is_connected);
    soon("a connection", connected).await.unwrap();
    producer
}

async fn publish_one(producer: &Producer, name: &str, seq: u64) {
    let body = Message::encode(&event(name, seq), Seq(1)).unwrap();
    let topic = "alltopic".parse().unwrap();
    producer.publish(&topic, body).await.unwrap();
}

/// Publishes what a consumer meets: streams in order, repeats, one that comes out of order, and one whose beginning was
/// before.
async fn publish(installation: &Installation) -> BTreeMap<String, Vec<u64>> {
    let relay = installation.relay();
    for name in ["a", "b"] {
        relay.offer(&stream(name), events(name, 1..=ORDERED));
    }
    let producer = connected(installation).await;
    for (name, seq) in [
        ("c", 3),
        ("c", 1),
        ("c", 3),
        ("c", 2),
        ("c", 1),
        ("late", 8),
        ("late", 7),
    ] {
        publish_one(&producer, name, seq).await;
    }
    BTreeMap::from([
        ("a".to_owned(), (1..=ORDERED).collect()),
        ("b".to_owned(), (1..=ORDERED).collect()),
        ("c".to_owned(), vec![1, 2, 3]),
        ("late".to_owned(), vec![7, 8]),
    ])
}

/// Publishes four events, of which the third never reaches the channel, as when nsqd is killed before it has handed it out. The
/// history is away when it is asked for it first. Meanwhile the fourth comes again, and neither is answered before it is printed.
async fn lose_one(installation: &mut Installation, channel: &str) {
    let relay = installation.relay();
    let confirmed = async || {
        let mut unconfirmed = relay.unconfirmed();
        let all = unconfirmed.wait_for(|count| *count == 0);
        soon("all is confirmed", all).await.unwrap();
    };
    let offer = async |seqs: std::ops::RangeInclusive<u64>| {
        relay.offer(&stream("lossy"), events("lossy", seqs));
        confirmed().await;
    };
    let of_channel = |installation: &Installation, what: &str| {
        let path = format!("/channel/{what}?topic=alltopic&channel={channel}");
        installation.post_to_nsqd(&path);
    };
    offer(1..=2).await;
    let own = format!("alltopic/{channel}");
    eventually("both are printed", || installation.finished(&own) == 2).await;
    of_channel(installation, "pause");
    offer(3..=3).await;
    eventually("it waits", || installation.depths()[&own] == 1).await;
    of_channel(installation, "empty");
    of_channel(installation, "unpause");
    let again = connected(installation).await;
    installation.kill_event();
    relay.offer(&stream("lossy"), events("lossy", 4..=4));
    let away = TcpListener::bind(installation.http).await.unwrap();
    for _ in 0..2 {
        drop(soon("the consumer asks", away.accept()).await.unwrap());
    }
    publish_one(&again, "lossy", 4).await;
    // The relay publishes it again after a while, too: nobody has confirmed it.
    eventually("both of the fourth are kept", || {
        installation.in_flight(&own) >= 2
    })
    .await;
    drop(away);
    installation.start_event();
    confirmed().await;
}

async fn reads_everything_once_and_in_order(channel: &str, mut command: Command) {
    let mut installation = Installation::start(&[]);
    let count = 2 * ORDERED + 3 + 2 + 4;
    let child = command
        .arg(installation.nsqd_address())
        .arg(installation.http.to_string())
        .arg(installation.identity("audit.consumer"))
        .args([channel, &count.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let own = format!("alltopic/{channel}");
    eventually("the channel is there", || {
        installation.depths().contains_key(&own)
    })
    .await;
    lose_one(&mut installation, channel).await;
    let mut expected = publish(&installation).await;
    expected.insert("lossy".to_owned(), vec![1, 2, 3, 4]);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = soon("the end of the consumer", ended)
        .await
        .unwrap()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{lines}");

    let mut printed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [time, cluster, kind, key] = words.as_slice() else {
            panic!("{line}");
        };
        let (name, seq) = key.split_once('/').unwrap();
        assert_eq!(*time, "2026-10-15T10:11:12.5Z");
        assert_eq!(*cluster, format!("pgouser1/{name}"));
        assert_eq!(*kind, "CreateClusterProgress");
        let seqs = printed.entry(name.to_owned()).or_default();
        seqs.push(seq.parse().unwrap());
    }
    assert_eq!(printed, expected);
    assert_eq!(installation.depths()[&own], 0, "all of it was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_in_rust() {
    reads_everything_once_and_in_order("audit-rust", rust("consume-events")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_in_python() {
    reads_everything_once_and_in_order("audit-python", python()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_in_javascript() {
    reads_everything_once_and_in_order("audit-javascript", javascript()).await;
}
