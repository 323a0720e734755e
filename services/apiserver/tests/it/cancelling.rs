//! Operations that are to go on no longer: which Pgtask is noted on, and what is refused with which words.

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, installation, start_plain, words},
    kubernetes::Kubernetes,
};

const BACKUP: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const RESTORE: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";
const RELOAD: &str = "0c9de7c2-0f0e-4b0c-8f55-4a2d3f6a7e10";
const POLICY: &str = "7d5e3f0a-1b2c-4d3e-8f4a-5b6c7d8e9f0a";

async fn cancel(client: &Client, ids: &[&str]) -> Value {
    let request = json!({"Namespace": "pgouser1", "Args": ids, "ClientVersion": "4.1.0"});
    client.post("/workflowcancel", request).await.json()
}

fn put_task(kubernetes: &Kubernetes, name: &str, id: &str, tasktype: &str, parameters: Value) {
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": name, "labels": {"pg-cluster": "hippo", "workflowid": id}},
        "spec": {"tasktype": tasktype, "parameters": parameters},
    });
    kubernetes.put("pgtasks", "pgouser1", task);
}

fn who(kubernetes: &Kubernetes, name: &str) -> Value {
    let task = kubernetes.get("pgtasks", "pgouser1", name).unwrap();
    task["metadata"]["annotations"]["pgo.crunchydata.com/cancel"].clone()
}

/// A cluster whose status says this beside its operations.
fn tell(kubernetes: &Kubernetes, operations: Value, besides: Value) {
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let mut status = json!({"phase": "Ready", "instances": [], "conditions": [],
        "operations": operations, "outbox": {"last": 0, "entries": []}});
    for (key, value) in besides.as_object().unwrap() {
        status[key] = value.clone();
    }
    cluster["status"] = status;
    kubernetes.put("pgclusters", "pgouser1", cluster);
}

fn operation(id: &str, kind: &str, ended: Value) -> Value {
    let mut operation =
        json!({"id": id, "kind": kind, "actor": "x", "started": "2026-10-15T10:11:12Z"});
    for (key, value) in ended.as_object().unwrap() {
        operation[key] = value.clone();
    }
    operation
}

/// A restore at this stage.
fn restore(stage: &str) -> Value {
    json!({"restore": {
        "operation": RESTORE, "options": [], "instance": "hippo-abcd", "target": "the end of the archive",
        "stage": stage, "since": "2026-10-15T10:11:12Z", "term": 1,
    }})
}

#[tokio::test]
async fn who_cancels_is_noted_on_the_task_that_asks_and_who_was_first_stays() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let name = "backrest-backup-hippo";
    put_task(
        &kubernetes,
        name,
        BACKUP,
        "backrest",
        json!({"pg-cluster": "hippo"}),
    );
    // It waits, and no status knows it.
    let answer = cancel(&client, &[BACKUP]).await;
    let text = format!("operation {BACKUP} of cluster hippo is being cancelled");
    assert_eq!(
        answer,
        json!({
            "Results": [text], "Cancelled": [{"Cluster": "hippo", "OperationID": BACKUP}], "Code": "ok", "Msg": "",
        })
    );
    assert_eq!(who(&kubernetes, name), "pgoadmin");

    let mut task = kubernetes.get("pgtasks", "pgouser1", name).unwrap();
    task["metadata"]["annotations"] = json!({"pgo.crunchydata.com/cancel": "bob"});
    kubernetes.put("pgtasks", "pgouser1", task);
    tell(
        &kubernetes,
        json!([operation(BACKUP, "CreateBackup", json!({}))]),
        json!({}),
    );
    assert_eq!(cancel(&client, &[BACKUP]).await["Code"], "ok");
    assert_eq!(who(&kubernetes, name), "bob");

    // Of a restore two tasks have the id; the one that asks is noted on.
    put_task(
        &kubernetes,
        "backrest-restore-hippo-to-hippo-abcd",
        RESTORE,
        "restore",
        json!({"backrest-restore-from-cluster": "hippo"}),
    );
    put_task(
        &kubernetes,
        "hippo-pgbackrestrestore",
        RESTORE,
        "workflow",
        json!({"pg-cluster": "hippo"}),
    );
    tell(
        &kubernetes,
        json!([operation(RESTORE, "RestoreCluster", json!({}))]),
        restore("replaying"),
    );
    let answer = cancel(&client, &[RESTORE]).await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    let noted = who(&kubernetes, "backrest-restore-hippo-to-hippo-abcd");
    assert_eq!(noted, "pgoadmin");
    assert_eq!(who(&kubernetes, "hippo-pgbackrestrestore"), Value::Null);
}

/// A cluster and the tasks that ask something of it; the id of its creation.
async fn with_tasks(kubernetes: &Kubernetes, client: &Client) -> String {
    let made = client.post("/clusters", create_request("hippo")).await;
    let made = made.done()["Results"][1].as_str().unwrap().to_owned();
    let of_hippo = json!({"pg-cluster": "hippo"});
    put_task(kubernetes, "reload", RELOAD, "reload", of_hippo.clone());
    put_task(kubernetes, "backup", BACKUP, "backrest", of_hippo.clone());
    put_task(kubernetes, "policy", POLICY, "applypolicy", of_hippo);
    let from = json!({"backrest-restore-from-cluster": "hippo"});
    put_task(kubernetes, "restore", RESTORE, "restore", from);
    made.strip_prefix("workflow id ").unwrap().to_owned()
}

fn nothing_is_noted(kubernetes: &Kubernetes, tasks: &[&str]) {
    for untouched in tasks {
        assert_eq!(who(kubernetes, untouched), Value::Null, "{untouched}");
    }
}

#[tokio::test]
async fn what_is_unknown_over_or_no_long_operation_is_refused() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let creation = with_tasks(&kubernetes, &client).await;
    assert!(words(&cancel(&client, &[]).await).contains("name one or more"));
    for unknown in ["3f7e9a52-6c1d-4b8e-9a03-5d2c7b1e4f60", "a,b"] {
        let refused = cancel(&client, &[unknown]).await;
        let told = format!("workflow id NOT found for id {unknown}");
        assert_eq!(words(&refused), told);
    }
    for (id, what) in [(creation.as_str(), "workflow"), (RELOAD, "reload")] {
        let refused = cancel(&client, &[id]).await;
        let told = format!("{what} cannot be cancelled");
        assert!(words(&refused).contains(&told), "{refused}");
    }

    let failed =
        json!({"outcome": "Failed", "finished": "2026-10-15T10:11:18Z", "cause": "no space"});
    let done = json!({"outcome": "Completed", "finished": "2026-10-15T10:11:18Z"});
    for (ended, why) in [
        (failed, "failed at 2026-10-15T10:11:18Z: no space"),
        (done, "completed at 2026-10-15T10:11:18Z"),
    ] {
        let ended = operation(BACKUP, "CreateBackup", ended);
        tell(&kubernetes, json!([ended]), json!({}));
        let refused = cancel(&client, &[BACKUP]).await;
        let told = format!("operation {BACKUP} of cluster hippo: it is over already: it {why}");
        assert_eq!(words(&refused), told);
    }
    // Where the status knows it no more, the task does.
    tell(&kubernetes, json!([]), json!({}));
    let mut task = kubernetes.get("pgtasks", "pgouser1", "backup").unwrap();
    task["status"] =
        json!({"conditions": [{"type": "Complete", "status": "True", "reason": "Completed"}]});
    kubernetes.put("pgtasks", "pgouser1", task);
    let refused = cancel(&client, &[BACKUP]).await;
    assert!(words(&refused).contains("it is over already"), "{refused}");
    kubernetes.remove("pgclusters", "pgouser1", "hippo");
    let refused = cancel(&client, &[BACKUP]).await;
    assert!(words(&refused).contains("the cluster is gone"), "{refused}");
    nothing_is_noted(&kubernetes, &["reload", "backup", "policy", "restore"]);
}

#[tokio::test]
async fn what_has_come_too_far_is_refused_and_does_not_keep_the_others() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_tasks(&kubernetes, &client).await;
    for stage in ["stopping", "giving"] {
        let running = operation(RESTORE, "RestoreCluster", json!({}));
        tell(&kubernetes, json!([running]), restore(stage));
        let refused = cancel(&client, &[RESTORE]).await;
        let told = "can only be gone through with";
        assert!(words(&refused).contains(told), "{refused}");
    }
    let server = json!({"instance": "hippo", "started": "2026-10-15T10:11:12Z"});
    let policy = json!({"policy": {
        "operation": POLICY, "since": "2026-10-15T10:11:12Z", "server": server,
    }});
    let running = operation(POLICY, "ApplyPolicy", json!({"policy": "gold"}));
    tell(&kubernetes, json!([running]), policy);
    let answer = cancel(&client, &[POLICY, BACKUP, "nosuch"]).await;
    let why = words(&answer);
    let told = ["once it runs", "nosuch"];
    assert!(told.iter().all(|one| why.contains(one)), "{answer}");
    assert_eq!(answer["Cancelled"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(who(&kubernetes, "backup"), "pgoadmin");
    nothing_is_noted(&kubernetes, &["reload", "policy", "restore"]);
}
