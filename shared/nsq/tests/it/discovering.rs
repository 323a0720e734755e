//! Discovery, with an nsqlookupd of the test's own that says what the test wants.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use nsq::{
    ConnectionError, Consumer, ConsumerConfig, Discovery, LookupError, Server, State,
    codec::Command,
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

use crate::{
    server::FakeServer,
    soon::{self, soon},
};

/// Answers each question with the same status and body, until told otherwise.
struct FakeLookupd {
    address: String,
    answer: Arc<Mutex<(u16, String)>>,
    questions: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl FakeLookupd {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let not_found = r#"{"message":"TOPIC_NOT_FOUND"}"#.to_owned();
        let answer = Arc::new(Mutex::new((404, not_found)));
        let questions: Arc<Mutex<Vec<String>>> = Arc::default();
        let task = tokio::spawn({
            let (answer, questions) = (answer.clone(), questions.clone());
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let mut stream = BufReader::new(stream);
                    let mut question = String::new();
                    while !question.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut question).await.unwrap_or(0) == 0 {
                            break;
                        }
                    }
                    questions.lock().unwrap().push(question);
                    let (status, body) = answer.lock().unwrap().clone();
                    let text = format!(
                        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    // A client that is gone has no need of it.
                    let _ = stream.write_all(text.as_bytes()).await;
                }
            }
        });
        Self {
            address,
            answer,
            questions,
            task,
        }
    }

    fn say(&self, status: u16, body: impl Into<String>) {
        *self.answer.lock().unwrap() = (status, body.into());
    }

    /// Lists these.
    fn list(&self, servers: &[&Server]) {
        let producers: Vec<_> = servers
            .iter()
            .map(|server| {
                let (host, port) = server.address.rsplit_once(':').unwrap();
                json!({"broadcast_address": host, "tcp_port": port.parse::<u16>().unwrap()})
            })
            .collect();
        self.say(
            200,
            json!({"channels": [], "producers": producers}).to_string(),
        );
    }

    fn asked(&self) -> usize {
        self.questions.lock().unwrap().len()
    }

    /// Returns when it was asked after this moment, and that question answered too.
    async fn asked_again(&self) {
        let before = self.asked();
        soon("two more questions", async {
            while self.asked() < before + 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl Drop for FakeLookupd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn discover(lookupds: &[&FakeLookupd], template: Server) -> Consumer {
    let lookupds = lookupds.iter().map(|lookupd| lookupd.address.clone());
    let mut discovery = Discovery::new(lookupds).with_template(template);
    discovery.poll_interval = Duration::from_millis(50);
    start(discovery)
}

fn start(discovery: Discovery) -> Consumer {
    let (topic, channel) = ("orders".parse().unwrap(), "billing".parse().unwrap());
    let config = ConsumerConfig {
        max_in_flight: 10,
        ..ConsumerConfig::default()
    };
    Consumer::discover(discovery, topic, channel, config)
}

async fn nodes(consumer: &Consumer, wanted: impl FnMut(&BTreeMap<String, State>) -> bool) {
    soon("the nodes", consumer.nodes().wait_for(wanted))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_topic_that_nobody_has_yet_is_asked_for_until_somebody_has_it() {
    let (lookupd, fake) = (FakeLookupd::start().await, FakeServer::start().await);
    let mut consumer = discover(&[&lookupd], fake.server());
    lookupd.asked_again().await;
    assert!(matches!(*consumer.state().borrow(), State::Connecting));
    lookupd.list(&[&fake.server()]);
    let (mut peer, window) = fake.accept_consumer().await;
    assert_eq!(window, 10);
    peer.deliver(1, 1).await;
    soon("a message", consumer.next()).await.unwrap().finish();

    let question = lookupd.questions.lock().unwrap()[0].to_lowercase();
    assert!(
        question.starts_with("get /lookup?topic=orders http/1.1\r\n"),
        "{question}"
    );
    assert!(question.contains("accept: application/vnd.nsq; version=1.0\r\n"));
}

#[tokio::test]
async fn what_one_of_them_lists_is_found_while_the_other_fails() {
    let lookupds = [FakeLookupd::start().await, FakeLookupd::start().await];
    let fake = FakeServer::start().await;
    lookupds[0].list(&[&fake.server()]);
    lookupds[1].say(500, "{}");
    let consumer = discover(&[&lookupds[0], &lookupds[1]], fake.server());
    fake.accept_consumer().await;
    soon::state(&mut consumer.state(), State::is_connected).await;
}

#[tokio::test]
async fn when_none_of_them_answers_the_state_says_so() {
    let lookupd = FakeLookupd::start().await;
    lookupd.say(404, "<html>nothing here</html>");
    let fake = FakeServer::start().await;
    let consumer = discover(&[&lookupd], fake.server());
    let mut state = consumer.state();
    let told = soon::state(&mut state, |state| {
        matches!(state, State::Disconnected { .. })
    })
    .await;
    let State::Disconnected { reason } = told else {
        panic!("{told:?}")
    };
    let ConnectionError::Lookup { source, .. } = &*reason else {
        panic!("{reason:?}")
    };
    assert!(matches!(source, LookupError::Status { status: 404, .. }));
    assert!(reason.to_string().contains(&lookupd.address), "{reason}");
    assert!(reason.to_string().contains("nothing here"), "{reason}");

    lookupd.list(&[&fake.server()]);
    fake.accept_consumer().await;
    soon::state(&mut state, State::is_connected).await;
}

#[tokio::test]
async fn an_nsqd_that_is_no_longer_listed_is_left_when_its_connection_ends() {
    let (lookupd, fake) = (FakeLookupd::start().await, FakeServer::start().await);
    let address = fake.server().address;
    lookupd.list(&[&fake.server()]);
    let mut consumer = discover(&[&lookupd], fake.server());
    let (mut peer, _) = fake.accept_consumer().await;
    lookupd.list(&[]);
    lookupd.asked_again().await;
    // It works as before.
    peer.deliver(1, 1).await;
    soon("a message", consumer.next()).await.unwrap().finish();
    assert!(consumer.nodes().borrow().contains_key(&address));

    drop(peer);
    nodes(&consumer, BTreeMap::is_empty).await;
    let moment = Duration::from_millis(300);
    assert!(
        tokio::time::timeout(moment, fake.accept_raw())
            .await
            .is_err(),
        "it came back"
    );

    lookupd.list(&[&fake.server()]);
    fake.accept_consumer().await;
    nodes(&consumer, |nodes| nodes.contains_key(&address)).await;
}

#[tokio::test]
async fn messages_of_an_nsqd_that_was_left_count_until_they_are_answered() {
    let lookupd = FakeLookupd::start().await;
    let fakes = [FakeServer::start().await, FakeServer::start().await];
    lookupd.list(&[&fakes[0].server()]);
    let mut consumer = discover(&[&lookupd], fakes[0].server());
    let (mut peer, _) = fakes[0].accept_consumer().await;
    peer.deliver(1, 1).await;
    let held = soon("a message", consumer.next()).await.unwrap();
    lookupd.list(&[]);
    lookupd.asked_again().await;
    drop(peer);
    nodes(&consumer, BTreeMap::is_empty).await;

    lookupd.list(&[&fakes[1].server()]);
    let (mut peer, window) = fakes[1].accept_consumer().await;
    assert_eq!(window, 9);
    held.finish();
    assert_eq!(peer.command().await, Command::Ready(10));
}

#[tokio::test]
async fn after_a_loss_they_are_asked_at_once() {
    let (lookupd, fake) = (FakeLookupd::start().await, FakeServer::start().await);
    let other = FakeServer::start().await;
    lookupd.list(&[&fake.server()]);
    let template = fake.server();
    let discovery = Discovery::new([lookupd.address.clone()]).with_template(template);
    let _consumer = start(discovery);
    let (peer, _) = fake.accept_consumer().await;
    assert_eq!(lookupd.asked(), 1);
    lookupd.list(&[&other.server()]);
    drop(peer);
    // The next regular question would come after 42 s at the earliest.
    other.accept_consumer().await;
}

#[tokio::test]
async fn nsqds_can_be_left_out_and_reached_in_other_ways() {
    let (lookupd, fake) = (FakeLookupd::start().await, FakeServer::start().await);
    let (near, far) = (fake.server(), Server::new("far.example:4150"));
    lookupd.list(&[&far, &Server::new("near.example:4150")]);
    let discovery = Discovery::new([lookupd.address.clone()])
        .with(move |node| (node.broadcast_address == "near.example").then(|| near.clone()));
    let consumer = start(discovery);
    fake.accept_consumer().await;
    let nodes: Vec<_> = consumer.nodes().borrow().keys().cloned().collect();
    assert_eq!(nodes, [fake.server().address]);
}

#[tokio::test]
async fn closing_ends_the_questions() {
    let (lookupd, fake) = (FakeLookupd::start().await, FakeServer::start().await);
    let consumer = discover(&[&lookupd], fake.server());
    lookupd.asked_again().await;
    assert_eq!(soon("closing", consumer.close()).await, 0);
    let asked = lookupd.asked();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // One may have been under way.
    assert!(lookupd.asked() <= asked + 1);
}

#[tokio::test]
async fn an_nsqlookupd_that_hangs_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut discovery = Discovery::new([silent.local_addr().unwrap().to_string()]);
    discovery.timeout = Duration::from_millis(100);
    let consumer = start(discovery);
    let state = soon::state(&mut consumer.state(), |state| {
        matches!(state, State::Disconnected { .. })
    })
    .await;
    let State::Disconnected { reason } = state else {
        panic!("{state:?}")
    };
    assert!(reason.to_string().contains("100ms"), "{reason}");
}
