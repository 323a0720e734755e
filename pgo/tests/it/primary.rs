//! `pgo failover` and `pgo update cluster`: what is sent, and what is refused before anything is.

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

fn ok(results: Value) -> Reply {
    Reply::Json(json!({ "Results": results, "Code": "ok", "Msg": "" }))
}

#[test]
fn another_primary_is_asked_for_in_4_1s_fields() {
    let fake = Fake::start(|_| ok(json!(["created Pgtask (failover) for cluster hippo"])));
    let line =
        "failover hippo --target=hippo-abcd --autofail-replace-replica=true --planned --no-prompt";
    let arguments: Vec<&str> = line.split(' ').collect();
    let ran = run(&mut fake.pgo(&arguments));
    let printed = "created Pgtask (failover) for cluster hippo\n";
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), printed),
        "{ran:?}"
    );
    let request = &fake.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.route()),
        ("POST", "/failover")
    );
    let body = json!({
        "Namespace": request.body["Namespace"], "ClusterName": "hippo", "AutofailReplaceReplica": "true",
        "Target": "hippo-abcd", "ClientVersion": "4.1.0", "Planned": true,
    });
    assert_eq!(request.body, body);
}

#[test]
fn a_failover_without_target_and_an_update_of_nothing_ask_nobody() {
    let fake = Fake::start(|_| ok(json!([])));
    for (line, code, word) in [
        ("failover hippo --no-prompt", 2, "--target is required"),
        (
            "failover hippo --target=a --autofail-replace-replica=maybe --no-prompt",
            2,
            "true or false value required",
        ),
        ("update cluster hippo --no-prompt", 1, "--autofail=true"),
        (
            "update cluster --autofail=true --no-prompt",
            1,
            "--selector",
        ),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        assert_eq!(ran.code, Some(code), "{line}: {ran:?}");
        assert!(ran.stderr.contains(word), "{line}: {ran:?}");
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn autofail_is_sent_for_all_that_are_named_at_once() {
    let fake = Fake::start(|_| ok(json!(["updated pgcluster a", "updated pgcluster b"])));
    for (line, names, all, autofail) in [
        (
            "update cluster a b --autofail --no-prompt",
            json!(["a", "b"]),
            false,
            true,
        ),
        (
            "update cluster --all --autofail=false --no-prompt",
            json!([]),
            true,
            false,
        ),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        let printed = "updated pgcluster a\nupdated pgcluster b\n";
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), printed),
            "{ran:?}"
        );
        let body = fake.requests().last().unwrap().body.clone();
        assert_eq!(
            (&body["Clustername"], &body["AllFlag"], &body["Autofail"]),
            (&names, &json!(all), &json!(autofail)),
            "{line}"
        );
    }
}

#[test]
fn a_size_is_sent_without_a_word_about_autofail() {
    let fake = Fake::start(|_| ok(json!(["updated pgcluster a"])));
    for (line, autofail, keep) in [
        (
            "update cluster a --pvc-size=2Gi --no-prompt",
            false,
            json!(true),
        ),
        (
            "update cluster a --pvc-size=2Gi --autofail --no-prompt",
            true,
            Value::Null,
        ),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let body = fake.requests().last().unwrap().body.clone();
        assert_eq!(
            (&body["PVCSize"], &body["Autofail"], &body["KeepAutofail"]),
            (&json!("2Gi"), &json!(autofail), &keep),
            "{line}"
        );
    }
}
