//! Dead letters as a user sees them.

use crate::fake::{Fake, Reply, Request, run};
use serde_json::{Value, json};

fn letter(id: &str) -> Value {
    json!({
        "ID": id, "Topic": "alltopic", "Channel": "history", "Attempts": 1, "Time": "2026-11-25T10:11:12Z",
        "Reason": "not an event", "Body": "neither\u{7}\nnor", "Size": 11,
    })
}

fn apiserver() -> Fake {
    Fake::start(|request: &Request| match request.route() {
        "/deadlettershow" => {
            let ids = request.body["IDs"].as_array().unwrap();
            let wanted = |letter: &Value| ids.is_empty() || ids.contains(&letter["ID"]);
            let all = [letter("0123456789ab"), letter("ba9876543210")];
            let some: Vec<_> = all.into_iter().filter(wanted).collect();
            Reply::Json(json!({"Results": some, "Dropped": 2, "Code": "ok", "Msg": ""}))
        }
        "/deadletterrequeue" => Reply::Json(json!({
            "Results": ["requeued dead letter 0123456789ab to alltopic"],
            "Code": "error", "Msg": "x: there is no such dead letter",
        })),
        "/deadletterdelete" => Reply::Json(json!({
            "Results": ["deleted dead letter 0123456789ab"], "Code": "ok", "Msg": "",
        })),
        _ => Reply::Text(404, "no\n"),
    })
}

#[test]
fn all_are_shown_with_the_beginnings_of_their_bodies() {
    let fake = apiserver();
    let ran = run(&mut fake.pgo(&["show", "deadletters"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.contains("dead letter : 0123456789ab\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("\ttopic   : alltopic\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("(11 bytes)"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("2 older ones had to go"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains('\u{7}'), "no control characters");
    let request = fake.requests().remove(0);
    assert_eq!(request.method, "POST");
    assert_eq!(request.body["ClientVersion"], "4.1.0");
}

#[test]
fn one_is_shown_whole_and_one_that_is_not_there_is_told() {
    let fake = apiserver();
    let ran = run(&mut fake.pgo(&["show", "deadletter", "0123456789ab", "nosuch"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stdout.contains("nor\n") && !ran.stdout.contains("ba9876543210"),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("not found: nosuch"), "{}", ran.stderr);
    let json = run(&mut fake.pgo(&["show", "deadletter", "-o", "json"]));
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["Results"][0]["ID"], "0123456789ab");
}

#[test]
fn what_was_requeued_and_what_was_not_is_told() {
    let fake = apiserver();
    let ran = run(&mut fake.pgo(&["requeue", "deadletter", "0123456789ab", "x"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(
        ran.stdout,
        "requeued dead letter 0123456789ab to alltopic\n"
    );
    assert!(
        ran.stderr.contains("x: there is no such dead letter"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.requests()[0].body["IDs"], json!(["0123456789ab", "x"]));
}

#[test]
fn a_deletion_is_asked_for_and_names_what_it_is_about() {
    let fake = apiserver();
    let unasked = run(&mut fake.pgo(&["delete", "deadletter", "0123456789ab"]));
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    assert!(unasked.stderr.contains("--no-prompt"), "{}", unasked.stderr);
    assert!(fake.requests().is_empty());
    let ran = run(&mut fake.pgo(&["delete", "deadletter", "--all", "--no-prompt"]));
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "deleted dead letter 0123456789ab\n")
    );
    assert_eq!(fake.requests()[0].body["AllFlag"], true);
    for wrong in [
        vec!["requeue", "deadletter"],
        vec!["delete", "deadletter", "x", "--all"],
        vec!["requeue"],
    ] {
        let ran = run(&mut fake.pgo(&wrong));
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
}
