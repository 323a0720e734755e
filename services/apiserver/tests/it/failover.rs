//! Requests for another primary, and whether instances take over by themselves: what is answered, and what is in
//! Kubernetes then.

use serde_json::{Value, json};

use crate::{
    harness::{Apiserver, Client, PGO_YAML, configure, create_request, installation, start_plain},
    kubernetes::Kubernetes,
};

const HEAD: &str = "version=4.1.0&namespace=pgouser1";

/// A cluster of two instances, the first of which is primary.
async fn cluster(client: &Client, kubernetes: &Kubernetes) {
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    for (pod, service) in [("hippo", "hippo"), ("hippo-abcd", "hippo-replica")] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "labels": {
                "vendor": "crunchydata", "pg-cluster": "hippo", "deployment-name": pod, "service-name": service,
            }},
            "spec": {"nodeName": "node1", "containers": [{"name": "database"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "database", "ready": true}]},
        });
        kubernetes.put("pods", "pgouser1", pod);
    }
}

async fn ask(client: &Client, more: Value) -> Value {
    let mut request = json!({
        "Namespace": "pgouser1", "ClusterName": "hippo", "AutofailReplaceReplica": "", "Target": "",
        "ClientVersion": "4.1.0",
    });
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    client.post("/failover", request).await.json()
}

fn edit(kubernetes: &Kubernetes, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
    let mut object = kubernetes.get(kind, "pgouser1", name).unwrap();
    change(&mut object);
    kubernetes.put(kind, "pgouser1", object);
}

#[tokio::test]
async fn a_failover_is_asked_for_by_a_task_of_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    cluster(&client, &kubernetes).await;
    let answer = ask(
        &client,
        json!({"Target": "hippo-abcd", "AutofailReplaceReplica": "true"}),
    )
    .await;
    let task = kubernetes
        .get("pgtasks", "pgouser1", "hippo-failover")
        .unwrap();
    let labels = &task["metadata"]["labels"];
    let id = labels["workflowid"].as_str().unwrap();
    assert_eq!(
        answer,
        json!({
            "Results": ["created Pgtask (failover) for cluster hippo", format!("workflow id {id}")],
            "Targets": "", "OperationID": id, "Code": "ok", "Msg": "",
        })
    );
    let mut expected = json!({
        "pg-cluster": "hippo", "pgouser": "pgoadmin", "target": "hippo-abcd",
        "autofail-replace-replica": "true",
    });
    expected["workflowid"] = json!(id);
    assert_eq!(*labels, expected);
    assert_eq!(task["spec"]["tasktype"], "failover");
    assert_eq!(task["spec"]["parameters"], json!({"hippo": "hippo"}));

    // One that is under way stays, one that is over makes way.
    let again = ask(&client, json!({"Target": "hippo-abcd"})).await;
    assert_eq!(again["Code"], "error");
    edit(&kubernetes, "pgtasks", "hippo-failover", |task| {
        task["status"] = json!({"conditions": [
            {"type": "Complete", "status": "False", "reason": "Failed", "message": "no"},
        ]});
    });
    let again = ask(&client, json!({"Target": "hippo-abcd"})).await;
    assert_eq!(again["Code"], "ok", "{again}");
}

/// An installation whose cluster takes over by itself: its label, its user label or `pgo.yaml` says so.
pub async fn autofailing(label: &str, user: &str, of_all: bool) -> (Kubernetes, Apiserver) {
    let kubernetes = installation();
    configure(
        &kubernetes,
        &PGO_YAML.replace("Cluster:", &format!("Cluster:\n  Autofail: {of_all}")),
    );
    let apiserver = start_plain(&kubernetes).await;
    let mut request = create_request("hippo");
    request["ReplicaCount"] = json!(1);
    apiserver.plain().post("/clusters", request).await.done();
    edit(&kubernetes, "pgclusters", "hippo", |cluster| {
        cluster["metadata"]["labels"]["autofail"] = json!(label);
        cluster["spec"]["userlabels"]["autofail"] = json!(user);
    });
    (kubernetes, apiserver)
}

/// Where it is said that a cluster takes over by itself: its label, its user label, `pgo.yaml`.
pub const AUTOFAILING: [(&str, &str, bool); 3] = [
    ("true", "false", false),
    ("", "true", false),
    ("", "", true),
];

#[tokio::test]
async fn nobody_fails_over_by_hand_wherever_it_is_said_that_the_cluster_does_it_itself() {
    for (label, user, of_all) in AUTOFAILING {
        let (kubernetes, apiserver) = autofailing(label, user, of_all).await;
        let answer = ask(&apiserver.plain(), json!({})).await;
        let why = answer["Msg"].as_str().unwrap();
        let words = "autofail flag is set to true, manual failover requires";
        assert!(why.starts_with(words), "{label} {user} {of_all}: {answer}");
        assert!(!kubernetes.has("pgtasks", "pgouser1", "hippo-failover"));
    }
    let (_kubernetes, apiserver) = autofailing("maybe", "true", true).await;
    let answer = ask(&apiserver.plain(), json!({})).await;
    let why = answer["Msg"].as_str().unwrap();
    let words = "metadata.labels.autofail: \"maybe\" is not true or false";
    assert!(why.contains(words), "{why}");
    let (_kubernetes, apiserver) = autofailing("false", "true", true).await;
    let answer = ask(&apiserver.plain(), json!({})).await;
    assert_eq!(answer["Code"], "ok", "{answer}");
}

#[tokio::test]
async fn wrong_requests_are_refused_in_4_1s_words_and_nothing_is_stored() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    cluster(&client, &kubernetes).await;
    let autofail = |value: &str| {
        edit(&kubernetes, "pgclusters", "hippo", |cluster| {
            cluster["metadata"]["labels"]["autofail"] = json!(value);
        });
    };
    for (more, words) in [
        (json!({"Target": "nosuch"}), "no target found named nosuch"),
        (
            json!({"ClusterName": "zebra"}),
            "no cluster found named zebra",
        ),
        (
            json!({"ClusterName": "../x"}),
            "no cluster found named ../x",
        ),
        (
            json!({"Target": "hippo"}),
            "deployment primary can not be selected as failover target",
        ),
        (
            json!({"Target": "hippo-abcd", "AutofailReplaceReplica": "maybe"}),
            "true or false value required for --autofail-replace-replica flag",
        ),
    ] {
        let answer = ask(&client, more).await;
        assert_eq!(
            answer,
            json!({"Results": [], "Targets": "", "OperationID": "", "Code": "error", "Msg": words})
        );
    }
    autofail("true");
    let answer = ask(&client, json!({"Target": "hippo-abcd"})).await;
    let why = answer["Msg"].as_str().unwrap();
    let words = "autofail flag is set to true, manual failover requires";
    assert!(why.starts_with(words), "{why}");
    let tasks = kubernetes.names("pgtasks", "pgouser1");
    assert_eq!(tasks, ["hippo-createcluster"]);

    // What hands over in order interferes with nothing.
    let planned = json!({"Target": "hippo-abcd", "Planned": true});
    assert_eq!(ask(&client, planned).await["Code"], "ok");
    let task = kubernetes
        .get("pgtasks", "pgouser1", "hippo-failover")
        .unwrap();
    let label = &task["metadata"]["labels"]["pgo.crunchydata.com/planned"];
    assert_eq!(*label, "true");
}

#[tokio::test]
async fn during_a_change_no_other_one_is_asked_for() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    cluster(&client, &kubernetes).await;
    edit(&kubernetes, "pgclusters", "hippo", |cluster| {
        cluster["status"] = json!({"operations": [{
            "id": "25927091-b343-4017-be4b-71575f0b3eb5", "kind": "SwitchoverCluster", "actor": "ann",
            "started": "2026-10-15T10:11:12Z", "instance": "hippo-abcd",
        }]});
    });
    let answer = ask(&client, json!({"Target": "hippo-abcd"})).await;
    let why = answer["Msg"].as_str().unwrap();
    assert!(
        why.contains("25927091-b343-4017-be4b-71575f0b3eb5"),
        "{why}"
    );
    assert!(!kubernetes.has("pgtasks", "pgouser1", "hippo-failover"));
}

#[tokio::test]
async fn a_query_shows_who_can_be_primary() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let none = client.get(&format!("/failover/zebra?{HEAD}")).await.json();
    assert_eq!(
        none,
        json!({"Results": null, "Targets": null, "Code": "error", "Msg": "no cluster found named zebra"})
    );
    cluster(&client, &kubernetes).await;
    let answer = client.get(&format!("/failover/hippo?{HEAD}")).await.json();
    let targets = json!([{
        "Name": "hippo-abcd", "ReadyStatus": "1/1", "Node": "node1", "PreferredNode": false,
        "RepStatus": "its agent does not answer", "ReceiveLocation": 0, "ReplayLocation": 0,
    }]);
    assert_eq!(
        answer,
        json!({"Results": [], "Targets": targets, "Code": "ok", "Msg": ""})
    );
    // After a change of the primary it is the other one.
    edit(&kubernetes, "pgclusters", "hippo", |cluster| {
        cluster["status"] = json!({"currentPrimary": "hippo-abcd"});
    });
    let answer = client.get(&format!("/failover/hippo?{HEAD}")).await.json();
    assert_eq!(answer["Targets"][0]["Name"], "hippo");
    // Also while it does not serve: the other one is a target then.
    edit(&kubernetes, "pgclusters", "hippo", |cluster| {
        cluster["status"] = json!({});
        cluster["metadata"]["labels"]["current-primary"] = json!("hippo-abcd");
    });
    assert_eq!(ask(&client, json!({"Target": "hippo"})).await["Code"], "ok");
}

/// What is noted on a cluster under keys that begin so.
pub fn notes(kubernetes: &Kubernetes, cluster: &str, prefix: &str) -> Vec<Value> {
    let cluster = kubernetes.get("pgclusters", "pgouser1", cluster).unwrap();
    let annotations = cluster["metadata"]["annotations"].as_object();
    let notes = annotations.into_iter().flatten();
    let notes = notes.filter(|(key, _)| key.starts_with(prefix));
    notes
        .map(|(_, value)| serde_json::from_str(value.as_str().unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn autofail_is_a_label_that_an_update_sets() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for name in ["hippo", "zebra"] {
        client.post("/clusters", create_request(name)).await.done();
    }
    let label = |name: &str| {
        let cluster = kubernetes.get("pgclusters", "pgouser1", name).unwrap();
        cluster["metadata"]["labels"]["autofail"].clone()
    };
    let update = async |more: Value| {
        let mut request = json!({
            "Clustername": [], "Selector": "", "AllFlag": false, "Autofail": false,
            "ClientVersion": "4.1.0", "Namespace": "pgouser1",
        });
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        client.post("/clustersupdate", request).await.json()
    };
    let answer = update(json!({"Clustername": ["hippo"], "Autofail": true})).await;
    assert_eq!(
        answer,
        json!({"Results": ["updated pgcluster hippo"], "Code": "ok", "Msg": ""})
    );
    assert_eq!(
        (label("hippo"), label("zebra")),
        (json!("true"), Value::Null)
    );
    let notes = notes(&kubernetes, "hippo", "update.pgo.crunchydata.com/");
    assert_eq!(notes, [json!({"user": "pgoadmin"})], "who asked");
    let answer = update(json!({"AllFlag": true})).await;
    let both = json!(["updated pgcluster hippo", "updated pgcluster zebra"]);
    assert_eq!(answer["Results"], both);
    assert_eq!(label("hippo"), "false");
    let answer = update(json!({"Clustername": ["nosuch"]})).await;
    assert_eq!(
        answer,
        json!({"Results": [], "Code": "error", "Msg": "no clusters found"})
    );
    let answer = update(json!({"Clustername": ["hippo", "nosuch"], "Autofail": true})).await;
    assert_eq!(answer["Results"], json!(["updated pgcluster hippo"]));
    assert_eq!(answer["Msg"], "no clusters found: nosuch");
}
