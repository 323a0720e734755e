//! DISABLE_EVENTING, in both directions: state goes on, nothing is published, and what is missing is said afterwards.

use std::time::Duration;

use serde_json::Value;

use crate::{
    agent::FakeAgent,
    event_log::FakeEventLog,
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, phase, uid,
    },
    kubernetes::Kubernetes,
};

fn outbox(kubernetes: &Kubernetes) -> Value {
    cluster(kubernetes, "hippo")["status"]["outbox"].clone()
}

/// Types of the events in the outbox, with their seqs.
fn entries(kubernetes: &Kubernetes) -> Vec<(String, u64)> {
    let outbox = outbox(kubernetes);
    let entries = outbox["entries"].as_array().cloned().unwrap_or_default();
    let entry = |event: &Value| {
        let event_type = event["eventheader"]["EventType"].as_str().unwrap();
        (event_type.to_owned(), event["seq"].as_u64().unwrap())
    };
    entries.iter().map(entry).collect()
}

fn backlog_reason(kubernetes: &Kubernetes) -> String {
    let status = cluster(kubernetes, "hippo")["status"].clone();
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == "EventBacklog");
    found.map_or_else(String::new, |c| c["reason"].as_str().unwrap().to_owned())
}

async fn ready(kubernetes: &Kubernetes, agent: &mut FakeAgent) {
    create_cluster(kubernetes, "hippo");
    agent.bring_up(kubernetes).await;
    eventually("hippo to be ready", || {
        phase(kubernetes, "hippo") == "Ready"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_on_again_the_first_event_says_how_many_were_not_published() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let mut agent = FakeAgent::new("hippo", &certificates);
    let off = Reconciler::start_with(&kubernetes, &certificates, &["--disable-eventing=true"]);
    ready(&kubernetes, &mut agent).await;
    let before = outbox(&kubernetes);
    let last = before["last"].as_u64().unwrap();
    assert!(last >= 2, "{before}");
    assert_eq!(
        (entries(&kubernetes).len(), &before["unpublished"]),
        (0, &Value::from(last))
    );
    let operations = cluster(&kubernetes, "hippo")["status"]["operations"].clone();
    assert_eq!(operations[0]["outcome"], "Completed");
    assert_eq!(backlog_reason(&kubernetes), "EventingDisabled");
    off.stop().await;

    let _on = Reconciler::start_with(&kubernetes, &certificates, &[]);
    let cut = ("HistoryCut".to_owned(), last + 1);
    eventually("the cut to be told", || {
        entries(&kubernetes).first() == Some(&cut)
    })
    .await;
    let told = outbox(&kubernetes);
    assert_eq!(told["entries"][0]["unpublished"], last);
    assert_eq!(told["unpublished"], Value::Null);
    assert_eq!(backlog_reason(&kubernetes), "Confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_nothing_is_published_and_what_waited_is_kept() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let mut agent = FakeAgent::new("hippo", &certificates);
    // Nobody stores anything.
    let on = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create_cluster(&kubernetes, "hippo");
    eventually("events", || !entries(&kubernetes).is_empty()).await;
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    on.reconciles(2).await;
    let waiting = entries(&kubernetes);
    on.stop().await;

    let log = FakeEventLog::start(&certificates).await;
    let broker = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nsqd = format!("--event-addr={}", broker.local_addr().unwrap());
    let arguments = ["--disable-eventing=true", &log.argument(), &nsqd];
    let off = Reconciler::start_with(&kubernetes, &certificates, &arguments);
    agent.bring_up(&kubernetes).await;
    eventually("hippo to be ready", || {
        phase(&kubernetes, "hippo") == "Ready"
    })
    .await;
    assert_eq!(entries(&kubernetes), waiting);
    let called = tokio::time::timeout(Duration::from_millis(100), broker.accept()).await;
    assert!(called.is_err(), "who publishes nothing does not call nsqd");
    off.stop().await;

    let _on = Reconciler::start_with(&kubernetes, &certificates, &[&log.argument()]);
    let last = waiting.last().unwrap().1;
    eventually("the cut behind what waited", || {
        entries(&kubernetes)
            .last()
            .is_some_and(|(name, seq)| name == "HistoryCut" && *seq > last + 1)
    })
    .await;
    assert_eq!(entries(&kubernetes)[..waiting.len()], waiting);
    log.confirm(&uid(&kubernetes, "hippo"), 1000);
    eventually("an empty outbox", || entries(&kubernetes).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_exactly_true_switches_it_off() {
    for given in [
        "--disable-eventing=True",
        "--disable-eventing=1",
        "--disable-eventing=false",
    ] {
        let (kubernetes, certificates) = (installation(), Certificates::new());
        let _on = Reconciler::start_with(&kubernetes, &certificates, &[given]);
        create_cluster(&kubernetes, "hippo");
        eventually("events", || !entries(&kubernetes).is_empty()).await;
    }
}
