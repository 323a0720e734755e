//! Notes on a Pgcluster: each is told with who asked, and taken away.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, phase,
    },
    kubernetes::Kubernetes,
};

/// How many events were told; eventing is off here, so they are counted and not kept. Which they are is the core's to decide.
fn told(kubernetes: &Kubernetes) -> Option<u64> {
    cluster(kubernetes, "hippo")["status"]["outbox"]["last"].as_u64()
}

/// What the status remembers of an operation: kind, who asked, outcome.
fn operation(kubernetes: &Kubernetes, id: &str) -> Option<[Value; 3]> {
    let status = cluster(kubernetes, "hippo")["status"].clone();
    let operations = status["operations"].as_array().cloned().unwrap_or_default();
    let found = operations.into_iter().find(|one| one["id"] == id)?;
    Some(["kind", "actor", "outcome"].map(|name| found[name].clone()))
}

fn notes(kubernetes: &Kubernetes) -> usize {
    let hippo = cluster(kubernetes, "hippo");
    let annotations = hippo["metadata"]["annotations"].as_object().cloned();
    let keys = annotations.unwrap_or_default();
    keys.keys()
        .filter(|key| key.contains(".pgo.crunchydata.com/"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_noted_is_told_once_and_taken_away() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let mut first = FakeAgent::new("hippo", &certificates);
    create_cluster(&kubernetes, "hippo");
    first.bring_up(&kubernetes).await;
    eventually("a cluster that serves", || {
        phase(&kubernetes, "hippo") == "Ready"
    })
    .await;
    let (update, test, run, schedule) = (
        "25927091-b343-4017-be4b-71575f0b3eb5",
        "fe31b2a0-9d44-4d6c-8f0f-1b0e6d1f3c11",
        "0c3bd0a4-5a3c-4c43-9d1d-3a4b3f0f8f51",
        "6f1f5c07-0c7c-4b8a-9a55-5d6a4f3b2c11",
    );
    let before = told(&kubernetes).expect("events of the creation");
    kubernetes.edit("pgclusters", NS, "hippo", |hippo| {
        let at = jiff::Timestamp::now();
        let tested = json!({"user": "bob", "began": at, "ended": at, "tried": 4});
        let due =
            json!({"schedule": "nightly", "uid": "uid-1", "due": at, "skipped": "a backup runs"});
        let metadata = &mut hippo["metadata"];
        metadata["labels"]["autofail"] = json!("true");
        metadata["annotations"][format!("update.pgo.crunchydata.com/{update}")] =
            json!(json!({"user": "alice"}).to_string());
        metadata["annotations"][format!("test.pgo.crunchydata.com/{test}")] =
            json!(tested.to_string());
        metadata["annotations"][format!("run.pgo.crunchydata.com/{run}")] = json!(due.to_string());
        let made = json!({"user": "carol", "schedule": "nightly", "at": at});
        metadata["annotations"][format!("schedule.pgo.crunchydata.com/{schedule}")] =
            json!(made.to_string());
    });
    // Begin and end of the change, the test and the schedule, and what became of the run.
    let all = Some(before + 7);
    eventually("all to be told", || told(&kubernetes) == all).await;
    let updated = ["UpdateCluster", "alice", "Completed"].map(|word| json!(word));
    assert_eq!(operation(&kubernetes, update), Some(updated));
    let lease = kubernetes.get("leases", NS, "hippo").unwrap();
    let autofail = &lease["metadata"]["annotations"]["pgo.crunchydata.com/autofail"];
    assert_eq!(autofail, "true");
    eventually("the notes to be gone", || notes(&kubernetes) == 0).await;
    eventually("nothing to be remembered of them", || {
        cluster(&kubernetes, "hippo")["status"]["toldNotes"].is_null()
    })
    .await;
    assert_eq!(told(&kubernetes), all);
}
