//! `--wait`: how the making and the removal of a cluster are followed, and how that ends.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    fake::{Fake, Ran, Reply, finish, hold, run, unread, until},
    streams::{event, send},
};
use serde_json::{Value, json};

/// An apiserver that makes a cluster in as many looks as there are statuses.
fn making(statuses: Vec<Value>, events: Vec<Value>) -> Fake {
    let looks = AtomicUsize::new(0);
    let created = Arc::new(AtomicUsize::new(0));
    Fake::start(move |request| match request.route() {
        "/events" => {
            let (events, created) = (events.clone(), created.clone());
            Reply::lines(move |out| {
                send(out, &json!({ "cursor": "c0" }));
                until("the cluster is created", || {
                    created.load(Ordering::SeqCst) > 0
                });
                for (at, event) in events.iter().enumerate() {
                    send(out, &json!({ "cursor": format!("c{at}"), "event": event }));
                }
                hold(out);
            })
        }
        "/clusters" => {
            created.store(1, Ordering::SeqCst);
            Reply::Json(
                json!({ "Results": ["created Pgcluster hippo", "workflow id op-1"], "Code": "ok", "Msg": "" }),
            )
        }
        "/clustersdelete" => {
            created.store(1, Ordering::SeqCst);
            Reply::Json(json!({ "Results": ["deleted pgcluster hippo"], "Code": "ok", "Msg": "" }))
        }
        "/showclusters" => {
            let look = looks.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1);
            let results = match &statuses[look] {
                Value::Null => json!([]),
                status => {
                    json!([{ "Cluster": { "metadata": { "name": "hippo" }, "status": status } }])
                }
            };
            Reply::Json(json!({ "Results": results, "Code": "ok", "Msg": "" }))
        }
        other => panic!("unexpected {other}"),
    })
}

fn status(phase: &str, ready: &str, reason: &str, message: &str) -> Value {
    json!({ "phase": phase, "conditions": [{ "type": "Ready", "status": ready, "reason": reason, "message": message }] })
}

/// What is told of hippo after its creation was asked for.
fn steps(ran: &Ran) -> Vec<&str> {
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..2], ["created Pgcluster hippo", "workflow id op-1"]);
    let told = lines[2..].iter();
    told.map(|line| line.split_once("hippo  ").unwrap().1)
        .collect()
}

#[test]
fn create_waits_until_the_cluster_is_ready_with_a_line_per_step() {
    let fake = making(
        vec![
            status("Creating", "False", "Creating", ""),
            status("Ready", "True", "Ready", ""),
        ],
        vec![
            event("CreateCluster", 1, &json!({ "stage": "started" })),
            event(
                "CreateClusterProgress",
                2,
                &json!({ "stage": "progress", "step": "volume bound" }),
            ),
            event(
                "CreateClusterProgress",
                3,
                &json!({ "stage": "progress", "step": "another's", "operationid": "op-0" }),
            ),
            event(
                "CreateClusterCompleted",
                4,
                &json!({ "stage": "completed" }),
            ),
        ],
    );
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(steps(&ran), ["started", "volume bound", "ready"]);
    let opened = &fake.requests()[0];
    assert_eq!(
        opened.route(),
        "/events",
        "the stream is open before the request"
    );
    assert_eq!(opened.query("namespace").as_deref(), Some("pgouser1"));
}

/// The creation of a cluster, as its status shows it.
fn being_made(step: &str) -> Value {
    status(
        "Creating",
        "False",
        "Creating",
        &format!("being made: {step}"),
    )
}

#[test]
fn where_no_event_is_published_the_steps_are_those_of_the_status() {
    let fake = making(
        vec![
            being_made("accepted"),
            being_made("volume bound"),
            being_made("volume bound"),
            status("Ready", "True", "Ready", ""),
        ],
        vec![],
    );
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(steps(&ran), ["started", "volume bound", "ready"]);
}

#[test]
fn a_step_that_event_and_status_tell_is_shown_once() {
    let progress = json!({ "stage": "progress", "step": "volume bound" });
    let fake = making(
        vec![
            being_made("volume bound"),
            being_made("agent started"),
            status("Ready", "True", "Ready", ""),
        ],
        vec![
            event("CreateCluster", 1, &json!({ "stage": "started" })),
            event("CreateClusterProgress", 2, &progress),
        ],
    );
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut told = steps(&ran);
    assert_eq!(told.pop(), Some("ready"));
    told.sort_unstable();
    assert_eq!(told, ["agent started", "started", "volume bound"]);
}

#[test]
fn with_json_progress_is_on_standard_error() {
    let fake = making(vec![status("Ready", "True", "Ready", "")], vec![]);
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait", "-o", "json"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["Results"][0], "created Pgcluster hippo");
    assert!(ran.stderr.contains("hippo  ready"), "{}", ran.stderr);
}

#[test]
fn a_failed_creation_ends_the_wait_with_its_cause() {
    let creating = status("Creating", "False", "Creating", "");
    let by_event = making(
        vec![creating],
        vec![event(
            "CreateClusterFailure",
            1,
            &json!({ "stage": "failed", "cause": "image nosuch:1 cannot be pulled" }),
        )],
    );
    let by_status = making(
        vec![status(
            "Failed",
            "False",
            "ImageNotPulled",
            "image nosuch:1 cannot be pulled",
        )],
        vec![],
    );
    for fake in [by_event, by_status] {
        let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait"]));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(
            ran.stderr.starts_with("Error: cluster hippo failed"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("image nosuch:1 cannot be pulled"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_wait_that_is_over_says_what_is_missing() {
    let fake = making(
        vec![status(
            "Creating",
            "False",
            "Creating",
            "waiting for the volume",
        )],
        vec![],
    );
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait", "--timeout=1"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for word in [
        "not ready within 1.0s",
        "hippo",
        "waiting for the volume",
        "--timeout",
    ] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

#[test]
fn without_a_stream_of_events_the_wait_still_ends_well() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.route() {
        "/events" => Reply::Text(401, "Not authorized for this apiserver action\n"),
        "/clusters" => {
            Reply::Json(json!({ "Results": ["created Pgcluster hippo"], "Code": "ok", "Msg": "" }))
        }
        // The first look finds nothing yet, the second no apiserver.
        _ => match looks.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Json(json!({ "Results": [], "Code": "ok", "Msg": "" })),
            1 => Reply::Nothing,
            _ => Reply::Json(
                json!({ "Results": [{ "Cluster": { "status": status("Ready", "True", "", "") } }], "Code": "ok" }),
            ),
        },
    });
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("hippo  ready"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("not every step will be shown"),
        "{}",
        ran.stderr
    );
}

#[test]
fn delete_waits_until_the_cluster_is_gone() {
    let deleting = status("Deleting", "False", "Deleting", "");
    let fake = making(
        vec![deleting, Value::Null],
        vec![event(
            "DeleteClusterProgress",
            1,
            &json!({ "stage": "progress", "step": "database stopped" }),
        )],
    );
    let ran = run(&mut fake.pgo(&["delete", "cluster", "hippo", "--no-prompt", "--wait"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.starts_with("deleted pgcluster hippo\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("hippo  database stopped\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("hippo  gone\n"), "{}", ran.stdout);
}

#[test]
fn a_cluster_deleted_while_it_is_waited_for_is_a_failure() {
    let fake = making(
        vec![status("Creating", "False", "Creating", ""), Value::Null],
        vec![],
    );
    let child = fake
        .pgo(&["create", "cluster", "hippo", "--wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("deleted meanwhile"), "{}", ran.stderr);
}

#[test]
fn nobody_reading_standard_error_does_not_end_a_wait() {
    let fake = making(
        vec![
            status("Creating", "False", "Creating", ""),
            status("Ready", "True", "Ready", ""),
        ],
        vec![event("CreateCluster", 1, &json!({ "stage": "started" }))],
    );
    let arguments = ["create", "cluster", "hippo", "--wait", "-o", "json"];
    let child = fake
        .pgo(&arguments)
        .stdout(Stdio::piped())
        .stderr(unread())
        .spawn()
        .unwrap();
    assert_eq!(finish(child).code, Some(0));
}

#[test]
fn a_look_that_is_refused_meanwhile_does_not_end_the_wait() {
    let refusals = [
        "Kubernetes cannot be reached: connection refused",
        "no answer within 55 s",
    ];
    for (command, answered) in [
        ("create", "created Pgcluster hippo"),
        ("delete", "deleted pgcluster hippo"),
    ] {
        let looks = AtomicUsize::new(0);
        let fake = Fake::start(move |request| match request.route() {
            "/events" => Reply::Text(401, "Not authorized for this apiserver action\n"),
            "/showclusters" => match refusals.get(looks.fetch_add(1, Ordering::SeqCst)) {
                Some(why) => Reply::Json(json!({ "Results": [], "Code": "error", "Msg": why })),
                None if command == "delete" => Reply::Json(json!({ "Results": [], "Code": "ok" })),
                None => Reply::Json(
                    json!({ "Results": [{ "Cluster": { "status": status("Ready", "True", "", "") } }], "Code": "ok" }),
                ),
            },
            _ => Reply::Json(json!({ "Results": [answered], "Code": "ok", "Msg": "" })),
        });
        let mut line = fake.pgo(&[command, "cluster", "hippo", "--wait"]);
        if command == "delete" {
            line.arg("--no-prompt");
        }
        let ran = run(&mut line);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[test]
fn a_refusal_that_stays_is_told_when_the_wait_is_over() {
    let fake = Fake::start(|request| match request.route() {
        "/events" => Reply::Text(401, "Not authorized for this apiserver action\n"),
        "/showclusters" => Reply::Json(
            json!({ "Results": [], "Code": "error", "Msg": "Kubernetes cannot be reached" }),
        ),
        _ => Reply::Json(json!({ "Results": ["created Pgcluster hippo"], "Code": "ok" })),
    });
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--wait", "--timeout=2"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for word in ["not ready within 2.0s", "Kubernetes cannot be reached"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}
