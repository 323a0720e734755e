//! `pgo watch` over a stream of events that breaks, is refused, or ends.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::fake::{Fake, Reply, hold, run, unread};
use serde_json::{Value, json};

/// An event of the cluster `hippo`, with further fields.
pub fn event(event_type: &str, seq: u64, more: &Value) -> Value {
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

/// Sends a line of the stream.
pub fn send(out: &mut dyn Write, line: &Value) {
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
