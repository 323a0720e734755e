//! News over NSQ, with a real nsqd: what is stored is rung for, what is rung for is known at once, and no request waits.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nsq::{Consumer, ConsumerConfig, State};
use pgo_bus::{Bell, COMMANDS_TOPIC, Doorbell, Kind};
use serde_json::Value;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    harness::{
        SOON, authority, cluster_request, create_request, eventually, installation, try_start, user,
    },
    kubernetes::Kubernetes,
    nsqd::Nsqd,
};

fn of(kind: Kind, namespace: &str, object: &Value) -> Doorbell {
    let text = |field: &str| {
        let value = object["metadata"][field].as_str();
        value.unwrap_or_default().to_owned()
    };
    Doorbell {
        kind,
        namespace: namespace.to_owned(),
        name: text("name"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        operation: None,
    }
}

/// All that is rung from when its channel is there. The channel is not ephemeral as those of the services are: without a memory
/// queue nsqd drops what an ephemeral one is not ready for at that moment.
struct Rung {
    consumer: Consumer,
    /// What came in the same message as what was heard last.
    more: VecDeque<Doorbell>,
}

impl Rung {
    async fn from_now_on(nsqd: &Nsqd) -> Self {
        let (topic, channel) = (COMMANDS_TOPIC.parse().unwrap(), "test".parse().unwrap());
        let config = ConsumerConfig::default();
        let consumer = Consumer::subscribe(nsqd.server(), topic, channel, config);
        let mut connected = consumer.state();
        let connected = connected.wait_for(State::is_connected);
        let there = timeout(SOON, connected).await;
        there.expect("a channel for doorbells").unwrap();
        Self {
            consumer,
            more: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Doorbell {
        loop {
            if let Some(doorbell) = self.more.pop_front() {
                return doorbell;
            }
            let message = self.consumer.next().await.expect("a message");
            self.more = serde_json::from_slice(message.body()).unwrap();
            message.finish();
        }
    }

    /// The next doorbell of a kind.
    async fn of(&mut self, kind: Kind) -> Doorbell {
        let mut others = Vec::new();
        let hearing = async {
            loop {
                let doorbell = self.next().await;
                if doorbell.kind == kind {
                    return doorbell;
                }
                others.push(doorbell);
            }
        };
        let heard = timeout(SOON, hearing).await;
        heard.unwrap_or_else(|_| panic!("no doorbell for a {kind:?}, but {others:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_rung_for() {
    let (kubernetes, authority) = (installation(), authority());
    let nsqd = Nsqd::start(&authority);
    let mut rung_for = Rung::from_now_on(&nsqd).await;
    let arguments = ["--disable-tls=true", &nsqd.argument()];
    let apiserver = try_start(&kubernetes, authority, &arguments).await.unwrap();
    let client = apiserver.plain();

    let made = client.post("/clusters", create_request("hippo")).await;
    let made = made.done();
    let rung = rung_for.of(Kind::Pgcluster).await;
    let hippo = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let operation = rung.operation.expect("an operation").to_string();
    assert!(made["Results"].to_string().contains(&operation), "{made}");
    let without = |rung: Doorbell| Doorbell {
        operation: None,
        ..rung
    };
    assert_eq!(without(rung), of(Kind::Pgcluster, "pgouser1", &hippo));
    let rung = rung_for.of(Kind::Pgtask).await;
    let task = kubernetes.get("pgtasks", "pgouser1", "hippo-createcluster");
    assert_eq!(
        without(rung),
        of(Kind::Pgtask, "pgouser1", &task.expect("a task"))
    );

    let schedule = serde_json::json!({"ClusterName": "hippo", "Namespace": "pgouser1", "Schedule": "@daily",
        "ScheduleType": "pgbackrest", "PGBackRestType": "full"});
    client.post("/schedule", schedule).await.done();
    let map = kubernetes.get("configmaps", "pgouser1", "hippo-pgbackrest-full");
    let expected = of(Kind::ConfigMap, "pgouser1", &map.expect("a schedule"));
    // pgo.yaml is a ConfigMap, too.
    while rung_for.of(Kind::ConfigMap).await != expected {}

    let deleted = client.post("/clustersdelete", cluster_request("hippo"));
    deleted.await.done();
    let rung = rung_for.of(Kind::Pgtask).await;
    let task = kubernetes.get("pgtasks", "pgouser1", "hippo-rmdata");
    assert_eq!(
        without(rung),
        of(Kind::Pgtask, "pgouser1", &task.expect("a task"))
    );
}

async fn can_log_in(kubernetes: &Kubernetes, apiserver: &crate::harness::Apiserver) -> bool {
    assert!(kubernetes.has("secrets", "pgo", "pgouser-vic"));
    let vic = apiserver.plain().as_user("vic", "n3w");
    vic.get("/version").await.status.is_success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_user_counts_when_the_doorbell_rings_though_the_watch_stalls() {
    let (kubernetes, authority) = (installation(), authority());
    let nsqd = Nsqd::start(&authority);
    let arguments = ["--disable-tls=true", &nsqd.argument()];
    let apiserver = try_start(&kubernetes, authority, &arguments).await.unwrap();
    kubernetes.stall();
    user(&kubernetes, "vic", "n3w", "viewer", "pgouser1");
    assert!(!can_log_in(&kubernetes, &apiserver).await);
    let secret = kubernetes.get("secrets", "pgo", "pgouser-vic").unwrap();
    let bell = Bell::on(nsqd.server()).unwrap();
    eventually("the new password", async || {
        bell.tell(of(Kind::Secret, "pgo", &secret));
        can_log_in(&kubernetes, &apiserver).await.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_one_apiserver_sees_is_told_to_the_others() {
    let (kubernetes, authority) = (installation(), authority());
    let nsqd = Nsqd::start(&authority);
    let mut rung_for = Rung::from_now_on(&nsqd).await;
    let arguments = ["--disable-tls=true", &nsqd.argument()];
    let _apiserver = try_start(&kubernetes, authority, &arguments).await.unwrap();
    user(&kubernetes, "vic", "n3w", "viewer", "pgouser1");
    let secret = kubernetes.get("secrets", "pgo", "pgouser-vic").unwrap();
    let expected = of(Kind::Secret, "pgo", &secret);
    while rung_for.of(Kind::Secret).await.name != expected.name {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_waits_for_an_nsqd_that_does_not_answer() {
    let (kubernetes, authority) = (installation(), authority());
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("--event-addr={}", silent.local_addr().unwrap());
    let arguments = ["--disable-tls=true", &address];
    let apiserver = try_start(&kubernetes, authority, &arguments).await.unwrap();
    let client = apiserver.plain();
    let begin = Instant::now();
    for number in 0..5 {
        let request = create_request(&format!("hippo{number}"));
        client.post("/clusters", request).await.done();
    }
    // News wait 2 s for nsqd.
    assert!(begin.elapsed() < Duration::from_secs(2));
    let begin = Instant::now();
    apiserver.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(5));
}
