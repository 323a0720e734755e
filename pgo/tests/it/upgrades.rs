//! `pgo upgrade`: what is asked, what is shown, and how `--wait` ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

fn asked(cluster: &str) -> Value {
    json!({
        "Results": [format!("created minor upgrade task for {cluster}")],
        "Upgrades": [{"Cluster": cluster, "OperationID": format!("op-{cluster}")}], "Code": "ok", "Msg": "",
    })
}

fn shown(cluster: &str, outcome: Value) -> Value {
    json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {"metadata": {"name": cluster}, "status": {
        "phase": "Ready",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": ""}],
        "operations": [{"id": "of another", "outcome": "Completed"},
            {"id": format!("op-{cluster}"), "outcome": outcome, "cause": "instance x does not follow"}],
    }}}]})
}

#[test]
fn each_name_is_asked_for_with_the_tag_and_all_is_one_request() {
    let fake = Fake::start(|request| {
        let name = request.body["Args"][0].as_str().unwrap_or_default();
        Reply::Json(asked(name))
    });
    let ran = run(&mut fake.pgo(&["upgrade", "hippo", "zebra", "--ccp-image-tag=t"]));
    assert_eq!(
        ran.stdout,
        "created minor upgrade task for hippo\ncreated minor upgrade task for zebra\n"
    );
    run(&mut fake.pgo(&["upgrade", "--all"]));
    run(&mut fake.pgo(&["upgrade", "--selector=env=dev"]));
    let requests = fake.requests();
    let bodies: Vec<_> = requests
        .iter()
        .map(|one| {
            (
                &one.body["Args"],
                &one.body["Selector"],
                &one.body["CCPImageTag"],
            )
        })
        .collect();
    assert_eq!(
        bodies,
        [
            (&json!(["hippo"]), &json!(""), &json!("t")),
            (&json!(["zebra"]), &json!(""), &json!("t")),
            (&json!(["all"]), &json!(""), &json!("")),
            (&json!([]), &json!("env=dev"), &json!("")),
        ]
    );
    assert!(requests.iter().all(|one| one.route() == "/upgrades"));
}

#[test]
fn a_wait_ends_with_the_operation_and_a_failure_does_not_keep_the_others() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/upgrades" => Reply::Json(asked(request.body["Args"][0].as_str().unwrap())),
        _ => {
            let name = request.body["Clustername"].as_str().unwrap();
            let outcome = match (looks.fetch_add(1, Ordering::SeqCst), name) {
                (0..2, _) => Value::Null,
                (_, "hippo") => json!("Failed"),
                (_, _) => json!("Completed"),
            };
            Reply::Json(shown(name, outcome))
        }
    });
    let ran = run(&mut fake.pgo(&["upgrade", "hippo", "zebra", "--wait", "--timeout=30s"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("zebra  upgraded"), "{ran:?}");
    assert_eq!(
        ran.stdout.lines().last(),
        Some("1 upgraded, 1 failed"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("cluster hippo failed to be upgraded")
            && ran.stderr.contains("instance x does not follow"),
        "{ran:?}"
    );
}

#[test]
fn all_are_those_of_all_namespaces_unless_the_flag_names_one() {
    let fake = Fake::start(|_| Reply::Json(json!({"Results": [], "Code": "ok", "Msg": ""})));
    run(&mut fake.pgo(&["upgrade", "--all"]));
    run(&mut fake.pgo(&["upgrade", "--all", "--namespace=one"]));
    run(&mut fake.pgo(&["upgrade", "hippo"]));
    let requests = fake.requests();
    let where_to: Vec<_> = requests
        .iter()
        .map(|one| (&one.body["Namespace"], &one.body["AllNamespaces"]))
        .collect();
    let of_environment = &requests[2].body["Namespace"];
    assert_ne!(of_environment, "");
    assert_eq!(
        where_to,
        [
            (&json!(""), &json!(true)),
            (&json!("one"), &Value::Null),
            (of_environment, &Value::Null),
        ]
    );
}

#[test]
fn clusters_of_one_name_in_two_namespaces_are_followed_each() {
    let asked = |namespace: &str| json!({"Cluster": "hippo", "Namespace": namespace, "OperationID": format!("op-{namespace}")});
    let upgrades = json!([asked("one"), asked("two")]);
    let fake = Fake::start(move |request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/upgrades" => Reply::Json(json!({
            "Results": ["created minor upgrade task for one/hippo", "created minor upgrade task for two/hippo"],
            "Upgrades": upgrades, "Code": "ok", "Msg": "",
        })),
        _ => {
            let (id, outcome) = match request.body["Namespace"].as_str() {
                Some("one") => ("op-one", "Completed"),
                _ => ("op-two", "Failed"),
            };
            let mut answer = shown("hippo", json!("Completed"));
            answer["Results"][0]["Cluster"]["status"]["operations"] =
                json!([{"id": id, "outcome": outcome, "cause": "no such image"}]);
            Reply::Json(answer)
        }
    });
    let ran = run(&mut fake.pgo(&["upgrade", "--all", "--wait", "--timeout=30s"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("one/hippo  upgraded"), "{ran:?}");
    let last = ran.stdout.lines().last();
    assert_eq!(last, Some("1 upgraded, 1 failed"), "{ran:?}");
    let why = "cluster two/hippo failed to be upgraded";
    assert!(ran.stderr.contains(why), "{ran:?}");
}

#[test]
fn which_clusters_must_be_said() {
    let fake = Fake::start(|_| Reply::Json(asked("x")));
    let ran = run(&mut fake.pgo(&["upgrade"]));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(fake.requests().is_empty());
}
