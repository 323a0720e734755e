//! `pgo watch` and `--wait` over a stream of events that breaks, is refused, or ends.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::fake::{Fake, Reply, finish, hold, run, unread, until};
use serde_json::{Value, json};

fn event(event_type: &str, seq: u64, more: &Value) -> Value {
    let mut event = json!({
        "eventheader": { "EventType": event_type, "namespace": "pgouser1", "username": "pgoadmin",
                         "timestamp": "2026-11-22T14:24:57Z", "topic": ["clustertopic"] },
        "clustername": "hippo", "stream": "uid-1", "seq": seq, "operationid": "op-1",
    });
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

fn send(out: &mut dyn Write, line: &Value) {
    // Whether the client is still there is its own affair.
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

fn numbered(seq: u64) -> Value {
    json!({ "cursor": format!("c{seq}"), "event": event("CreateClusterProgress", seq, &json!({ "step": format!("step {seq}") })) })
}

/// A client that runs until it is killed.
struct Watch {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watch {
    fn start(fake: &Fake, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = ["watch"].iter().chain(arguments).copied().collect();
        Self::of(fake.pgo(&arguments).stderr(Stdio::piped()))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// Ends it by a signal, as a user does: the exit status.
    fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &id]).status();
        assert!(kill.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_event_is_a_line_and_an_interrupt_ends_it_well() {
    let fake = Fake::start(|_| {
        Reply::lines(|out| {
            send(out, &json!({ "cursor": "c0" }));
            send(
                out,
                &json!({ "cursor": "c1", "event": event("CreateClusterCompleted", 1,
                &json!({ "stage": "completed", "durationms": 4200 })) }),
            );
            hold(out);
        })
    });
    let watch = Watch::start(&fake, &["alltopic"]);
    let line = watch.line();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "2026-11-22T14:24:57.000Z",
            "pgouser1/hippo",
            "CreateCluster",
            "completed",
            "4.2s",
            "pgoadmin"
        ]
    );
    assert_eq!(watch.interrupt(), Some(0));
    let request = &fake.requests()[0];
    assert_eq!(request.query("topic").as_deref(), Some("alltopic"));
    assert_eq!(request.query("namespace").as_deref(), Some(""));
    assert_eq!(request.query("version").as_deref(), Some("4.1.0"));
    for not_given in ["since", "last", "cursor"] {
        assert_eq!(request.query(not_given), None);
    }
}

#[test]
fn where_to_begin_and_which_namespace_are_asked_for() {
    let fake = Fake::start(|_| {
        Reply::lines(|out| {
            send(out, &numbered(1));
            hold(out);
        })
    });
    Watch::start(&fake, &["clustertopic", "--last", "5", "-n", "other"]).line();
    Watch::start(
        &fake,
        &["clustertopic", "--since", "2026-01-31T12:00:00+01:00"],
    )
    .line();
    let requests = fake.requests();
    assert_eq!(requests[0].query("last").as_deref(), Some("5"));
    assert_eq!(requests[0].query("namespace").as_deref(), Some("other"));
    assert_eq!(
        requests[1].query("since").as_deref(),
        Some("2026-01-31T11%3A00%3A00Z")
    );
}

#[test]
fn a_lost_connection_continues_after_the_last_event_without_loss_or_repeat() {
    // Each connection sends two events and breaks in the middle of the third; every third one is not there at all.
    let connections = AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        if connections.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            return Reply::Text(503, "the event service is away\n");
        }
        let after: u64 = request
            .query("cursor")
            .map_or(0, |cursor| cursor.trim_start_matches('c').parse().unwrap());
        Reply::lines(move |out| {
            send(out, &json!({ "cursor": format!("c{after}") }));
            send(out, &numbered(after + 1));
            send(out, &numbered(after + 2));
            let _ = out.write_all(b"{\"cursor\":\"c");
        })
    });
    let watch = Watch::start(&fake, &["alltopic", "-o", "json"]);
    for seq in 1..=20 {
        let line: Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!(line, numbered(seq));
    }
}

#[test]
fn what_is_sent_again_after_a_reconnection_is_not_shown_again() {
    let connections = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        Reply::lines(move |out| {
            if first {
                send(out, &json!({ "cursor": "c0" }));
                send(out, &numbered(1));
                send(out, &numbered(2));
                return;
            }
            send(out, &json!({ "cut": "the log was replaced" }));
            (1..=3).for_each(|seq| send(out, &numbered(seq)));
            send(out, &json!({ "cursor": "c3" }));
            hold(out);
        })
    });
    let watch = Watch::start(&fake, &["alltopic", "-o", "json"]);
    let shown: Vec<Value> = (0..4)
        .map(|_| serde_json::from_str(&watch.line()).unwrap())
        .collect();
    let cut = json!({ "cut": "the log was replaced" });
    assert_eq!(shown, [numbered(1), numbered(2), cut, numbered(3)]);
}

#[test]
fn what_comes_again_where_a_connection_behind_the_apiserver_broke_is_not_shown_again() {
    let fake = Fake::start(|_| {
        Reply::lines(|out| {
            send(out, &json!({ "cursor": "c0" }));
            (1..=2).for_each(|seq| send(out, &numbered(seq)));
            send(out, &json!({ "cut": "the log was replaced" }));
            (1..=3).for_each(|seq| send(out, &numbered(seq)));
            hold(out);
        })
    });
    let watch = Watch::start(&fake, &["alltopic", "-o", "json"]);
    let cut = json!({ "cut": "the log was replaced" });
    for expected in [numbered(1), numbered(2), cut, numbered(3)] {
        let line: Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!(line, expected);
    }
}

#[test]
fn a_log_that_is_away_at_first_is_waited_for() {
    let connections = AtomicUsize::new(0);
    let fake = Fake::start(move |_| match connections.fetch_add(1, Ordering::SeqCst) {
        0..2 => Reply::Text(503, "the event service is away\n"),
        _ => Reply::lines(|out| {
            send(out, &numbered(1));
            hold(out);
        }),
    });
    let watch = Watch::start(&fake, &["alltopic"]);
    assert!(watch.line().ends_with("step 1"));
}

#[test]
fn a_refusal_ends_it() {
    let why = "user [vic] is not allowed access to namespace [x]";
    let fake = Fake::start(move |_| Reply::Json(json!({ "Code": "error", "Msg": why })));
    let ran = run(&mut fake.pgo(&["watch", "alltopic"]));
    assert_eq!((ran.code, ran.stderr), (Some(2), format!("Error: {why}\n")));
}

#[test]
fn something_else_than_a_stream_ends_it() {
    let fake = Fake::start(|_| Reply::Text(200, "<html>\n"));
    let ran = run(&mut fake.pgo(&["watch", "alltopic"]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("GET /events"), "{}", ran.stderr);
}

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
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..2], ["created Pgcluster hippo", "workflow id op-1"]);
    let told: Vec<&str> = lines[2..]
        .iter()
        .map(|line| line.split_once("hippo  ").unwrap().1)
        .collect();
    assert_eq!(told, ["started", "volume bound", "ready"]);
    let opened = &fake.requests()[0];
    assert_eq!(
        opened.route(),
        "/events",
        "the stream is open before the request"
    );
    assert_eq!(opened.query("namespace").as_deref(), Some("pgouser1"));
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
        ran.stderr.contains("steps will not be shown"),
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
fn nobody_reading_standard_error_does_not_end_a_watch() {
    let connections = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        Reply::lines(move |out| {
            let seq = if first { 1 } else { 2 };
            send(out, &json!({ "cut": "the log was replaced" }));
            send(out, &numbered(seq));
            if !first {
                hold(out);
            }
        })
    });
    let watch = Watch::of(fake.pgo(&["watch", "alltopic"]).stderr(unread()));
    assert!(watch.line().ends_with("step 1"));
    assert!(watch.line().ends_with("step 2"));
    assert_eq!(watch.interrupt(), Some(0));
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
