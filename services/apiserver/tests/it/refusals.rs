//! Requests that are not done, and what they are told.

use std::time::Duration;

use http::StatusCode;
use pgo_api::{Carrier, Methods, NamespaceCheck, ROUTES};
use serde_json::{Value, json};

use crate::{
    harness::{cluster_request, create_request, installation, start_plain},
    kubernetes::{Failure, place},
};

#[tokio::test]
async fn another_version_of_the_client_is_refused_in_the_shape_of_each_answer() {
    let apiserver = start_plain(&installation()).await;
    let client = apiserver.plain();
    let text = "pgo client and server version mismatch";
    let mut create = create_request("hippo");
    create["ClientVersion"] = json!("4.0.1");
    let answer = client.post("/clusters", create).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json(),
        json!({"Results": null, "Code": "error", "Msg": text})
    );
    let answer = client
        .post("/showclusters", json!({"Namespace": "pgouser1"}))
        .await;
    assert_eq!(
        answer.json(),
        json!({"Results": [], "Code": "error", "Msg": text})
    );
    let answer = client.get("/status?namespace=pgouser1").await;
    assert_eq!(answer.refusal(), text);
    // As in 4.1: nothing at all is a client of no version.
    assert_eq!(
        client.send("POST", "/testclusters", "").await.refusal(),
        text
    );
}

#[tokio::test]
async fn a_namespace_must_be_given_usable_and_of_the_installation() {
    let apiserver = start_plain(&installation()).await;
    let ask = async |user: (&str, &str), namespace: &str| {
        let client = apiserver.plain().as_user(user.0, user.1);
        let mut request = cluster_request("hippo");
        request["Namespace"] = json!(namespace);
        client.post("/showclusters", request).await.refusal()
    };
    let (admin, vic) = (("pgoadmin", "examplepassword"), ("vic", "v1c"));
    assert_eq!(
        ask(admin, "").await,
        "empty namespace is not valid from pgo clients"
    );
    let not_allowed = |user: &str, namespace: &str| {
        format!("user [{user}] is not allowed access to namespace [{namespace}]")
    };
    assert_eq!(
        ask(admin, "nosuch").await,
        not_allowed("pgoadmin", "nosuch")
    );
    assert_eq!(ask(vic, "pgouser2").await, not_allowed("vic", "pgouser2"));
    assert_eq!(ask(vic, "gone").await, not_allowed("vic", "gone"));
    assert_eq!(
        ask(admin, "foreign").await,
        "namespace [foreign] is not part of the Operator installation"
    );
}

#[tokio::test]
async fn the_namespaces_of_the_installation_may_be_limited_further() {
    let kubernetes = installation();
    let arguments = ["--disable-tls=true", "--namespaces=pgouser1"];
    let apiserver =
        crate::harness::try_start(&kubernetes, crate::harness::authority(), &arguments).await;
    let client = apiserver.as_ref().unwrap().plain();
    client
        .post("/showclusters", cluster_request("hippo"))
        .await
        .done();
    let mut request = cluster_request("hippo");
    request["Namespace"] = json!("pgouser2");
    let refusal = client.post("/showclusters", request).await.refusal();
    assert_eq!(
        refusal,
        "namespace [pgouser2] is not part of the Operator installation"
    );
}

#[tokio::test]
async fn an_unknown_path_and_another_method_are_told_apart() {
    let apiserver = start_plain(&installation()).await;
    let client = apiserver.plain();
    let unknown = client.get("/nosuch").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text.contains("no such path"), "{}", unknown.text);
    let method = client.get("/clusters").await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(method.headers["allow"], "POST");
    assert!(
        method.text.contains("another method: POST"),
        "{}",
        method.text
    );
    assert_eq!(
        method.headers["www-authenticate"],
        "Basic realm=\"Restricted\""
    );
}

#[tokio::test]
async fn malformed_json_is_told_with_field_and_position() {
    let apiserver = start_plain(&installation()).await;
    let client = apiserver.plain();
    let broken = client.send("POST", "/clusters", "{\"Name\": }").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert!(
        broken.refusal().contains("line 1 column 10"),
        "{}",
        broken.text
    );
    let no_name = client.send("POST", "/clusters", "{Name: 1}").await;
    let told = no_name.refusal();
    assert!(
        told.starts_with("the body of the request is not the JSON that it should be"),
        "{told}"
    );
    let mut request = create_request("hippo");
    request["ReplicaCount"] = json!("one");
    let field = client.post("/clusters", request).await;
    assert_eq!(field.status, StatusCode::BAD_REQUEST);
    assert!(
        field.refusal().starts_with("field \"ReplicaCount\""),
        "{}",
        field.text
    );
    let list = client.send("POST", "/showclusters", "[]").await;
    assert_eq!(list.status, StatusCode::BAD_REQUEST);
    let query = client.get("/events?version=4.1.0&last=many").await;
    assert_eq!(query.status, StatusCode::BAD_REQUEST);
    assert!(query.refusal().contains("last"), "{}", query.text);
    let unknown = client.get("/events?version=4.1.0&until=now").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(
        unknown.refusal().contains("no parameter \"until\""),
        "{}",
        unknown.text
    );
}

#[tokio::test]
async fn field_names_match_in_any_case_and_unknown_ones_are_ignored() {
    let apiserver = start_plain(&installation()).await;
    let request = json!({"clustername": "nosuch", "NAMESPACE": "pgouser1", "clientversion": "4.1.0", "New": [1]});
    apiserver
        .plain()
        .post("/showclusters", request)
        .await
        .done();
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_nothing_of_it_is_done() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let mut request = create_request("hippo");
    request["UserLabels"] = json!("x".repeat(2 << 20));
    let answer = client.post("/clusters", request.clone()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        answer.refusal().contains("1048576 bytes"),
        "{}",
        answer.text
    );
    request["UserLabels"] = json!("x".repeat((1 << 20) - 10_000));
    let answer = client.post("/clusters", request).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "so much is read, and refused for another reason"
    );
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
}

#[tokio::test]
async fn every_route_of_later_work_is_checked_like_any_other_and_says_that_it_is_not_there() {
    let apiserver = start_plain(&installation()).await;
    let client = apiserver.plain();
    let stranger = client.as_user("nobody", "x");
    for route in ROUTES.iter().filter(|route| !route.available) {
        let method = match route.methods {
            Methods::Any => "GET",
            Methods::One(method) => method.as_str(),
        };
        let path = route.path.replace("{name}", "hippo").replace("{id}", "17");
        let target = match route.carrier {
            Carrier::Query => format!("{path}?version=4.1.0&namespace=pgouser1"),
            _ => path.clone(),
        };
        let body = json!({"ClientVersion": "4.1.0", "Namespace": "pgouser1"}).to_string();
        let answer = client.send(method, &target, body).await;
        let text = format!("'{}' is not available in this version yet", route.path);
        assert_eq!(answer.refusal(), text);
        assert_eq!(answer.status, StatusCode::OK);
        let refused = stranger.send(method, &target, "{}").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
        if route.checks_version {
            let answer = client.send(method, &path, "{}").await;
            assert_eq!(
                answer.refusal(),
                "pgo client and server version mismatch",
                "{path}"
            );
        } else if route.namespace == NamespaceCheck::Required {
            let answer = client.send(method, &path, "{}").await;
            assert_eq!(
                answer.refusal(),
                "empty namespace is not valid from pgo clients",
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn kubernetes_out_of_reach_is_told_and_probes_go_on() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    kubernetes.fail(String::new(), Failure::Unreachable);
    for (target, body) in [
        ("/showclusters", cluster_request("hippo")),
        ("/clustersdelete", cluster_request("hippo")),
        ("/testclusters", cluster_request("hippo")),
        ("/clusters", create_request("hippo")),
    ] {
        let refusal = client.post(target, body).await.refusal();
        assert!(
            refusal.starts_with("Kubernetes cannot be reached"),
            "{target}: {refusal}"
        );
        assert!(
            refusal.contains("no Kubernetes today"),
            "{target}: {refusal}"
        );
    }
    // Figures that cannot be had are missing, as in 4.1, and that is told.
    let status = client
        .get("/status?version=4.1.0&namespace=pgouser1")
        .await
        .done();
    assert_eq!(status["Result"]["OperatorStartTime"], "error");
    let told = status["Msg"].as_str().unwrap();
    assert!(
        told.contains("Nodes: Kubernetes cannot be reached"),
        "{told}"
    );
    client.get("/version").await.done();
    client.get("/health").await.done();
    kubernetes.heal();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
}

/// Wrong values of a creation, in the order in which 4.1 tells of them: field, value, how the answer begins.
const WRONG: [(&str, &str, &str); 16] = [
    ("UserLabels", "env", "invalid labels format"),
    ("CustomConfig", "no-map", "no-map configmap was not found "),
    ("ServiceType", "Nope", "error ServiceType should be "),
    ("BackrestFlag", "maybe", "valid values for --pgbackrest "),
    (
        "BackrestStorageType",
        "local",
        "pgBackRest storage type is only ",
    ),
    (
        "PgpoolSecret",
        "no-secret",
        "--pgpool-secret specified secret no-secret ",
    ),
    ("PgpoolFlag", "true", "--pgpool requires replica-count "),
    (
        "StorageConfig",
        "moon",
        "moon Storage config was not found ",
    ),
    ("NodeLabel", "abc", "abc node label does not follow "),
    (
        "ReplicaStorageConfig",
        "sun",
        "sun Storage config was not found ",
    ),
    (
        "ContainerResources",
        "huge",
        "huge ContainerResource config was ",
    ),
    ("SecretFrom", "nobody", "nobody secret was not found "),
    (
        "AutofailFlag",
        "true",
        "replica-count of 1 or more is required ",
    ),
    ("MetricsFlag", "true", "'--metrics' is not available "),
    (
        "CCPImage",
        "Postgres",
        "spec.ccpimage: \"Postgres\" is no name ",
    ),
    ("CCPImageTag", "a:b", "spec.ccpimagetag: \"a:b\" is no tag "),
];

#[tokio::test]
async fn of_all_that_is_wrong_with_a_creation_4_1s_first_is_told() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("taken"))
        .await
        .done();
    let mut right = create_request("hippo");
    // With backups, which pgo.yaml asks for, a storage type is in order.
    right["BackrestFlag"] = json!("false");
    let mut request = right.clone();
    for (field, wrong, _) in WRONG {
        request[field] = match wrong {
            "true" => json!(true),
            text => json!(text),
        };
    }
    let begins = async |request: &Value, why: &str| {
        let refusal = client.post("/clusters", request.clone()).await.refusal();
        assert!(refusal.starts_with(why), "{why}: {refusal}");
    };
    for (name, why) in [
        ("all", "invalid cluster name 'all' is not allowed"),
        ("1a", "invalid cluster name format "),
        ("taken", "pgcluster taken was found "),
    ] {
        request["Name"] = json!(name);
        begins(&request, why).await;
    }
    // What is told is mended, and the next is told.
    request["Name"] = json!("hippo");
    for (field, _, why) in WRONG {
        begins(&request, why).await;
        request[field] = right[field].clone();
    }
    assert_eq!(kubernetes.names("pgclusters", "pgouser1"), ["taken"]);
    client.post("/clusters", request).await.done();
}

#[tokio::test]
async fn an_image_that_no_registry_has_is_refused() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    for name in ["Postgres", "a//b", "/a", "a/", "a b", "-a", "a:1"] {
        let mut request = create_request("hippo");
        request["CCPImage"] = json!(name);
        let refusal = apiserver.plain().post("/clusters", request).await.refusal();
        let expected = format!("spec.ccpimage: {name:?} is no name of an image; ");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
}

#[tokio::test]
async fn a_label_that_is_pgos_own_is_refused() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    for key in [
        "crunchy-pgbouncer",
        "crunchy-pgpool-pod",
        "name",
        "pg-cluster",
        "pgbackup",
        "pgbouncer-password",
        "pgo-backrest-job",
        "pgo-backrest-repo",
        "pgo-backrest-restore",
        "pgremove",
        "pgrmdata",
        "service-name",
        "workflow-id",
        "workflowid",
    ] {
        let mut request = create_request("hippo");
        request["UserLabels"] = json!(format!("env=dev,{key}=x"));
        let refusal = apiserver.plain().post("/clusters", request).await.refusal();
        let expected =
            format!("invalid labels format: {key} is set by PGO itself; take another key");
        assert_eq!(refusal, expected);
    }
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
}

#[tokio::test]
async fn kubernetes_own_words_go_through_unchanged() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    kubernetes.fail(
        format!("GET {}", place("pgclusters", "pgouser1")),
        Failure::Forbidden,
    );
    let answer = apiserver
        .plain()
        .post("/showclusters", cluster_request("hippo"))
        .await;
    assert_eq!(
        answer.json(),
        json!({"Results": Value::Array(vec![]), "Code": "error", "Msg": "not for you"})
    );
}

#[tokio::test]
async fn a_body_that_stops_halfway_does_not_hold_the_end_of_the_process() {
    use tokio::io::AsyncWriteExt as _;
    let apiserver = start_plain(&installation()).await;
    let mut stream = tokio::net::TcpStream::connect(apiserver.addr)
        .await
        .unwrap();
    let head = "POST /clusters HTTP/1.1\r\nhost: x\r\nauthorization: Basic cGdvYWRtaW46ZXhhbXBsZXBhc3N3b3Jk\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The request is on its way when another one, sent later, has been answered.
    apiserver.plain().get("/health").await.done();
    tokio::time::timeout(Duration::from_secs(15), apiserver.stop())
        .await
        .expect("open requests are cut off after the grace");
}
