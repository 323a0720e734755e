//! Writes that meet another's: nothing is lost, told twice or removed in its place.

use serde_json::Value;

use crate::{
    harness::{
        Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation, phase,
    },
    kubernetes::{Fault, Kubernetes},
};

const CLUSTERS: &str = "/apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters";

/// Type and seq of each event in the outbox.
fn outbox(kubernetes: &Kubernetes, name: &str) -> Vec<(String, u64)> {
    let status = cluster(kubernetes, name)["status"].clone();
    let entries = status["outbox"]["entries"].as_array().cloned();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = entries.unwrap_or_default();
    let entries = entries.iter();
    entries
        .map(|event| {
            let event_type = text(&event["eventheader"]["EventType"]);
            (event_type, event["seq"].as_u64().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_met_another_write_is_decided_anew_and_tells_each_event_once() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail(&format!("PUT {CLUSTERS}/hippo/status"), Fault::Overtaken);
    kubernetes.fail(&format!("PATCH {CLUSTERS}/hippo"), Fault::Overtaken);
    // Nobody stores events, so the outbox shows all that were told.
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[]);
    create_cluster(&kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    reconciler.reconciles(2).await;
    let told = outbox(&kubernetes, "hippo");
    let expected = [("CreateCluster", 1), ("CreateClusterProgress", 2)];
    assert_eq!(told, expected.map(|(name, seq)| (name.to_owned(), seq)));
    let metadata = &cluster(&kubernetes, "hippo")["metadata"];
    assert_eq!(metadata["annotations"]["another"], "was here");
    assert_eq!(metadata["finalizers"].as_array().map(Vec::len), Some(1));
    let conflicts = reconciler.metric("pgo_reconcile_errors_total{reason=\"conflict\"}");
    assert_eq!(conflicts, Some(2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_is_given_up_and_holds_up_no_other_cluster() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let write = format!("PUT {CLUSTERS}/hippo/status");
    kubernetes.fail(&write, Fault::Hangs);
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    create_cluster(&kubernetes, "rhino");
    eventually("a status of rhino", || {
        phase(&kubernetes, "rhino") == "Creating"
    })
    .await;
    eventually("a second attempt", || kubernetes.asked(&write).len() > 1).await;
    let given_up = reconciler.metric("pgo_reconcile_errors_total{reason=\"deadline\"}");
    assert_eq!(given_up, Some(1.0));
    kubernetes.heal();
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_took_the_name_of_a_pod_or_a_claim_is_not_removed_in_its_place() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    eventually("a pod in the status", || {
        let cluster = kubernetes.get("pgclusters", NS, "hippo");
        cluster.is_some_and(|cluster| cluster["status"]["instances"][0]["podUid"].is_string())
    })
    .await;
    let uid = |kind: &str| {
        let object = kubernetes.get(kind, NS, "hippo").unwrap();
        object["metadata"]["uid"].clone()
    };
    let kinds = ["pods", "persistentvolumeclaims"];
    let before = kinds.map(uid);
    let removals = kinds.map(|kind| format!("DELETE /api/v1/namespaces/pgouser1/{kind}/hippo"));
    for removal in &removals {
        kubernetes.fail(removal, Fault::Replaced);
    }
    ask_for_deletion_with_data(&kubernetes, "hippo");
    eventually("the end of hippo", || {
        kubernetes.get("pgclusters", NS, "hippo").is_none()
    })
    .await;
    for (removal, before) in removals.iter().zip(before) {
        let asked = kubernetes.asked(removal);
        assert!(!asked.is_empty(), "{removal}");
        for asked in asked {
            assert_eq!(asked.body["preconditions"]["uid"], before, "{asked:?}");
        }
    }
    for kind in kinds {
        assert!(kubernetes.get(kind, NS, "hippo").is_some(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_watch_has_shown_yet_goes_with_its_cluster() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "zebra");
    eventually("a pod of zebra", || {
        kubernetes.get("pods", NS, "zebra").is_some()
    })
    .await;
    let kinds = ["pods", "persistentvolumeclaims", "secrets"];
    for kind in kinds {
        let watch = format!("WATCH /api/v1/namespaces/pgouser1/{kind}");
        kubernetes.fail(&watch, Fault::Hangs);
    }
    create_cluster(&kubernetes, "hippo");
    eventually("a pod of hippo", || {
        kubernetes.get("pods", NS, "hippo").is_some()
    })
    .await;
    ask_for_deletion_with_data(&kubernetes, "hippo");
    eventually("the end of hippo", || {
        kubernetes.get("pgclusters", NS, "hippo").is_none()
    })
    .await;
    for kind in kinds {
        let names = kubernetes.names(kind, NS).into_iter();
        // What the cluster owned is for the garbage collector, which this Kubernetes has not.
        let stays = |name: &String| {
            let object = kubernetes.get(kind, NS, name).unwrap();
            name.starts_with("hippo") && object["metadata"]["ownerReferences"].is_null()
        };
        let left: Vec<_> = names.filter(stays).collect();
        assert_eq!(left, Vec::<String>::new(), "{kind}");
    }
}

fn ask_for_deletion_with_data(kubernetes: &Kubernetes, name: &str) {
    let task = serde_json::json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": format!("{name}-rmdata"), "labels": {"pg-cluster": name}},
        "spec": {"tasktype": "delete-data", "parameters": {"pg-cluster": name, "delete-data": "true"}},
    });
    kubernetes.put("pgtasks", NS, task);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_authority_ends_soon_a_certificate_is_made_once() {
    let (kubernetes, certificates) = (installation(), Certificates::of_days(10));
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    reconciler.reconciles(3).await;
    let secret = "/namespaces/pgouser1/secrets";
    let writes = kubernetes.asked(secret).into_iter();
    let writes = writes.filter(|asked| asked.body["metadata"]["name"] == "hippo-agent-tls");
    assert_eq!(writes.count(), 1);
}
