//! Requests for larger volumes: what is written, and what is refused before anything is.

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, installation, start_plain},
    kubernetes::Kubernetes,
};

async fn update(client: &Client, more: Value) -> Value {
    let mut request = json!({
        "Clustername": ["hippo"], "KeepAutofail": true, "ClientVersion": "4.1.0", "Namespace": "pgouser1",
    });
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    client.post("/clustersupdate", request).await.json()
}

/// A class, and the claim of the first instance, which is of it.
fn class(kubernetes: &Kubernetes, grows: bool) {
    kubernetes.put(
        "storageclasses",
        "",
        json!({
            "metadata": {"name": "fast"}, "provisioner": "x", "allowVolumeExpansion": grows,
        }),
    );
    kubernetes.put(
        "persistentvolumeclaims",
        "pgouser1",
        json!({
            "metadata": {"name": "hippo", "labels": {"pg-cluster": "hippo", "pgremove": "true"}},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "300M"}}},
        }),
    );
}

#[tokio::test]
async fn volumes_of_instances_get_the_size_and_who_asked_is_noted() {
    let kubernetes = installation();
    class(&kubernetes, true);
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    for (name, cluster, size) in [
        ("hippo-abcd", "hippo", "300M"),
        ("hippo-efgh", "hippo", "9Gi"),
        ("zebra-abcd", "zebra", "300M"),
    ] {
        kubernetes.put("pgreplicas", "pgouser1", json!({
            "metadata": {"name": name, "namespace": "pgouser1", "labels": {"pg-cluster": cluster}},
            "spec": {"namespace": "pgouser1", "name": name, "clustername": cluster, "replicastorage": {"size": size}},
        }));
    }
    kubernetes.put("persistentvolumeclaims", "pgouser1", json!({
        "metadata": {"name": "hippo-pgbr-repo", "labels": {"pg-cluster": "hippo", "pgremove": "true"}},
        "spec": {"storageClassName": "slow"},
    }));
    let answer = update(&client, json!({"PVCSize": "2Gi"})).await;
    let done = json!({"Results": ["updated pgcluster hippo"], "Code": "ok", "Msg": ""});
    assert_eq!(answer, done);
    let cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    for field in ["PrimaryStorage", "ReplicaStorage"] {
        let storage = &cluster["spec"][field];
        assert_eq!(storage["size"], "2Gi");
        assert_eq!(storage["storageclass"], "fast");
    }
    let annotations = cluster["metadata"]["annotations"].as_object().unwrap();
    let mut keys = annotations.keys();
    assert!(keys.any(|key| key.starts_with("update.pgo.crunchydata.com/")));
    assert_eq!(cluster["metadata"]["labels"]["autofail"], Value::Null);
    let size = |name: &str| {
        let replica = kubernetes.get("pgreplicas", "pgouser1", name).unwrap();
        replica["spec"]["replicastorage"]["size"].clone()
    };
    let sizes = ["hippo-abcd", "hippo-efgh", "zebra-abcd"].map(size);
    assert_eq!(sizes, [json!("2Gi"), json!("9Gi"), json!("300M")]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let kubernetes = installation();
    class(&kubernetes, false);
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let before = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    for (request, words) in [
        (json!({}), "the request changes nothing"),
        (
            json!({"RestoreDrills": "weekly"}),
            "restore drills are made each, daily or never, not \"weekly\"",
        ),
        (json!({"PVCSize": "much"}), "is not a quantity"),
        (json!({"PVCSize": "0"}), "is no size of a volume"),
        (json!({"PVCSize": "100M"}), "cannot be made smaller"),
        (
            json!({"PVCSize": "2Gi"}),
            "PersistentVolumeClaim hippo is of StorageClass fast, which does not allow volumes to grow",
        ),
    ] {
        let refused = update(&client, request).await;
        let why = refused["Msg"].as_str().unwrap();
        assert!(
            refused["Code"] == "error" && why.contains(words),
            "{refused}"
        );
    }
    let after = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    assert_eq!(after["spec"], before["spec"]);
}

#[tokio::test]
async fn which_backups_are_tried_is_said_at_the_creation_and_later() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let said = || {
        let cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
        cluster["spec"]["restoreDrills"].clone()
    };
    let mut request = create_request("hippo");
    request["RestoreDrills"] = json!("weekly");
    let refused = client.post("/clusters", request.clone()).await.refusal();
    assert!(refused.contains("not \"weekly\""), "{refused}");
    request["RestoreDrills"] = json!("each");
    client.post("/clusters", request).await.done();
    assert_eq!(said(), "each");
    let answer = update(&client, json!({"RestoreDrills": "never"})).await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    assert_eq!(said(), "never");
    client
        .post("/clusters", create_request("rhino"))
        .await
        .done();
    let other = kubernetes.get("pgclusters", "pgouser1", "rhino").unwrap();
    assert!(other["spec"]["restoreDrills"].is_null(), "as pgo.yaml says");
}
