//! `pgo benchmark`, `pgo show benchmark`, `pgo delete benchmark` and `pgo load`: what is asked, what is shown, and how `--wait`
//! ends.

use std::fs;

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

const WORKFLOW: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn measured(cluster: &str) -> Value {
    json!({
        "Results": [format!("Created benchmark task for {cluster}"), format!("workflow id is {WORKFLOW}")],
        "Jobs": [{"Cluster": cluster, "Job": format!("benchmark-{cluster}-abcd"), "OperationID": WORKFLOW}],
        "Code": "ok", "Msg": "",
    })
}

fn with_operation(outcome: &str, cause: &str) -> Value {
    json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {
        "metadata": {"name": "hippo"},
        "status": {"operations": [{"id": WORKFLOW, "outcome": outcome, "cause": cause}]},
    }}]})
}

#[test]
fn each_cluster_is_measured_by_a_request_of_its_own() {
    let fake =
        Fake::start(|request| Reply::Json(measured(request.body["ClusterName"].as_str().unwrap())));
    let ran = run(&mut fake.pgo(&[
        "benchmark",
        "hippo",
        "zebra",
        "-d",
        "userdb",
        "-i",
        "--quiet",
        "-b",
        "-S -n",
        "-p",
        "tx",
        "-c",
        "4",
        "-j",
        "2",
        "--scale=10",
        "-t",
        "100",
    ]));
    let text = |name| format!("Created benchmark task for {name}\nworkflow id is {WORKFLOW}\n");
    assert_eq!(ran.stdout, text("hippo") + &text("zebra"), "{ran:?}");
    let requests = fake.requests();
    assert_eq!(requests.len(), 2);
    let expected = json!({
        "Args": ["zebra"], "BenchmarkOpts": "-S -n", "Clients": 4, "ClusterName": "zebra", "Database": "userdb",
        "InitOpts": "--quiet", "Jobs": 2, "Namespace": requests[1].body["Namespace"], "Policy": "tx", "Scale": 10, "Selector": "",
        "Transactions": 100, "User": "",
    });
    assert_eq!(
        (requests[1].route(), &requests[1].body),
        ("/benchmark", &expected)
    );
}

#[test]
fn a_wait_ends_with_the_benchmark() {
    for (outcome, code, words) in [
        ("Completed", 0, "hippo  measured"),
        ("Failed", 2, "failed to be measured"),
    ] {
        let fake = Fake::start(move |request| match request.route() {
            "/events" => Reply::Text(401, "no\n"),
            "/benchmark" => Reply::Json(measured("hippo")),
            _ => Reply::Json(with_operation(outcome, "no such database")),
        });
        let ran = run(&mut fake.pgo(&["benchmark", "hippo", "--wait", "--timeout=30s"]));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(
            (ran.stdout.clone() + &ran.stderr).contains(words),
            "{ran:?}"
        );
    }
}

#[test]
fn what_came_out_is_shown_and_deleted() {
    let shown = json!({
        "Results": ["Results for benchmark-hippo-abcd:\n\tscaling factor: 1\n\ttps = 85.1"],
        "Benchmarks": [{"Job": "benchmark-hippo-abcd", "Cluster": "hippo", "OperationID": WORKFLOW, "State": "completed", "Cause": "",
            "Output": "scaling factor: 1\ntps = 85.1\n"}],
        "Code": "ok", "Msg": "",
    });
    let answer = shown.clone();
    let fake = Fake::start(move |request| match request.route() {
        "/benchmarkshow" => Reply::Json(answer.clone()),
        _ => Reply::Json(
            json!({"Results": ["deleted benchmark benchmark-hippo-abcd"], "Code": "ok", "Msg": ""}),
        ),
    });
    let ran = run(&mut fake.pgo(&["show", "benchmark", "hippo"]));
    assert_eq!(
        ran.stdout, "Results for benchmark-hippo-abcd:\n\tscaling factor: 1\n\ttps = 85.1\n",
        "{ran:?}"
    );
    let ran = run(&mut fake.pgo(&["show", "benchmark", "-o", "json"]));
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), shown);
    let ran = run(&mut fake.pgo(&["delete", "benchmark", "-s", "env=dev", "--no-prompt"]));
    assert_eq!(
        ran.stdout, "deleted benchmark benchmark-hippo-abcd\n",
        "{ran:?}"
    );
    let requests = fake.requests();
    assert_eq!(
        (&requests[0].body["Args"], &requests[0].body["ClusterName"]),
        (&json!(["hippo"]), &json!("hippo"))
    );
    assert_eq!(
        (
            &requests[1].body["ClusterName"],
            &requests[1].body["Selector"]
        ),
        (&json!(""), &json!(""))
    );
    assert_eq!(requests[2].body["Selector"], "env=dev");
    // 4.1 sent no namespace with it but the one of -n.
    assert_eq!(requests[2].body["Namespace"], requests[0].body["Namespace"]);
}

#[test]
fn a_load_file_goes_with_the_request_as_it_is() {
    let fake = Fake::start(|request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/load" => Reply::Json(json!({
            "Results": ["created Job pgo-load-hippo-abcd", "created Job pgo-load-zebra-efgh"],
            "Jobs": [{"Cluster": "hippo", "Job": "pgo-load-hippo-abcd", "OperationID": WORKFLOW}],
            "Code": "ok", "Msg": "",
        })),
        _ => Reply::Json(with_operation("Completed", "")),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.yaml");
    fs::write(&file, "TableToLoad: people\n").unwrap();
    let config = format!("--load-config={}", file.display());
    let ran = run(&mut fake.pgo(&[
        "load",
        "hippo",
        "zebra",
        &config,
        "--policies=a,b",
        "--wait",
    ]));
    // 4.1 printed the first one twice.
    assert!(
        ran.stdout
            .starts_with("created Job pgo-load-hippo-abcd\ncreated Job pgo-load-zebra-efgh\n")
            && ran.stdout.contains("hippo  loaded"),
        "{ran:?}"
    );
    let requests = fake.requests();
    assert_eq!(requests[0].query("topic"), Some("loadtopic".to_owned()));
    let body = &requests[1].body;
    assert_eq!(
        (&body["Args"], &body["LoadConfig"]),
        (&json!(["hippo", "zebra"]), &json!("TableToLoad: people\n"))
    );
    assert_eq!(
        (&body["Policies"], &body["ClientVersion"]),
        (&json!("a,b"), &json!("4.1.0"))
    );
}

#[test]
fn what_cannot_be_asked_makes_no_request() {
    let fake = Fake::start(|_| Reply::Json(json!({"Code": "ok", "Msg": "", "Results": []})));
    for (line, code, words) in [
        ("benchmark", 1, "name one or more clusters"),
        ("benchmark --all", 1, "name one or more clusters"),
        ("benchmark hippo --clients=0", 1, "--clients"),
        ("show benchmark hippo --selector=a=b", 1, "not both"),
        ("load hippo", 1, "--load-config"),
        ("load --load-config=x", 1, "name one or more clusters"),
        (
            "load hippo --load-config=/nosuch/file",
            2,
            "cannot read /nosuch/file",
        ),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        assert_eq!(ran.code, Some(code), "{line}: {ran:?}");
        assert!(ran.stderr.contains(words), "{line}: {ran:?}");
    }
    assert_eq!(fake.requests().len(), 0);
}
