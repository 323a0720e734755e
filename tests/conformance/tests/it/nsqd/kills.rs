//! nsqd is killed at any moment, again and again, while messages go through it.
//!
//! What nsqd loses by that is its own affair (its memory, and what was in flight). What the client promises is checked: each
//! publish has a result; what was called not sent never arrives, and nothing else arrives but what was published; no more
//! messages are out than allowed; and afterwards all goes on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use nsq::{Consumer, ConsumerConfig, Producer, ProducerConfig, PublishError, Server};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::harness::{Nsqd, channel, soon, topic};

const MAX_IN_FLIGHT: usize = 10;

/// How often nsqd is killed in one test.
const KILLS: usize = 12;

/// What was published, and what became of it by the word of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    Acked,
    Unknown,
    NotSent,
}

/// All that the test knows.
#[derive(Default)]
struct Ledger {
    fates: Mutex<BTreeMap<String, Fate>>,
    received: Mutex<BTreeMap<String, usize>>,
    with_the_application: AtomicUsize,
    done: AtomicBool,
}

impl Ledger {
    fn publish(&self, body: &str) {
        let mut fates = self.fates.lock().unwrap();
        fates.insert(body.to_owned(), Fate::Pending);
    }

    fn settle(&self, bodies: &[String], result: &Result<(), PublishError>) {
        let fate = match result {
            Ok(()) => Fate::Acked,
            Err(PublishError::Unknown(_)) => Fate::Unknown,
            Err(PublishError::NotSent(_)) => Fate::NotSent,
            Err(PublishError::Rejected(error)) => panic!("{bodies:?} were refused: {error}"),
        };
        let mut fates = self.fates.lock().unwrap();
        for body in bodies {
            fates.insert(body.clone(), fate);
        }
    }

    fn receive(&self, body: &[u8]) {
        let body = String::from_utf8(body.to_vec()).unwrap();
        *self.received.lock().unwrap().entry(body).or_default() += 1;
    }

    fn has_received(&self, body: &str) -> bool {
        self.received.lock().unwrap().contains_key(body)
    }

    fn count(&self, fate: Fate) -> usize {
        let fates = self.fates.lock().unwrap();
        fates.values().filter(|known| **known == fate).count()
    }
}

/// Publishes in all ways, a part at a time, until the end; then waits for the last results.
fn keep_publishing(
    producer: Producer,
    ledger: Arc<Ledger>,
    mut dice: StdRng,
    deferring: bool,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut pending = FuturesUnordered::new();
        let mut number = 0_u64;
        while !ledger.done.load(Ordering::Relaxed) {
            let many = dice.random_range(1..=3);
            let bodies: Vec<String> = (0..many).map(|n| format!("{number}.{n}")).collect();
            number += 1;
            bodies.iter().for_each(|body| ledger.publish(body));
            let publication = match many {
                1 if deferring && dice.random_bool(0.3) => {
                    let delay = Duration::from_millis(dice.random_range(0..50));
                    producer.publish_deferred(&topic(), delay, bodies[0].clone())
                }
                1 => producer.publish(&topic(), bodies[0].clone()),
                _ => producer.publish_many(&topic(), bodies.clone()),
            };
            pending.push(async move { (publication.await, bodies) });
            let wait = pending.len() > dice.random_range(1..40);
            while wait && let Some((result, bodies)) = pending.next().await {
                ledger.settle(&bodies, &result);
            }
            if dice.random_bool(0.05) {
                sleep(Duration::from_millis(dice.random_range(0..20))).await;
            }
        }
        while let Some((result, bodies)) = pending.next().await {
            ledger.settle(&bodies, &result);
        }
    })
}

/// Handles messages at the same time, each for a moment, until it is aborted.
fn keep_consuming(mut consumer: Consumer, ledger: Arc<Ledger>, mut dice: StdRng) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut handlers = JoinSet::new();
        while let Some(message) = consumer.next().await {
            while handlers.try_join_next().is_some() {}
            let (ledger, pause) = (ledger.clone(), dice.random_range(0..4));
            let out = ledger.with_the_application.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(out <= MAX_IN_FLIGHT, "{out} messages are out");
            handlers.spawn(async move {
                sleep(Duration::from_millis(pause)).await;
                ledger.receive(message.body());
                ledger.with_the_application.fetch_sub(1, Ordering::Relaxed);
                message.finish();
            });
        }
    })
}

/// Lets all of it run against an nsqd that is killed; returns what was seen, when all is quiet again.
async fn ordeal(
    arguments: &[&str],
    adapt: impl Fn(Server) -> Server,
    seed: u64,
    deferring: bool,
) -> Arc<Ledger> {
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut nsqd = Nsqd::start(arguments);
    let mut server = adapt(nsqd.server());
    server.backoff.max = Duration::from_millis(200);
    let producer = Producer::connect(
        server.clone(),
        ProducerConfig {
            // Shorter than some of the times without nsqd.
            send_timeout: Duration::from_millis(150),
            ..ProducerConfig::default()
        },
    );
    let config = ConsumerConfig {
        max_in_flight: MAX_IN_FLIGHT,
        ..ConsumerConfig::default()
    };
    let consumer = Consumer::subscribe(server, topic(), channel(), config);
    let ledger: Arc<Ledger> = Arc::default();
    let fork = |dice: &mut StdRng| StdRng::seed_from_u64(dice.random());
    let publishing = keep_publishing(producer.clone(), ledger.clone(), fork(&mut dice), deferring);
    let consuming = keep_consuming(consumer, ledger.clone(), fork(&mut dice));

    for _ in 0..KILLS {
        sleep(Duration::from_millis(dice.random_range(1..250))).await;
        nsqd.kill();
        if dice.random_bool(0.5) {
            sleep(Duration::from_millis(dice.random_range(0..400))).await;
        }
        nsqd.restart();
    }
    ledger.done.store(true, Ordering::Relaxed);
    soon("the last results", publishing).await.unwrap();

    // Now that nothing is killed any more, all arrives.
    let last: Vec<String> = (0..50).map(|n| format!("last.{n}")).collect();
    for body in &last {
        ledger.publish(body);
        let result = loop {
            let result = soon("a result", producer.publish(&topic(), body.clone())).await;
            // The first may wait too long for the connection, or meet the old one.
            if result.is_ok() {
                break result;
            }
        };
        ledger.settle(std::slice::from_ref(body), &result);
    }
    soon("the last messages", async {
        while !last.iter().all(|body| ledger.has_received(body)) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    consuming.abort();
    let ended = soon("the end of consuming", consuming).await;
    assert!(ended.unwrap_err().is_cancelled(), "too many were out");
    ledger
}

/// What holds whatever nsqd loses.
fn promises_hold(ledger: &Ledger) {
    let fates = ledger.fates.lock().unwrap();
    for (body, times) in &*ledger.received.lock().unwrap() {
        let fate = fates.get(body);
        assert!(
            matches!(fate, Some(Fate::Acked | Fate::Unknown)),
            "{body} arrived {times} times; the client says {fate:?}"
        );
    }
    assert!(!fates.values().any(|fate| *fate == Fate::Pending));
}

fn seed() -> u64 {
    std::env::var("NSQ_KILL_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap())
}

#[tokio::test]
async fn an_nsqd_with_its_messages_in_memory_is_killed_at_any_moment() {
    let ledger = ordeal(&[], |server| server, seed(), true).await;
    promises_hold(&ledger);
    assert!(ledger.count(Fate::Acked) > 100);
}

#[tokio::test]
async fn an_nsqd_with_its_messages_on_disk_is_killed_at_any_moment() {
    let arguments = ["--mem-queue-size=0", "--sync-every=1"];
    let ledger = ordeal(&arguments, |server| server, seed(), false).await;
    promises_hold(&ledger);
    // nsqd loses what was in flight, and the message on its way from the topic to the channel.
    let fates = ledger.fates.lock().unwrap();
    let acked = fates.iter().filter(|(_, fate)| **fate == Fate::Acked);
    let lost = acked.filter(|(body, _)| !ledger.has_received(body)).count();
    assert!(lost <= KILLS * (MAX_IN_FLIGHT + 2), "{lost} were lost");
}

#[tokio::test]
async fn a_compressed_connection_is_cut_at_any_moment() {
    let deflate = nsq::Compression::Deflate(nsq::DeflateLevel::default());
    for compression in [nsq::Compression::Snappy, deflate] {
        let adapt = |server: Server| server.with_compression(compression);
        let ledger = ordeal(&[], adapt, seed(), true).await;
        promises_hold(&ledger);
    }
}
