//! Requests for more replicas and for fewer: what is answered, and what is in Kubernetes then.

use serde_json::{Value, json};

use crate::{
    failover::{AUTOFAILING, autofailing},
    harness::{Client, create_request, installation, start_plain},
    kubernetes::{Failure, Kubernetes, place},
};

const HEAD: &str = "version=4.1.0&namespace=pgouser1";

async fn scale(client: &Client, cluster: &str, more: &str) -> Value {
    let target = format!("/clusters/scale/{cluster}?{HEAD}&{more}");
    client.get(&target).await.json()
}

async fn scale_down(client: &Client, replica: &str, more: &str) -> Value {
    let target = format!("/scaledown/hippo?{HEAD}&replica-name={replica}&{more}");
    client.get(&target).await.json()
}

fn replicas(kubernetes: &Kubernetes) -> Vec<String> {
    kubernetes.names("pgreplicas", "pgouser1")
}

#[tokio::test]
async fn more_replicas_are_pgreplicas_with_4_1s_names() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let none = scale(&client, "hippo", "replica-count=0").await;
    assert_eq!(none, json!({"Results": null, "Code": "ok", "Msg": ""}));

    let more = "replica-count=2&service-type=NodePort&ccp-image-tag=x1";
    let answer = scale(&client, "hippo", more).await;
    let made = replicas(&kubernetes);
    assert_eq!(made.len(), 2);
    let mut told: Vec<String> = made
        .iter()
        .map(|name| format!("created Pgreplica {name}"))
        .collect();
    let mut results: Vec<String> = serde_json::from_value(answer["Results"].clone()).unwrap();
    told.sort();
    results.sort();
    assert_eq!(results, told);
    let replica = kubernetes.get("pgreplicas", "pgouser1", &made[0]).unwrap();
    let letters = made[0].strip_prefix("hippo-").unwrap();
    assert!(
        letters.len() == 4 && letters.chars().all(|c| c.is_ascii_lowercase()),
        "{letters}"
    );
    let labels = &replica["metadata"]["labels"];
    assert_eq!(
        (&labels["pg-cluster"], &labels["pgouser"]),
        (&json!("hippo"), &json!("pgoadmin"))
    );
    let spec = &replica["spec"];
    assert_eq!(
        (&spec["clustername"], &spec["name"]),
        (&json!("hippo"), &json!(made[0]))
    );
    assert_eq!(spec["userlabels"]["service-type"], "NodePort");
    assert_eq!(spec["userlabels"]["ccp-image-tag"], "x1");
}

#[tokio::test]
async fn whether_a_cluster_has_the_name_of_a_new_replica_is_asked_first() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let hippo = create_request("hippo");
    client.post("/clusters", hippo).await.done();
    let of_replicas = format!("GET {}/hippo-", place("pgclusters", "pgouser1"));
    kubernetes.fail(of_replicas, Failure::Forbidden);
    let answer = scale(&client, "hippo", "replica-count=1").await;
    assert_eq!(answer["Msg"], "not for you");
    assert!(replicas(&kubernetes).is_empty());
}

#[tokio::test]
async fn scaling_to_nonsense_is_refused_and_makes_nothing() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    for (cluster, more, words) in [
        (
            "nosuch",
            "replica-count=1",
            "pgclusters.crunchydata.com \"nosuch\" not found",
        ),
        (
            "all",
            "replica-count=1",
            "all is not allowed for the scale command",
        ),
        ("hippo", "replica-count=-1", "invalid replica-count"),
        ("hippo", "replica-count=many", "invalid replica-count"),
        ("hippo", "replica-count=101", "invalid replica-count"),
        (
            "hippo",
            "replica-count=1&storage-config=moon",
            "moon Storage config was not found ",
        ),
        (
            "hippo",
            "replica-count=1&resources-config=huge",
            "huge ContainerResource config was not found ",
        ),
        (
            "hippo",
            "replica-count=1&node-label=abc",
            "abc node label does not follow key=value format",
        ),
        (
            "hippo",
            "replica-count=1&service-type=Pigeon",
            "error --service-type should be either",
        ),
        (
            "hippo",
            "replica-count=1&ccp-image-tag=a%3Ab",
            "spec.ccpimagetag: ",
        ),
    ] {
        let answer = scale(&client, cluster, more).await;
        assert_eq!(answer["Code"], "error", "{more}");
        assert_eq!(answer["Results"], Value::Null, "{more}");
        let why = answer["Msg"].as_str().unwrap();
        assert!(why.starts_with(words), "{more}: {why}");
    }
    assert!(replicas(&kubernetes).is_empty());
}

#[tokio::test]
async fn a_replica_is_removed_by_a_task_of_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let refused = |answer: &Value| answer["Msg"].as_str().unwrap().to_owned();
    let none = scale_down(&client, "hippo-abcd", "").await;
    assert_eq!(refused(&none), "no replicas found for this cluster");
    assert_eq!(none["Results"], json!([]));
    scale(&client, "hippo", "replica-count=1").await;
    let name = replicas(&kubernetes).remove(0);
    assert_eq!(
        refused(&scale_down(&client, "nosuch", "").await),
        "nosuch replica not found"
    );
    let primary = refused(&scale_down(&client, "hippo", "").await);
    assert!(
        primary.starts_with("hippo is the primary of cluster hippo"),
        "{primary}"
    );
    assert_eq!(
        kubernetes.names("pgtasks", "pgouser1"),
        ["hippo-createcluster"]
    );

    let answer = scale_down(&client, &name, "delete-data=true").await;
    assert_eq!(
        answer["Results"],
        json!([format!("deleted Pgreplica {name}")])
    );
    let task = kubernetes
        .get("pgtasks", "pgouser1", &format!("{name}-rmdata"))
        .unwrap();
    assert_eq!(
        task["spec"]["parameters"],
        json!({
            "pg-cluster": "hippo", "delete-data": "true", "delete-backups": "false", "is-replica": "true",
            "is-backup": "false", "replica-name": name,
        })
    );
    assert!(
        kubernetes.has("pgreplicas", "pgouser1", &name),
        "the reconciler removes it"
    );
}

#[tokio::test]
async fn while_no_instance_serves_as_the_primary_no_replica_is_removed() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    scale(&client, "hippo", "replica-count=2").await;
    let name = replicas(&kubernetes).remove(0);
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let created = json!([{
        "id": "25927091-b343-4017-be4b-71575f0b3eb5", "kind": "CreateCluster", "actor": "ann",
        "started": "2026-10-15T10:11:12Z", "finished": "2026-10-15T10:11:32Z", "outcome": "Completed",
    }]);
    cluster["status"] = json!({"operations": created});
    kubernetes.put("pgclusters", "pgouser1", cluster.clone());
    let answer = scale_down(&client, &name, "").await;
    assert_eq!(answer["Code"], "error", "{answer}");
    let why = answer["Msg"].as_str().unwrap();
    assert!(
        why.contains("no instance of cluster hippo serves") && why.contains(&name),
        "{why}"
    );
    let task = format!("{name}-rmdata");
    assert!(!kubernetes.has("pgtasks", "pgouser1", &task));

    cluster["status"]["currentPrimary"] = json!("hippo");
    kubernetes.put("pgclusters", "pgouser1", cluster);
    let answer = scale_down(&client, &name, "").await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    assert!(kubernetes.has("pgtasks", "pgouser1", &task));
}

#[tokio::test]
async fn the_last_replica_of_a_cluster_that_fails_over_by_itself_stays() {
    for (label, user, of_all) in AUTOFAILING {
        let (kubernetes, apiserver) = autofailing(label, user, of_all).await;
        let client = apiserver.plain();
        scale(&client, "hippo", "replica-count=1").await;
        let name = replicas(&kubernetes).remove(0);
        let answer = scale_down(&client, &name, "").await;
        let why = answer["Msg"].as_str().unwrap();
        assert!(
            why.contains("last replica") && why.contains("--autofail=false"),
            "{label} {user} {of_all}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_query_of_an_unknown_cluster_is_answered_as_in_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let answer = client.get(&format!("/scale/nosuch?{HEAD}")).await.json();
    assert_eq!(
        answer,
        json!({"Results": null, "Targets": null, "Code": "error",
            "Msg": "pgclusters.crunchydata.com \"nosuch\" not found"})
    );
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let answer = client.get(&format!("/scale/hippo?{HEAD}")).await.json();
    assert_eq!(
        answer,
        json!({"Results": [], "Targets": [], "Code": "ok", "Msg": ""})
    );
}
