//! What is shown of clusters and of PGO: which clusters, and which figures are missing.

use serde_json::{Value, json};

use crate::{
    harness::{PGO_YAML, cluster_request, configure, create_request, installation, start_plain},
    kubernetes::{Failure, Kubernetes, place},
};

#[tokio::test]
async fn a_cluster_is_found_by_the_tag_that_is_shown_of_it() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let mut request = create_request("other");
    request["CCPImageTag"] = json!("debian12-15");
    client.post("/clusters", request).await.done();
    client
        .post("/clusters", create_request("plain"))
        .await
        .done();
    // As kubectl makes one that leaves everything to pgo.yaml.
    let bare = json!({"metadata": {"name": "bare", "uid": "u1"}, "spec": {}});
    kubernetes.put("pgclusters", "pgouser1", bare);
    for (tag, expected) in [
        ("centos7-11.5-2.4.2", vec!["bare", "plain"]),
        ("debian12-15", vec!["other"]),
        ("nosuch", vec![]),
        ("", vec!["bare", "other", "plain"]),
    ] {
        let mut request = cluster_request("");
        request["AllFlag"] = json!(true);
        request["Ccpimagetag"] = json!(tag);
        let shown = client.post("/showclusters", request).await.done();
        let names: Vec<&str> = shown["Results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|shown| shown["Cluster"]["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{tag}");
    }
}

/// The status, and what it says besides.
async fn status(kubernetes: &Kubernetes) -> (Value, String) {
    let apiserver = start_plain(kubernetes).await;
    let target = "/status?version=4.1.0&namespace=pgouser1";
    let answer = apiserver.plain().get(target).await.done();
    let told = answer["Msg"].as_str().unwrap().to_owned();
    (answer["Result"].clone(), told)
}

#[tokio::test]
async fn a_cluster_that_kubectl_made_is_shown_with_its_storage_also_when_its_claim_has_a_name() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let storage = async |spec: Value| {
        let cluster = json!({"metadata": {"name": "bare", "uid": "u1"}, "spec": spec});
        kubernetes.put("pgclusters", "pgouser1", cluster);
        let request = cluster_request("bare");
        let shown = apiserver.plain().post("/showclusters", request).await;
        shown.done()["Results"][0]["Cluster"]["spec"]["PrimaryStorage"].clone()
    };
    let mut of_pgo_yaml = storage(json!({})).await;
    assert_ne!(of_pgo_yaml["size"], "");
    of_pgo_yaml["name"] = json!("bare");
    // What PGO writes into the spec once the claim is there.
    let projected = storage(json!({"PrimaryStorage": {"name": "bare"}})).await;
    assert_eq!(projected, of_pgo_yaml);
    let own = storage(json!({"PrimaryStorage": {"name": "bare", "size": "7Gi"}})).await;
    assert_eq!(
        (&own["size"], &own["storageclass"]),
        (&json!("7Gi"), &json!(""))
    );
}

#[tokio::test]
async fn a_cluster_that_has_no_pod_is_told_as_not_ready_and_not_among_pods() {
    let kubernetes = installation();
    for (name, ready) in [("bad", "False"), ("hippo", "True")] {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let cluster =
            json!({"metadata": {"name": name}, "spec": {}, "status": {"conditions": conditions}});
        kubernetes.put("pgclusters", "pgouser1", cluster);
    }
    let fresh = json!({"metadata": {"name": "fresh"}, "spec": {}});
    kubernetes.put("pgclusters", "pgouser1", fresh);
    let (figures, _) = status(&kubernetes).await;
    assert_eq!(figures["ClustersNotReady"], json!(["bad", "fresh"]));
    assert_eq!(figures["NotReady"], json!([]), "4.1's clients read pods");
}

#[tokio::test]
async fn the_status_tells_of_each_cluster_who_leads_how_far_others_are_behind_and_what_happened_last()
 {
    let kubernetes = installation();
    let status_of_hippo = json!({
        "currentPrimary": "hippo-abcd", "replicaCount": {"asked": 2, "wanted": 2, "made": 2},
        "instances": [
            {"name": "hippo", "role": "replica", "ready": true, "term": 2, "timeline": 2, "streaming": true,
                "lagBytes": 4_194_304, "lagSeconds": 2, "sync": "quorum", "node": "node1", "postgresVersion": "15.18"},
            {"name": "hippo-abcd", "role": "primary", "ready": true, "term": 2, "timeline": 2,
                "pendingRestart": ["max_connections"]},
        ],
        "synchronous": {"asked": 1, "rule": 1, "of": 2, "waitFor": 1},
        "lastTakeover": {"planned": false, "from": "hippo", "to": "hippo-abcd", "cause": "hippo is silent", "timeline": 2,
            "lsn": "0/3000148", "at": "2026-10-15T10:11:12Z", "durationMs": 2300},
        "lastProvenRestore": {"backup": "20261015-101112F", "at": "2026-10-15T11:00:00Z", "durationMs": 12_300,
            "sizeBytes": 30_000_000, "lsn": "0/5000148", "checksums": true, "structure": true},
    });
    for (name, status) in [("hippo", status_of_hippo), ("fresh", Value::Null)] {
        let cluster = json!({"metadata": {"name": name}, "spec": {}, "status": status});
        kubernetes.put("pgclusters", "pgouser1", cluster);
    }
    let (figures, _) = status(&kubernetes).await;
    let (fresh, hippo) = (&figures["Clusters"][0], &figures["Clusters"][1]);
    assert_eq!(
        fresh,
        &json!({"Name": "fresh", "Primary": "", "Timeline": 0, "InstancesReady": 0, "InstancesWanted": 1, "Instances": []})
    );
    let lag = json!({"Instance": "hippo", "Bytes": 4_194_304, "Seconds": 2});
    for (field, expected) in [
        ("Primary", json!("hippo-abcd")),
        ("Timeline", json!(2)),
        ("InstancesReady", json!(2)),
        ("InstancesWanted", json!(3)),
        ("Lag", lag),
    ] {
        assert_eq!(hippo[field], expected, "{field}");
    }
    for (place, expected) in [
        ("/Synchronous/WaitFor", json!(1)),
        ("/LastTakeover/Planned", json!(false)),
        ("/LastTakeover/From", json!("hippo")),
        ("/LastTakeover/Cause", json!("hippo is silent")),
        ("/LastTakeover/At", json!("2026-10-15T10:11:12Z")),
        ("/LastTakeover/DurationMs", json!(2300)),
        ("/LastProvenRestore/Backup", json!("20261015-101112F")),
        ("/LastProvenRestore/Lsn", json!("0/5000148")),
        ("/Instances/0/Sync", json!("quorum")),
        ("/Instances/0/PostgresVersion", json!("15.18")),
        ("/Instances/1/Role", json!("primary")),
        ("/Instances/1/PendingRestart", json!(["max_connections"])),
    ] {
        assert_eq!(hippo.pointer(place), Some(&expected), "{place}");
    }
}

#[tokio::test]
async fn what_pgo_yaml_asks_for_and_is_not_there_yet_is_in_the_status() {
    let kubernetes = installation();
    let everything = "Cluster:\n  Metrics: true\n  Badger: true\n  Databse: typo";
    let configured = PGO_YAML.replace("Cluster:", everything);
    configure(&kubernetes, &configured);
    let (figures, _) = status(&kubernetes).await;
    let expected = json!([
        "Cluster.Badger",
        "Cluster.Databse (no such setting)",
        "Cluster.Metrics",
    ]);
    assert_eq!(figures["SettingsNotAvailable"], expected);
    configure(&kubernetes, PGO_YAML);
    let (figures, _) = status(&kubernetes).await;
    assert_eq!(
        figures["SettingsNotAvailable"],
        Value::Null,
        "4.1 has no such field"
    );
}

/// As in 4.1, where the word means all only in what is deleted or tested.
#[tokio::test]
async fn the_word_all_is_the_name_of_no_cluster_to_show_or_to_change() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let shown = client
        .post("/showclusters", cluster_request("all"))
        .await
        .done();
    assert_eq!(shown["Results"], json!([]));
    let change = json!({"Clustername": ["all"], "Autofail": false, "ClientVersion": "4.1.0", "Namespace": "pgouser1"});
    let refused = client.post("/clustersupdate", change).await.refusal();
    assert_eq!(refused, "no clusters found");
    let deleted = client
        .post("/clustersdelete", cluster_request("all"))
        .await
        .done();
    assert_eq!(deleted["Results"], json!(["deleted pgcluster hippo"]));
}

fn started(kubernetes: &Kubernetes) {
    let operation = json!({"id": "25927091-b343-4017-be4b-71575f0b3eb5", "kind": "StartPgo", "actor": "",
        "started": "2026-11-22T14:23:53Z"});
    let installation = json!({"metadata": {"name": "pgo"}, "spec": {}, "status": {
        "phase": "Running", "operations": [operation], "outbox": {"last": 0, "entries": []}}});
    kubernetes.put("pginstallations", "pgo", installation);
}

#[tokio::test]
async fn a_status_without_gaps_says_nothing_besides() {
    let kubernetes = installation();
    started(&kubernetes);
    let (figures, told) = status(&kubernetes).await;
    assert_eq!(
        figures["OperatorStartTime"],
        "2026-11-22 14:23:53 +0000 UTC"
    );
    assert_eq!(told, "");
}

#[tokio::test]
async fn figures_that_cannot_be_had_are_named_with_the_reason() {
    for (kind, figures) in [
        ("pods", "NumDatabases, DbTags, NotReady, Labels"),
        (
            "pgclusters",
            "PendingRestart, FallenBack, ClustersNotReady, Clusters",
        ),
        ("jobs", "NumBackups"),
        ("persistentvolumeclaims", "NumClaims, VolumeCap"),
        ("nodes", "Nodes"),
    ] {
        let kubernetes = installation();
        started(&kubernetes);
        kubernetes.fail(
            format!("GET {}", place(kind, "pgouser1")),
            Failure::Forbidden,
        );
        let (_, told) = status(&kubernetes).await;
        let expected = format!("figures that could not be had: {figures}: not for you");
        assert_eq!(told, expected);
    }
    let (figures, told) = status(&installation()).await;
    assert_eq!(figures["OperatorStartTime"], "error");
    assert_eq!(
        told,
        "figures that could not be had: OperatorStartTime: no PgInstallation pgo in namespace pgo tells of a start of PGO"
    );
}
