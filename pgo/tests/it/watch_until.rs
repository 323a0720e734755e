//! `pgo watch --until`: it ends when all that happened until then was shown, however it comes; and what cuts it off is said.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::fake::{Fake, Ran, Reply, Request, run};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// How often the log looks whether something has come.
const LOOK: Duration = Duration::from_millis(20);

/// An event: when it happened and when it is in the log, in milliseconds after the test began.
#[derive(Clone, Copy)]
struct Happened {
    at: i64,
    stored: u64,
}

/// A log that fills as time goes on, read from a cursor on.
#[derive(Clone)]
struct Log {
    began: (Timestamp, Instant),
    events: Vec<Happened>,
    /// Pause between two events that are sent.
    pause: Duration,
}

impl Log {
    fn of(events: &[Happened]) -> Self {
        Self {
            began: (Timestamp::now(), Instant::now()),
            events: events.to_vec(),
            pause: Duration::ZERO,
        }
    }

    fn event(&self, place: usize) -> Value {
        let time = self.began.0 + SignedDuration::from_millis(self.events[place].at);
        json!({
            "eventheader": { "EventType": "CreateClusterProgress", "namespace": "pgouser1", "username": "",
                             "timestamp": time.to_string(), "topic": ["clustertopic"] },
            "clustername": "hippo", "stream": "uid-1", "seq": place + 1, "stage": "progress", "severity": "DEBUG",
            "step": format!("step {}", place + 1),
        })
    }

    fn is_stored(&self, place: usize) -> bool {
        let since = self.began.1.elapsed().as_millis();
        let event = self.events.get(place);
        event.is_some_and(|event| u128::from(event.stored) <= since)
    }

    /// As the apiserver answers: what is there, that this is all, and what comes, if it is `live`.
    fn answer(&self, request: &Request, live: bool) -> Reply {
        let log = self.clone();
        let cursor = request.query("cursor").unwrap_or_default();
        let mut place: usize = cursor.trim_start_matches("c%3A").parse().unwrap_or(0);
        Reply::lines(move |out| {
            let mut send = |line: &Value| {
                let written = out.write_all(format!("{line}\n").as_bytes());
                written.and_then(|()| out.flush()).is_ok()
            };
            let mut caught_up = false;
            let ends = Instant::now() + Duration::from_secs(20);
            while Instant::now() < ends {
                let line = match (log.is_stored(place) && (live || !caught_up), caught_up) {
                    (true, _) => {
                        place += 1;
                        thread::sleep(log.pause);
                        json!({ "cursor": format!("c:{place}"), "event": log.event(place - 1) })
                    }
                    (false, false) => {
                        caught_up = true;
                        json!({ "cursor": format!("c:{place}") })
                    }
                    (false, true) => {
                        thread::sleep(LOOK);
                        continue;
                    }
                };
                if !send(&line) {
                    return;
                }
            }
        })
    }
}

fn watch(fake: &Fake, arguments: &[&str]) -> Ran {
    let arguments = [&["watch", "alltopic"][..], arguments].concat();
    run(&mut fake.pgo(&arguments))
}

/// How it ended, and which events it showed.
fn ended(ran: &Ran) -> (Option<i32>, Vec<&str>) {
    let steps = ran
        .stdout
        .lines()
        .map(|line| &line[line.find("step").unwrap()..]);
    (ran.code, steps.collect())
}

#[test]
fn what_happened_before_the_end_and_comes_a_moment_later_is_shown() {
    let before = Happened { at: 500, stored: 0 };
    let late = Happened {
        at: 900,
        stored: 1_800,
    };
    let after = Happened {
        at: 1_700,
        stored: 1_800,
    };
    let log = Log::of(&[before, late, after]);
    let fake = Fake::start(move |request| log.answer(request, true));
    let ran = watch(&fake, &["--until", "1s"]);
    assert_eq!(ended(&ran), (Some(0), vec!["step 1", "step 2"]), "{ran:?}");
}

#[test]
fn it_asks_the_log_whether_that_was_all_rather_than_trust_a_quiet_connection() {
    let log = Log::of(&[Happened {
        at: 300,
        stored: 600,
    }]);
    let connections = AtomicUsize::new(0);
    // The first connection tells nothing of what comes.
    let fake = Fake::start(move |request| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        log.answer(request, !first)
    });
    let ran = watch(&fake, &["--until", "1s"]);
    assert_eq!(ended(&ran), (Some(0), vec!["step 1"]), "{ran:?}");
    assert_eq!(ran.stderr, "", "it is no loss of the connection");
    let cursors: Vec<_> = fake.requests().iter().map(|r| r.query("cursor")).collect();
    assert_eq!(cursors, [None, Some("c%3A0".to_owned())]);
}

#[test]
fn a_history_that_comes_slowly_is_read_to_its_end() {
    let past = Happened {
        at: -60_000,
        stored: 0,
    };
    let mut log = Log::of(&[past; 40]);
    log.pause = Duration::from_millis(100);
    let fake = Fake::start(move |request| log.answer(request, true));
    let ran = watch(&fake, &["--since", "1h", "--until", "1s"]);
    let (code, shown) = ended(&ran);
    assert_eq!((code, shown.len()), (Some(0), 40), "{ran:?}");
}

#[test]
fn a_connection_that_is_away_when_the_time_comes_is_waited_for() {
    let log = Log::of(&[Happened {
        at: 500,
        stored: 600,
    }]);
    let connections = AtomicUsize::new(0);
    let fake = Fake::start(
        move |request| match connections.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::lines(|out| {
                let _ = out.write_all(b"{\"cursor\":\"c:0\"}\n");
            }),
            _ if log.began.1.elapsed() < Duration::from_secs(4) => Reply::Nothing,
            _ => log.answer(request, true),
        },
    );
    let ran = watch(&fake, &["--until", "1s"]);
    assert_eq!(ended(&ran), (Some(0), vec!["step 1"]), "{ran:?}");
    let said: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(said.len(), 3, "{ran:?}");
    assert!(said[0].contains("trying again"), "{ran:?}");
    assert!(said[1].contains("the time of --until has come"), "{ran:?}");
    assert_eq!(said[2], "pgo: connected again");
}

#[test]
fn where_the_connection_stays_away_the_timeout_ends_it_and_it_is_no_success() {
    let connections = AtomicUsize::new(0);
    let fake = Fake::start(move |_| match connections.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::lines(|out| {
            let _ = out.write_all(b"{\"cursor\":\"c:0\"}\n");
        }),
        _ => Reply::Text(503, "the event service is away\n"),
    });
    let ran = watch(&fake, &["--until", "1s", "--timeout", "3s"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let why = ran.stderr.lines().last().unwrap();
    assert!(why.starts_with("Error: what happened until 2"), "{why}");
    assert!(why.contains("was not all there within 3.0s"), "{why}");
}

#[test]
fn with_what_is_there_now_it_ends_at_once() {
    let log = Log::of(
        &[Happened {
            at: -1_000,
            stored: 0,
        }; 3],
    );
    let fake = Fake::start(move |request| log.answer(request, true));
    let ran = watch(&fake, &["--last", "10", "--until", "now"]);
    let (code, shown) = ended(&ran);
    assert_eq!((code, shown.len()), (Some(0), 3), "{ran:?}");
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn what_is_waited_for_and_not_seen_is_told_with_what_ended_it() {
    let log = Log::of(
        &[Happened {
            at: -1_000,
            stored: 0,
        }; 3],
    );
    let fake = Fake::start(move |request| log.answer(request, true));
    let wanted = ["--for", "DeleteClusterCompleted", "--timeout", "60s"];
    let why = |more: &[&str]| {
        let ran = watch(&fake, &[&wanted[..], more].concat());
        assert_eq!(ran.code, Some(3), "{ran:?}");
        ran.stderr
    };
    assert_eq!(
        why(&["--count", "2"]),
        "Error: DeleteClusterCompleted was not seen among the 2 events of --count\n"
    );
    assert_eq!(
        why(&["--until", "2026-01-31T12:00:00Z"]),
        "Error: DeleteClusterCompleted was not seen by 2026-01-31T12:00:00Z\n"
    );
}
