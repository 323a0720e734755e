//! `pgo drill`: what is asked, and how `--wait` ends.

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

fn asked(cluster: &str) -> Value {
    json!({
        "Results": [format!("a restore drill of the newest backup of {cluster} was asked for")],
        "Drills": [{"Cluster": cluster, "OperationID": format!("op-{cluster}")}], "Code": "ok", "Msg": "",
    })
}

#[test]
fn the_backup_goes_with_the_request() {
    let fake = Fake::start(|_| Reply::Json(asked("hippo")));
    let ran = run(&mut fake.pgo(&["drill", "hippo", "--backup=20261126-210300F"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.stdout,
        "a restore drill of the newest backup of hippo was asked for\n"
    );
    let requests = fake.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].route(), "/restoredrill");
    assert_eq!(requests[0].body["Args"], json!(["hippo"]));
    assert_eq!(requests[0].body["Backup"], "20261126-210300F");
    let ran = run(&mut fake.pgo(&["drill", "hippo", "-o", "json"]));
    let shown: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(shown["Drills"][0]["OperationID"], "op-hippo");
}

#[test]
fn a_wait_ends_with_the_verdict() {
    let fake = Fake::start(move |request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/restoredrill" => Reply::Json(asked(request.body["Args"][0].as_str().unwrap())),
        _ => {
            let name = request.body["Clustername"].as_str().unwrap();
            let outcome = if name == "hippo" {
                "Failed"
            } else {
                "Completed"
            };
            let cause = "backup x: not proven, could not be tried: refused";
            Reply::Json(json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {
                "metadata": {"name": name},
                "status": {"phase": "Ready", "operations": [
                    {"id": format!("op-{name}"), "outcome": outcome, "cause": cause}]},
            }}]}))
        }
    });
    let ran = run(&mut fake.pgo(&["drill", "hippo", "zebra", "--wait", "--timeout=30s"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("zebra  proven"), "{ran:?}");
    assert!(
        ran.stderr.contains("could not be tried: refused"),
        "{ran:?}"
    );
}
