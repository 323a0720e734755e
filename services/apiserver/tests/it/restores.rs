//! Restores by pgBackRest: which tasks ask for them and follow them, and what is refused.

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, installation, start_plain},
    kubernetes::Kubernetes,
};

fn request(change: &[(&str, &str)]) -> Value {
    let mut request = json!({
        "Namespace": "pgouser1", "FromCluster": "hippo", "ToPVC": "hippo-abcd", "RestoreOpts": "", "PITRTarget": "",
        "NodeLabel": "", "BackrestStorageType": "",
    });
    for (key, value) in change {
        request[*key] = json!(value);
    }
    request
}

async fn restore(client: &Client, change: &[(&str, &str)]) -> Value {
    client.post("/restore", request(change)).await.json()
}

/// Cluster hippo, with or without backups.
async fn with_cluster(kubernetes: &Kubernetes, client: &Client, backups: &str) {
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    cluster["metadata"]["labels"]["pgo-backrest"] = json!(backups);
    kubernetes.put("pgclusters", "pgouser1", cluster);
}

#[tokio::test]
async fn a_restore_is_two_tasks_of_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&kubernetes, &client, "true").await;
    let target = ("PITRTarget", "2019-01-01 00:00:00");
    let answer = restore(&client, &[target]).await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    let id = answer["OperationID"].as_str().unwrap();
    assert_eq!(
        answer["Results"],
        json!([
            "restore performed on hippo to hippo-abcd opts= pitr-target=2019-01-01 00:00:00",
            format!("workflow id {id}"),
        ])
    );
    let task = |name: &str| kubernetes.get("pgtasks", "pgouser1", name).unwrap();
    let asks = task("backrest-restore-hippo-to-hippo-abcd");
    assert_eq!(asks["spec"]["tasktype"], "restore");
    assert_eq!(
        asks["spec"]["parameters"],
        json!({
            "backrest-restore-from-cluster": "hippo", "backrest-restore-to-pvc": "hippo-abcd", "backrest-restore-opts": "",
            "backrest-pitr-target": "2019-01-01 00:00:00", "pgbackrest-stanza": "db",
            "pgbackrest-db-path": "/pgdata/hippo-abcd", "pgbackrest-repo-path": "/backrestrepo/hippo-backrest-shared-repo",
            "pgbackrest-repo-host": "hippo-backrest-shared-repo", "backrest-storage-type": "", "NodeLabelKey": "",
            "NodeLabelValue": "", "workflowid": id,
        })
    );
    assert_eq!(asks["metadata"]["labels"]["pgouser"], "pgoadmin");
    let follows = task("hippo-pgbackrestrestore");
    assert_eq!(follows["spec"]["tasktype"], "workflow");
    for task in [&asks, &follows] {
        assert_eq!(task["metadata"]["labels"]["workflowid"], id);
    }
    // By its id the one that follows is found.
    let target = format!("/workflow/{id}?version=4.1.0&namespace=pgouser1");
    let shown = client.get(&target).await.json();
    assert_eq!(
        shown["Results"]["Task"], "hippo-pgbackrestrestore",
        "{shown}"
    );
    // A name is drawn where none is given.
    let answer = restore(&client, &[("ToPVC", "")]).await;
    let text = answer["Results"][0].as_str().unwrap();
    assert!(
        text.starts_with("restore performed on hippo to hippo-"),
        "{text}"
    );
}

#[tokio::test]
async fn what_cannot_be_restored_makes_no_task() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let words = |answer: Value| {
        assert_eq!(answer["Code"], "error", "{answer}");
        answer["Msg"].as_str().unwrap().to_owned()
    };
    let unknown = words(restore(&client, &[]).await);
    assert_eq!(unknown, "hippo was not found, verify cluster name");
    with_cluster(&kubernetes, &client, "false").await;
    let without = words(restore(&client, &[]).await);
    assert_eq!(
        without,
        "can't restore, cluster restoring from does not have backrest enabled"
    );
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    cluster["metadata"]["labels"]["pgo-backrest"] = json!("");
    cluster["spec"]["userlabels"]["pgo-backrest"] = json!("true");
    kubernetes.put("pgclusters", "pgouser1", cluster);
    for (change, part) in [
        (
            ("RestoreOpts", "--stanza=x"),
            "Flag --stanza is not supported for use with PGO",
        ),
        (("RestoreOpts", "--type=xid"), "needs a target"),
        (("PITRTarget", "yesterday"), "is no time"),
        (
            ("BackrestStorageType", "s3"),
            "Storage type 's3' not allowed",
        ),
        (
            ("NodeLabel", "zone"),
            "zone node label does not follow key=value format",
        ),
    ] {
        let told = words(restore(&client, &[change]).await);
        assert!(told.contains(part), "{told}");
    }
    let task = kubernetes.get(
        "pgtasks",
        "pgouser1",
        "backrest-restore-hippo-to-hippo-abcd",
    );
    assert_eq!(task, None);
}
