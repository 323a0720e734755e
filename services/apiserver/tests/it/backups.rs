//! Backups by pgBackRest: which tasks ask for them, what is refused, and what the repository says.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{
    harness::{
        Client, PGO_YAML, authority, configure, create_request, installation, start_plain,
        try_start, words,
    },
    kubernetes::Kubernetes,
    repository::Repository,
};

const TASK: &str = "backrest-backup-hippo";

async fn backup(client: &Client, args: Value, selector: &str, options: &str) -> Value {
    let request = json!({
        "Namespace": "pgouser1", "Args": args, "Selector": selector, "BackupOpts": options, "BackrestStorageType": "",
    });
    client.post("/backrestbackup", request).await.json()
}

/// Cluster hippo, with its primary.
async fn with_primary(kubernetes: &Kubernetes, client: &Client) {
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    pod(
        kubernetes,
        "hippo",
        json!({"pg-cluster": "hippo", "deployment-name": "hippo"}),
        "127.0.0.1",
    );
}

/// The pod of its repository.
fn repository(kubernetes: &Kubernetes, address: &str) {
    let labels = json!({"pg-cluster": "hippo", "pgo-backrest-repo": "true"});
    pod(kubernetes, "hippo-backrest-shared-repo-x", labels, address);
}

fn pod(kubernetes: &Kubernetes, name: &str, labels: Value, address: &str) {
    let state =
        json!({"name": "database", "ready": true, "image": "", "imageID": "", "restartCount": 0});
    kubernetes.put(
        "pods",
        "pgouser1",
        json!({
            "metadata": {"name": name, "namespace": "pgouser1", "labels": labels},
            "spec": {"containers": [{"name": "database"}]},
            "status": {"phase": "Running", "podIP": address, "containerStatuses": [state]},
        }),
    );
}

fn change(kubernetes: &Kubernetes, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
    let mut object = kubernetes.get(kind, "pgouser1", name).unwrap();
    change(&mut object);
    kubernetes.put(kind, "pgouser1", object);
}

#[tokio::test]
async fn a_backup_is_a_task_of_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_primary(&kubernetes, &client).await;
    repository(&kubernetes, "127.0.0.1");
    let answer = backup(&client, json!(["hippo"]), "", "--type=full").await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    assert_eq!(answer["Results"], json!([format!("created Pgtask {TASK}")]));
    let task = kubernetes.get("pgtasks", "pgouser1", TASK).unwrap();
    assert_eq!(task["spec"]["tasktype"], "backrest");
    assert_eq!(
        task["spec"]["parameters"],
        json!({
            "job-name": TASK, "pg-cluster": "hippo", "podname": "hippo-backrest-shared-repo-x",
            "containername": "database", "backrest-command": "backup", "backrest-opts": "--type=full",
            "backrest-storage-type": "",
        })
    );
    let labels = &task["metadata"]["labels"];
    assert_eq!(labels["pgouser"], "pgoadmin");
    assert_eq!(answer["Backups"][0]["Cluster"], "hippo");
    assert_eq!(answer["Backups"][0]["OperationID"], labels["workflowid"]);
}

/// Options and places that a backup cannot have.
async fn refuses(client: &Client) {
    for (options, text) in [
        (
            "--stanza=x",
            "Flag --stanza is not supported for use with PGO",
        ),
        (
            "--repo1-retention-full=1",
            "unknown flag: --repo1-retention-full",
        ),
    ] {
        let refused = backup(client, json!(["hippo"]), "", options).await;
        assert_eq!(words(&refused), text);
    }
    for (storage, text) in [
        (
            "s3",
            "Storage type 's3' not allowed. The backups of this cluster are in local",
        ),
        (
            "tape",
            "Invalid value provided for pgBackRest storage type. \"tape\" is not local or s3",
        ),
    ] {
        let request =
            json!({"Namespace": "pgouser1", "Args": ["hippo"], "BackrestStorageType": storage});
        let refused = client.post("/backrestbackup", request).await.json();
        assert_eq!(words(&refused), text);
    }
}

#[tokio::test]
async fn what_cannot_be_backed_up_is_refused_and_makes_no_task() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_primary(&kubernetes, &client).await;
    let hippo = json!(["hippo"]);
    let none = backup(&client, hippo.clone(), "", "").await;
    assert_eq!(words(&none), "backrestrepo pod not found for cluster hippo");
    repository(&kubernetes, "127.0.0.1");
    refuses(&client).await;
    let unnamed = backup(&client, json!([]), "", "").await;
    assert!(words(&unnamed).starts_with("name one or more clusters"));
    let nowhere = backup(&client, json!([]), "env=none", "").await;
    assert_eq!(
        (&nowhere["Code"], &nowhere["Msg"]),
        (&json!("ok"), &json!("no clusters found with that selector"))
    );

    change(&kubernetes, "pods", "hippo", |pod| {
        pod["status"]["containerStatuses"][0]["ready"] = json!(false);
    });
    let down = backup(&client, hippo.clone(), "", "").await;
    assert_eq!(words(&down), "primary pod is not in Ready state");
    change(&kubernetes, "pods", "hippo-backrest-shared-repo-x", |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-10-15T10:11:12Z");
    });
    let going = backup(&client, hippo.clone(), "", "").await;
    assert_eq!(
        words(&going),
        "backrestrepo pod not found for cluster hippo"
    );
    change(&kubernetes, "pgclusters", "hippo", |cluster| {
        cluster["metadata"]["labels"]["pgo-backrest"] = json!("false");
    });
    let without = backup(&client, hippo, "", "").await;
    assert_eq!(words(&without), "hippo does not have pgbackrest enabled");
    assert!(!kubernetes.has("pgtasks", "pgouser1", TASK));
}

#[tokio::test]
async fn a_backup_that_is_not_over_stays_and_one_that_is_makes_way() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_primary(&kubernetes, &client).await;
    repository(&kubernetes, "127.0.0.1");
    backup(&client, json!(["hippo"]), "", "").await;
    let again = backup(&client, json!([]), "name=hippo", "--type=diff").await;
    assert_eq!(
        words(&again),
        "cluster hippo: a backup was asked for and is not over; see pgo show cluster hippo"
    );
    change(&kubernetes, "pgtasks", TASK, |task| {
        task["status"] =
            json!({"conditions": [{"type": "Complete", "status": "True", "reason": "Completed"}]});
    });
    let again = backup(&client, json!([]), "name=hippo", "--type=diff").await;
    assert_eq!(again["Code"], "ok", "{again}");
    let task = kubernetes.get("pgtasks", "pgouser1", TASK).unwrap();
    assert_eq!(task["spec"]["parameters"]["backrest-opts"], "--type=diff");
}

async fn show(client: &Client, name: &str, more: &str) -> Value {
    let target = format!("/backrest/{name}?version=4.1.0&selector={more}&namespace=pgouser1");
    client.get(&target).await.json()
}

#[tokio::test]
async fn backups_are_shown_as_the_repository_has_them() {
    let address: IpAddr = "127.1.0.11".parse().unwrap();
    let authority = authority();
    let says = Ok([
        "stanza: db\n    status: ok\n",
        r#"[{"name":"db","backup":[]}]"#,
    ]);
    let _repository = Repository::start(&authority, address, says).await;
    let kubernetes = installation();
    let apiserver = try_start(&kubernetes, authority, &["--disable-tls=true"])
        .await
        .unwrap();
    let client = apiserver.plain();
    with_primary(&kubernetes, &client).await;
    repository(&kubernetes, &address.to_string());
    // A cluster without pgBackRest has nothing to show among others.
    let mut request = create_request("zebra");
    request["BackrestFlag"] = json!("false");
    client.post("/clusters", request).await.done();

    let text = "\nStorage Type: local\nstanza: db\n    status: ok\n";
    let expected = json!({"Items": [{"Name": "hippo", "Info": text}], "Code": "ok", "Msg": ""});
    assert_eq!(show(&client, "hippo", "").await, expected);
    assert_eq!(show(&client, "all", "").await, expected);
    assert_eq!(show(&client, "all", "name%3Dhippo").await, expected);
    let as_json = show(&client, "hippo", "&format=json").await;
    let item = json!({"Name": "hippo", "Info": "", "Stanzas": [{"name": "db", "backup": []}]});
    assert_eq!(as_json["Items"], json!([item]), "{as_json}");
    let without = show(&client, "zebra", "").await;
    assert_eq!(words(&without), "zebra does not have pgbackrest enabled");
    let other = show(&client, "hippo", "&format=xml").await;
    assert!(words(&other).contains("json"), "{other}");
    // Each place for itself, where there are several.
    change(&kubernetes, "pgclusters", "hippo", |cluster| {
        cluster["spec"]["userlabels"]["backrest-storage-type"] = json!("local,s3");
    });
    let both = format!("{text}\nStorage Type: s3\nstanza: db\n    status: ok in s3\n");
    let shown = show(&client, "hippo", "").await;
    assert_eq!(shown["Items"][0]["Info"], both, "{shown}");
}

#[tokio::test]
async fn a_backup_with_wrong_checksums_is_marked() {
    let address: IpAddr = "127.1.0.14".parse().unwrap();
    let authority = authority();
    let says = Ok([
        "stanza: db\n    status: ok\n    db (current)\n        full backup: 20261126-210300F\n",
        r#"[{"name":"db","backup":[{"label":"20261126-200300F","error":false},{"label":"20261126-210300F","error":true}]}]"#,
    ]);
    let _repository = Repository::start(&authority, address, says).await;
    let kubernetes = installation();
    let apiserver = try_start(&kubernetes, authority, &["--disable-tls=true"])
        .await
        .unwrap();
    let client = apiserver.plain();
    with_primary(&kubernetes, &client).await;
    repository(&kubernetes, &address.to_string());
    for format in ["", "&format=json"] {
        let shown = show(&client, "hippo", format).await;
        let trials = &shown["Items"][0]["Trials"];
        assert_eq!(trials[0]["Backup"], "20261126-200300F", "{shown}");
        assert_eq!(trials[0].get("Damaged"), None, "{shown}");
        assert_eq!(trials[1]["Backup"], "20261126-210300F", "{shown}");
        assert_eq!(trials[1]["Damaged"], true, "{shown}");
    }
}

#[tokio::test]
async fn a_repository_that_cannot_say_it_is_named_with_the_cause() {
    let address: IpAddr = "127.1.0.12".parse().unwrap();
    let authority = authority();
    let says = Err("the image holds no pgbackrest");
    let repository_there = Repository::start(&authority, address, says).await;
    let kubernetes = installation();
    let apiserver = try_start(&kubernetes, authority, &["--disable-tls=true"])
        .await
        .unwrap();
    let client = apiserver.plain();
    with_primary(&kubernetes, &client).await;
    let none = show(&client, "hippo", "").await;
    assert_eq!(words(&none), "backrestrepo pod not found for cluster hippo");

    repository(&kubernetes, &address.to_string());
    let refused = show(&client, "hippo", "").await;
    let why = words(&refused);
    assert!(
        why.contains("pod hippo-backrest-shared-repo-x, says: the image holds no pgbackrest"),
        "{why}"
    );
    drop(repository_there);
    let gone = show(&client, "hippo", "").await;
    let why = words(&gone);
    assert!(
        why.contains("hippo-backrest-shared-repo-x") && why.contains("pgo show cluster hippo"),
        "{why}"
    );
    // One that has no address yet.
    change(&kubernetes, "pods", "hippo-backrest-shared-repo-x", |pod| {
        pod["status"]["podIP"] = Value::Null;
    });
    let starting = show(&client, "hippo", "").await;
    assert!(words(&starting).contains("no address yet"), "{starting}");
}

/// Where neither the request nor the cluster says it, pgo.yaml does.
#[tokio::test]
async fn a_cluster_has_pgbackrest_as_asked_for_and_else_as_pgo_yaml_says() {
    let kubernetes = installation();
    configure(
        &kubernetes,
        &PGO_YAML.replace("Backrest: true", "Backrest: false"),
    );
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for (name, flag, storage, expected) in [
        ("a", "", "", "false"),
        ("b", "true", "", "true"),
        ("c", "true", "local", "true"),
        ("d", "false", "", "false"),
    ] {
        let mut request = create_request(name);
        request["BackrestFlag"] = json!(flag);
        request["BackrestStorageType"] = json!(storage);
        let made = client.post("/clusters", request).await.done();
        let results = made["Results"].to_string();
        assert!(!results.contains("made without"), "{results}");
        let cluster = kubernetes.get("pgclusters", "pgouser1", name).unwrap();
        assert_eq!(
            cluster["metadata"]["labels"]["pgo-backrest"], expected,
            "{name}"
        );
        let label = cluster["spec"]["userlabels"]["backrest-storage-type"].as_str();
        assert_eq!(label.unwrap_or_default(), storage, "{name}");
    }
    // Somebody made it with kubectl and left the label out.
    change(&kubernetes, "pgclusters", "a", |cluster| {
        let labels = cluster["metadata"]["labels"].as_object_mut().unwrap();
        labels.remove("pgo-backrest");
    });
    let without = show(&client, "a", "").await;
    assert_eq!(words(&without), "a does not have pgbackrest enabled");
    // Its user labels say it, too, where the label does not.
    for (label, user, expected) in [
        ("", "true", "backrestrepo pod not found for cluster a"),
        ("true", "false", "backrestrepo pod not found for cluster a"),
        ("false", "true", "a does not have pgbackrest enabled"),
        (
            "",
            "maybe",
            "spec.userlabels.pgo-backrest: \"maybe\" is not true or false",
        ),
        ("", "", "a does not have pgbackrest enabled"),
    ] {
        change(&kubernetes, "pgclusters", "a", |cluster| {
            cluster["metadata"]["labels"]["pgo-backrest"] = json!(label);
            cluster["spec"]["userlabels"]["pgo-backrest"] = json!(user);
        });
        let shown = show(&client, "a", "").await;
        assert!(words(&shown).ends_with(expected), "{label} {user}: {shown}");
        let asked = backup(&client, json!(["a"]), "", "").await;
        assert!(words(&asked).ends_with(expected), "{label} {user}: {asked}");
    }
    configure(&kubernetes, PGO_YAML);
    crate::harness::eventually("pgo.yaml counts", async || {
        let answer = show(&client, "a", "").await;
        (answer["Msg"] == "backrestrepo pod not found for cluster a").then_some(())
    })
    .await;
}
