//! News over NSQ, with a real nsqd: what is stored is rung for, what is rung for is known at once, and no request waits.

use std::time::{Duration, Instant};

use pgo_bus::{Bell, Doorbell, Doorman, Kind};
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

/// The next doorbell of a kind.
async fn heard(doorman: &mut Doorman, kind: Kind) -> Doorbell {
    let hearing = async {
        loop {
            let doorbell = doorman.next().await.unwrap();
            if doorbell.kind == kind {
                return doorbell;
            }
        }
    };
    let heard = timeout(SOON, hearing).await;
    heard.unwrap_or_else(|_| panic!("no doorbell for a {kind:?}"))
}

/// What is heard once the channel is there: until then, what is rung is lost.
async fn listening(nsqd: &Nsqd) -> Doorman {
    let mut doorman = Doorman::at(nsqd.server(), "test").unwrap();
    let bell = Bell::on(nsqd.server()).unwrap();
    let object = serde_json::json!({"metadata": {"name": "are you there"}});
    let rung = of(Kind::Other, "", &object);
    let there = async {
        loop {
            bell.tell(rung.clone());
            let next = timeout(Duration::from_millis(100), doorman.next()).await;
            if next.is_ok() {
                return;
            }
        }
    };
    timeout(SOON, there).await.expect("doorbells are heard");
    doorman
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_rung_for() {
    let (kubernetes, authority) = (installation(), authority());
    let nsqd = Nsqd::start(&authority);
    let mut doorman = listening(&nsqd).await;
    let arguments = ["--disable-tls=true", &nsqd.argument()];
    let apiserver = try_start(&kubernetes, authority, &arguments).await.unwrap();
    let client = apiserver.plain();

    let made = client.post("/clusters", create_request("hippo")).await;
    let made = made.done();
    let rung = heard(&mut doorman, Kind::Pgcluster).await;
    let hippo = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let operation = rung.operation.expect("an operation").to_string();
    assert!(made["Results"].to_string().contains(&operation), "{made}");
    let without = |rung: Doorbell| Doorbell {
        operation: None,
        ..rung
    };
    assert_eq!(without(rung), of(Kind::Pgcluster, "pgouser1", &hippo));
    let rung = heard(&mut doorman, Kind::Pgtask).await;
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
    while heard(&mut doorman, Kind::ConfigMap).await != expected {}

    let deleted = client.post("/clustersdelete", cluster_request("hippo"));
    deleted.await.done();
    let rung = heard(&mut doorman, Kind::Pgtask).await;
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
    let mut doorman = listening(&nsqd).await;
    let arguments = ["--disable-tls=true", &nsqd.argument()];
    let _apiserver = try_start(&kubernetes, authority, &arguments).await.unwrap();
    user(&kubernetes, "vic", "n3w", "viewer", "pgouser1");
    let secret = kubernetes.get("secrets", "pgo", "pgouser-vic").unwrap();
    let expected = of(Kind::Secret, "pgo", &secret);
    while heard(&mut doorman, Kind::Secret).await.name != expected.name {}
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
