//! The end of a cluster: its last events are safe before it goes.

use std::collections::BTreeMap;

use pgo_events::{Event, Stage};
use pgo_ids::OperationId;
use serde_json::json;

use crate::{
    event_log::FakeEventLog,
    harness::{Certificates, NS, Reconciler, create_cluster, eventually, installation, uid},
    kubernetes::{Fault, Kubernetes},
};

const TASKS: &str = "/apis/crunchydata.com/v1/namespaces/pgouser1/pgtasks";

fn is_gone(kubernetes: &Kubernetes) -> bool {
    kubernetes.get("pgclusters", NS, "hippo").is_none()
}

/// Cluster `hippo`, with a pod.
async fn create(kubernetes: &Kubernetes) {
    create_cluster(kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
}

/// The events of a cluster that is gone, which nobody has stored. A page is written whenever it was about to go.
fn in_pages(kubernetes: &Kubernetes, stream: &str) -> Vec<Event> {
    let names = kubernetes.names("pgeventpages", "pgo").into_iter();
    let mut events = BTreeMap::new();
    for name in names.filter(|name| name.starts_with(&format!("{stream}-"))) {
        let page = kubernetes.get("pgeventpages", "pgo", &name).unwrap();
        for event in page["spec"]["events"].as_array().unwrap() {
            let event = Event::from_wire(event.as_str().unwrap().as_bytes()).unwrap();
            events.insert(event.seq, event);
        }
    }
    events.into_values().collect()
}

/// A Pgtask that asks for the end of `hippo`, with the id that whoever made it has.
fn ask(kubernetes: &Kubernetes, name: &str, id: &str) {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": name, "labels": {"pg-cluster": "hippo", "workflowid": id}},
        "spec": {"tasktype": "delete-data", "parameters": {"pg-cluster": "hippo"}},
    });
    kubernetes.put("pgtasks", NS, task);
}

/// Types of the events that tell where an operation begins and ends.
fn story_of(events: &[Event], id: &str) -> Vec<&'static str> {
    let of_it = events
        .iter()
        .filter(|event| event.operationid.to_string() == id && event.stage != Stage::Progress);
    of_it.map(|event| event.event_type().as_str()).collect()
}

const FIRST: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const SECOND: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";
const STORY: [&str; 2] = ["DeleteCluster", "DeleteClusterCompleted"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_that_asks_for_the_same_deletion_is_told_its_end() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create(&kubernetes).await;
    let stream = uid(&kubernetes, "hippo");
    ask(&kubernetes, "hippo-rmdata", FIRST);
    ask(&kubernetes, "hippo-rmdata-too", SECOND);
    eventually("the end of hippo", || is_gone(&kubernetes)).await;
    assert!(kubernetes.names("pgtasks", NS).is_empty());
    let events = in_pages(&kubernetes, &stream);
    for id in [FIRST, SECOND] {
        assert_eq!(story_of(&events, id), STORY, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_stays_until_a_task_that_no_cache_shows_is_told_its_end() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail(&format!("WATCH {TASKS}"), Fault::Hangs);
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create(&kubernetes).await;
    let stream = uid(&kubernetes, "hippo");
    ask(&kubernetes, "hippo-rmdata", FIRST);
    kubernetes.delete("pgclusters", NS, "hippo");
    eventually("a look at what no cache shows", || {
        let unheard = reconciler.metric("pgo_reconcile_errors_total{reason=\"unheard\"}");
        unheard.is_some() || is_gone(&kubernetes)
    })
    .await;
    assert!(!is_gone(&kubernetes), "whoever asked is told nothing");
    kubernetes.heal();
    eventually("the end of hippo", || is_gone(&kubernetes)).await;
    let events = in_pages(&kubernetes, &stream);
    assert_eq!(story_of(&events, FIRST), STORY);
    let completed = events.iter().map(|event| event.event_type().as_str());
    assert_eq!(completed.filter(|told| *told == STORY[1]).count(), 2);
}

/// What others ask for of `hippo`, by a Pgtask with this id and a Pgreplica; returns the Pgreplica's operation.
fn ask_for_more(kubernetes: &Kubernetes, stream: &str) -> String {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-restart", "labels": {"pg-cluster": "hippo", "workflowid": FIRST}},
        "spec": {"tasktype": "restart", "parameters": {"pg-cluster": "hippo"}},
    });
    kubernetes.put("pgtasks", NS, task);
    let replica = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgreplica",
        "metadata": {"name": "hippo-abcd", "labels": {"pg-cluster": "hippo"}},
        "spec": {"name": "hippo-abcd", "clustername": "hippo"},
    });
    kubernetes.put("pgreplicas", NS, replica);
    let made = kubernetes.get("pgreplicas", NS, "hippo-abcd").unwrap();
    let about = format!("add {}", made["metadata"]["uid"].as_str().unwrap());
    OperationId::derived(&stream.parse().unwrap(), &about).to_string()
}

const REFUSED: [&str; 2] = ["RestartCluster", "RestartClusterFailure"];
const NOT_ADDED: [&str; 2] = ["ScaleCluster", "ScaleClusterFailure"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_while_nobody_reconciled_is_told_as_failed_where_the_cluster_goes() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create(&kubernetes).await;
    let stream = uid(&kubernetes, "hippo");
    reconciler.stop().await;
    let addition = ask_for_more(&kubernetes, &stream);
    kubernetes.delete("pgclusters", NS, "hippo");
    let _next = Reconciler::start_with(&kubernetes, &certificates, &["--identity=second"]);
    eventually("the end of hippo", || is_gone(&kubernetes)).await;
    let events = in_pages(&kubernetes, &stream);
    assert_eq!(story_of(&events, FIRST), REFUSED);
    assert_eq!(story_of(&events, &addition), NOT_ADDED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_stays_until_a_request_of_any_kind_that_no_cache_shows_is_told_its_end() {
    for hidden in ["pgtasks", "pgreplicas"] {
        let (kubernetes, certificates) = (installation(), Certificates::new());
        let watch = TASKS.replace("pgtasks", hidden);
        kubernetes.fail(&format!("WATCH {watch}"), Fault::Hangs);
        let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
        create(&kubernetes).await;
        let stream = uid(&kubernetes, "hippo");
        let addition = ask_for_more(&kubernetes, &stream);
        kubernetes.delete("pgclusters", NS, "hippo");
        eventually("a look at what no cache shows", || {
            let unheard = reconciler.metric("pgo_reconcile_errors_total{reason=\"unheard\"}");
            unheard.is_some() || is_gone(&kubernetes)
        })
        .await;
        assert!(!is_gone(&kubernetes), "whoever asked is told nothing");
        kubernetes.heal();
        eventually("the end of hippo", || is_gone(&kubernetes)).await;
        let events = in_pages(&kubernetes, &stream);
        assert_eq!(story_of(&events, FIRST), REFUSED);
        assert_eq!(story_of(&events, &addition), NOT_ADDED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubernetes_is_asked_ever_less_often_what_is_left_of_a_cluster_that_waits() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create(&kubernetes).await;
    // As Kubernetes holds a volume that something uses.
    let held = |finalizers| {
        kubernetes.edit("persistentvolumeclaims", NS, "hippo", |claim| {
            claim["metadata"]["finalizers"] = finalizers;
        });
    };
    held(json!(["kubernetes.io/pvc-protection"]));
    ask(&kubernetes, "hippo-rmdata", FIRST);
    kubernetes.edit("pgtasks", NS, "hippo-rmdata", |task| {
        task["spec"]["parameters"]["delete-data"] = json!("true");
    });
    let claim = || {
        kubernetes
            .get("persistentvolumeclaims", NS, "hippo")
            .unwrap()
    };
    eventually("its removal", || {
        claim()["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    let lists = || {
        let lines = kubernetes.asked("GET /api/v1/namespaces/pgouser1/persistentvolumeclaims");
        lines.len()
    };
    reconciler.reconciles(2).await;
    let before = lists();
    reconciler.reconciles(9).await;
    let asked = lists() - before;
    assert!((1..=5).contains(&asked), "{asked} times in 9 looks");
    held(json!([]));
    eventually("the end of hippo", || is_gone(&kubernetes)).await;
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
    let events = in_pages(&kubernetes, &stream);
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
