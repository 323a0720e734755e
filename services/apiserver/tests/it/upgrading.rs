//! Requests for upgrades: what is answered, and which tasks are in Kubernetes then.

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, installation, start_plain, user},
    kubernetes::Kubernetes,
};

async fn upgrade(client: &Client, args: Value, selector: &str, tag: &str) -> Value {
    let request = json!({
        "Args": args, "Selector": selector, "Namespace": "pgouser1", "CCPImageTag": tag, "ClientVersion": "4.1.0",
    });
    client.post("/upgrades", request).await.json()
}

/// Clusters that are ready.
async fn clusters(kubernetes: &Kubernetes, client: &Client, names: &[&str]) {
    for name in names {
        client.post("/clusters", create_request(name)).await.done();
        change(kubernetes, name, |cluster| {
            cluster["status"] = json!({
                "phase": "Ready", "instances": [], "operations": [], "outbox": {"last": 0, "entries": []},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
                    "lastTransitionTime": "2026-10-15T10:11:12Z", "observedGeneration": 1}],
            });
        });
    }
}

fn change(kubernetes: &Kubernetes, name: &str, change: impl FnOnce(&mut Value)) {
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", name).unwrap();
    change(&mut cluster);
    kubernetes.put("pgclusters", "pgouser1", cluster);
}

fn task(kubernetes: &Kubernetes, cluster: &str) -> Option<Value> {
    kubernetes.get("pgtasks", "pgouser1", &format!("{cluster}-minor-upgrade"))
}

#[tokio::test]
async fn an_upgrade_is_a_task_of_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo"]).await;
    let answer = upgrade(&client, json!(["hippo"]), "", "debian12-15.20").await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    assert_eq!(
        answer["Results"],
        json!(["created minor upgrade task for hippo"])
    );
    let task = task(&kubernetes, "hippo").unwrap();
    assert_eq!(task["spec"]["tasktype"], "minorupgradecluster");
    assert_eq!(
        task["spec"]["parameters"],
        json!({"pg-cluster": "hippo", "CCPImageTag": "debian12-15.20"})
    );
    let labels = &task["metadata"]["labels"];
    assert_eq!(labels["pgouser"], "pgoadmin");
    assert_eq!(answer["Upgrades"][0]["Cluster"], "hippo");
    assert_eq!(answer["Upgrades"][0]["OperationID"], labels["workflowid"]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_makes_no_task() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo", "busy", "down", "gone"]).await;
    let image = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    assert!(image["spec"].is_object());
    change(&kubernetes, "busy", |cluster| {
        cluster["status"]["operations"] = json!([{
            "id": "25927091-b343-4017-be4b-71575f0b3eb5", "kind": "ScaleCluster", "actor": "x",
            "started": "2026-10-15T10:11:12Z",
        }]);
    });
    change(&kubernetes, "down", |cluster| {
        cluster["status"]["conditions"][0]["status"] = json!("False");
        cluster["status"]["reason"] = json!("a failover goes on");
    });
    change(&kubernetes, "gone", |cluster| {
        cluster["metadata"]["deletionTimestamp"] = json!("2026-10-15T10:11:12Z");
    });
    for (cluster, tag, words) in [
        ("nosuch", "x", "nosuch is not a valid pgcluster"),
        ("hippo", "a:b", "spec.ccpimagetag: "),
        ("busy", "x", "cluster busy: adding a replica is going on"),
        ("down", "x", "cluster down is not ready: a failover goes on"),
        ("gone", "x", "cluster gone is being deleted"),
    ] {
        let answer = upgrade(&client, json!([cluster]), "", tag).await;
        assert_eq!(answer["Code"], "error", "{cluster}");
        let why = answer["Msg"].as_str().unwrap();
        assert!(why.starts_with(words), "{cluster}: {why}");
        assert_eq!(task(&kubernetes, cluster), None);
    }
    let none = upgrade(&client, json!([]), "", "x").await;
    assert_eq!(none["Code"], "error");
    let empty = upgrade(&client, json!([]), "env=none", "x").await;
    assert_eq!(
        (&empty["Code"], &empty["Msg"]),
        (&json!("ok"), &json!("no clusters found"))
    );
}

#[tokio::test]
async fn the_same_tag_is_refused_by_name_and_passed_over_among_all() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo", "zebra"]).await;
    upgrade(&client, json!(["hippo"]), "", "x").await;
    kubernetes.remove("pgtasks", "pgouser1", "hippo-minor-upgrade");
    change(&kubernetes, "hippo", |cluster| {
        cluster["status"]["images"] =
            json!({"said": ":", "inForce": "crunchydata/crunchy-postgres:x"});
    });
    let answer = upgrade(&client, json!(["hippo"]), "", "x").await;
    assert_eq!(answer["Msg"], "can not upgrade to the same image tag x");
    let answer = upgrade(&client, json!(["all"]), "", "x").await;
    assert_eq!(
        answer["Results"],
        json!([
            "hippo has image tag x already",
            "created minor upgrade task for zebra"
        ])
    );
    assert_eq!(answer["Code"], "ok");
}

#[tokio::test]
async fn a_task_that_is_not_over_stays_and_one_that_is_makes_way() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo"]).await;
    upgrade(&client, json!(["hippo"]), "", "x").await;
    let first = task(&kubernetes, "hippo").unwrap();
    let answer = upgrade(&client, json!(["hippo"]), "", "y").await;
    let why = answer["Msg"].as_str().unwrap();
    assert!(why.contains("was asked for and is not over"), "{why}");
    assert_eq!(task(&kubernetes, "hippo").unwrap(), first);

    let mut failed = first.clone();
    failed["status"] =
        json!({"conditions": [{"type": "Complete", "status": "False", "reason": "Failed"}]});
    kubernetes.put("pgtasks", "pgouser1", failed);
    let answer = upgrade(&client, json!(["hippo"]), "", "y").await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    let second = task(&kubernetes, "hippo").unwrap();
    assert_eq!(second["spec"]["parameters"]["CCPImageTag"], "y");
}

#[tokio::test]
async fn all_namespaces_are_those_that_the_user_may_use_and_no_others() {
    let kubernetes = installation();
    user(&kubernetes, "ann", "secret", "pgoadmin", "pgouser2,foreign");
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo"]).await;
    // One of the same name in another namespace, and one that belongs to another installation.
    let hippo = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    for namespace in ["pgouser2", "foreign"] {
        let mut other = hippo.clone();
        other["metadata"]["namespace"] = json!(namespace);
        other["metadata"]["uid"] = json!(format!("uid-{namespace}"));
        kubernetes.put("pgclusters", namespace, other);
    }
    let all = |args: Value, namespace: &str| {
        json!({
            "Args": args, "Namespace": namespace, "AllNamespaces": true, "CCPImageTag": "x", "ClientVersion": "4.1.0",
        })
    };
    for (args, namespace) in [(json!(["hippo"]), ""), (json!(["all"]), "pgouser1")] {
        let refused = client.post("/upgrades", all(args, namespace)).await.json();
        let why = refused["Msg"].as_str().unwrap();
        assert!(
            why.starts_with("AllNamespaces is for all clusters"),
            "{why}"
        );
    }
    let nowhere = json!({"Args": ["all"], "CCPImageTag": "x", "ClientVersion": "4.1.0"});
    let refused = client.post("/upgrades", nowhere).await.json();
    assert_eq!(
        refused["Msg"],
        "empty namespace is not valid from pgo clients"
    );

    let ann = client.as_user("ann", "secret");
    let answer = ann.post("/upgrades", all(json!(["all"]), "")).await.json();
    let created = |namespace: &str| format!("created minor upgrade task for {namespace}/hippo");
    assert_eq!(answer["Results"], json!([created("pgouser2")]), "{answer}");
    let task_in = |namespace| kubernetes.get("pgtasks", namespace, "hippo-minor-upgrade");
    assert!(task_in("pgouser2").is_some());
    assert!(task_in("pgouser1").is_none() && task_in("foreign").is_none());

    // Whoever may use all: what stands in the way in one namespace does not keep the others.
    let answer = client
        .post("/upgrades", all(json!(["all"]), ""))
        .await
        .json();
    assert_eq!(answer["Results"], json!([created("pgouser1")]));
    assert_eq!(answer["Upgrades"][0]["Namespace"], "pgouser1");
    let why = answer["Msg"].as_str().unwrap();
    assert!(
        why.starts_with("namespace pgouser2: cluster hippo"),
        "{why}"
    );
    assert!(task_in("foreign").is_none());
}
