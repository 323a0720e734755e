//! Restore drills that are asked for: `POST /restoredrill`.

use serde_json::{Value, json};

use crate::harness::{Client, create_request, installation, start_plain};

const TASK: &str = "hippo-restore-drill";

async fn drill(client: &Client, args: Value, backup: &str) -> Value {
    let request = json!({
        "Namespace": "pgouser1", "Args": args, "Selector": "", "Backup": backup, "ClientVersion": "4.1.0",
    });
    client.post("/restoredrill", request).await.json()
}

#[tokio::test]
async fn a_drill_is_a_task_that_can_be_cancelled() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let mut request = create_request("hippo");
    request["BackrestFlag"] = json!("true");
    client.post("/clusters", request).await.done();
    // Its user labels say it as well as its label.
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    cluster["metadata"]["labels"]["pgo-backrest"] = json!("");
    cluster["spec"]["userlabels"]["pgo-backrest"] = json!("true");
    kubernetes.put("pgclusters", "pgouser1", cluster);
    let answer = drill(&client, json!(["hippo"]), "20261126-210300F").await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    let text = "a restore drill of backup 20261126-210300F of hippo was asked for";
    assert_eq!(answer["Results"], json!([text]));
    let task = kubernetes.get("pgtasks", "pgouser1", TASK).unwrap();
    assert_eq!(task["spec"]["tasktype"], "drill");
    assert_eq!(
        task["spec"]["parameters"],
        json!({"pg-cluster": "hippo", "backup": "20261126-210300F"})
    );
    let id = &task["metadata"]["labels"]["workflowid"];
    assert_eq!(
        answer["Drills"],
        json!([{"Cluster": "hippo", "OperationID": id}])
    );

    // One that is not over stays.
    let again = drill(&client, json!(["hippo"]), "").await;
    let words =
        "cluster hippo: a restore drill was asked for and is not over; see pgo show cluster hippo";
    assert_eq!(again["Msg"], words);
    let request = json!({"Namespace": "pgouser1", "Args": [id], "ClientVersion": "4.1.0"});
    let cancelled = client.post("/workflowcancel", request).await.json();
    assert_eq!(cancelled["Code"], "ok", "{cancelled}");
}

#[tokio::test]
async fn what_cannot_be_tried_is_refused_and_makes_no_task() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let mut request = create_request("hippo");
    request["BackrestFlag"] = json!("false");
    client.post("/clusters", request).await.done();
    for (args, backup, words) in [
        (
            json!(["hippo"]),
            "",
            "hippo does not have pgbackrest enabled",
        ),
        (
            json!(["zebra"]),
            "",
            "zebra was not found, verify cluster name",
        ),
        (
            json!(["hippo"]),
            "--set=x y",
            "\"--set=x y\" is no name of a backup",
        ),
    ] {
        let answer = drill(&client, args, backup).await;
        assert_eq!(answer["Code"], "error", "{answer}");
        let told = answer["Msg"].as_str().unwrap();
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(kubernetes.get("pgtasks", "pgouser1", TASK), None);
}
