//! `pgo cancel`: what is asked, what is shown, and how the wait ends.

use crate::fake::{Fake, Reply, Request, run};
use serde_json::{Value, json};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Every operation is cancelled but `no`.
fn cancelled(request: &Request) -> Value {
    let ids = request.body["Args"].as_array().unwrap();
    let some = ids.iter().filter(|id| **id != "no");
    let results = some.clone().map(|id| {
        format!(
            "operation {} of cluster hippo is being cancelled",
            id.as_str().unwrap()
        )
    });
    let all: Vec<Value> = some
        .map(|id| json!({"Cluster": "hippo", "OperationID": id}))
        .collect();
    let (code, why) = match all.len() == ids.len() {
        true => ("ok", ""),
        false => ("error", "workflow id NOT found for id no"),
    };
    json!({"Results": results.collect::<Vec<_>>(), "Cancelled": all, "Code": code, "Msg": why})
}

fn state(state: &str, cause: &str) -> Reply {
    Reply::Json(json!({"Code": "ok", "Msg": "", "Results": {
        "ClusterName": "hippo", "Parameters": {}, "State": state, "Cause": cause,
    }}))
}

#[test]
fn operations_are_named_by_their_ids_and_one_that_is_refused_does_not_keep_the_others() {
    let fake = Fake::start(|request| Reply::Json(cancelled(request)));
    let ran = run(&mut fake.pgo(&words("cancel one no two")));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(
        ran.stdout,
        "operation one of cluster hippo is being cancelled\noperation two of cluster hippo is being cancelled\n"
    );
    assert!(ran.stderr.contains("NOT found for id no"), "{ran:?}");
    let request = &fake.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.route()),
        ("POST", "/workflowcancel")
    );
    let namespace = &request.body["Namespace"];
    assert_eq!(
        request.body,
        json!({"Namespace": namespace, "Args": ["one", "no", "two"], "ClientVersion": "4.1.0"})
    );
    assert_eq!(fake.requests().len(), 1, "nobody waits");

    let ran = run(&mut fake.pgo(&words("cancel one -o json")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(shown["Cancelled"][0]["OperationID"], "one");
    assert_eq!(run(&mut fake.pgo(&["cancel"])).code, Some(1));
}

#[test]
fn a_wait_ends_when_all_are_over_and_says_which_one_was_too_late() {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.route() {
        "/workflowcancel" => Reply::Json(cancelled(request)),
        "/workflow/late" => state("completed", ""),
        _ => match looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => state("running", ""),
            1 => Reply::Text(503, "not now\n"),
            _ => state("failed", "cancelled by alice"),
        },
    });
    let ran = run(&mut fake.pgo(&words("cancel one --wait --timeout=30s")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let end = "operation one of cluster hippo is over: cancelled by alice\n";
    assert!(ran.stdout.ends_with(end), "{ran:?}");

    let ran = run(&mut fake.pgo(&words("cancel late one --wait")));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.ends_with(end), "{ran:?}");
    let late = "operation late of cluster hippo completed before it could be cancelled";
    assert!(ran.stderr.contains(late), "{ran:?}");

    let ran = run(&mut fake.pgo(&words("cancel one --wait -o json")));
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(shown["Code"], "ok");
    assert!(ran.stderr.contains("cancelled by alice"), "{ran:?}");
}

#[test]
fn a_wait_that_is_too_short_says_so() {
    let fake = Fake::start(|request| match request.route() {
        "/workflowcancel" => Reply::Json(cancelled(request)),
        _ => state("running", ""),
    });
    let ran = run(&mut fake.pgo(&words("cancel one --wait --timeout=1s")));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("operation one is not over within"),
        "{ran:?}"
    );
}
