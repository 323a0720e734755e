//! `pgo reload`, `pgo restart`, and the wait of `pgo failover`: what is asked, what is shown, and how it ends.

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn asked(cluster: &str) -> Value {
    json!({
        "Results": [format!("created Pgtask (restart) for cluster {cluster}")],
        "Restarts": [{"Cluster": cluster, "OperationID": format!("op-{cluster}")}], "Code": "ok", "Msg": "",
    })
}

fn shown(cluster: &str, outcome: &str) -> Reply {
    Reply::Json(
        json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {"metadata": {"name": cluster}, "status": {
            "phase": "Ready",
            "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": ""}],
            "operations": [{"id": format!("op-{cluster}"), "outcome": outcome, "cause": "instance x does not come up"}],
        }}}]}),
    )
}

#[test]
fn a_reload_is_asked_for_in_4_1s_fields_and_a_refusal_does_not_keep_the_others() {
    let fake = Fake::start(|request| match request.body["Args"][0].as_str() {
        Some("nosuch") => Reply::Json(json!({
            "Results": [], "Code": "error", "Msg": "nosuch was not found, verify cluster name",
        })),
        _ => {
            Reply::Json(json!({"Results": ["reload performed on hippo"], "Code": "ok", "Msg": ""}))
        }
    });
    let ran = run(&mut fake.pgo(&words("reload nosuch hippo --no-prompt")));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.stdout, "reload performed on hippo\n");
    assert!(ran.stderr.contains("nosuch was not found"), "{ran:?}");
    run(&mut fake.pgo(&words("reload --selector=env=dev --no-prompt")));
    let requests = fake.requests();
    let namespace = &requests[0].body["Namespace"];
    let bodies: Vec<_> = requests.iter().map(|one| one.body.clone()).collect();
    assert_eq!(
        bodies,
        [
            json!({"Namespace": namespace, "Args": ["nosuch"], "Selector": ""}),
            json!({"Namespace": namespace, "Args": ["hippo"], "Selector": ""}),
            json!({"Namespace": namespace, "Args": [], "Selector": "env=dev"}),
        ]
    );
    assert!(requests.iter().all(|one| one.route() == "/reload"));
}

#[test]
fn a_restart_of_one_instance_names_it() {
    let fake = Fake::start(|_| Reply::Json(asked("hippo")));
    let ran = run(&mut fake.pgo(&words("restart hippo --target=hippo-abcd --no-prompt")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, "created Pgtask (restart) for cluster hippo\n");
    let request = &fake.requests()[0];
    assert_eq!(request.route(), "/restart");
    let body = json!({
        "Namespace": request.body["Namespace"], "Args": ["hippo"], "Selector": "", "Target": "hippo-abcd",
        "ClientVersion": "4.1.0",
    });
    assert_eq!(request.body, body);
}

#[test]
fn the_instances_are_shown_with_what_waits_for_a_restart() {
    let fake = Fake::start(|_| {
        Reply::Json(json!({"Code": "ok", "Msg": "", "Results": [{
            "InstanceName": "hippo", "Role": "primary", "Status": "running", "Node": "node1", "Replication": "",
            "PendingRestart": true, "PendingSettings": ["max_connections"],
        }]}))
    });
    let ran = run(&mut fake.pgo(&words("restart hippo --query")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("yes: max_connections"), "{ran:?}");
    let request = &fake.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.route()),
        ("GET", "/restart/hippo")
    );
}

#[test]
fn a_wait_for_restarts_ends_with_each_of_them() {
    let fake = Fake::start(|request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/restart" => Reply::Json(asked(request.body["Args"][0].as_str().unwrap())),
        _ => match request.body["Clustername"].as_str().unwrap() {
            "hippo" => shown("hippo", "Failed"),
            other => shown(other, "Completed"),
        },
    });
    let ran = run(&mut fake.pgo(&words(
        "restart hippo zebra --no-prompt --wait --timeout=30s",
    )));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("zebra  restarted"), "{ran:?}");
    let says = [
        "hippo failed to be restarted",
        "instance x does not come up",
    ];
    assert!(says.iter().all(|word| ran.stderr.contains(word)), "{ran:?}");
}

#[test]
fn a_wait_for_another_primary_ends_with_the_operation() {
    for (outcome, code) in [("Completed", 0), ("Failed", 2)] {
        let fake = Fake::start(move |request| match request.route() {
            "/events" => Reply::Text(401, "no\n"),
            "/failover" => Reply::Json(json!({
                "Results": ["created Pgtask (failover) for cluster hippo"], "Targets": "", "OperationID": "op-hippo",
                "Code": "ok", "Msg": "",
            })),
            _ => shown("hippo", outcome),
        });
        let line = "failover hippo --target=hippo-abcd --no-prompt --wait --timeout=30s";
        let ran = run(&mut fake.pgo(&words(line)));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        match outcome {
            "Completed" => assert!(ran.stdout.contains("hippo  failed over"), "{ran:?}"),
            _ => assert!(
                ran.stderr.contains("failed to get another primary"),
                "{ran:?}"
            ),
        }
    }
}

#[test]
fn a_wait_for_replicas_ends_when_they_have_joined_and_that_for_a_removal_with_it() {
    let replicas = |request: &crate::fake::Request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/clusters/scale/hippo" => Reply::Json(json!({
            "Results": ["created Pgreplica hippo-abcd", "created Pgreplica hippo-efgh"], "Code": "ok", "Msg": "",
        })),
        "/scaledown/hippo" => Reply::Json(json!({
            "Results": ["deleted Pgreplica hippo-abcd"], "OperationID": "op-hippo", "Code": "ok", "Msg": "",
        })),
        _ => Reply::Json(
            json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {"metadata": {"name": "hippo"}, "status": {
                "replicas": [{"name": "hippo-abcd", "joined": true}, {"name": "hippo-efgh"}],
                "operations": [
                    {"id": "x", "kind": "ScaleCluster", "instance": "hippo-efgh", "outcome": "Failed", "cause": "no disk"},
                    {"id": "op-hippo", "kind": "ScaleDownCluster", "instance": "hippo-abcd", "outcome": "Completed"},
                ],
            }}}]}),
        ),
    };
    let fake = Fake::start(move |request| replicas(request));
    let line = "scale hippo --replica-count=2 --no-prompt --wait --timeout=30s";
    let ran = run(&mut fake.pgo(&words(line)));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("replica hippo-efgh: no disk"),
        "{ran:?}"
    );
    let line = "scaledown hippo --target=hippo-abcd --no-prompt --wait --timeout=30s";
    let ran = run(&mut fake.pgo(&words(line)));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("hippo  scaled down"), "{ran:?}");
}

#[test]
fn what_is_about_one_cluster_takes_no_more_and_asks_nobody() {
    let fake = Fake::start(|_| Reply::Json(asked("x")));
    for line in [
        "restart",
        "restart a b --query",
        "restart --all --target=a",
        "restart a b --target=a --no-prompt",
        "reload",
        "reload a --all",
    ] {
        let ran = run(&mut fake.pgo(&words(line)));
        assert_eq!(ran.code, Some(1), "{line}: {ran:?}");
    }
    assert!(fake.requests().is_empty());
}
