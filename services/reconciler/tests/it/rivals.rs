//! Clusters that need one name, made at the same moment: the apiserver refuses the second, and what it could not see the
//! reconciler tells.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    harness::{Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation},
    kubernetes::Kubernetes,
};

/// A condition's reason and message.
fn condition(kubernetes: &Kubernetes, name: &str, kind: &str) -> (String, String) {
    let cluster = cluster(kubernetes, name);
    let all = cluster["status"]["conditions"].as_array().cloned();
    let mut all = all.unwrap_or_default().into_iter();
    let found = all.find(|one| one["type"] == kind).unwrap_or(Value::Null);
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clusters_that_need_one_service_the_second_is_refused_with_whose_it_is() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    // Before anybody looks, so that neither is there first.
    create_cluster(&kubernetes, "hippo");
    create_cluster(&kubernetes, "hippo-replica");
    kubernetes.edit("pgclusters", NS, "hippo", |hippo| {
        hippo["spec"]["replicaCount"] = json!(1);
    });
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let refused = |name: &str, of: &str| {
        let (reason, message) = condition(&kubernetes, name, "UpToDate");
        let whose = format!("belongs to cluster {of}");
        reason == "Refused" && message.contains("Service hippo-replica") && message.contains(&whose)
    };
    let told = eventually("one of them is refused", || {
        refused("hippo", "hippo-replica") || refused("hippo-replica", "hippo")
    });
    let mut agent = FakeAgent::new("hippo", &certificates);
    let serving = async {
        // Where that is needed for it to have a replica, and so a Service for it.
        agent.bring_up(&kubernetes).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = told => {}
        () = serving => {}
    }
    let service = kubernetes.get("services", NS, "hippo-replica").unwrap();
    let owner = service["metadata"]["labels"]["pg-cluster"].as_str();
    let (owner, other) = match owner {
        Some("hippo") => ("hippo", "hippo-replica"),
        _ => ("hippo-replica", "hippo"),
    };
    assert!(refused(other, owner), "{owner} has it");
    let (reason, _) = condition(&kubernetes, owner, "UpToDate");
    assert_ne!(reason, "Refused", "{owner} has it");
}
