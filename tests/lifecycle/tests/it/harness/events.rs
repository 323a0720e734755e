//! What `pgo watch` shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{kubernetes::text, programs::program, until};

/// How long an event may take to be shown once its cause is there; the figure that is aimed at is in tests/bench.
const SHOWN: Duration = Duration::from_secs(20);

/// How long an operation may go on that a test does not wait for by itself: a former primary comes back in that time.
const ENDED: Duration = Duration::from_secs(60);

/// A running `pgo watch alltopic`. It ends with this value.
pub struct Watch {
    child: Child,
    shown: Arc<Mutex<Vec<Value>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    /// Begins to watch, with all that happens from now on.
    pub fn begin() -> Self {
        // With --since nothing is missed while it connects.
        Self::begin_since("2s")
    }

    /// Begins with what happened so long ago.
    pub fn begin_since(ago: &str) -> Self {
        let mut child = program("pgo", &["watch", "alltopic", "--since", ago, "-o", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pgo watch");
        let shown = Arc::<Mutex<Vec<Value>>>::default();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let out = BufReader::new(child.stdout.take().expect("its standard output"));
        let err = BufReader::new(child.stderr.take().expect("its standard error"));
        let (events, lines) = (shown.clone(), said.clone());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).unwrap_or(Value::String(line));
                events
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(parsed);
            }
        });
        thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Self { child, shown, said }
    }

    /// Everything shown until now, as shown.
    pub fn all(&self) -> Vec<Value> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The events of a stream, in the order shown.
    pub fn of(&self, stream: &str) -> Vec<Value> {
        let all = self.all();
        let events = all.iter().map(|line| line["event"].clone());
        events.filter(|event| event["stream"] == stream).collect()
    }

    /// Waits until a stream has an event of this type, and returns all of that stream until then.
    pub fn until(&self, stream: &str, event_type: &str) -> Vec<Value> {
        self.until_count(stream, event_type, 1)
    }

    /// Waits until a stream has so many events of this type.
    pub fn until_count(&self, stream: &str, event_type: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} {event_type} in pgo watch"), SHOWN, || {
            let events = self.of(stream);
            let found = types(&events).iter().filter(|t| *t == event_type).count();
            if found >= count {
                Ok(events)
            } else {
                Err(format!("{:?}; {}", types(&events), self.said()))
            }
        })
    }

    /// Waits until each operation of a stream that has begun has ended, and holds the whole stream to what is promised.
    ///
    /// # Panics
    /// An operation does not end in time, or a promise is broken.
    #[track_caller]
    pub fn check_to_its_end(&self, stream: &str) {
        let events = until("the end of each operation in pgo watch", ENDED, || {
            let events = self.of(stream);
            match unended(&events) {
                running if running.is_empty() => Ok(events),
                running => Err(format!("{running:?} go on; {}", self.said())),
            }
        });
        check_stream(&events);
    }

    /// Waits until it shows something, so that it is connected.
    pub fn until_any(&self) {
        until("an event in pgo watch", SHOWN, || match self.all() {
            none if none.is_empty() => Err(self.said()),
            _ => Ok(()),
        });
    }

    /// What it said on standard error, which is why it shows nothing.
    pub fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        format!("pgo watch said {said:?}")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The types, in order.
pub fn types(events: &[Value]) -> Vec<String> {
    let all = events.iter();
    all.map(|event| text(event, "/eventheader/EventType"))
        .collect()
}

/// The types of the beginnings of operations that have no end among these.
fn unended(events: &[Value]) -> Vec<String> {
    let is_end = |event: &Value| event["stage"] == "completed" || event["stage"] == "failed";
    let ended: BTreeSet<String> = events
        .iter()
        .filter(|event| is_end(event))
        .map(|event| text(event, "/operationid"))
        .collect();
    let running = events.iter().filter(|event| {
        event["stage"] == "started" && !ended.contains(&text(event, "/operationid"))
    });
    types(&running.cloned().collect::<Vec<_>>())
}

/// Holds the events of a stream, from its first on, to what is promised: each once, in order, none missing, all of an
/// operation under one id, one terminal event at its end.
///
/// # Panics
/// Where a promise is broken.
#[track_caller]
pub fn check_stream(events: &[Value]) {
    let seqs: Vec<u64> = events
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    let wanted: Vec<u64> = (1..=events.len() as u64).collect();
    assert_eq!(
        seqs,
        wanted,
        "each event once and in order: {:?}",
        types(events)
    );
    let streams: BTreeSet<String> = events.iter().map(|event| text(event, "/stream")).collect();
    assert!(streams.len() <= 1, "one stream: {streams:?}");
    let mut operations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["stage"] != "notice") {
        let stages = operations.entry(text(event, "/operationid")).or_default();
        stages.push(text(event, "/stage"));
    }
    for (operation, stages) in operations {
        assert_eq!(
            stages[0], "started",
            "{operation} begins with its start: {stages:?}"
        );
        let terminal = |stage: &String| stage == "completed" || stage == "failed";
        let ends = stages.iter().filter(|stage| terminal(stage)).count();
        assert_eq!(ends, 1, "{operation} has one terminal event: {stages:?}");
        assert!(
            terminal(&stages[stages.len() - 1]),
            "{operation} ends with it: {stages:?}"
        );
    }
}

/// The types without those of facts: what was asked for, and what became of it.
pub fn of_operations(events: &[Value]) -> Vec<String> {
    let all = events.iter().filter(|event| event["stage"] != "notice");
    types(&all.cloned().collect::<Vec<_>>())
}

/// Texts of one field, in order, of the events of this type.
pub fn fields(events: &[Value], event_type: &str, pointer: &str) -> Vec<String> {
    events
        .iter()
        .filter(|event| text(event, "/eventheader/EventType") == event_type)
        .map(|event| text(event, pointer))
        .collect()
}
