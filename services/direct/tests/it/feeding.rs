//! What somebody who reads the second nsqd gets.

use std::collections::BTreeMap;

use pgo_bus::Message;
use pgo_events::{Draft, Event, EventType};
use pgo_ids::{EventKey, Seq};

use crate::{
    broker::{Broker, next},
    event_service::EventService,
};

/// An event as the event service has it: a cluster's creation begins.
fn event(seq: u64) -> Vec<u8> {
    let draft = Draft {
        event_type: EventType::CreateCluster,
        time: "2026-10-15T10:11:12.5Z".parse().unwrap(),
        namespace: "pgouser1".parse().unwrap(),
        cluster: Some("hippo".parse().unwrap()),
        operation: "25927091-b343-4017-be4b-71575f0b3eb5".parse().unwrap(),
        actor: "pgoadmin".to_owned(),
        step: None,
        cause: None,
        duration_ms: None,
        details: BTreeMap::new(),
    };
    let key = EventKey {
        stream: "uid-1".parse().unwrap(),
        seq: Seq(seq),
    };
    Message::encode(&Event::new(draft, key), Seq(1)).unwrap()
}

fn text(seq: u64) -> String {
    String::from_utf8(event(seq)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_goes_as_it_is_to_those_of_its_topics_that_are_read() {
    let mut events = EventService::start().await;
    let broker = Broker::start(&events);
    let reader = events.reader().await;
    assert_eq!(reader.after, None, "only what comes");
    let (mut all, mut clusters) = (
        broker.subscribe("alltopic").await,
        broker.subscribe("clustertopic").await,
    );
    let mut users = broker.subscribe("usertopic").await;
    for seq in 1..=3 {
        reader.record(&format!("c{seq}"), &event(seq));
    }
    for seq in 1..=3 {
        assert_eq!(next(&mut all).await, text(seq));
        assert_eq!(next(&mut clusters).await, text(seq));
    }
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(200), users.next()).await;
    assert!(nothing.is_err(), "it is no event of a user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_is_not_kept_for_who_comes() {
    let mut events = EventService::start().await;
    let broker = Broker::start(&events);
    let reader = events.reader().await;
    let mut all = broker.subscribe("alltopic").await;
    reader.record("c1", &event(1));
    assert_eq!(next(&mut all).await, text(1));
    let mut clusters = broker.subscribe("clustertopic").await;
    reader.record("c2", &event(2));
    assert_eq!(next(&mut clusters).await, text(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_is_continued_where_it_was() {
    let mut events = EventService::start().await;
    let broker = Broker::start(&events);
    let reader = events.reader().await;
    let mut all = broker.subscribe("alltopic").await;
    reader.caught_up("c0");
    drop(reader);
    let reader = events.reader().await;
    assert_eq!(reader.after.as_deref(), Some("c0"));
    reader.record("c1", &event(1));
    assert_eq!(next(&mut all).await, text(1));
    assert!(broker.telemetry.readiness().check().is_ok());
    drop(reader);
    let reader = events.reader().await;
    assert_eq!(reader.after.as_deref(), Some("c1"));
    // What is no event of ours goes nowhere, and stops nothing.
    reader.record("c2", b"{}");
    reader.record("c3", &event(3));
    assert_eq!(next(&mut all).await, text(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_feeder_is_away_comes_to_those_who_stayed() {
    let mut events = EventService::start().await;
    let mut broker = Broker::start(&events);
    let reader = events.reader().await;
    let mut all = broker.subscribe("alltopic").await;
    reader.caught_up("c0");
    reader.record("c1", &event(1));
    assert_eq!(next(&mut all).await, text(1));
    reader.record("c2", &event(2));
    assert_eq!(next(&mut all).await, text(2));
    broker.kill_feeder().await;
    drop(reader);
    broker.start_feeder(&events);
    let reader = events.reader().await;
    // That an event was fed is noted behind it: killed in between, it is fed once more.
    let after = reader.after.clone().expect("a place");
    assert!(["c1", "c2"].contains(&after.as_str()), "{after}");
    reader.record("c3", &event(3));
    assert_eq!(next(&mut all).await, text(3));
}
