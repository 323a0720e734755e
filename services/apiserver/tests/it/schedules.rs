//! Schedules: which ConfigMaps they are, and who may be asked for one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, installation, start_plain},
    kubernetes::{Failure, Kubernetes, place},
};

fn request(cluster: &str, selector: &str, kind: &str) -> Value {
    json!({
        "ClusterName": cluster, "Name": "", "Namespace": "pgouser1", "Schedule": "0 1 * * *",
        "ScheduleType": "pgbackrest", "Selector": selector, "PGBackRestType": kind,
    })
}

async fn of(client: &Client, route: &str, which: Value) -> Value {
    let mut request = json!({"Namespace": "pgouser1"});
    for (key, value) in which.as_object().unwrap() {
        request[key] = value.clone();
    }
    client.post(route, request).await.json()
}

fn map(kubernetes: &Kubernetes, name: &str) -> Option<Value> {
    kubernetes.get("configmaps", "pgouser1", name)
}

/// What is noted on a cluster for the reconciler to tell.
fn noted(kubernetes: &Kubernetes, cluster: &str) -> Vec<Value> {
    let object = kubernetes.get("pgclusters", "pgouser1", cluster).unwrap();
    let annotations = object["metadata"]["annotations"].as_object().cloned();
    let notes = annotations.unwrap_or_default().into_iter();
    let notes = notes.filter(|(key, _)| key.starts_with("schedule.pgo.crunchydata.com/"));
    notes
        .map(|(_, value)| serde_json::from_str(value.as_str().unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn schedules_are_config_maps_of_4_1_that_go_with_their_cluster() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for name in ["hippo", "zebra"] {
        client.post("/clusters", create_request(name)).await.done();
    }
    let made = client
        .post("/schedule", request("hippo", "", "full"))
        .await
        .done();
    assert_eq!(
        made["Results"],
        json!(["created schedule hippo-pgbackrest-full for cluster hippo"])
    );
    let hippo = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let stored = map(&kubernetes, "hippo-pgbackrest-full").unwrap();
    assert_eq!(
        stored["metadata"]["labels"],
        json!({"crunchy-scheduler": "true", "pg-cluster": "hippo"})
    );
    assert_eq!(
        stored["metadata"]["ownerReferences"][0]["uid"],
        hippo["metadata"]["uid"]
    );

    let notes = noted(&kubernetes, "hippo");
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0]["user"], "pgoadmin");
    assert_eq!(notes[0]["schedule"], "hippo-pgbackrest-full");
    assert_eq!(
        (&notes[0]["deleted"], &notes[0]["failed"]),
        (&Value::Null, &Value::Null)
    );

    // One that is there stays, and keeps no other from being made.
    let again = client
        .post("/schedule", request("", "pgouser=pgoadmin", "full"))
        .await
        .json();
    assert_eq!(
        again["Msg"],
        "Schedule hippo-pgbackrest-full already exists"
    );
    assert_eq!(
        again["Results"],
        json!(["created schedule zebra-pgbackrest-full for cluster zebra"])
    );
    assert_eq!(map(&kubernetes, "hippo-pgbackrest-full").unwrap(), stored);
}

#[tokio::test]
async fn who_cannot_have_a_schedule_is_told_why() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for name in ["hippo", "without", "gone", "taken"] {
        let mut request = create_request(name);
        request["BackrestFlag"] = json!(if name == "without" { "false" } else { "" });
        client.post("/clusters", request).await.done();
    }
    let mut gone = kubernetes.get("pgclusters", "pgouser1", "gone").unwrap();
    gone["metadata"]["deletionTimestamp"] = json!("2026-10-15T10:11:12Z");
    kubernetes.put("pgclusters", "pgouser1", gone);
    let mine = json!({"metadata": {"name": "taken-pgbackrest-full"}, "data": {"a": "b"}});
    kubernetes.put("configmaps", "pgouser1", mine.clone());
    for (cluster, why) in [
        ("without", "without does not have pgbackrest enabled"),
        ("gone", "cluster gone is being deleted"),
        (
            "taken",
            "ConfigMap taken-pgbackrest-full is there and is no schedule",
        ),
    ] {
        let answer = client.post("/schedule", request(cluster, "", "full")).await;
        assert!(answer.refusal().starts_with(why), "{answer:?}");
    }
    let mut wrong = request("hippo", "", "full");
    wrong["Schedule"] = json!("0 1 * *");
    let answer = client.post("/schedule", wrong).await.refusal();
    assert!(
        answer.starts_with("schedule: ") && answer.contains("give five fields"),
        "{answer}"
    );
    assert_eq!(
        kubernetes.names("configmaps", "pgouser1"),
        ["taken-pgbackrest-full"]
    );

    // That of a former cluster of the name makes way; one without an owner does not.
    let of_former = json!({
        "metadata": {"name": "hippo-pgbackrest-full", "uid": "of former", "labels": {"crunchy-scheduler": "true"},
            "ownerReferences": [{"apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": "hippo", "uid": "former"}]},
    });
    kubernetes.put("configmaps", "pgouser1", of_former.clone());
    client
        .post("/schedule", request("hippo", "", "full"))
        .await
        .done();
    let mut of_nobody = of_former;
    of_nobody["metadata"]["ownerReferences"] = Value::Null;
    kubernetes.put("configmaps", "pgouser1", of_nobody);
    let answer = client.post("/schedule", request("hippo", "", "full")).await;
    assert_eq!(
        answer.refusal(),
        "Schedule hippo-pgbackrest-full already exists"
    );
}

#[tokio::test]
async fn a_schedule_of_a_policy_names_a_policy_a_database_and_a_secret_that_are_there() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let mut plain = create_request("plain");
    plain["BackrestFlag"] = json!("false");
    client.post("/clusters", plain).await.done();
    let ask = async |policy: &str, database: &str, secret: &str| {
        let mut request = request("plain", "", "");
        for (key, value) in [
            ("ScheduleType", "policy"),
            ("PolicyName", policy),
            ("Database", database),
            ("Secret", secret),
        ] {
            request[key] = json!(value);
        }
        client.post("/schedule", request).await
    };
    let refused = ask("gold", "userdb", "").await.refusal();
    assert_eq!(refused, "policy gold not found");
    let gold = json!({"metadata": {"name": "gold"}, "spec": {"sql": "select 1"}});
    kubernetes.put("pgpolicies", "pgouser1", gold);
    for (name, of) in [("plain-ann-secret", "plain"), ("other", "rhino")] {
        let secret = json!({"metadata": {"name": name, "labels": {"pg-cluster": of}}});
        kubernetes.put("secrets", "pgouser1", secret);
    }
    for (secret, why) in [
        ("other", "Secret other is not of cluster plain"),
        ("none", "Secret none not found"),
    ] {
        assert_eq!(ask("gold", "userdb", secret).await.refusal(), why);
    }
    let made = ask("gold", "userdb", "plain-ann-secret").await.done();
    let said = "created schedule plain-policy-gold for cluster plain";
    assert_eq!(made["Results"], json!([said]));
    let stored = map(&kubernetes, "plain-policy-gold").unwrap();
    let value = stored["data"]["plain-policy-gold"].as_str().unwrap();
    let value: Value = serde_json::from_str(value).unwrap();
    let policy = json!({"name": "gold", "database": "userdb", "secret": "plain-ann-secret"});
    assert_eq!(
        (&value["type"], &value["policy"]),
        (&json!("policy"), &policy)
    );
}

/// Clusters hippo and zebra, each with schedules of two types.
async fn with_schedules(client: &Client) {
    for name in ["hippo", "zebra"] {
        client.post("/clusters", create_request(name)).await.done();
        for kind in ["full", "incr"] {
            client
                .post("/schedule", request(name, "", kind))
                .await
                .done();
        }
    }
}

#[tokio::test]
async fn schedules_are_shown_by_name_cluster_and_selector() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_schedules(&client).await;
    let mut full = map(&kubernetes, "hippo-pgbackrest-full").unwrap();
    full["metadata"]["annotations"] = json!({
        "pgo.crunchydata.com/last-run": "2026-10-15T01:00:00Z",
        "pgo.crunchydata.com/next-run": "2026-10-16T01:00:00Z",
    });
    kubernetes.put("configmaps", "pgouser1", full);

    let shown = of(&client, "/scheduleshow", json!({"ClusterName": "hippo"})).await;
    let text = |kind: &str| {
        format!(
            "hippo-pgbackrest-{kind}:\n\tschedule: 0 1 * * *\n\tschedule-type: pgbackrest\n\tbackup-type: {kind}"
        )
    };
    let runs = "\n\tnext-run: 2026-10-16T01:00:00Z\n\tlast-run: 2026-10-15T01:00:00Z";
    assert_eq!(
        shown["Results"],
        json!([format!("{}{runs}", text("full")), text("incr")])
    );
    assert_eq!(shown["Schedules"][0]["NextRun"], "2026-10-16T01:00:00Z");
    let named = of(
        &client,
        "/scheduleshow",
        json!({"ScheduleName": "hippo-pgbackrest-incr"}),
    )
    .await;
    assert_eq!(named["Results"], json!([text("incr")]));
    let selected = of(&client, "/scheduleshow", json!({"Selector": "name=zebra"})).await;
    assert_eq!(selected["Results"].as_array().unwrap().len(), 2);
    let unsaid = of(&client, "/scheduleshow", json!({})).await;
    assert_eq!(unsaid["Code"], "error");
}

#[tokio::test]
async fn schedules_are_deleted_by_name_and_selector() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_schedules(&client).await;
    let deleted = of(
        &client,
        "/scheduledelete",
        json!({"ScheduleName": "hippo-pgbackrest-incr"}),
    )
    .await;
    assert_eq!(
        deleted["Results"],
        json!(["deleted schedule hippo-pgbackrest-incr"])
    );
    let deleted = of(
        &client,
        "/scheduledelete",
        json!({"Selector": "name=zebra"}),
    )
    .await;
    assert_eq!(
        deleted["Results"],
        json!([
            "deleted schedule zebra-pgbackrest-full",
            "deleted schedule zebra-pgbackrest-incr"
        ])
    );
    assert_eq!(
        kubernetes.names("configmaps", "pgouser1"),
        ["hippo-pgbackrest-full"]
    );
}

#[tokio::test]
async fn what_kubernetes_does_not_take_is_told_as_failed_and_a_note_that_is_not_taken_is_named() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let maps = place("configmaps", "pgouser1");
    kubernetes.fail(format!("POST {maps}"), Failure::Forbidden);
    let refused = client.post("/schedule", request("hippo", "", "full")).await;
    assert_eq!(refused.refusal(), "not for you");
    kubernetes.heal();
    client
        .post("/schedule", request("hippo", "", "full"))
        .await
        .done();
    kubernetes.fail(format!("DELETE {maps}"), Failure::Forbidden);
    let kept = of(&client, "/scheduledelete", json!({"ClusterName": "hippo"})).await;
    assert_eq!(
        kept["Msg"],
        "Could not delete ConfigMap hippo-pgbackrest-full: not for you"
    );
    kubernetes.heal();
    let told: BTreeSet<String> = noted(&kubernetes, "hippo")
        .iter()
        .map(|note| format!("{} {}", note["deleted"], note["failed"]))
        .collect();
    let expected = ["null null", "null \"not for you\"", "true \"not for you\""];
    assert_eq!(told, expected.map(str::to_owned).into());

    kubernetes.fail(
        format!("PATCH {}", place("pgclusters", "pgouser1")),
        Failure::Forbidden,
    );
    let deleted = of(&client, "/scheduledelete", json!({"ClusterName": "hippo"})).await;
    assert_eq!(
        deleted["Results"],
        json!([
            "deleted schedule hippo-pgbackrest-full",
            "schedule hippo-pgbackrest-full: this is not told as an event: not for you",
        ])
    );
    kubernetes.heal();
    // Of a cluster that is gone there is nobody to tell it.
    client
        .post("/schedule", request("hippo", "", "full"))
        .await
        .done();
    kubernetes.remove("pgclusters", "pgouser1", "hippo");
    let deleted = of(&client, "/scheduledelete", json!({"ClusterName": "hippo"})).await;
    assert_eq!(
        deleted["Results"],
        json!(["deleted schedule hippo-pgbackrest-full"])
    );
}

/// 4.1 deletes any ConfigMap by its name.
#[tokio::test]
async fn only_schedules_are_deleted() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let mine = json!({"metadata": {"name": "mine", "labels": {"pg-cluster": "hippo"}}, "data": {"a": "b"}});
    kubernetes.put("configmaps", "pgouser1", mine);
    for which in [
        json!({"ScheduleName": "mine"}),
        json!({"ScheduleName": "../secrets/x"}),
    ] {
        let answer = of(&client, "/scheduledelete", which).await;
        let why = answer["Msg"].as_str().unwrap();
        assert!(why.starts_with("Could not delete ConfigMap"), "{why}");
    }
    let none = of(&client, "/scheduledelete", json!({"ClusterName": "hippo"})).await;
    assert_eq!(
        (&none["Code"], &none["Results"]),
        (&json!("ok"), &json!([]))
    );
    assert!(map(&kubernetes, "mine").is_some());
}
