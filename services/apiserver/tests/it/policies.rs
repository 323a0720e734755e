//! Requests for policies: what is answered, and what is in Kubernetes then.

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, eventually, installation, start_plain},
    kubernetes::Kubernetes,
};

async fn create(client: &Client, name: &str, sql: &str, url: &str) -> Value {
    let request = json!({
        "Name": name, "URL": url, "SQL": sql, "Namespace": "pgouser1", "ClientVersion": "4.1.0",
    });
    client.post("/policies", request).await.json()
}

async fn apply(client: &Client, name: &str, selector: &str, dry_run: bool) -> Value {
    let request = json!({
        "Name": name, "Selector": selector, "DryRun": dry_run, "Namespace": "pgouser1", "ClientVersion": "4.1.0",
    });
    client.post("/policies/apply", request).await.json()
}

async fn delete(client: &Client, name: &str, all: bool) -> Value {
    let request = json!({
        "Selector": "", "Namespace": "pgouser1", "AllFlag": all, "ClientVersion": "4.1.0", "PolicyName": name,
    });
    client.post("/policiesdelete", request).await.json()
}

/// The reconciler ends the application of policy `gold` to a cluster.
async fn end(kubernetes: &Kubernetes, cluster: &str, outcome: &str, cause: Option<&str>) {
    let name = format!("{cluster}-apply-gold");
    let task = eventually("its task", async || {
        kubernetes.get("pgtasks", "pgouser1", &name)
    });
    let task = task.await;
    assert_eq!(task["spec"]["tasktype"], "applypolicy");
    let parameters = json!({"pg-cluster": cluster, "policy": "gold"});
    assert_eq!(task["spec"]["parameters"], parameters);
    assert_eq!(task["metadata"]["labels"]["pgouser"], "pgoadmin");
    let mut operation = json!({
        "id": task["metadata"]["labels"]["workflowid"], "kind": "ApplyPolicy", "actor": "pgoadmin",
        "policy": "gold", "started": "2026-10-15T10:11:12Z", "finished": "2026-10-15T10:11:13Z",
        "outcome": outcome,
    });
    if let Some(cause) = cause {
        operation["cause"] = json!(cause);
    }
    let applied = match outcome {
        "Completed" => json!(["gold"]),
        _ => json!([]),
    };
    let mut object = kubernetes.get("pgclusters", "pgouser1", cluster).unwrap();
    object["status"] = json!({
        "phase": "Ready", "instances": [], "operations": [operation], "conditions": [],
        "outbox": {"last": 0, "entries": []}, "appliedPolicies": applied,
    });
    kubernetes.put("pgclusters", "pgouser1", object);
}

#[tokio::test]
async fn a_policy_is_applied_to_what_is_selected_and_each_end_is_answered() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for (name, labels) in [("hippo", "env=dev"), ("zebra", "env=dev"), ("rhino", "")] {
        let mut request = create_request(name);
        request["UserLabels"] = json!(labels);
        client.post("/clusters", request).await.done();
    }
    create(&client, "gold", "select 1", "").await;
    let (answer, (), ()) = tokio::join!(
        apply(&client, "gold", "env=dev", false),
        end(&kubernetes, "hippo", "Completed", None),
        end(&kubernetes, "zebra", "Failed", Some("line 1, column 8: no")),
    );
    let why = "cluster zebra: policy gold was not applied: line 1, column 8: no";
    assert_eq!(
        answer,
        json!({"Name": ["hippo"], "Code": "error", "Msg": why})
    );
    let dry = apply(&client, "gold", "env=dev", true).await;
    assert_eq!(
        dry,
        json!({"Name": ["hippo", "zebra"], "AppliedBefore": ["hippo"], "Code": "ok", "Msg": ""})
    );
    let of_rhino = apply(&client, "gold", "name=rhino", true).await;
    assert_eq!(of_rhino["Name"], json!(["rhino"]));
    assert!(!kubernetes.has("pgtasks", "pgouser1", "rhino-apply-gold"));
    let nobody = apply(&client, "gold", "name=lion", false).await;
    assert_eq!(nobody, json!({"Name": [], "Code": "ok", "Msg": ""}));
    let everybody = apply(&client, "gold", "", false).await;
    assert_eq!(everybody["Code"], "error", "{everybody}");
}

#[tokio::test]
async fn what_cannot_be_a_policy_is_refused_and_nothing_is_made() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let long = "x".repeat(524_289);
    for (name, sql, url, why) in [
        ("gold", "", "", "give --in-file or --url"),
        ("gold", "", "file:///etc/passwd", "begins with http"),
        ("gold", long.as_str(), "", "at most 524288"),
        ("pgouser", "select 1", "", "a label that PGO sets"),
        ("Gold", "select 1", "", "invalid policy name format"),
    ] {
        let refused = create(&client, name, sql, url).await;
        let said = refused["Msg"].as_str().unwrap();
        assert!(said.contains(why), "{name} {url}: {said}");
    }
    assert!(kubernetes.names("pgpolicies", "pgouser1").is_empty());
}

#[tokio::test]
async fn who_deletes_a_policy_is_noted_on_it_before() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for name in ["gold", "silver"] {
        create(&client, name, "select 1", "").await;
    }
    let gone = delete(&client, "gold", false).await;
    assert_eq!(gone["Results"], json!(["deleted policy gold"]));
    let missing = delete(&client, "gold", false).await;
    assert_eq!(missing["Msg"], "policy gold not found");
    delete(&client, "all", true).await;
    assert!(kubernetes.names("pgpolicies", "pgouser1").is_empty());
    assert_eq!(
        delete(&client, "all", true).await["Msg"],
        "policy all not found"
    );
}
