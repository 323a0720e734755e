//! `pgo test`: connections to PostgreSQL, over TLS.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    failover::notes,
    harness::{
        Apiserver, PGO_YAML, authority, cluster_request, configure, create_request, eventually,
        installation, secret, try_start,
    },
    kubernetes::Failure,
    postgres::Postgres,
};

const NOTES: &str = "test.pgo.crunchydata.com/";

/// A server whose cluster `hippo` is played by a server with this identity and password; users have `password` in
/// their Secrets.
async fn with_postgres(identity: &str, password: &str) -> (Apiserver, Postgres) {
    let authority = authority();
    pgo_tls::provider();
    let postgres = Postgres::start(&authority, identity, "right").await;
    let kubernetes = installation();
    let port = postgres.addr.port();
    configure(
        &kubernetes,
        &PGO_YAML.replace("Cluster:", &format!("Cluster:\n  Port: {port}")),
    );
    let apiserver = try_start(&kubernetes, authority, &["--disable-tls=true"])
        .await
        .unwrap();
    apiserver
        .plain()
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    for user in ["postgres", "testuser"] {
        let data = [("username", user), ("password", password)];
        let mut secret = secret(&format!("hippo-{user}-secret"), &data);
        secret["metadata"]["labels"] = json!({"pg-cluster": "hippo"});
        kubernetes.put("secrets", "pgouser1", secret);
    }
    kubernetes.put(
        "services",
        "pgouser1",
        json!({
            "metadata": {"name": "hippo", "labels": {"pg-cluster": "hippo"}},
            "spec": {"clusterIP": "127.0.0.1"},
        }),
    );
    (apiserver, postgres)
}

async fn items(apiserver: &Apiserver) -> Vec<Value> {
    let (items, remark) = items_and_remark(apiserver).await;
    assert_eq!(remark, "");
    items
}

/// What was tested, and what is said beside it.
async fn items_and_remark(apiserver: &Apiserver) -> (Vec<Value>, String) {
    let answer = apiserver
        .plain()
        .post("/testclusters", cluster_request("hippo"))
        .await
        .done();
    let remark = answer["Msg"].as_str().unwrap().to_owned();
    assert_eq!(answer["Results"][0]["ClusterName"], "hippo");
    let items = answer["Results"][0]["Items"].as_array().unwrap().clone();
    (items, remark)
}

/// What is said of its instances.
async fn standing(apiserver: &Apiserver) -> Value {
    let answer = apiserver
        .plain()
        .post("/testclusters", cluster_request("hippo"))
        .await
        .done();
    answer["Results"][0]["Standing"].clone()
}

#[tokio::test]
async fn a_test_tells_how_the_instances_stand_to_each_other_as_the_status_does() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "right").await;
    let kubernetes = &apiserver.kubernetes;
    let cluster = kubernetes.get("pgclusters", "pgouser1", "hippo");
    let mut cluster = cluster.expect("it was made");
    cluster["status"] = json!({
        "currentPrimary": "hippo-abcd", "replicaCount": {"asked": 1, "wanted": 1, "made": 1},
        "instances": [
            {"name": "hippo", "role": "replica", "ready": true, "timeline": 2, "streaming": true,
                "lagBytes": 4_194_304, "lagSeconds": 2, "sync": "quorum"},
            {"name": "hippo-abcd", "role": "primary", "ready": true, "timeline": 2,
                "pendingRestart": ["max_connections"]},
        ],
        "synchronous": {"asked": 1, "rule": 1, "of": 1, "waitFor": 1},
        "lastTakeover": {"planned": false, "from": "hippo", "to": "hippo-abcd", "cause": "hippo was not heard any more",
            "timeline": 2, "lsn": "0/3000148", "at": "2026-10-15T10:11:12Z", "durationMs": 2300},
    });
    kubernetes.put("pgclusters", "pgouser1", cluster);
    let told = standing(&apiserver).await;
    let replica = &told["Instances"][0];
    assert_eq!(replica["Role"], "replica");
    assert_eq!(
        (&replica["Streaming"], &replica["LagBytes"]),
        (&json!(true), &json!(4_194_304))
    );
    assert_eq!(
        (&replica["Timeline"], &replica["Sync"]),
        (&json!(2), &json!("quorum"))
    );
    let primary = &told["Instances"][1];
    assert_eq!(primary["PendingRestart"], json!(["max_connections"]));
    assert_eq!(told["Primary"], "hippo-abcd");
    let last = &told["LastTakeover"];
    assert_eq!(
        (&last["To"], &last["DurationMs"]),
        (&json!("hippo-abcd"), &json!(2300))
    );
    let status = apiserver
        .plain()
        .get("/status?version=4.1.0&namespace=pgouser1")
        .await
        .done();
    assert_eq!(status["Result"]["Clusters"][0], told);
}

fn working(items: &[Value]) -> Vec<bool> {
    items
        .iter()
        .map(|item| item["Working"].as_bool().unwrap())
        .collect()
}

#[tokio::test]
async fn each_user_connects_to_each_database_with_its_own_password() {
    let (apiserver, postgres) = with_postgres("hippo.pgouser1.agent.pgo", "right").await;
    let items = items(&apiserver).await;
    assert_eq!(working(&items), [true; 4]);
    // What is not known of an instance is not made up.
    let standing = standing(&apiserver).await;
    assert_eq!(standing["InstancesWanted"], 1);
    assert_eq!(standing["Instances"], json!([]));
    let port = postgres.addr.port();
    assert_eq!(
        items[3]["PsqlString"],
        format!("psql -p {port} -h 127.0.0.1 -U testuser userdb")
    );
    let note = notes(&apiserver.kubernetes, "hippo", NOTES).remove(0);
    assert_eq!(
        (&note["user"], &note["tried"]),
        (&json!("pgoadmin"), &json!(4))
    );
    assert_eq!(note["broken"], Value::Null, "{note}");
    assert!(note["began"].as_str() <= note["ended"].as_str(), "{note}");
}

#[tokio::test]
async fn what_does_not_work_is_noted_and_a_test_that_cannot_be_noted_is_answered() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "wr0ng").await;
    let kubernetes = &apiserver.kubernetes;
    let shown = items(&apiserver).await;
    let note = notes(kubernetes, "hippo", NOTES).remove(0);
    let broken = note["broken"].as_array().unwrap();
    assert_eq!(broken.len(), 4, "{note}");
    for (item, broken) in shown.iter().zip(broken) {
        let (command, broken) = (
            item["PsqlString"].as_str().unwrap(),
            broken.as_str().unwrap(),
        );
        let why = broken.strip_prefix(command);
        assert!(
            why.is_some_and(|why| why.contains("password authentication failed")),
            "{broken}"
        );
    }
    assert!(!note.to_string().contains("wr0ng"), "{note}");
    let patch = "PATCH /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters/hippo";
    kubernetes.fail(patch.to_owned(), Failure::Forbidden);
    let (again, remark) = items_and_remark(&apiserver).await;
    assert_eq!(again, shown);
    let said = "the test is not told as an event: hippo: ";
    assert!(
        remark.starts_with(said) && remark.len() > said.len(),
        "{remark}"
    );
    assert_eq!(notes(kubernetes, "hippo", NOTES).len(), 1);
}

#[tokio::test]
async fn a_note_that_kubernetes_fails_to_take_is_tried_again_before_the_answer() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "right").await;
    let kubernetes = apiserver.kubernetes.clone();
    let patch = "PATCH /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters/hippo";
    kubernetes.fail(patch.to_owned(), Failure::Unreachable);
    let healed = kubernetes.clone();
    let healing = tokio::spawn(async move {
        eventually("a second try", || async {
            (healed.count(patch) > 1).then_some(())
        })
        .await;
        healed.heal();
    });
    assert_eq!(items(&apiserver).await.len(), 4);
    healing.await.unwrap();
    assert_eq!(notes(&kubernetes, "hippo", NOTES).len(), 1);
}

#[tokio::test]
async fn a_note_that_takes_too_long_is_said_and_is_taken_all_the_same() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "right").await;
    let kubernetes = &apiserver.kubernetes;
    let patch = "PATCH /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters/hippo";
    kubernetes.fail(patch.to_owned(), Failure::Slow(Duration::from_secs(6)));
    let (items, remark) = items_and_remark(&apiserver).await;
    assert_eq!(items.len(), 4);
    assert!(
        remark.contains("hippo: Kubernetes has not taken the note within 5 s"),
        "{remark}"
    );
    eventually("the note", || async {
        (notes(kubernetes, "hippo", NOTES).len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn so_many_tests_wait_for_the_reconciler_and_no_more() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "wr0ng").await;
    let kubernetes = &apiserver.kubernetes;
    let mut cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    for n in 0..pgo_crd::MOST_TESTS {
        cluster["metadata"]["annotations"][format!("{NOTES}{n}")] = json!("{}");
    }
    kubernetes.put("pgclusters", "pgouser1", cluster);
    let (items, remark) = items_and_remark(&apiserver).await;
    assert_eq!(items.len(), 4);
    assert!(remark.contains("64 tests before it wait"), "{remark}");
    assert_eq!(notes(kubernetes, "hippo", NOTES).len(), pgo_crd::MOST_TESTS);
}

#[tokio::test]
async fn a_wrong_password_is_not_working_and_appears_nowhere() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "wr0ng").await;
    let items = items(&apiserver).await;
    assert_eq!(working(&items), [false; 4]);
    assert!(!Value::from(items).to_string().contains("wr0ng"));
}

#[tokio::test]
async fn another_clusters_postgresql_is_not_taken_for_this_one() {
    let (apiserver, _postgres) = with_postgres("zebra.pgouser1.agent.pgo", "right").await;
    assert_eq!(working(&items(&apiserver).await), [false; 4]);
}

#[tokio::test]
async fn a_primary_that_is_not_ready_is_told() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "right").await;
    apiserver.kubernetes.put("pods", "pgouser1", json!({
        "metadata": {"name": "hippo", "labels": {"pg-cluster": "hippo", "service-name": "hippo"}},
        "spec": {"containers": [{"name": "database"}]},
        "status": {"phase": "Pending"},
    }));
    let answer = apiserver
        .plain()
        .post("/testclusters", cluster_request("hippo"))
        .await;
    assert_eq!(answer.refusal(), "cluster not ready yet, try later");
}

#[tokio::test]
async fn of_all_clusters_those_that_are_not_ready_are_named_and_the_others_tested() {
    let (apiserver, _postgres) = with_postgres("hippo.pgouser1.agent.pgo", "right").await;
    let kubernetes = &apiserver.kubernetes;
    for name in ["rhino", "zebra"] {
        let cluster = json!({"metadata": {"name": name, "uid": name}, "spec": {}});
        kubernetes.put("pgclusters", "pgouser1", cluster);
        kubernetes.put(
            "pods",
            "pgouser1",
            json!({
                "metadata": {"name": name, "labels": {"pg-cluster": name, "service-name": name}},
                "spec": {"containers": [{"name": "database"}]},
                "status": {"phase": "Pending"},
            }),
        );
    }
    let mut request = cluster_request("all");
    request["AllFlag"] = json!(true);
    let answer = apiserver.plain().post("/testclusters", request).await;
    assert_eq!(
        answer.refusal(),
        "cluster not ready yet, try later: rhino, zebra"
    );
    let results = answer.json()["Results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(results[0]["ClusterName"], "hippo");
    assert_eq!(working(results[0]["Items"].as_array().unwrap()), [true; 4]);
}
