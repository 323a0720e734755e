//! Claims that are to have larger volumes.

use serde_json::{Value, json};

use crate::{
    harness::{Certificates, NS, Reconciler, cluster, create_cluster, eventually, installation},
    kubernetes::Kubernetes,
};

fn class(kubernetes: &Kubernetes, grows: bool) {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local"}, "provisioner": "x", "allowVolumeExpansion": grows,
    });
    kubernetes.put("storageclasses", "", class);
}

fn want(kubernetes: &Kubernetes, size: &str) {
    kubernetes.edit("pgclusters", NS, "hippo", |object| {
        object["spec"]["PrimaryStorage"] = json!({
            "storagetype": "dynamic", "storageclass": "local", "accessmode": "ReadWriteOnce", "size": size,
        });
    });
}

fn claim(kubernetes: &Kubernetes) -> Value {
    kubernetes
        .get("persistentvolumeclaims", NS, "hippo")
        .unwrap()
}

/// The condition that says whether what the spec asks for is in force.
fn up_to_date(kubernetes: &Kubernetes) -> Value {
    let object = cluster(kubernetes, "hippo");
    let conditions = object["status"]["conditions"].as_array().cloned();
    let mut conditions = conditions.unwrap_or_default().into_iter();
    let found = conditions.find(|one| one["type"] == "UpToDate");
    found.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_asks_for_more_where_its_class_allows_it_and_the_reason_is_told_where_not() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    class(&kubernetes, false);
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    eventually("a claim", || {
        kubernetes.names("persistentvolumeclaims", NS) == ["hippo"]
    })
    .await;
    kubernetes.edit("persistentvolumeclaims", NS, "hippo", |claim| {
        claim["spec"]["volumeName"] = json!("volume-1");
        claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    });
    want(&kubernetes, "2Gi");
    eventually("the reason", || {
        let told = up_to_date(&kubernetes);
        let message = told["message"].as_str().unwrap_or_default();
        told["reason"] == "VolumeCannotGrow"
            && message.contains("StorageClass local does not allow")
    })
    .await;
    assert_eq!(
        claim(&kubernetes)["spec"]["resources"]["requests"]["storage"],
        "1Gi"
    );

    class(&kubernetes, true);
    want(&kubernetes, "3Gi");
    eventually("a larger claim", || {
        claim(&kubernetes)["spec"]["resources"]["requests"]["storage"] == "3Gi"
    })
    .await;
    let form = &claim(&kubernetes)["metadata"]["annotations"]["pgo.crunchydata.com/made-for"];
    let form: Value = serde_json::from_str(form.as_str().unwrap()).unwrap();
    assert_eq!(form["PrimaryStorage.size"], "3Gi");
    assert_eq!(form["PrimaryStorage.storageclass"], "local");
    eventually("that it takes time", || {
        up_to_date(&kubernetes)["reason"] == "VolumeGrows"
    })
    .await;
    kubernetes.edit("persistentvolumeclaims", NS, "hippo", |claim| {
        claim["status"]["capacity"]["storage"] = json!("3Gi");
    });
    eventually("that it is so", || {
        up_to_date(&kubernetes)["reason"] == "AsWanted"
    })
    .await;
}
