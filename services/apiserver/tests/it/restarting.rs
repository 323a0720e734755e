//! Requests for reloads and restarts: what is answered, and which tasks are in Kubernetes then.

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, eventually, installation, start_plain, task},
    kubernetes::Kubernetes,
};

async fn restart(client: &Client, args: Value, selector: &str, target: &str) -> Value {
    let request = json!({
        "Args": args, "Selector": selector, "Namespace": "pgouser1", "Target": target, "ClientVersion": "4.1.0",
    });
    client.post("/restart", request).await.json()
}

async fn reload(client: &Client, args: Value, selector: &str) -> Value {
    // As 4.1's client asks.
    let request = json!({"Namespace": "pgouser1", "Args": args, "Selector": selector});
    client.post("/reload", request).await.json()
}

/// Clusters that are ready, each with one instance.
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
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {
                "vendor": "crunchydata", "pg-cluster": name, "deployment-name": name, "service-name": name,
            }},
            "spec": {"nodeName": "node1", "containers": [{"name": "database"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "database", "ready": true}]},
        });
        kubernetes.put("pods", "pgouser1", pod);
    }
}

fn change(kubernetes: &Kubernetes, name: &str, change: impl FnOnce(&mut Value)) {
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", name).unwrap();
    change(&mut cluster);
    kubernetes.put("pgclusters", "pgouser1", cluster);
}

/// The reconciler ends the reload of a cluster.
async fn end_reload(kubernetes: &Kubernetes, cluster: &str, outcome: &str, cause: Value) {
    let name = format!("{cluster}-reload");
    let task = eventually("its task", async || task(kubernetes, &name)).await;
    let id = task["metadata"]["labels"]["workflowid"].clone();
    let mut operation = json!({
        "id": id, "kind": "ReloadCluster", "actor": "pgoadmin", "started": "2026-10-15T10:11:12Z",
        "finished": "2026-10-15T10:11:13Z", "outcome": outcome,
    });
    if !cause.is_null() {
        operation["cause"] = cause;
    }
    change(kubernetes, cluster, |object| {
        object["status"]["operations"] = json!([operation]);
    });
}

#[tokio::test]
async fn a_reload_is_answered_with_what_came_of_it() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo", "zebra", "broken"]).await;
    let asking = reload(&client, json!(["hippo"]), "");
    let (answer, ()) = tokio::join!(
        asking,
        end_reload(&kubernetes, "hippo", "Completed", Value::Null)
    );
    assert_eq!(
        answer,
        json!({"Results": ["reload performed on hippo"], "Code": "ok", "Msg": ""})
    );
    let task = task(&kubernetes, "hippo-reload").unwrap();
    assert_eq!(task["spec"]["tasktype"], "reload");
    assert_eq!(task["spec"]["parameters"], json!({"pg-cluster": "hippo"}));
    assert_eq!(task["metadata"]["labels"]["pgouser"], "pgoadmin");

    // What waits for a restart is told, and a fault of one does not keep the other.
    let pending = json!("these settings wait for a restart: zebra (max_connections)");
    let (answer, (), ()) = tokio::join!(
        reload(&client, json!(["zebra", "nosuch", "broken"]), ""),
        end_reload(&kubernetes, "zebra", "Completed", pending),
        end_reload(
            &kubernetes,
            "broken",
            "Failed",
            json!("broken: a fault in line 2")
        ),
    );
    assert_eq!(
        answer,
        json!({
            "Results": [
                "reload performed on zebra",
                "these settings wait for a restart: zebra (max_connections); pgo restart zebra brings them into force",
            ],
            "Code": "error",
            "Msg": "nosuch was not found, verify cluster name; cluster broken: broken: a fault in line 2",
        })
    );
}

#[tokio::test]
async fn what_selects_nothing_is_told_in_4_1s_words() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for (args, selector, words) in [
        (
            json!(["nosuch"]),
            "",
            "nosuch was not found, verify cluster name",
        ),
        (json!([]), "env=none", "no pods found using env=none"),
        (
            json!([]),
            "",
            "name one or more clusters, or give a selector",
        ),
    ] {
        let refused = json!({"Results": [], "Code": "error", "Msg": words});
        assert_eq!(reload(&client, args, selector).await, refused);
    }
}

#[tokio::test]
async fn a_restart_is_asked_for_by_a_task_and_one_that_is_not_over_stays() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo", "zebra"]).await;
    let answer = restart(&client, json!(["hippo"]), "", "hippo").await;
    let stored = task(&kubernetes, "hippo-restart").unwrap();
    let id = &stored["metadata"]["labels"]["workflowid"];
    assert_eq!(
        answer,
        json!({
            "Results": ["created Pgtask (restart) for cluster hippo", format!("workflow id {}", id.as_str().unwrap())],
            "Restarts": [{"Cluster": "hippo", "OperationID": id}], "Code": "ok", "Msg": "",
        })
    );
    assert_eq!(stored["spec"]["tasktype"], "restart");
    assert_eq!(
        stored["spec"]["parameters"],
        json!({"pg-cluster": "hippo", "instance": "hippo"})
    );
    let again = restart(&client, json!(["all"]), "", "").await;
    assert_eq!(again["Restarts"][0]["Cluster"], "zebra");
    let why = again["Msg"].as_str().unwrap();
    assert!(
        why.contains("a restart was asked for and is not over"),
        "{why}"
    );
}

#[tokio::test]
async fn what_cannot_be_restarted_is_refused_and_makes_no_task() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo", "busy", "down", "gone"]).await;
    change(&kubernetes, "busy", |cluster| {
        cluster["status"]["operations"] = json!([{
            "id": "25927091-b343-4017-be4b-71575f0b3eb5", "kind": "FailoverCluster", "actor": "x",
            "started": "2026-10-15T10:11:12Z",
        }]);
    });
    change(&kubernetes, "down", |cluster| {
        cluster["status"]["conditions"][0]["status"] = json!("False");
    });
    change(&kubernetes, "gone", |cluster| {
        cluster["metadata"]["deletionTimestamp"] = json!("2026-10-15T10:11:12Z");
    });
    for (args, target, words) in [
        (json!(["hippo"]), "zebra", "no target found named zebra"),
        (
            json!(["hippo", "busy"]),
            "hippo",
            "a target is an instance of one cluster",
        ),
        (json!(["nosuch"]), "", "nosuch was not found"),
        (json!(["busy"]), "", "a failover is going on"),
        (json!(["down"]), "", "is not ready"),
        (json!(["gone"]), "", "is being deleted"),
    ] {
        let answer = restart(&client, args, "", target).await;
        let why = answer["Msg"].as_str().unwrap();
        assert!(answer["Code"] == "error" && why.contains(words), "{answer}");
    }
    for name in ["hippo", "busy", "down", "gone"] {
        assert_eq!(
            task(&kubernetes, &format!("{name}-restart")),
            None,
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_instances_are_listed_also_where_their_agents_are_silent() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    clusters(&kubernetes, &client, &["hippo"]).await;
    let answer = client
        .get("/restart/hippo?version=4.1.0&namespace=pgouser1")
        .await;
    let answer = answer.json();
    let target = &answer["Results"][0];
    assert_eq!(target["InstanceName"], "hippo", "{answer}");
    assert_eq!(target["Node"], "node1");
    assert_eq!(target["Status"], "its agent does not answer");
    let refused = client
        .get("/restart/nosuch?version=4.1.0&namespace=pgouser1")
        .await;
    assert_eq!(refused.refusal(), "no cluster found named nosuch");
}
