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
fn which_clusters_must_be_said() {
    let fake = Fake::start(|_| Reply::Json(asked("x")));
    let ran = run(&mut fake.pgo(&["upgrade"]));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(fake.requests().is_empty());
}
