//! The nodes that `PreferredFailoverNode` selects: the Lease says which instances are on them.

use serde_json::{Value, json};

use crate::{
    failover::cluster,
    harness::{Certificates, NS, PGO_YAML, Reconciler, configure, eventually, installation},
    kubernetes::Kubernetes,
};

/// A node with this label.
fn node(kubernetes: &Kubernetes, name: &str, zone: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"zone": zone}},
    });
    kubernetes.put("nodes", "", object);
}

/// Of instances that are as far, one in this zone is preferred.
fn prefer(kubernetes: &Kubernetes, zone: &str) {
    let preferred = format!("Pgo:\n  PreferredFailoverNode: zone={zone}\n");
    configure(kubernetes, &PGO_YAML.replace("Pgo:\n", &preferred));
}

/// What the Lease says to the agents.
fn said(kubernetes: &Kubernetes) -> Value {
    let lease = kubernetes.get("leases", NS, "hippo").unwrap_or_default();
    lease["metadata"]["annotations"]["pgo.crunchydata.com/preferred"].clone()
}

/// Whom the first instance prefers, as the status says.
fn known(kubernetes: &Kubernetes) -> Value {
    let cluster = kubernetes.get("pgclusters", NS, "hippo");
    let instances = &cluster.unwrap_or_default()["status"]["instances"];
    let mut instances = instances.as_array().into_iter().flatten();
    let first = instances.find(|one| one["name"] == "hippo");
    first.map_or(Value::Null, |one| one["preferred"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_on_nodes_that_are_preferred_are_named_in_the_lease() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    node(&kubernetes, "node1", "a");
    node(&kubernetes, "node2", "b");
    prefer(&kubernetes, "b");
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let (first, _other) = cluster(&kubernetes, &certificates).await;
    assert_eq!(said(&kubernetes), Value::Null, "all are on node1");
    kubernetes.edit("pods", NS, "hippo-abcd", |pod| {
        pod["spec"]["nodeName"] = json!("node2");
    });
    eventually("the one on node2", || said(&kubernetes) == "hippo-abcd").await;
    // What an agent knows of that is shown.
    let know = |preferred: &[&str]| {
        let names = preferred.iter().map(ToString::to_string).collect();
        first.state.send_modify(|state| state.preferred = names);
    };
    know(&["hippo-abcd", "No Such!"]);
    let shown = json!(["hippo-abcd"]);
    eventually("what the agent knows", || known(&kubernetes) == shown).await;
    know(&[]);
    eventually("nothing", || known(&kubernetes) == Value::Null).await;
    // Other nodes, by pgo.yaml; and none.
    prefer(&kubernetes, "a");
    eventually("the one on node1", || said(&kubernetes) == "hippo").await;
    configure(&kubernetes, PGO_YAML);
    eventually("nobody", || said(&kubernetes) == "").await;
    let lists = kubernetes.asked("GET /api/v1/nodes");
    assert_eq!(lists.len(), 2, "without a selector nobody asks");
    assert!(
        lists
            .iter()
            .all(|asked| asked.accept.contains("as=PartialObjectMetadata"))
    );
}
