//! Backups by pg_basebackup: which tasks ask for them and for their restores, what is refused, and what is shown.

use serde_json::{Value, json};

use crate::{
    harness::{Client, installation, start_plain, task, with_cluster, words},
    kubernetes::Kubernetes,
};

const TASK: &str = "hippo-backupworkflow";

async fn backup(client: &Client, change: &[(&str, &str)]) -> Value {
    let mut request = json!({
        "Namespace": "pgouser1", "Args": ["hippo"], "Selector": "", "PVCName": "", "StorageConfig": "", "BackupOpts": "",
    });
    for (key, value) in change {
        request[*key] = json!(value);
    }
    client.post("/backups", request).await.json()
}

async fn restore(client: &Client, change: &[(&str, &str)]) -> Value {
    let mut request = json!({
        "Namespace": "pgouser1", "FromCluster": "hippo", "ToPVC": "hippo-abcd", "FromPVC": "", "BackupPath": "",
        "NodeLabel": "",
    });
    for (key, value) in change {
        request[*key] = json!(value);
    }
    client.post("/pgbasebackuprestore", request).await.json()
}

async fn show(client: &Client) -> Value {
    let target = "/backups/hippo?version=4.1.0&namespace=pgouser1";
    client.get(target).await.json()
}

fn with_claim(kubernetes: &Kubernetes, name: &str) {
    let claim = json!({"metadata": {"name": name, "namespace": "pgouser1"}, "spec": {}});
    kubernetes.put("persistentvolumeclaims", "pgouser1", claim);
}

#[tokio::test]
async fn a_backup_is_a_task_that_is_shown_as_4_1_shows_it() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client).await;
    assert_eq!(words(&show(&client).await), "backup not found for hippo");
    let answer = backup(&client, &[("BackupOpts", "--max-rate=10M")]).await;
    let task = task(&kubernetes, TASK).unwrap();
    let id = task["metadata"]["labels"]["workflowid"].as_str().unwrap();
    assert_eq!(
        answer["Results"],
        json!(["created backup Job for hippo", format!("workflow id {id}")])
    );
    assert_eq!(answer["Backups"][0]["OperationID"], id);
    assert_eq!(task["spec"]["tasktype"], "pgbasebackup");
    let parameters = &task["spec"]["parameters"];
    assert_eq!(parameters["pgbasebackup-opts"], "--max-rate=10M");
    assert!(parameters["task submitted"].is_string(), "{parameters}");
    assert!(task["spec"]["storagespec"]["size"] != "", "{task}");
    let again = backup(&client, &[]).await;
    assert!(words(&again).contains("a backup was asked for and is not over"));

    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let made = |name: &str, base: bool| {
        json!({"name": name, "claim": "hippo-backup", "path": format!("/pgdata/hippo-backups/{name}"),
            "finished": "2026-10-15T10:11:12Z", "sizeBytes": 1, "base": base})
    };
    cluster["status"]["dumps"] = json!([made("a", true), made("b", false)]);
    kubernetes.put("pgclusters", "pgouser1", cluster);
    let shown = show(&client).await;
    let spec = &shown["BackupList"]["items"][0]["spec"];
    for (key, value) in [
        ("namespace", "pgouser1"),
        ("name", "hippo"),
        ("backuppvc", "hippo-backup"),
        ("backuphost", "hippo"),
        ("backupusersecret", "hippo-primaryuser-secret"),
        ("backupport", "5432"),
        ("backupstatus", "initial"),
    ] {
        assert_eq!(spec[key], value, "{key}: {spec}");
    }
    assert_eq!(spec["toc"], json!({"a": "/pgdata/hippo-backups/a"}));
}

#[tokio::test]
async fn what_cannot_be_copied_makes_no_task() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client).await;
    for (change, part) in [
        (
            ("BackupOpts", "--host=evil"),
            "Flag --host is not supported for use with PGO",
        ),
        (("BackupOpts", "-F t"), "--format=tar is not available"),
        (
            ("StorageConfig", "nosuch"),
            "nosuch Storage config was not found ",
        ),
        (("PVCName", "../x"), "is the name of no claim"),
    ] {
        let refused = backup(&client, &[change]).await;
        assert!(words(&refused).contains(part), "{refused}");
    }
    assert_eq!(task(&kubernetes, TASK), None);
}

#[tokio::test]
async fn a_restore_is_judged_before_and_says_all_that_is_wrong() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let unknown = restore(&client, &[]).await;
    assert_eq!(
        words(&unknown),
        "Invalid pgbasebackup restore request:\nhippo was not found, verify cluster name"
    );
    with_cluster(&client).await;
    let all = restore(
        &client,
        &[
            ("FromPVC", "nosuch"),
            ("BackupPath", "../../etc"),
            ("ToPVC", "hippo"),
        ],
    )
    .await;
    let said = words(&all);
    for part in [
        "Invalid pgbasebackup restore request:\n",
        "persistentvolumeclaims \"nosuch\" not found",
        "\"../../etc\" is the path of no backup",
        "cluster hippo is there",
    ] {
        assert!(said.contains(part), "{said}");
    }
    with_claim(&kubernetes, "hippo-backup");
    with_claim(&kubernetes, "taken");
    let taken = restore(&client, &[("ToPVC", "taken")]).await;
    assert!(
        words(&taken).contains("\"taken\" already exists"),
        "{taken}"
    );

    let path = "hippo-backups/2026-10-15-10-11-12";
    let answer = restore(&client, &[("BackupPath", path)]).await;
    let name = "pgbasebackup-restore-hippo-to-hippo-abcd";
    let task = task(&kubernetes, name).unwrap();
    let id = task["metadata"]["labels"]["workflowid"].as_str().unwrap();
    let done =
        format!("pgbasebackup restore performed on hippo to PVC hippo-abcd using backup '{path}'");
    assert_eq!(
        answer["Results"],
        json!([done, format!("workflow id {id}")]),
        "{answer}"
    );
    let parameters = &task["spec"]["parameters"];
    assert_eq!(task["spec"]["tasktype"], "pgbasebackuprestore");
    for (key, value) in [
        ("pgbasebackup-restore-from-cluster", "hippo"),
        ("pgbasebackup-restore-to-pvc", "hippo-abcd"),
        ("pgbasebackup-restore-from-pvc", "hippo-backup"),
        ("pgbasebackup-restore-backup-path", path),
    ] {
        assert_eq!(parameters[key], value, "{key}: {parameters}");
    }
}

#[tokio::test]
async fn a_backup_and_its_restore_can_be_cancelled() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client).await;
    with_claim(&kubernetes, "hippo-backup");
    backup(&client, &[]).await;
    restore(&client, &[]).await;
    for name in [TASK, "pgbasebackup-restore-hippo-to-hippo-abcd"] {
        let asking = task(&kubernetes, name).unwrap();
        let id = &asking["metadata"]["labels"]["workflowid"];
        let request = json!({"Namespace": "pgouser1", "Args": [id], "ClientVersion": "4.1.0"});
        let answer = client.post("/workflowcancel", request).await;
        assert_eq!(answer.json()["Code"], "ok", "{name}");
        let noted = task(&kubernetes, name).unwrap();
        let who = &noted["metadata"]["annotations"]["pgo.crunchydata.com/cancel"];
        assert_eq!(who, "pgoadmin", "{name}");
    }
}

async fn delete(client: &Client, name: &str) -> Value {
    let target = format!("/backupsdelete/{name}?version=4.1.0&namespace=pgouser1");
    client.get(&target).await.json()
}

#[tokio::test]
async fn dumps_are_removed_in_the_same_way() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client).await;
    let refused = delete_of(&client, "pgbackrest").await;
    assert!(words(&refused).contains("as the retention of the cluster says"));
    let missing = delete_of(&client, "pgdump").await;
    assert_eq!(
        words(&missing),
        "persistentvolumeclaims \"backup-hippo-pgdump-pvc\" not found"
    );
    with_claim(&kubernetes, "backup-hippo-pgdump-pvc");
    let answer = delete_of(&client, "pgdump").await;
    assert_eq!(answer["Results"], json!(["hippo"]), "{answer}");
    let asking = task(&kubernetes, "hippo-rmdata-backup").unwrap();
    assert_eq!(asking["spec"]["parameters"]["backup-type"], "pgdump");
}

async fn delete_of(client: &Client, kind: &str) -> Value {
    let target = format!("/backupsdelete/hippo?version=4.1.0&namespace=pgouser1&backuptype={kind}");
    client.get(&target).await.json()
}

#[tokio::test]
async fn a_removal_is_a_task_and_nothing_is_shown_any_more() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    assert!(words(&delete(&client, "hippo").await).contains("hippo was not found"));
    assert_eq!(
        words(&delete(&client, "all").await),
        "all not a valid cluster name"
    );
    with_cluster(&client).await;
    let missing = delete(&client, "hippo").await;
    assert_eq!(
        words(&missing),
        "persistentvolumeclaims \"hippo-backup\" not found"
    );
    with_claim(&kubernetes, "hippo-backup");
    backup(&client, &[]).await;
    let early = delete(&client, "hippo").await;
    assert!(
        words(&early).contains("a backup was asked for and is not over"),
        "{early}"
    );
    assert_eq!(task(&kubernetes, "hippo-rmdata-backup"), None);

    let mut over = task(&kubernetes, TASK).unwrap();
    over["status"] =
        json!({"conditions": [{"type": "Complete", "status": "True", "reason": "Completed"}]});
    kubernetes.put("pgtasks", "pgouser1", over);
    let answer = delete(&client, "hippo").await;
    assert_eq!(answer["Results"], json!(["hippo"]), "{answer}");
    let asking = task(&kubernetes, "hippo-rmdata-backup").unwrap();
    assert_eq!(
        asking["metadata"]["labels"]["workflowid"],
        answer["OperationID"]
    );
    assert_eq!(asking["spec"]["tasktype"], "delete-data");
    let parameters = &asking["spec"]["parameters"];
    for (key, value) in [
        ("is-backup", "true"),
        ("is-replica", "false"),
        ("delete-data", "false"),
        ("backup-type", "pgbasebackup"),
    ] {
        assert_eq!(parameters[key], value, "{key}: {parameters}");
    }
    assert_eq!(words(&show(&client).await), "backup not found for hippo");
}
