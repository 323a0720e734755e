//! Dumps: which tasks ask for them and for their restores, what is refused, and what is shown.

use serde_json::{Value, json};

use crate::harness::{Client, installation, start_plain, task, with_cluster, words};

const TASK: &str = "backup-hippo-pgdump";
const CLAIM: &str = "backup-hippo-pgdump-pvc";

async fn dump(client: &Client, change: &[(&str, &str)]) -> Value {
    let mut request = json!({
        "Namespace": "pgouser1", "Args": ["hippo"], "Selector": "", "PVCName": "", "StorageConfig": "", "BackupOpts": "",
    });
    for (key, value) in change {
        request[*key] = json!(value);
    }
    client.post("/pgdumpbackup", request).await.json()
}

async fn restore(client: &Client, change: &[(&str, &str)]) -> Value {
    let mut request = json!({
        "Namespace": "pgouser1", "FromCluster": "hippo", "FromPVC": "", "RestoreOpts": "", "PITRTarget": "", "NodeLabel": "",
    });
    for (key, value) in change {
        request[*key] = json!(value);
    }
    client.post("/pgdumprestore", request).await.json()
}

async fn show(client: &Client, name: &str) -> Value {
    let target = format!("/pgdump/{name}?version=4.1.0&selector=&namespace=pgouser1");
    client.get(&target).await.json()
}

#[tokio::test]
async fn a_dump_is_a_task_of_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client).await;
    let answer = dump(&client, &[("BackupOpts", "--dump-all --clean")]).await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    assert_eq!(answer["Results"], json!([format!("created Pgtask {TASK}")]));
    let task = task(&kubernetes, TASK).unwrap();
    assert_eq!(task["spec"]["tasktype"], "pgdump");
    let parameters = &task["spec"]["parameters"];
    for (key, value) in [
        ("pg-cluster", "hippo"),
        ("pgdump-host", "hippo"),
        ("pgdump", "pgdump"),
        ("pgdump-opts", "--clean"),
        ("pgdump-all", "true"),
        ("pgdump-db", ""),
        ("pgdump-user", "hippo-postgres-secret"),
        ("pgdump-port", "5432"),
        ("pvc-name", ""),
    ] {
        assert_eq!(parameters[key], value, "{key}: {parameters}");
    }
    assert!(task["spec"]["storagespec"]["size"] != "", "{task}");
    let labels = &task["metadata"]["labels"];
    assert_eq!(labels["pgouser"], "pgoadmin");
    assert_eq!(answer["Backups"][0]["OperationID"], labels["workflowid"]);
    // While it is not over there is no other one.
    let again = dump(&client, &[]).await;
    assert!(words(&again).contains("a dump was asked for and is not over"));
}

#[tokio::test]
async fn what_cannot_be_dumped_or_restored_makes_no_task() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let unknown = restore(&client, &[]).await;
    assert_eq!(words(&unknown), "hippo was not found, verify cluster name");
    with_cluster(&client).await;
    for (change, part) in [
        (
            ("BackupOpts", "--host=evil"),
            "Flag --host is not supported for use with PGO",
        ),
        (
            ("BackupOpts", "-h evil"),
            "Shorthand flag -h is not supported for use with PGO",
        ),
        (("BackupOpts", "--type=full"), "unknown flag: --type"),
        (
            ("StorageConfig", "nosuch"),
            "nosuch Storage config was not found ",
        ),
        (("PVCName", "../x"), "is the name of no claim"),
    ] {
        let refused = dump(&client, &[change]).await;
        assert!(words(&refused).contains(part), "{refused}");
    }
    for (change, part) in [
        (
            ("RestoreOpts", "--filename=/x"),
            "Flag --filename is not supported",
        ),
        (("PITRTarget", "../../etc"), "is the name of no dump"),
        (
            ("FromPVC", "nosuch"),
            "persistentvolumeclaims \"nosuch\" not found",
        ),
        (
            ("NodeLabel", "zone"),
            "zone node label does not follow key=value format",
        ),
    ] {
        let refused = restore(&client, &[change]).await;
        assert!(words(&refused).contains(part), "{refused}");
    }
    assert_eq!(task(&kubernetes, TASK), None);
    assert_eq!(task(&kubernetes, "restore-hippo-pgdump"), None);
}

#[tokio::test]
async fn a_restore_names_its_claim_and_its_dump() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client).await;
    let claim = json!({"metadata": {"name": CLAIM, "namespace": "pgouser1"}, "spec": {}});
    kubernetes.put("persistentvolumeclaims", "pgouser1", claim);
    let change = [
        ("RestoreOpts", "--clean"),
        ("PITRTarget", "2026-10-15-10-11-12"),
        ("NodeLabel", "zone=a"),
    ];
    let node = json!({"metadata": {"name": "one", "labels": {"zone": "a"}}});
    kubernetes.put("nodes", "", node);
    let answer = restore(&client, &change).await;
    let text = format!(
        "restore performed on hippo to {CLAIM} opts=--clean pitr-target=2026-10-15-10-11-12"
    );
    assert_eq!(answer["Results"], json!([text]), "{answer}");
    let task = task(&kubernetes, "restore-hippo-pgdump").unwrap();
    let parameters = &task["spec"]["parameters"];
    assert_eq!(task["spec"]["tasktype"], "pgrestore");
    for (key, value) in [
        ("pgrestore-from-cluster", "hippo"),
        ("pgrestore-from-pvc", CLAIM),
        ("pgrestore-pitr-target", "2026-10-15-10-11-12"),
        ("pgrestore-opts", "--clean"),
        ("pgrestore-user", "hippo-postgres-secret"),
        ("NodeLabelKey", "zone"),
        ("NodeLabelValue", "a"),
    ] {
        assert_eq!(parameters[key], value, "{key}: {parameters}");
    }
    assert_eq!(
        answer["OperationID"],
        task["metadata"]["labels"]["workflowid"]
    );
}

#[tokio::test]
async fn what_was_asked_for_is_shown_with_the_dumps_there_are() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client).await;
    let none = show(&client, "hippo").await;
    assert_eq!(none["BackupList"]["items"], json!([]), "{none}");
    assert_eq!(
        (&none["Code"], &none["Msg"]),
        (&json!("ok"), &json!("pgDump for hippo not found"))
    );
    dump(&client, &[("BackupOpts", "--dump-all")]).await;
    let shown = show(&client, "hippo").await;
    let item = &shown["BackupList"]["items"][0];
    let spec = &item["spec"];
    for (key, value) in [
        ("name", TASK),
        ("backuppvc", CLAIM),
        ("backuphost", "hippo"),
        ("backupusersecret", "hippo-postgres-secret"),
        ("backupopts", "--dump-all "),
        ("backupstatus", ""),
    ] {
        assert_eq!(spec[key], value, "{key}: {spec}");
    }
    assert_eq!(spec["toc"], Value::Null);
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    cluster["status"]["dumps"] = json!([
        {"name": "a", "claim": CLAIM, "path": "/pgdata/hippo-backups/a", "finished": "2026-10-15T10:11:12Z", "sizeBytes": 1},
        {"name": "b", "claim": "other", "path": "/pgdata/hippo-backups/b", "finished": "2026-10-15T10:11:12Z", "sizeBytes": 1},
    ]);
    kubernetes.put("pgclusters", "pgouser1", cluster);
    let shown = show(&client, "hippo").await;
    let spec = &shown["BackupList"]["items"][0]["spec"];
    assert_eq!(spec["toc"], json!({"a": "/pgdata/hippo-backups/a"}));
}
