//! `deploy/rbac/apiserver.yaml` is what `src/rights.rs` says, and that is what is needed. That it is enough, all tests
//! here show: their Kubernetes refuses the rest. `UPDATE=1 cargo test -p pgo-apiserver` writes the file anew.

use std::{path::Path, time::Duration};

use pgo_apiserver::RIGHTS;
use serde_json::{Value, json};

use crate::{
    harness::{Client, SOON, cluster_request, create_request, installation, start_plain},
    kubernetes::{Failure, Kubernetes, place},
};

#[test]
fn the_rights_that_are_installed_are_those_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rbac");
    if let Err(differs) = RIGHTS.hold_against(&folder) {
        panic!("{differs}");
    }
}

/// One is made, shown and deleted, each in every way.
async fn policies(client: &Client) {
    let named = |mut request: Value, all: bool| {
        request["AllFlag"] = json!(all);
        request["Namespace"] = json!("pgouser1");
        request["ClientVersion"] = json!("4.1.0");
        request
    };
    let policy = named(json!({"Name": "gold", "SQL": "select 1"}), false);
    client.post("/policies", policy).await.done();
    for all in [false, true] {
        let shown = named(json!({"Policyname": "gold"}), all);
        client.post("/showpolicies", shown).await.done();
    }
    let deleted = named(json!({"PolicyName": "gold"}), false);
    client.post("/policiesdelete", deleted).await.done();
}

/// A backup that waits is cancelled.
async fn cancel(kubernetes: &Kubernetes, client: &Client) {
    let id = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "backrest-backup-hippo", "labels": {"workflowid": id}},
        "spec": {"tasktype": "backrest", "parameters": {"pg-cluster": "hippo"}},
    });
    kubernetes.put("pgtasks", "pgouser1", task);
    let asked = json!({"Namespace": "pgouser1", "Args": [id], "ClientVersion": "4.1.0"});
    client.post("/workflowcancel", asked).await.done();
}

#[tokio::test]
async fn each_right_is_needed() {
    let kubernetes = installation();
    // Left behind by a former cluster of the name.
    kubernetes.put("pgtasks", "pgouser1", json!({
        "metadata": {"name": "hippo-rmdata", "uid": "former-task", "ownerReferences": [
            {"apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": "hippo", "uid": "former"}]},
        "spec": {"tasktype": "delete-data"},
    }));
    // Without a pgo.yaml there is a storage class to choose.
    let file = kubernetes
        .remove("configmaps", "pgo", "pgo-config")
        .unwrap();
    kubernetes.put(
        "storageclasses",
        "",
        json!({"metadata": {"name": "fast"}, "provisioner": "x"}),
    );
    drop(start_plain(&kubernetes).await);
    kubernetes.put("configmaps", "pgo", file);
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let mut request = create_request("hippo");
    request["Password"] = json!("s3cret");
    client.post("/clusters", request).await.done();
    // With passwords that are copied, and taken back.
    kubernetes.fail(
        format!("POST {}", place("pgclusters", "pgouser1")),
        Failure::Forbidden,
    );
    let mut request = create_request("zebra");
    request["SecretFrom"] = json!("hippo");
    client.post("/clusters", request).await.refusal();
    kubernetes.heal();
    for target in ["/showclusters", "/testclusters"] {
        let mut request = cluster_request("");
        request["AllFlag"] = json!(true);
        client.post(target, request).await.done();
    }
    let scale = "/clusters/scale/hippo?replica-count=1&storage-config=storageos&version=4.1.0&namespace=pgouser1";
    client.get(scale).await.done();
    let autofail = json!({"Clustername": ["hippo"], "Autofail": false, "ClientVersion": "4.1.0", "Namespace": "pgouser1"});
    client.post("/clustersupdate", autofail).await.done();
    let schedule = json!({"ClusterName": "hippo", "Namespace": "pgouser1", "Schedule": "@daily",
        "ScheduleType": "pgbackrest", "PGBackRestType": "full"});
    client.post("/schedule", schedule).await.done();
    let of_hippo = json!({"ClusterName": "hippo", "Namespace": "pgouser1"});
    client.post("/scheduledelete", of_hippo).await.done();
    // The replica has a storage of its own.
    let size = json!({"Clustername": ["hippo"], "KeepAutofail": true, "PVCSize": "1Gi", "ClientVersion": "4.1.0",
        "Namespace": "pgouser1"});
    client.post("/clustersupdate", size).await.done();
    policies(&client).await;
    cancel(&kubernetes, &client).await;
    let workflow =
        "/workflow/25927091-b343-4017-be4b-71575f0b3eb5?version=4.1.0&namespace=pgouser1";
    client.get(workflow).await.refusal();
    let status = "/status?version=4.1.0&namespace=pgouser1";
    client.get(status).await.done();

    let all_used = async {
        // The watches begin when they like.
        while !kubernetes.unused_rights().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(SOON, all_used).await;
    assert_eq!(kubernetes.unused_rights(), [""; 0]);
}
