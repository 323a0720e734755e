//! The end of a cluster: its last events are safe before it goes.

use crate::{
    event_log::FakeEventLog,
    harness::{Certificates, NS, Reconciler, create_cluster, eventually, installation, uid},
    kubernetes::Kubernetes,
};

fn is_gone(kubernetes: &Kubernetes) -> bool {
    kubernetes.get("pgclusters", NS, "hippo").is_none()
}

/// Cluster `hippo`, with a pod.
async fn create(kubernetes: &Kubernetes) {
    create_cluster(kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_events_go_to_a_page_where_nobody_stores_them() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create(&kubernetes).await;
    let stream = uid(&kubernetes, "hippo");
    kubernetes.delete("pgclusters", NS, "hippo");
    eventually("the end of hippo", || is_gone(&kubernetes)).await;
    let pages = kubernetes.names("pgeventpages", "pgo");
    assert_eq!(pages, [format!("{stream}-1")]);
    let page = kubernetes.get("pgeventpages", "pgo", &pages[0]).unwrap();
    let events = page["spec"]["events"].as_array().unwrap();
    let events: Vec<pgo_events::Event> = events
        .iter()
        .map(|event| pgo_events::Event::from_wire(event.as_str().unwrap().as_bytes()).unwrap())
        .collect();
    for (at, event) in (1..).zip(&events) {
        assert_eq!((event.stream.as_str(), event.seq.0), (stream.as_str(), at));
    }
    let last = events.last().unwrap().event_type().as_str();
    assert_eq!(last, "DeleteClusterCompleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_lets_a_cluster_go_without_a_page() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let log = FakeEventLog::start(&certificates).await;
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&log.argument()]);
    log.heard().await;
    create(&kubernetes).await;
    let stream = uid(&kubernetes, "hippo");
    kubernetes.delete("pgclusters", NS, "hippo");
    let ended = || {
        let hippo = kubernetes.get("pgclusters", NS, "hippo").unwrap();
        let events = hippo["status"]["outbox"]["entries"].clone();
        let last = events
            .as_array()
            .and_then(|events| events.last().cloned())?;
        let is_last = last["eventheader"]["EventType"] == "DeleteClusterCompleted";
        is_last.then(|| last["seq"].as_u64().unwrap())
    };
    eventually("the last event", || ended().is_some()).await;
    log.confirm(&stream, ended().unwrap());
    eventually("the end of hippo", || is_gone(&kubernetes)).await;
    assert!(kubernetes.names("pgeventpages", "pgo").is_empty());
}
