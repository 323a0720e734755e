//! Pgreplicas that a cache shows later than the status that knows them.

use serde_json::json;

use crate::{
    harness::{Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation},
    kubernetes::Fault,
};

const REPLICAS: &str = "/apis/crunchydata.com/v1/namespaces/pgouser1/pgreplicas";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_no_cache_shows_yet_is_no_removed_one() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail(&format!("WATCH {REPLICAS}"), Fault::Hangs);
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    reconciler.reconciles(2).await;
    let replica = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgreplica",
        "metadata": {"name": "hippo-abcd", "labels": {"pg-cluster": "hippo"}},
        "spec": {"name": "hippo-abcd", "clustername": "hippo"},
    });
    kubernetes.put("pgreplicas", NS, replica);
    let made = kubernetes.get("pgreplicas", NS, "hippo-abcd").unwrap();
    // As a reconciler that has seen it leaves the status.
    kubernetes.edit("pgclusters", NS, "hippo", |object| {
        object["status"]["replicas"] = json!([{
            "name": "hippo-abcd", "uid": made["metadata"]["uid"], "reason": "Creating",
        }]);
        object["status"]["replicaCount"] = json!({"asked": 0, "wanted": 1, "made": 0});
    });
    eventually("a look at Kubernetes itself, or the end of it", || {
        let listed = kubernetes.asked(&format!("GET {REPLICAS}")).len() > 1;
        listed || cluster(&kubernetes, "hippo")["status"]["replicas"] == json!([])
    })
    .await;
    reconciler.reconciles(3).await;
    let status = cluster(&kubernetes, "hippo")["status"].clone();
    let known = &status["replicas"][0];
    assert_eq!(known["name"], "hippo-abcd", "{status}");
    assert!(known["leaving"].is_null(), "{status}");
}
