//! What clients may do on a real nsqd that asks the event service.

use std::time::Duration;

use nsq::{
    ConnectionError, Consumer, ConsumerConfig, Producer, ProducerConfig, PublishError, State,
};
use tokio::sync::watch;

use crate::{
    events::{events, stream},
    installation::{Installation, beginning, eventually, open, records, soon},
};

fn producer(installation: &Installation, process: &str) -> Producer {
    Producer::connect(
        installation.nsq_server_for(process),
        ProducerConfig::default(),
    )
}

fn consumer(installation: &Installation, process: &str, topic: &str, channel: &str) -> Consumer {
    Consumer::subscribe(
        installation.nsq_server_for(process),
        topic.parse().unwrap(),
        channel.parse().unwrap(),
        ConsumerConfig::default(),
    )
}

/// The code with which nsqd refuses a client.
async fn refusal(mut state: watch::Receiver<State>) -> String {
    soon("a refusal", async {
        loop {
            if let State::Disconnected { reason } = &*state.borrow_and_update()
                && let ConnectionError::Refused { error, .. } = &**reason
            {
                return error.code.clone();
            }
            state.changed().await.unwrap();
        }
    })
    .await
}

/// The code with which nsqd refuses a message.
async fn rejection(producer: &Producer, topic: &str) -> Option<String> {
    let topic = topic.parse().unwrap();
    match soon("an answer", producer.publish(&topic, "{}")).await {
        Ok(()) => None,
        Err(PublishError::Rejected(error)) => Some(error.code),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_and_who_is_unknown_may_do_nothing() {
    let installation = Installation::start(&[]);
    for nobody in ["hippo.pgouser1.agent", "nsqd"] {
        let refused = refusal(producer(&installation, nobody).state()).await;
        assert_eq!(refused, "E_UNAUTHORIZED", "{nobody}");
        let reader = consumer(&installation, nobody, "clustertopic", "mine");
        assert_eq!(refusal(reader.state()).await, "E_UNAUTHORIZED", "{nobody}");
    }
    assert!(installation.metric("pgo_event_nsq_clients_refused_total") >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_reads_events_on_a_channel_of_its_own_and_publishes_none() {
    let installation = Installation::start(&[]);
    let billing = producer(&installation, "billing.consumer");
    for topic in ["alltopic", "clustertopic", "pgo.commands", "mine"] {
        assert_eq!(
            rejection(&billing, topic).await.as_deref(),
            Some("E_UNAUTHORIZED"),
            "{topic}"
        );
    }
    for (topic, channel) in [
        ("alltopic", "history"),
        ("pgo.dead", "mine"),
        ("mine", "mine"),
    ] {
        let reader = consumer(&installation, "billing.consumer", topic, channel);
        assert_eq!(
            refusal(reader.state()).await,
            "E_UNAUTHORIZED",
            "{topic}/{channel}"
        );
    }
    let mut readers = [
        ("clustertopic", "billing"),
        ("alltopic", "history2"),
        ("alltopic", "histor"),
    ]
    .map(|(topic, channel)| consumer(&installation, "billing.consumer", topic, channel));
    for reader in &readers {
        let mut state = reader.state();
        soon("a subscription", state.wait_for(State::is_connected))
            .await
            .unwrap();
    }
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=1));
    for reader in &mut readers {
        let message = soon("an event", reader.next()).await.unwrap();
        let event = pgo_events::Event::from_wire(message.body()).unwrap();
        assert_eq!(event.stream, stream("a"));
        message.finish();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_withdrawn_is_refused_from_its_next_connection_on_and_no_other_is() {
    let mut installation = Installation::start(&[]);
    let subscribed = async |reader: &Consumer| {
        let mut state = reader.state();
        let connected = state.wait_for(State::is_connected);
        soon("a subscription", connected).await.unwrap();
    };
    let on = |installation: &Installation, process: &str, channel: &str| {
        consumer(installation, process, "clustertopic", channel)
    };
    let mut billing = on(&installation, "billing.consumer", "billing");
    subscribed(&billing).await;
    installation.withdraw("billing");
    // As nsqd does it: it asks when a client subscribes, and not again.
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=1));
    let message = soon("an event", billing.next()).await.unwrap();
    message.finish();

    let late = on(&installation, "billing.consumer", "late");
    assert_eq!(refusal(late.state()).await, "E_UNAUTHORIZED");
    subscribed(&on(&installation, "audit.consumer", "audit")).await;
    // What ends all connections, by which everybody else comes again.
    installation.kill_nsqd();
    installation.start_nsqd();
    assert_eq!(refusal(billing.state()).await, "E_UNAUTHORIZED");
    subscribed(&on(&installation, "audit.consumer", "audit")).await;

    installation.let_in_again("billing");
    subscribed(&on(&installation, "billing.consumer", "late")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_publishes_what_is_its_own() {
    let installation = Installation::start(&[]);
    for (process, topic, allowed) in [
        ("reconciler", "clustertopic", true),
        ("event", "clustertopic", true),
        ("apiserver", "pgo.commands", true),
        ("apiserver", "alltopic", false),
        ("scheduler", "pgo.confirm", true),
        ("scheduler", "clustertopic", false),
    ] {
        let rejected = rejection(&producer(&installation, process), topic).await;
        assert_eq!(
            rejected.is_none(),
            allowed,
            "{process} on {topic}: {rejected:?}"
        );
    }
    let thief = consumer(&installation, "reconciler", "alltopic", "history");
    assert_eq!(refusal(thief.state()).await, "E_UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_event_service_is_down_who_is_connected_goes_on_and_who_comes_waits() {
    let mut installation = Installation::start(&[]);
    let relay = installation.relay();
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    relay.offer(&stream("a"), events("a", 1..=1));
    records(&mut reader, 1).await;

    installation.kill_event();
    relay.offer(&stream("a"), events("a", 2..=2));
    eventually("what is connected publishes", || {
        relay.publications().0 >= 2
    })
    .await;
    let late = producer(&installation, "reconciler");
    assert_eq!(refusal(late.state()).await, "E_AUTH_FAILED");
    let other = installation.relay();
    other.offer(&stream("b"), events("b", 1..=1));

    installation.start_event();
    let mut state = late.state();
    soon("it is let in", state.wait_for(State::is_connected))
        .await
        .unwrap();
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    assert_eq!(records(&mut reader, 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_an_answer_has_expired_nsqd_asks_again_and_nothing_is_lost() {
    let mut installation = Installation::start(&[("PGO_EVENT_AUTH_TTL", "1")]);
    let reconciler = producer(&installation, "reconciler");
    assert_eq!(rejection(&reconciler, "clustertopic").await, None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        rejection(&reconciler, "clustertopic").await,
        None,
        "it is asked again"
    );

    installation.kill_event();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let topic = "clustertopic".parse().unwrap();
    let waiting = reconciler.publish(&topic, "{}");
    assert_eq!(refusal(reconciler.state()).await, "E_AUTH_FAILED");
    installation.start_event();
    soon("it is published", waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nsqd_and_the_event_service_may_start_in_any_order() {
    for event_first in [true, false] {
        let mut installation = Installation::start(&[]);
        installation.kill_event();
        installation.kill_nsqd();
        if event_first {
            installation.start_event();
            installation.start_nsqd();
        } else {
            installation.start_nsqd();
            installation.start_event();
        }
        eventually("ready", || {
            installation
                .admin("/readyz")
                .is_some_and(|(status, _)| status == 200)
        })
        .await;
    }
}
