//! Dead letters, from a real nsqd to who decides about them.

use std::{collections::BTreeSet, time::Duration};

use nsq::{Consumer, ConsumerConfig, Producer, ProducerConfig};
use pgo_bus::{DEAD_TOPIC, DeadLetter as Letter, LONGEST_BODY};
use pgo_ids::Seq;
use pgo_proto::event::{DeadLetter, DeadLetterIds, dead_letters_client::DeadLettersClient};
use tokio::time::Instant;
use tonic::{Code, transport::Channel};

use crate::{
    events::{events, stream},
    installation::{Installation, beginning, eventually, open, records, soon},
};

pub fn of(ids: &[&str]) -> DeadLetterIds {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    DeadLetterIds { ids }
}

/// The letters, once there are `count`.
pub async fn letters(client: &mut DeadLettersClient<Channel>, count: usize) -> Vec<DeadLetter> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let listed = soon("a list", client.list(of(&[]))).await;
        let letters = listed
            .map(|list| list.into_inner().letters)
            .unwrap_or_default();
        if letters.len() == count {
            return letters;
        }
        assert!(
            Instant::now() < until,
            "{count} letters are not there: {letters:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn publish(installation: &Installation, topic: &str, body: impl Into<bytes::Bytes>) {
    let producer = Producer::connect(installation.nsq_server(), ProducerConfig::default());
    producer
        .publish(&topic.parse().unwrap(), body)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_is_kept_until_somebody_decides() {
    let mut installation = Installation::start(&[]);
    let mut client = installation.dead_letters("apiserver");
    publish(&installation, "alltopic", vec![0xff, b'n', b'o']).await;
    let first = letters(&mut client, 1).await.remove(0);
    assert_eq!(
        (first.topic.as_str(), first.channel.as_str()),
        ("alltopic", "history")
    );
    assert_eq!(
        (first.body.as_slice(), first.size, first.attempts),
        ([0xff, b'n', b'o'].as_slice(), 3, 1)
    );
    assert!(first.reason.contains("not an event"), "{}", first.reason);
    // Counted just after it can be seen.
    eventually("it is counted", || {
        [
            "pgo_event_dead_letters",
            "pgo_event_dead_letters_came_total",
        ]
        .iter()
        .all(|name| installation.metric(name) == 1)
    })
    .await;

    // It outlives the process, and the log went on.
    assert!(installation.terminate_event());
    installation.start_event();
    let mut client = installation.dead_letters("apiserver");
    assert_eq!(letters(&mut client, 1).await[0].id, first.id);
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=1));
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    assert_eq!(records(&mut reader, 1).await[0].1, 1);

    // To its topic again: there it is no event again, and comes back as another letter.
    let outcomes = soon("an outcome", client.requeue(of(&[&first.id, "nosuch"])))
        .await
        .unwrap();
    let outcomes = outcomes.into_inner().outcomes;
    assert_eq!(
        (outcomes[0].topic.as_str(), outcomes[0].problem.as_str()),
        ("alltopic", "")
    );
    assert!(outcomes[1].problem.contains("no such"), "{outcomes:?}");
    let until = Instant::now() + Duration::from_secs(30);
    let second = loop {
        let second = letters(&mut client, 1).await.remove(0);
        if second.id != first.id {
            break second;
        }
        assert!(Instant::now() < until, "it comes back");
    };
    let outcomes = soon("an outcome", client.delete(of(&[&second.id])))
        .await
        .unwrap();
    assert_eq!(outcomes.into_inner().outcomes[0].problem, "");
    letters(&mut client, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_goes_to_the_topic_that_it_came_from() {
    let installation = Installation::start(&[]);
    let mut reader = Consumer::subscribe(
        installation.nsq_server_for("billing.consumer"),
        "clustertopic".parse().unwrap(),
        "mine".parse().unwrap(),
        ConsumerConfig::default(),
    );
    let mut state = reader.state();
    soon("a subscription", state.wait_for(nsq::State::is_connected))
        .await
        .unwrap();
    let letter = Letter {
        topic: "clustertopic".to_owned(),
        channel: "theirs".to_owned(),
        message: "0123456789abcdef".to_owned(),
        attempts: 20,
        time: jiff::Timestamp::now(),
        reason: "too hard".to_owned(),
        body: b"the body".to_vec(),
        left_out: 0,
    };
    let json = serde_json::to_vec(&letter).unwrap();
    publish(&installation, DEAD_TOPIC, json.clone()).await;
    // Twice, as all in NSQ may come twice.
    publish(&installation, DEAD_TOPIC, json).await;
    let mut client = installation.dead_letters("apiserver");
    assert_eq!(letters(&mut client, 1).await[0].reason, "too hard");
    let id = letter.id();
    let named = soon("a letter", client.list(of(&[&id])))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(named.letters.len(), 1);
    soon("an outcome", client.requeue(of(&[&id])))
        .await
        .unwrap();
    let message = soon("the message", reader.next()).await.unwrap();
    assert_eq!(message.body().as_ref(), b"the body");
    message.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_came_back_many_times_are_taken_and_are_no_dead_letters() {
    let mut installation = Installation::prepare(&[]);
    installation.start_nsqd_open_to_all();
    // As while the disk is full: they come, lapse, and come again with the next attempt.
    let mut reader = Consumer::subscribe(
        installation.nsq_server(),
        "alltopic".parse().unwrap(),
        "history".parse().unwrap(),
        ConsumerConfig::default(),
    );
    let mut state = reader.state();
    soon("a subscription", state.wait_for(nsq::State::is_connected))
        .await
        .unwrap();
    for event in events("a", 1..=3) {
        let body = pgo_bus::Message::encode(&event, Seq(1)).unwrap();
        publish(&installation, "alltopic", body).await;
    }
    let mut often = BTreeSet::new();
    while often.len() < 3 {
        let message = soon("a message", reader.next()).await.unwrap();
        if message.attempts() > 25 {
            often.insert(message.id().to_string());
        }
        message.requeue_without_backoff(Duration::ZERO);
    }
    soon("the end of the reader", reader.close()).await;

    installation.start_event();
    let mut stored = open(&mut installation.client("apiserver"), beginning()).await;
    let seqs = records(&mut stored, 3).await.into_iter().map(|r| r.1);
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2, 3]);
    letters(&mut installation.dead_letters("apiserver"), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_apiserver_decides() {
    let installation = Installation::start(&[]);
    for stranger in [
        "reconciler",
        "scheduler",
        "billing.consumer",
        "hippo.pgouser1.agent",
    ] {
        let mut client = installation.dead_letters(stranger);
        let listed = soon("an answer", client.list(of(&[]))).await;
        assert_eq!(
            listed.unwrap_err().code(),
            Code::PermissionDenied,
            "{stranger}"
        );
        let deleted = soon("an answer", client.delete(of(&["x"]))).await;
        assert_eq!(
            deleted.unwrap_err().code(),
            Code::PermissionDenied,
            "{stranger}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_long_message_the_beginning_is_kept_and_nothing_else_waits_for_it() {
    let installation = Installation::start(&[]);
    let mut client = installation.dead_letters("apiserver");
    let long = 700 << 10;
    publish(&installation, "alltopic", vec![b'x'; long]).await;
    let letter = letters(&mut client, 1).await.remove(0);
    assert_eq!(letter.size, u64::try_from(long).unwrap());
    let id = letter.id.as_str();
    let named = soon("the letter", client.list(of(&[id]))).await.unwrap();
    let body = &named.into_inner().letters[0].body;
    assert_eq!(*body, vec![b'x'; LONGEST_BODY]);
    let requeued = soon("an answer", client.requeue(of(&[id]))).await.unwrap();
    let problem = &requeued.into_inner().outcomes[0].problem;
    assert!(problem.contains("only the first"), "{problem}");
    assert_eq!(letters(&mut client, 1).await[0].id, letter.id);
}
