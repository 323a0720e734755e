//! Objects that cannot be understood: they block no other, and are left as they are.

use serde_json::json;

use crate::{
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, phase,
    },
    kubernetes::Kubernetes,
};

/// A status as a later version may have written it.
fn put_later(kubernetes: &Kubernetes, name: &str) {
    create_cluster(kubernetes, name);
    kubernetes.edit("pgclusters", NS, name, |cluster| {
        cluster["status"] = json!({"phase": "Hibernating", "outbox": {"last": 7, "entries": []}});
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_cannot_be_understood_blocks_no_other_cluster_and_stays_as_it_is() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    put_later(&kubernetes, "later");
    create_cluster(&kubernetes, "hippo");
    let before = cluster(&kubernetes, "later");
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;
    let unreadable = "pgo_reconcile_errors_total{reason=\"unreadable\"}";
    eventually("a count", || reconciler.metric(unreadable) == Some(1.0)).await;
    assert_eq!(cluster(&kubernetes, "later"), before);

    // Mended, it is taken up at once.
    kubernetes.edit("pgclusters", NS, "later", |cluster| {
        cluster["status"]["phase"] = json!("Pending");
    });
    eventually("a status of later", || {
        phase(&kubernetes, "later") == "Creating"
    })
    .await;
    assert!(cluster(&kubernetes, "later")["status"]["outbox"]["last"].as_u64() > Some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_cannot_be_understood_hides_no_other() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let task = |name: &str, spec: serde_json::Value| {
        json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
            "metadata": {"name": name, "labels": {"pg-cluster": "hippo"}}, "spec": spec,
        })
    };
    kubernetes.put("pgtasks", NS, task("a", json!({"tasktype": 5})));
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;
    let spec = json!({"tasktype": "delete-data", "parameters": {"pg-cluster": "hippo"}});
    kubernetes.put("pgtasks", NS, task("b", spec));
    eventually("the end of hippo", || {
        kubernetes.get("pgclusters", NS, "hippo").is_none()
    })
    .await;
    assert!(kubernetes.names("pgtasks", NS).is_empty());
}
