//! Requests of which the cache shows another state than there is.

use serde_json::{Value, json};

use crate::{
    harness::{Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation},
    kubernetes::{Fault, Kubernetes},
};

const TASKS: &str = "/apis/crunchydata.com/v1/namespaces/pgouser1/pgtasks";
const FIRST: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const SECOND: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

/// A Pgtask that asks for a reload, which is refused: `hippo` is never ready here.
fn ask(kubernetes: &Kubernetes, id: &str) {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-reload", "labels": {"pg-cluster": "hippo", "workflowid": id}},
        "spec": {"tasktype": "reload", "parameters": {"pg-cluster": "hippo"}},
    });
    kubernetes.put("pgtasks", NS, task);
}

/// A reconciler whose cache shows no change of a Pgtask after its begin.
async fn behind(kubernetes: &Kubernetes, certificates: &Certificates) -> Reconciler {
    kubernetes.fail(&format!("WATCH {TASKS}"), Fault::Hangs);
    let reconciler = Reconciler::start(kubernetes, certificates);
    // One for the cache, and one for what nobody is responsible for: before it, that has told of each task that was there.
    eventually("both watches", || {
        kubernetes.asked(&format!("WATCH {TASKS}")).len() >= 2
    })
    .await;
    reconciler
}

/// Cluster `hippo`, at which was looked several times.
async fn create(kubernetes: &Kubernetes, reconciler: &Reconciler) {
    create_cluster(kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    reconciler.reconciles(3).await;
}

/// Outcomes of the operations with this id that the status remembers.
fn outcomes(kubernetes: &Kubernetes, id: &str) -> Vec<Value> {
    let status = cluster(kubernetes, "hippo")["status"].clone();
    let operations = status["operations"].as_array().cloned();
    let operations = operations.unwrap_or_default().into_iter();
    let of_it = operations.filter(|operation| operation["id"] == id);
    of_it
        .map(|operation| operation["outcome"].clone())
        .collect()
}

/// An operation as a status has it that is over.
fn ended(id: &str, outcome: &str) -> Value {
    json!({
        "id": id, "kind": "ReloadCluster", "actor": "", "steps": 0, "generation": 1, "outcome": outcome,
        "started": "2026-11-22T14:23:53Z", "finished": "2026-11-22T14:23:54Z",
    })
}

fn said(kubernetes: &Kubernetes) -> Value {
    let task = kubernetes.get("pgtasks", NS, "hippo-reload").unwrap();
    task["status"]["conditions"][0]["reason"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_to_its_end_is_not_begun_again_by_who_sees_it_open() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    ask(&kubernetes, FIRST);
    let reconciler = behind(&kubernetes, &certificates).await;
    kubernetes.edit("pgtasks", NS, "hippo-reload", |task| {
        let over = json!({"type": "Complete", "status": "False", "reason": "Failed"});
        task["status"]["conditions"] = json!([over]);
    });
    create(&kubernetes, &reconciler).await;
    assert_eq!(outcomes(&kubernetes, FIRST), [] as [Value; 0]);
    let read = kubernetes.asked(&format!("GET {TASKS}/hippo-reload"));
    assert!(!read.is_empty(), "Kubernetes itself was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_still_asked_for_is_not_forgotten_by_who_does_not_see_it() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = behind(&kubernetes, &certificates).await;
    create(&kubernetes, &reconciler).await;
    ask(&kubernetes, FIRST);
    // As a reconciler that sees it leaves the status, which has too much then.
    kubernetes.edit("pgclusters", NS, "hippo", |object| {
        let mut first = ended(FIRST, "Failed");
        first["task"] = json!("hippo-reload");
        let others = (0..12).map(|n| {
            ended(
                &format!("9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7b{n:02}"),
                "Failed",
            )
        });
        let operations = object["status"]["operations"].as_array_mut().unwrap();
        operations.push(first);
        operations.extend(others);
    });
    eventually("less in the status", || {
        let status = cluster(&kubernetes, "hippo")["status"].clone();
        status["operations"].as_array().unwrap().len() <= 10
    })
    .await;
    assert_eq!(outcomes(&kubernetes, FIRST), ["Failed"]);
    kubernetes.heal();
    eventually("a note of its end", || said(&kubernetes) == "Failed").await;
    assert_eq!(outcomes(&kubernetes, FIRST), ["Failed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_not_noted_in_another_request_that_has_taken_the_name() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    ask(&kubernetes, FIRST);
    let reconciler = behind(&kubernetes, &certificates).await;
    kubernetes.delete("pgtasks", NS, "hippo-reload");
    ask(&kubernetes, SECOND);
    create(&kubernetes, &reconciler).await;
    // What there is has been found where the other one was looked for.
    eventually("an answer", || outcomes(&kubernetes, SECOND) == ["Failed"]).await;
    let operation = ended(FIRST, "Completed");
    kubernetes.edit("pgclusters", NS, "hippo", |object| {
        let operations = object["status"]["operations"].as_array_mut().unwrap();
        operations.push(operation);
    });
    let patches = || {
        let asked = kubernetes.asked(&format!("PATCH {TASKS}/hippo-reload"));
        asked.len()
    };
    eventually("a try", || patches() > 0).await;
    reconciler.reconciles(2).await;
    assert_eq!(said(&kubernetes), Value::Null);
    kubernetes.heal();
    eventually("its own end", || said(&kubernetes) == "Failed").await;
}
