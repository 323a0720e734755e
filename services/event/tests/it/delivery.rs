//! From the relay to a reader, whatever is killed in between.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use pgo_bus::{Message, Relay};
use pgo_ids::Seq;
use pgo_proto::event::{
    ReadRequest, event_log_client::EventLogClient, read_request, read_response,
};
use tokio::time::sleep;
use tonic::transport::Channel;

use crate::{
    events::{event, events, stream},
    installation::{Installation, beginning, eventually, next, open, records, soon},
};

type Seen = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

/// Follows the log for ever, and goes on after the last record whenever the service was away.
async fn follow(mut client: EventLogClient<Channel>, seen: Seen) {
    let mut from = read_request::From::Beginning(true);
    loop {
        let request = ReadRequest {
            from: Some(from.clone()),
            follow: true,
            ..ReadRequest::default()
        };
        if let Ok(answers) = client.read(request).await {
            let mut answers = answers.into_inner();
            while let Ok(Some(answer)) = answers.message().await {
                match answer.what.unwrap() {
                    read_response::What::Record(record) => {
                        let event = pgo_events::Event::from_wire(&record.event).unwrap();
                        let mut seen = seen.lock().unwrap();
                        let seqs = seen.entry(event.stream.to_string()).or_default();
                        seqs.push(event.seq.0);
                        from = read_request::From::Cursor(record.cursor);
                    }
                    read_response::What::CaughtUp(caught_up) => {
                        from = read_request::From::Cursor(caught_up.cursor);
                    }
                    read_response::What::Cut(cut) => panic!("{cut}"),
                }
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Outboxes of three streams get `count` events each, a step at a time.
async fn publish(relay: &Relay, from: u64, to: u64) {
    for seq in from..=to {
        for name in ["a", "b", "c"] {
            let oldest = relay.confirmed(&stream(name)).map_or(1, |seq| seq.0 + 1);
            relay.offer(&stream(name), events(name, oldest..=seq));
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_comes_once_and_in_order_though_nsqd_and_the_service_are_killed() {
    let mut installation = Installation::start(&[]);
    let relay = installation.relay();
    let seen = Seen::default();
    let follower = tokio::spawn(follow(installation.client("apiserver"), seen.clone()));

    publish(&relay, 1, 40).await;
    installation.kill_event();
    publish(&relay, 41, 60).await;
    installation.start_event();
    publish(&relay, 61, 90).await;
    installation.kill_nsqd();
    publish(&relay, 91, 100).await;
    installation.start_nsqd();
    publish(&relay, 101, 120).await;
    installation.kill_event();
    installation.kill_nsqd();
    installation.start_event();
    installation.start_nsqd();

    let mut unconfirmed = relay.unconfirmed();
    let all = unconfirmed.wait_for(|count| *count == 0);
    soon("all is confirmed", all).await.unwrap();
    let whole: Vec<u64> = (1..=120).collect();
    eventually("all was read", || {
        let seen = seen.lock().unwrap();
        seen.values().map(Vec::len).sum::<usize>() >= 360
    })
    .await;
    for (name, seqs) in seen.lock().unwrap().iter() {
        assert_eq!(*seqs, whole, "stream {name}");
    }
    assert!(!follower.is_finished(), "nothing was cut");
    follower.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_no_other_and_misses_nothing() {
    // Many segments, so that the slow one reads closed ones.
    let installation = Installation::start(&[("PGO_EVENT_SEGMENT_BYTES", "200000")]);
    let relay = installation.relay();
    let mut client = installation.client("apiserver");
    let mut slow = open(&mut client, beginning()).await;
    let mut fast = open(&mut client, beginning()).await;

    let expected: Vec<u64> = (1..=600).collect();
    for part in expected.chunks(60) {
        relay.offer(&stream("a"), events("a", part.iter().copied()));
        let seqs: Vec<u64> = records(&mut fast, 60)
            .await
            .into_iter()
            .map(|r| r.1)
            .collect();
        assert_eq!(seqs, part);
    }
    let seqs: Vec<u64> = records(&mut slow, 600)
        .await
        .into_iter()
        .map(|r| r.1)
        .collect();
    assert_eq!(seqs, expected);
    assert!(std::fs::read_dir(installation.data()).unwrap().count() > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_beginning_was_confirmed_elsewhere_goes_on() {
    let installation = Installation::start(&[]);
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 8..=9));
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    let told = loop {
        match next(&mut reader).await.unwrap().unwrap() {
            read_response::What::Cut(cut) => break cut,
            read_response::What::CaughtUp(_) => {}
            read_response::What::Record(record) => panic!("{record:?}"),
        }
    };
    assert_eq!(told, "the events of stream a before 8 are not in the log");
    let seqs: Vec<u64> = records(&mut reader, 2)
        .await
        .into_iter()
        .map(|r| r.1)
        .collect();
    assert_eq!(seqs, [8, 9]);
    assert_eq!(installation.metric("pgo_event_cuts_total"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_events_all_went_by_retention_goes_on_without_a_cut_and_a_gap_in_it_is_one()
{
    let mut installation = Installation::start(&[("PGO_EVENT_SEGMENT_BYTES", "1")]);
    let relay = installation.relay();
    for (name, seqs) in [("a", 1..=3), ("c", 1..=7), ("b", 1..=1)] {
        relay.offer(&stream(name), events(name, seqs));
        let mut unconfirmed = relay.unconfirmed();
        let all = unconfirmed.wait_for(|count| *count == 0);
        soon("all is confirmed", all).await.unwrap();
    }
    // All that is there goes when the service starts.
    let begins_at = |installation: &Installation, offset: u64| {
        let oldest = installation.segments().remove(0);
        let name = oldest.file_name().unwrap().to_str().unwrap().to_owned();
        name.starts_with(&format!("{offset:020}-"))
    };
    assert!(installation.terminate_event());
    installation.set("PGO_EVENT_RETENTION_BYTES", "1");
    installation.start_event();
    eventually("nothing is left", || begins_at(&installation, 12)).await;
    relay.offer(&stream("a"), events("a", 4..=4));
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    let read = records(&mut reader, 1).await.remove(0);
    assert_eq!((read.0.as_str(), read.1), ("a", 4));

    // A service that did not see it go knows it, too.
    installation.kill_event();
    installation.start_event();
    eventually("nothing is left", || begins_at(&installation, 13)).await;
    relay.offer(&stream("c"), events("c", 8..=8));
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    let read = records(&mut reader, 1).await.remove(0);
    assert_eq!((read.0.as_str(), read.1), ("c", 8));

    relay.offer(&stream("c"), events("c", 11..=11));
    let told = loop {
        match next(&mut reader).await.unwrap().unwrap() {
            read_response::What::Cut(cut) => break cut,
            read_response::What::CaughtUp(_) => {}
            read_response::What::Record(record) => panic!("{record:?}"),
        }
    };
    assert_eq!(told, "events 9 to 10 of stream c never came to the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_later_version_is_stored_as_it_is_and_holds_up_nothing() {
    let installation = Installation::start(&[]);
    let producer =
        nsq::Producer::connect(installation.nsq_server(), nsq::ProducerConfig::default());
    let topic = "alltopic".parse().unwrap();
    let later = serde_json::json!({
        "eventheader": {
            "EventType": "NotYet", "namespace": "pgouser1", "username": "alice",
            "timestamp": "2026-10-15T10:11:12Z", "topic": ["newtopic"],
        },
        "clustername": "a", "stream": "a", "seq": 1, "operationid": "o", "stage": "odd", "severity": "LOUD",
        "schemaversion": 2, "something": ["new"],
    });
    producer.publish(&topic, later.to_string()).await.unwrap();
    let second = Message::encode(&event("a", 2), Seq(1)).unwrap();
    producer.publish(&topic, second).await.unwrap();
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    let mut stored = Vec::new();
    while stored.len() < 2 {
        if let read_response::What::Record(record) = next(&mut reader).await.unwrap().unwrap() {
            stored.push(record.event);
        }
    }
    assert_eq!(stored[0], later.to_string().as_bytes());
    // As it was in the outbox: what the publisher says of the stream is not the reader's.
    assert_eq!(stored[1], event("a", 2).to_wire().unwrap());
    assert_eq!(installation.metric("pgo_event_malformed_total"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_no_event_is_counted_and_holds_up_nothing() {
    let installation = Installation::start(&[]);
    let producer =
        nsq::Producer::connect(installation.nsq_server(), nsq::ProducerConfig::default());
    let topic = "alltopic".parse().unwrap();
    producer
        .publish(&topic, "neither JSON nor an event")
        .await
        .unwrap();
    let early = event("a", 2).to_wire().unwrap();
    producer.publish(&topic, early).await.unwrap();
    let first = event("a", 1).to_wire().unwrap();
    producer.publish(&topic, first.clone()).await.unwrap();
    producer.publish(&topic, first).await.unwrap();

    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    let seqs: Vec<u64> = records(&mut reader, 2)
        .await
        .into_iter()
        .map(|r| r.1)
        .collect();
    assert_eq!(seqs, [1, 2]);
    eventually("the repeat is counted", || {
        installation.metric("pgo_event_repeats_total") == 1
    })
    .await;
    assert_eq!(installation.metric("pgo_event_malformed_total"), 1);
    assert_eq!(installation.metric("pgo_event_appended_total"), 2);
}
