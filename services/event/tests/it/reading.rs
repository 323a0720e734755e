//! Where a reader begins and what it gets, over a log without a service.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use pgo_event::{
    http::{
        frames::Frames,
        query::{Form, Framing},
    },
    log::{Entry, Limits, Log},
    metrics::Metrics,
    reader::Reader,
};
use pgo_ids::EventKey;
use pgo_proto::event::{Place, ReadRequest, read_request::From, read_response::What};
use pgo_telemetry::{CancellationToken, Telemetry};
use tempfile::TempDir;
use tokio::{sync::Semaphore, time::timeout};
use tonic::{Code, Status};

use crate::{
    events::{event, stream},
    installation::{beginning, soon},
};

pub struct World {
    pub log: Arc<Log>,
    metrics: Metrics,
    _folder: TempDir,
}

pub fn entry(cluster: &str, seq: u64) -> Entry {
    let event = event(cluster, seq);
    Entry {
        // All are of one stream, whatever cluster they are about.
        key: EventKey {
            stream: stream("all"),
            seq: event.seq,
        },
        event: Bytes::from(event.to_wire().unwrap()),
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

impl World {
    fn new(segment_bytes: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let limits = Limits {
            segment_bytes,
            most_bytes: u64::MAX,
            longest: Duration::from_secs(86_400),
        };
        let log = Log::open(folder.path(), limits, at(0)).unwrap();
        let telemetry = Telemetry::without_logs("event", "test");
        Self {
            log: Arc::new(log),
            metrics: Metrics::register(&telemetry),
            _folder: folder,
        }
    }

    /// A log that is somewhere else.
    pub fn of(log: Log) -> Self {
        let telemetry = Telemetry::without_logs("event", "test");
        Self {
            log: Arc::new(log),
            metrics: Metrics::register(&telemetry),
            _folder: TempDir::new().unwrap(),
        }
    }

    /// Events of the clusters named, one second after the other.
    fn with(segment_bytes: u64, clusters: &[&str]) -> Self {
        let world = Self::new(segment_bytes);
        for (seq, cluster) in (1..).zip(clusters) {
            world.append(cluster, seq);
        }
        world
    }

    fn append(&self, cluster: &str, seq: u64) {
        let time = at(i64::try_from(seq).unwrap());
        self.log.append(vec![entry(cluster, seq)], time).unwrap();
    }

    pub async fn reader(&self, request: ReadRequest) -> Result<Reader, Status> {
        let reading = self.metrics.reader();
        let shutdown = CancellationToken::new();
        Reader::begin(self.log.clone(), request, reading, shutdown).await
    }

    /// Everything that a reader gets which does not follow: seqs of records, and words for the rest.
    async fn read(&self, from: Option<From>, clusters: &[&str]) -> Vec<String> {
        let clusters = clusters.iter().map(|name| (*name).to_owned()).collect();
        self.read_all(ReadRequest {
            from,
            clusters,
            ..ReadRequest::default()
        })
        .await
    }

    async fn read_all(&self, request: ReadRequest) -> Vec<String> {
        let mut reader = self.reader(request).await.unwrap();
        let mut found = Vec::new();
        while let Some(answer) = soon("an answer", reader.next()).await.unwrap() {
            found.push(word(answer.what.unwrap()));
        }
        found
    }
}

fn word(what: What) -> String {
    match what {
        What::Record(record) => {
            let event = pgo_events::Event::from_wire(&record.event).unwrap();
            event.seq.to_string()
        }
        What::CaughtUp(_) => "live".to_owned(),
        What::Cut(_) => "cut".to_owned(),
    }
}

#[tokio::test]
async fn a_reader_begins_where_it_asked_to() {
    for segment_bytes in [1, u64::MAX] {
        let world = World::with(segment_bytes, &["a", "a", "a", "a", "a"]);
        let cursor = |offset| From::Cursor(world.log.cursor(offset).to_string());
        let since = |seconds| {
            From::Since(prost_types::Timestamp {
                seconds: at(seconds).as_second(),
                nanos: 0,
            })
        };
        let after = |seq| {
            From::Event(Place {
                stream: "all".to_owned(),
                seq,
            })
        };
        let cases: [(Option<From>, &[&str]); 13] = [
            (Some(after(0)), &["1", "2", "3", "4", "5", "live"]),
            (Some(after(3)), &["4", "5", "live"]),
            (Some(after(5)), &["live"]),
            (None, &["live"]),
            (
                Some(From::Beginning(true)),
                &["1", "2", "3", "4", "5", "live"],
            ),
            (Some(cursor(0)), &["1", "2", "3", "4", "5", "live"]),
            (Some(cursor(3)), &["4", "5", "live"]),
            (Some(cursor(5)), &["live"]),
            (Some(cursor(9)), &["cut", "live"]),
            (Some(From::Last(2)), &["4", "5", "live"]),
            (Some(From::Last(0)), &["live"]),
            (Some(From::Last(99)), &["1", "2", "3", "4", "5", "live"]),
            (Some(since(4)), &["4", "5", "live"]),
        ];
        for (from, expected) in cases {
            let name = format!("{from:?}");
            assert_eq!(world.read(from, &[]).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn the_last_ones_are_those_that_are_wanted() {
    let world = World::with(u64::MAX, &["a", "b", "a", "b", "b", "a"]);
    let last = |count| Some(From::Last(count));
    assert_eq!(world.read(last(2), &["a"]).await, ["3", "6", "live"]);
    assert_eq!(world.read(last(2), &["b"]).await, ["4", "5", "live"]);
    assert_eq!(world.read(last(9), &["b"]).await, ["2", "4", "5", "live"]);
    assert_eq!(world.read(last(2), &["c"]).await, ["live"]);
}

#[tokio::test]
async fn who_has_not_seen_events_that_went_by_retention_is_told_and_who_has_is_not() {
    let world = World::with(1, &["a", "a", "a"]);
    for days in [1, 3] {
        world.log.tidy(at(days * 86_400)).unwrap();
    }
    assert_eq!((world.log.oldest(), world.log.end()), (4, 4));
    let after = |seq| {
        Some(From::Event(Place {
            stream: "all".to_owned(),
            seq,
        }))
    };
    assert_eq!(world.read(after(1), &[]).await, ["cut", "live"]);
    assert_eq!(world.read(after(3), &[]).await, ["live"]);
    world
        .log
        .append(vec![entry("a", 4)], at(4 * 86_400))
        .unwrap();
    assert_eq!(world.read(after(1), &[]).await, ["cut", "4", "live"]);
    for from in [after(3), Some(From::Beginning(true)), Some(From::Last(1))] {
        assert_eq!(world.read(from, &[]).await, ["4", "live"]);
    }
}

#[tokio::test]
async fn who_asks_for_a_time_is_told_where_what_came_since_is_not_all_kept() {
    let since = |seconds: i64| {
        Some(From::Since(prost_types::Timestamp {
            seconds: at(seconds).as_second(),
            nanos: 0,
        }))
    };
    let world = World::with(1, &["a", "a", "a", "a", "a"]);
    assert_eq!(
        world.read(since(-100), &[]).await,
        ["1", "2", "3", "4", "5", "live"],
        "before the log there was nothing"
    );
    world.log.tidy(at(86_400 + 3)).unwrap();
    assert_eq!(world.log.oldest(), 3);
    for seconds in [1, 2] {
        let read = world.read(since(seconds), &[]).await;
        assert_eq!(read, ["cut", "3", "4", "5", "live"], "{seconds}");
    }
    assert_eq!(world.read(since(3), &[]).await, ["3", "4", "5", "live"]);
    let request = ReadRequest {
        from: since(1),
        ..ReadRequest::default()
    };
    let first = world.reader(request).await.unwrap().next().await.unwrap();
    let Some(What::Cut(why)) = first.and_then(|answer| answer.what) else {
        panic!("no cut");
    };
    assert!(why.contains(&at(3).to_string()), "{why}");

    world.log.tidy(at(3 * 86_400)).unwrap();
    assert_eq!(world.log.oldest(), 6);
    assert_eq!(world.read(since(4), &[]).await, ["cut", "live"]);
    assert_eq!(world.read(since(6), &[]).await, ["live"]);
}

#[tokio::test]
async fn who_asks_a_copy_for_a_time_is_told_where_what_came_since_is_not_all_kept() {
    let other = World::with(u64::MAX, &["a", "a", "a", "a"]);
    let copy = World::new(u64::MAX);
    let lineage = other.log.lineage();
    let begun = copy.log.start_over(lineage, 3, Vec::new(), at(10));
    begun.unwrap();
    copy.log
        .write_copies(other.log.read(3, 2).unwrap())
        .unwrap();
    copy.log.commit(5);
    for (seconds, expected) in [(2, &["cut", "3", "4", "live"][..]), (4, &["4", "live"])] {
        let time = prost_types::Timestamp {
            seconds: at(seconds).as_second(),
            nanos: 0,
        };
        let read = copy.read(Some(From::Since(time)), &[]).await;
        assert_eq!(read, expected, "{seconds}");
    }
}

#[tokio::test]
async fn what_never_came_is_told_also_where_the_event_behind_it_is_not_wanted() {
    let world = World::with(u64::MAX, &["a"]);
    world.append("a", 4);
    world.append("a", 5);
    let beginning = || ReadRequest {
        from: Some(From::Beginning(true)),
        ..ReadRequest::default()
    };
    let severity = ReadRequest {
        severity: "error".to_owned(),
        ..beginning()
    };
    let types = ReadRequest {
        types: vec!["NoSuchEvent".to_owned()],
        ..beginning()
    };
    let expression = ReadRequest {
        filter: "clustername = 'b'".to_owned(),
        ..beginning()
    };
    let topic = ReadRequest {
        topics: vec!["policytopic".to_owned()],
        ..beginning()
    };
    for request in [severity, types, expression, topic] {
        let name = format!("{request:?}");
        assert_eq!(world.read_all(request).await, ["cut", "live"], "{name}");
    }
    let whole = world.read_all(beginning()).await;
    assert_eq!(whole, ["1", "cut", "4", "5", "live"]);
    // What another cluster lacks is not this one's.
    let other = world.read(Some(From::Beginning(true)), &["b"]).await;
    assert_eq!(other, ["live"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_what_comes_join_without_gap_or_repeat() {
    for segment_bytes in [1_700_000, u64::MAX] {
        let world = World::new(segment_bytes);
        (1..=50).for_each(|seq| world.append("a", seq));
        let mut readers = Vec::new();
        for _ in 0..3 {
            readers.push(world.reader(beginning()).await.unwrap());
        }
        let writer = {
            let world = World {
                log: world.log.clone(),
                metrics: world.metrics.clone(),
                _folder: TempDir::new().unwrap(),
            };
            std::thread::spawn(move || (51..=400).for_each(|seq| world.append("a", seq)))
        };
        for mut reader in readers {
            let mut expected = 1;
            while expected <= 400 {
                let answer = soon("an answer", reader.next()).await.unwrap().unwrap();
                match answer.what.unwrap() {
                    What::CaughtUp(_) => assert!(expected > 50),
                    other => {
                        assert_eq!(word(other), expected.to_string());
                        expected += 1;
                    }
                }
            }
        }
        writer.join().unwrap();
    }
}

/// The log is a copy that has all that is known to be there.
fn be_a_copy(log: &Log) {
    log.set_follows(true);
    log.set_stale(false);
}

/// A reader whose cursor is ahead of the log by far.
async fn ahead_of(world: &World, follow: bool) -> Reader {
    let cursor = world.log.cursor(999_999).to_string();
    let request = ReadRequest {
        from: Some(From::Cursor(cursor)),
        follow,
        ..ReadRequest::default()
    };
    world.reader(request).await.unwrap()
}

async fn next(reader: &mut Reader) -> String {
    let answer = soon("an answer", reader.next()).await.unwrap().unwrap();
    word(answer.what.unwrap())
}

#[tokio::test]
async fn who_is_ahead_of_the_one_that_writes_is_told_at_once_and_goes_on_from_the_end() {
    let world = World::with(4096, &["a", "b"]);
    let mut reader = ahead_of(&world, true).await;
    assert_eq!(next(&mut reader).await, "cut");
    assert_eq!(next(&mut reader).await, "live");
    world.append("a", 3);
    assert_eq!(next(&mut reader).await, "3");
}

#[tokio::test(start_paused = true)]
async fn who_is_ahead_of_a_copy_is_told_when_the_record_does_not_come_and_goes_on_from_the_end() {
    for follow in [true, false] {
        let world = World::with(4096, &["a", "b"]);
        be_a_copy(&world.log);
        let mut reader = ahead_of(&world, follow).await;
        // What comes meanwhile is not what is waited for.
        let waiting = timeout(Duration::from_secs(4), reader.next()).await;
        assert!(waiting.is_err(), "{waiting:?}");
        world.append("a", 3);
        assert_eq!(next(&mut reader).await, "cut");
        assert_eq!(next(&mut reader).await, "live");
        assert_eq!(next(&mut reader).await, "3");
        if follow {
            world.append("a", 4);
            assert_eq!(next(&mut reader).await, "4");
        }
    }
}

#[tokio::test]
async fn who_is_a_moment_ahead_of_a_copy_gets_what_comes_without_a_cut() {
    let world = World::with(4096, &["a", "b"]);
    be_a_copy(&world.log);
    let end = world.log.cursor(3).to_string();
    let request = ReadRequest {
        from: Some(From::Cursor(end)),
        follow: true,
        ..ReadRequest::default()
    };
    let mut reader = world.reader(request).await.unwrap();
    world.append("a", 3);
    world.append("b", 4);
    assert_eq!(next(&mut reader).await, "live");
    assert_eq!(next(&mut reader).await, "4");
}

#[tokio::test]
async fn who_is_caught_up_can_go_on_from_the_cursor_it_is_given() {
    let world = World::with(u64::MAX, &["a", "b"]);
    let request = ReadRequest {
        from: Some(From::Last(1)),
        clusters: vec!["c".to_owned()],
        ..ReadRequest::default()
    };
    let mut reader = world.reader(request).await.unwrap();
    let answer = reader.next().await.unwrap().unwrap().what.unwrap();
    let What::CaughtUp(caught_up) = answer else {
        panic!("{answer:?}");
    };
    world.append("c", 3);
    let on = world
        .read(Some(From::Cursor(caught_up.cursor)), &["c"])
        .await;
    assert_eq!(on, ["3", "live"]);
}

#[tokio::test]
async fn who_wants_nothing_of_much_that_comes_is_told_where_it_is() {
    let world = World::with(u64::MAX, &["a"]);
    let request = ReadRequest {
        from: Some(From::Beginning(true)),
        follow: true,
        clusters: vec!["c".to_owned()],
        ..ReadRequest::default()
    };
    let mut reader = world.reader(request).await.unwrap();
    let mut places = Vec::new();
    for end in [1, 1500, 3000] {
        let there = world.log.end();
        let entries = (there..=end).map(|seq| entry("a", seq)).collect();
        world.log.append(entries, at(2)).unwrap();
        let answer = soon("an answer", reader.next()).await.unwrap().unwrap();
        let Some(What::CaughtUp(there)) = answer.what else {
            panic!("{answer:?}");
        };
        places.push(there.cursor);
    }
    let expected = [1, 1500, 3000].map(|offset| world.log.cursor(offset).to_string());
    assert_eq!(places, expected);
}

#[tokio::test]
async fn a_reader_of_an_empty_log_waits_for_its_first_record() {
    let world = World::new(u64::MAX);
    assert_eq!(world.read(Some(From::Beginning(true)), &[]).await, ["live"]);
    let mut reader = world.reader(beginning()).await.unwrap();
    assert_eq!(
        word(reader.next().await.unwrap().unwrap().what.unwrap()),
        "live"
    );
    world.append("a", 1);
    let first = soon("the record", reader.next()).await.unwrap().unwrap();
    assert_eq!(word(first.what.unwrap()), "1");
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let world = World::new(u64::MAX);
    let topics = ReadRequest {
        topics: vec!["nosuchtopic".to_owned()],
        ..ReadRequest::default()
    };
    let time = ReadRequest {
        from: Some(From::Since(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        })),
        ..ReadRequest::default()
    };
    for request in [topics, time] {
        let refused = world.reader(request).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn who_follows_over_http_hears_that_the_connection_lives_and_misses_nothing_by_it() {
    for (framing, sign) in [
        (Framing::Lines, "\n"),
        (Framing::ServerSent, ": still here\n\n"),
    ] {
        let world = World::with(u64::MAX, &["a"]);
        let request = ReadRequest {
            from: Some(From::Beginning(true)),
            follow: true,
            ..ReadRequest::default()
        };
        let reader = world.reader(request).await.unwrap();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let form = Form::Envelope;
        let frames = Frames { framing, form };
        let body = pgo_event::http::body(reader, frames, Duration::from_millis(20), place);
        let mut body = std::pin::pin!(body);
        let mut signs = 0;
        let mut seqs = Vec::new();
        while signs < 5 || seqs.len() < 2 {
            let frame = soon("a frame", body.next()).await.unwrap().unwrap();
            let frame = String::from_utf8(frame.to_vec()).unwrap();
            if frame == sign {
                signs += 1;
                if signs == 3 {
                    world.append("a", 2);
                }
            } else if let Some(at) = frame.find("\"seq\":") {
                let digits = &frame[at + 6..];
                let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap();
                seqs.push(digits[..end].to_owned());
            }
        }
        assert_eq!(seqs, ["1", "2"]);
    }
}
