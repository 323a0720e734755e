//! Notes on a Pgcluster: each is told with who asked, and taken away.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, phase,
    },
    kubernetes::Kubernetes,
};

/// What was told of an operation: types and who asked.
fn told(kubernetes: &Kubernetes, operation: &str) -> Vec<(String, String)> {
    let entries = cluster(kubernetes, "hippo")["status"]["outbox"]["entries"].clone();
    let entries = entries.as_array().cloned().unwrap_or_default();
    let of_it = entries
        .iter()
        .filter(|event| event["operationid"] == operation);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_it
        .map(|event| {
            let header = &event["eventheader"];
            (text(&header["EventType"]), text(&header["username"]))
        })
        .collect()
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
    let (update, test) = (
        "25927091-b343-4017-be4b-71575f0b3eb5",
        "fe31b2a0-9d44-4d6c-8f0f-1b0e6d1f3c11",
    );
    kubernetes.edit("pgclusters", NS, "hippo", |hippo| {
        let at = jiff::Timestamp::now();
        let tested = json!({"user": "bob", "began": at, "ended": at, "tried": 4});
        let metadata = &mut hippo["metadata"];
        metadata["labels"]["autofail"] = json!("true");
        metadata["annotations"][format!("update.pgo.crunchydata.com/{update}")] =
            json!(json!({"user": "alice"}).to_string());
        metadata["annotations"][format!("test.pgo.crunchydata.com/{test}")] =
            json!(tested.to_string());
    });
    eventually("the change to be in force", || {
        told(&kubernetes, update).len() == 2
    })
    .await;
    let pair = |types: [&str; 2], who: &str| types.map(|one| (one.to_owned(), who.to_owned()));
    let updated = pair(["UpdateCluster", "UpdateClusterCompleted"], "alice");
    assert_eq!(told(&kubernetes, update), updated);
    let tested = pair(["TestClusterStarted", "TestCluster"], "bob");
    assert_eq!(told(&kubernetes, test), tested);
    let lease = kubernetes.get("leases", NS, "hippo").unwrap();
    let autofail = &lease["metadata"]["annotations"]["pgo.crunchydata.com/autofail"];
    assert_eq!(autofail, "true");
    eventually("the notes to be gone", || notes(&kubernetes) == 0).await;
    eventually("nothing to be remembered of them", || {
        cluster(&kubernetes, "hippo")["status"]["toldNotes"].is_null()
    })
    .await;
    assert_eq!(
        (
            told(&kubernetes, update).len(),
            told(&kubernetes, test).len()
        ),
        (2, 2)
    );
}
