//! Conversations of 4.1's client and apiserver, replayed: each answer is held against the recorded one, field by field.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    harness::{
        Apiserver, Client, PGO_YAML, authority, configure, create_request, installation, secret,
        start, try_start,
    },
    kubernetes::Kubernetes,
    postgres::Postgres,
};

/// Fields whose values differ from run to run.
const OF_THE_RUN: [&str; 5] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "pswlastupdate",
    "workflow-id",
];

struct Exchange {
    method: String,
    path: String,
    request: Value,
    status: u64,
    response: Value,
}

/// The conversation of this number.
fn recorded(number: &str) -> Exchange {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/api/tests/recorded");
    let file = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .find(|entry| entry.file_name().to_string_lossy().starts_with(number))
        .unwrap_or_else(|| panic!("no recording {number}"));
    let conversation: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
    let exchange = &conversation["http"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Exchange {
        method: text(&exchange["request"]["method"]),
        path: text(&exchange["request"]["path"]),
        request: exchange["request"]["body"].clone(),
        status: exchange["response"]["status"].as_u64().unwrap(),
        response: exchange["response"]["body"].clone(),
    }
}

/// What differs; a field of the run must be there in both.
fn differences(at: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    let last = at.rsplit('.').next().unwrap_or_default();
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let keys: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
            for key in keys {
                let at = format!("{at}.{key}");
                match (expected.get(key), actual.get(key)) {
                    (Some(expected), Some(actual)) => differences(&at, expected, actual, found),
                    (Some(_), None) => found.push(format!("{at} is missing")),
                    _ => found.push(format!("{at} is new")),
                }
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                differences(&format!("{at}[{index}]"), expected, actual, found);
            }
        }
        (expected, actual) if OF_THE_RUN.contains(&last) => {
            let same = std::mem::discriminant(expected) == std::mem::discriminant(actual);
            found.extend(
                (!same).then(|| format!("{at}: {actual} is of another type than {expected}")),
            );
        }
        (expected, actual) if expected != actual => {
            found.push(format!("{at}: {actual} instead of {expected}"));
        }
        _ => {}
    }
}

fn assert_same(number: &str, expected: &Value, actual: &Value) {
    let mut found = Vec::new();
    differences("", expected, actual, &mut found);
    assert!(found.is_empty(), "recording {number}: {found:#?}");
}

async fn replay(client: &Client, number: &str) {
    let exchange = recorded(number);
    let actual = ask(client, number, &exchange).await;
    assert_same(number, &exchange.response, &actual);
}

async fn ask(client: &Client, number: &str, exchange: &Exchange) -> Value {
    let body = match &exchange.request {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let answer = client.send(&exchange.method, &exchange.path, body).await;
    assert_eq!(
        u64::from(answer.status.as_u16()),
        exchange.status,
        "{number}"
    );
    assert_eq!(
        answer.headers["content-type"], "application/json",
        "{number}"
    );
    assert_eq!(
        answer.headers["www-authenticate"], "Basic realm=\"Restricted\"",
        "{number}"
    );
    assert!(answer.text.ends_with('\n'), "{number}");
    answer.json()
}

/// Pods and Services as they were beside the recorded cluster `hippo`.
fn surround_hippo(kubernetes: &Kubernetes) {
    for (name, deployment, service, more) in [
        (
            "hippo-75b7f66dfc-kscfw",
            "hippo",
            "hippo",
            json!({"name": "hippo"}),
        ),
        (
            "hippo-abcd-98c44f599-bsjcw",
            "hippo-abcd",
            "hippo-replica",
            json!({"name": "hippo-replica", "replica-name": "hippo-abcd"}),
        ),
    ] {
        let mut labels = json!({
            "vendor": "crunchydata", "crunchy_collect": "false", "pg-cluster": "hippo",
            "pgo-version": "4.1.0", "pgouser": "pgoadmin", "archive-timeout": "60",
            "deployment-name": deployment, "service-name": service,
        });
        for (key, value) in more.as_object().unwrap() {
            labels[key] = value.clone();
        }
        let container = json!({"name": "database", "image": "localhost/pg:15.18"});
        let state = json!({"name": "database", "ready": true, "image": "", "imageID": "", "restartCount": 0});
        kubernetes.put(
            "pods",
            "pgouser1",
            json!({
                "metadata": {"name": name, "labels": labels},
                "spec": {"nodeName": "node1", "containers": [container]},
                "status": {"phase": "Running", "containerStatuses": [state]},
            }),
        );
    }
    for (name, address) in [
        ("hippo", "10.96.178.39"),
        ("hippo-replica", "10.96.109.176"),
    ] {
        kubernetes.put(
            "services",
            "pgouser1",
            json!({
                "metadata": {"name": name, "labels": {"pg-cluster": "hippo"}},
                "spec": {"clusterIP": address},
            }),
        );
    }
    let labels = recorded("200").response["Result"]["Nodes"][0]["Labels"].clone();
    kubernetes.put("nodes", "", json!({
        "metadata": {"name": "node1", "labels": labels},
        "status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]},
    }));
}

/// A server with the first cluster of the recordings, made by a request.
async fn with_cluster_hippo() -> Apiserver {
    let kubernetes = installation();
    let apiserver = start(&kubernetes).await;
    let client = apiserver.tls();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    surround_hippo(&kubernetes);
    apiserver
}

/// The same with the second one.
async fn with_clusters() -> Apiserver {
    let apiserver = with_cluster_hippo().await;
    let client = apiserver.tls();
    let mut zebra = create_request("zebra");
    zebra["Policies"] = json!("nosuch");
    client.post("/clusters", zebra).await.done();
    apiserver
}

#[tokio::test]
async fn questions_are_answered_as_4_1_answered_them() {
    let apiserver = with_clusters().await;
    let client = apiserver.tls();
    for number in [
        "001", "003", "005", "006", "031", "036", "046", "078", "140", "145", "146", "148", "150",
        "203", "205",
    ] {
        replay(&client, number).await;
    }
    let exchange = recorded("035");
    let answer = ask(&client, "035", &exchange).await;
    assert_same("035", &exchange.response, &without_standing(answer));
}

/// The answer of a test without how the instances stand, which is new, and read by no client of 4.1.
fn without_standing(mut answer: Value) -> Value {
    for result in answer["Results"].as_array_mut().unwrap() {
        let result = result.as_object_mut().unwrap();
        let standing = result.remove("Standing").unwrap();
        assert_eq!(standing["Name"], result["ClusterName"]);
    }
    answer
}

#[tokio::test]
async fn each_user_of_a_cluster_is_tried_at_each_service_as_in_4_1() {
    let authority = authority();
    pgo_tls::provider();
    let identity = "hippo.pgouser1.agent.pgo";
    let [primary, replica] = ["127.1.0.1", "127.1.0.2"];
    let at = format!("{primary}:0");
    let postgres = Postgres::start_at(&at, &authority, identity, "right").await;
    let port = postgres.addr.port();
    let at = format!("{replica}:{port}");
    let _replica = Postgres::start_at(&at, &authority, identity, "right").await;
    let kubernetes = installation();
    configure(
        &kubernetes,
        &PGO_YAML.replace("Cluster:", &format!("Cluster:\n  Port: {port}")),
    );
    let apiserver = try_start(&kubernetes, authority, &[]).await.unwrap();
    let client = apiserver.tls();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    surround_hippo(&kubernetes);
    let of_hippo = json!({"pg-cluster": "hippo"});
    for (name, address) in [("hippo", primary), ("hippo-replica", replica)] {
        let service =
            json!({"metadata": {"name": name, "labels": of_hippo}, "spec": {"clusterIP": address}});
        kubernetes.put("services", "pgouser1", service);
    }
    for user in ["postgres", "primaryuser", "testuser"] {
        let data = [("username", user), ("password", "right")];
        let mut secret = secret(&format!("hippo-{user}-secret"), &data);
        secret["metadata"]["labels"] = of_hippo.clone();
        kubernetes.put("secrets", "pgouser1", secret);
    }
    let exchange = recorded("033");
    let answer = ask(&client, "033", &exchange).await.to_string();
    // Under the addresses of the recording.
    let answer = answer
        .replace(
            &format!("-p {port} -h {primary} "),
            "-p 5432 -h 10.96.178.39 ",
        )
        .replace(
            &format!("-p {port} -h {replica} "),
            "-p 5432 -h 10.96.109.176 ",
        );
    let answer = serde_json::from_str(&answer).unwrap();
    assert_same("033", &exchange.response, &without_standing(answer));
}

#[tokio::test]
async fn a_user_of_one_namespace_sees_it_and_no_other() {
    let apiserver = with_clusters().await;
    for name in ["hippo-dxad", "hippo-klvi"] {
        let replica = json!({"metadata": {"name": name, "labels": {"pg-cluster": "hippo"}},
            "spec": {"namespace": "pgouser1", "name": name, "clustername": "hippo"}});
        apiserver.kubernetes.put("pgreplicas", "pgouser1", replica);
    }
    let vic = apiserver.tls().as_user("vic", "v1c");
    replay(&vic, "183").await;
    replay(&vic, "185").await;
}

#[tokio::test]
async fn a_user_without_the_permission_is_refused_in_4_1s_words() {
    let apiserver = with_clusters().await;
    let vic = apiserver.tls().as_user("vic", "v1c");
    let exchange = recorded("186");
    let body = exchange.request.to_string();
    let answer = vic.send(&exchange.method, &exchange.path, body).await;
    assert_eq!(u64::from(answer.status.as_u16()), exchange.status);
    assert_eq!(json!(answer.text), exchange.response);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn the_status_has_4_1s_figures() {
    let apiserver = with_clusters().await;
    for name in ["hippo", "zebra"] {
        let cluster = apiserver.kubernetes.get("pgclusters", "pgouser1", name);
        let mut cluster = cluster.unwrap();
        cluster["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        apiserver.kubernetes.put("pgclusters", "pgouser1", cluster);
    }
    let exchange = recorded("200");
    let mut actual = ask(&apiserver.tls(), "200", &exchange).await;
    let mut expected = exchange.response;
    // 4.1 said nothing of a start it does not know.
    let told = "figures that could not be had: OperatorStartTime: no PgInstallation pgo in namespace pgo tells of a start of PGO";
    expected["Msg"] = json!(told);
    // New, and read by no client of 4.1.
    let clusters = actual["Result"].as_object_mut().unwrap();
    let clusters = clusters.remove("Clusters").unwrap();
    assert_eq!(
        (&clusters[0]["Name"], &clusters[1]["Name"]),
        (&json!("hippo"), &json!("zebra"))
    );
    // Of equal counts, 4.1's order was random.
    for answer in [&mut actual, &mut expected] {
        let labels = answer["Result"]["Labels"].as_array_mut().unwrap();
        let counts: Vec<i64> = labels
            .iter()
            .map(|label| label["Value"].as_i64().unwrap())
            .collect();
        assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
        labels.sort_by_key(|label| label["Key"].as_str().unwrap().to_owned());
    }
    assert_same("200", &expected, &actual);
}

#[tokio::test]
async fn creations_that_4_1_refused_are_refused_with_the_same_words() {
    let apiserver = with_cluster_hippo().await;
    let client = apiserver.tls();
    for number in ["010", "015", "016", "018", "020", "021"] {
        replay(&client, number).await;
    }
    let clusters = || apiserver.kubernetes.names("pgclusters", "pgouser1");
    assert_eq!(clusters(), ["hippo"]);
    // The others were sent when the cluster was there.
    client
        .post("/clusters", create_request("zebra"))
        .await
        .done();
    for number in ["013", "025", "026", "028"] {
        replay(&client, number).await;
    }
    assert_eq!(clusters(), ["hippo", "zebra"]);
}

#[tokio::test]
async fn a_copy_that_nobody_asked_for_is_not_found() {
    let apiserver = with_cluster_hippo().await;
    let client = apiserver.tls();
    let answer = ask(&client, "108", &recorded("108")).await;
    assert_eq!(
        (&answer["Code"], &answer["Msg"]),
        (&json!("error"), &json!("backup not found for hippo"))
    );
}

#[tokio::test]
async fn policies_are_answered_as_4_1_answered_them() {
    let apiserver = with_cluster_hippo().await;
    let client = apiserver.tls();
    for number in ["065", "066", "068", "070", "073", "075", "076"] {
        replay(&client, number).await;
    }
    let second = json!({
        "Name": "pol2", "URL": "http://127.0.0.1:1/none.sql", "SQL": "", "Namespace": "pgouser1",
        "ClientVersion": "4.1.0",
    });
    client.post("/policies", second).await.done();
    for number in ["071", "080", "081"] {
        replay(&client, number).await;
    }
}

#[tokio::test]
async fn backups_and_schedules_are_answered_as_4_1_answered_them() {
    let apiserver = with_cluster_hippo().await;
    let client = apiserver.tls();
    for number in [
        "096", "098", "100", "101", "106", "111", "115", "123", "126", "128", "130",
    ] {
        replay(&client, number).await;
    }
    // With the id of the operation besides.
    let dumped = ask(&client, "105", &recorded("105")).await;
    assert_eq!(dumped["Results"], recorded("105").response["Results"]);
    // The recorded cluster lacked a label that 4.1's operator sets.
    let created = ask(&client, "118", &recorded("118")).await;
    let text = "created schedule hippo-pgbackrest-full for cluster hippo";
    assert_same(
        "118",
        &json!({"Results": [text], "Code": "ok", "Msg": ""}),
        &created,
    );
    let copied = ask(&client, "120", &recorded("120")).await;
    let text = "created schedule backup-hippo for cluster hippo";
    assert_same(
        "120",
        &json!({"Results": [text], "Code": "ok", "Msg": ""}),
        &copied,
    );
}

#[tokio::test]
async fn a_cluster_is_stored_with_each_field_that_4_1_writes() {
    let apiserver = with_clusters().await;
    let exchange = recorded("030");
    let actual = ask(&apiserver.tls(), "030", &exchange).await;
    let expected = exchange.response;
    assert_same("030", &expected, &actual);
}

#[tokio::test]
async fn a_creation_is_answered_with_a_workflow_id_that_its_objects_carry() {
    let kubernetes = installation();
    let apiserver = start(&kubernetes).await;
    let answer = apiserver
        .tls()
        .post("/clusters", create_request("zebra"))
        .await
        .done();
    let results = answer["Results"].as_array().unwrap();
    assert_eq!(results[0], recorded("023").response["Results"][0]);
    let id = results[1]
        .as_str()
        .unwrap()
        .strip_prefix("workflow id ")
        .unwrap();
    let cluster = kubernetes.get("pgclusters", "pgouser1", "zebra").unwrap();
    assert_eq!(cluster["spec"]["userlabels"]["workflow-id"], id);
    let task = kubernetes
        .get("pgtasks", "pgouser1", "zebra-createcluster")
        .unwrap();
    assert_eq!(task["metadata"]["labels"]["workflowid"], id);
}

#[tokio::test]
async fn deletions_are_answered_as_4_1_answered_them() {
    let apiserver = with_clusters().await;
    let client = apiserver.tls();
    replay(&client, "206").await;
    // The second deletion of hippo was recorded.
    client
        .post("/clustersdelete", recorded("208").request)
        .await
        .done();
    replay(&client, "208").await;
}
