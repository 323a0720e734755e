//! NSQ between the services, with a real nsqd: no topic fills up, doorbells and hints arrive, and none holds anybody up.

use std::{collections::BTreeSet, time::Duration};

use nsq::{Consumer, ConsumerConfig};
use pgo_bus::{
    Bell, COMMANDS_TOPIC, Doorbell, Doorman, Kind, Listener, Message, NsqPublisher, Relay,
    drained_topics, follow_hints,
};
use tokio::time::{Instant, timeout};

use crate::{
    events::{events, stream},
    installation::{Installation, eventually, soon},
};

fn ring(name: &str) -> Doorbell {
    Doorbell {
        kind: Kind::Pgcluster,
        namespace: "pgouser1".to_owned(),
        name: name.to_owned(),
        uid: "u1".to_owned(),
        resource_version: "7".to_owned(),
        operation: None,
    }
}

/// Publishes these events of stream `a` and waits until they are confirmed.
async fn publish(relay: &Relay, from: u64, to: u64) {
    for seq in from..=to {
        relay.offer(&stream("a"), events("a", seq..=seq));
        if seq % 20 == 0 {
            confirmed(relay).await;
        }
    }
    confirmed(relay).await;
}

async fn confirmed(relay: &Relay) {
    let mut unconfirmed = relay.unconfirmed();
    let all = unconfirmed.wait_for(|count| *count == 0);
    soon("all is confirmed", all).await.unwrap();
}

/// What waits in nsqd, but for one channel.
fn waiting(installation: &Installation, but: &str) -> u64 {
    let depths = installation.depths().into_iter();
    depths
        .filter(|(queue, _)| queue != but)
        .map(|(_, depth)| depth)
        .sum()
}

/// The sequence numbers of the next messages, finished.
async fn seqs(consumer: &mut Consumer, count: usize) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    while found.len() < count {
        let message = soon("a message", consumer.next()).await.unwrap();
        found.insert(Message::decode(message.body()).unwrap().key.seq.0);
        message.finish();
    }
    found
}

async fn subscribe(installation: &Installation, topic: &str, channel: &str) -> Consumer {
    let config = ConsumerConfig {
        max_in_flight: 50,
        ..ConsumerConfig::default()
    };
    let (topic, channel) = (topic.parse().unwrap(), channel.parse().unwrap());
    let server = installation.nsq_server_for("audit.consumer");
    let consumer = Consumer::subscribe(server, topic, channel, config);
    let mut state = consumer.state();
    let connected = state.wait_for(nsq::State::is_connected);
    soon("a connection", connected).await.unwrap();
    consumer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_topic_fills_up_and_a_channel_of_somebody_else_gets_everything() {
    let installation = Installation::start(&[]);
    let own = "clustertopic/audit";
    // Made, and away: what it is to get waits for it.
    let audit = subscribe(&installation, "clustertopic", "audit").await;
    soon("the end", audit.close()).await;
    let relay = installation.relay();
    let bell = Bell::on(installation.nsq_server()).unwrap();
    for seq in (1..=500).step_by(100) {
        publish(&relay, seq, seq + 99).await;
        (0..50).for_each(|number| bell.tell(ring(&format!("c{number}"))));
    }
    eventually("nothing waits but for the absent", || {
        waiting(&installation, own) == 0
    })
    .await;
    assert_eq!(installation.depths()[own], 500);
    for topic in drained_topics() {
        let drain = format!("{topic}/drain#ephemeral");
        assert_eq!(installation.depths().get(&drain), Some(&0), "{topic}");
    }
    let mut audit = subscribe(&installation, "clustertopic", "audit").await;
    assert_eq!(seqs(&mut audit, 500).await, (1..=500).collect());
    eventually("nothing waits", || waiting(&installation, "") == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gathered_while_the_event_service_was_away_goes_when_it_is_back() {
    let mut installation = Installation::start(&[]);
    let relay = installation.relay();
    publish(&relay, 1, 1).await;
    installation.kill_event();
    relay.offer(&stream("a"), events("a", 2..=40));
    eventually("it gathers", || waiting(&installation, "") >= 2 * 39).await;
    installation.start_event();
    confirmed(&relay).await;
    eventually("nothing waits", || waiting(&installation, "") == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_is_heard_by_everyone_and_a_burst_of_them_is_not_lost() {
    let installation = Installation::start(&[]);
    let mut hearers = Vec::new();
    for role in ["reconciler", "scheduler", "apiserver"] {
        let hearer = Doorman::at(installation.nsq_server(), role).unwrap();
        let mut state = hearer.state();
        let connected = state.wait_for(nsq::State::is_connected);
        soon("a connection", connected).await.unwrap();
        hearers.push(hearer);
    }
    // A channel is there a moment after its connection.
    eventually("the channels are there", || {
        let depths = installation.depths();
        let of_commands = depths.keys().filter(|at| at.starts_with(COMMANDS_TOPIC));
        of_commands.count() == 2 + hearers.len()
    })
    .await;
    let bell = Bell::on(installation.nsq_server()).unwrap();
    bell.tell(ring("one"));
    for hearer in &mut hearers {
        assert_eq!(soon("the doorbell", hearer.next()).await, Some(ring("one")));
    }
    (0..500).for_each(|number| bell.tell(ring(&format!("c{number}"))));
    bell.tell(ring("last"));
    for hearer in &mut hearers {
        let mut heard = 0;
        while let Ok(Some(bell)) = timeout(Duration::from_secs(2), hearer.next()).await {
            heard += 1;
            if bell.name == "last" {
                break;
            }
        }
        assert!(heard > 250, "{heard} of 501");
    }
    assert_eq!(bell.lost(), 0);
    drop(hearers);
    eventually("the channels are gone with who listened", || {
        let depths = installation.depths();
        !depths.keys().any(|at| at.contains("reconciler"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ringing_waits_for_nothing_while_nsqd_is_away_and_is_heard_again_after_it() {
    let mut installation = Installation::start(&[]);
    let bell = Bell::on(installation.nsq_server()).unwrap();
    let mut hearer = Doorman::at(installation.nsq_server(), "reconciler").unwrap();
    installation.kill_nsqd();
    let begin = Instant::now();
    (0..5000).for_each(|number| bell.tell(ring(&format!("c{number}"))));
    assert!(begin.elapsed() < Duration::from_secs(1));
    eventually("some are lost", || bell.lost() > 0).await;
    installation.start_nsqd();
    soon("it is heard again", async {
        loop {
            bell.tell(ring("after"));
            let next = timeout(Duration::from_millis(200), hearer.next()).await;
            if next.is_ok_and(|heard| heard == Some(ring("after"))) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_confirms_where_the_stream_of_confirmations_stalls() {
    let installation = Installation::start(&[]);
    let relay = Relay::start(NsqPublisher::connect(installation.nsq_server()));
    let hints = Listener::hints(installation.nsq_server(), "reconciler").unwrap();
    let mut state = hints.state();
    let connected = state.wait_for(nsq::State::is_connected);
    soon("a connection", connected).await.unwrap();
    let channel = installation.channel("reconciler");
    tokio::spawn(follow_hints(hints, channel, relay.clone(), |_, _| {}));
    publish(&relay, 1, 5).await;
    assert_eq!(relay.confirmed(&stream("a")), Some(pgo_ids::Seq(5)));
}
