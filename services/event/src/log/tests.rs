use pgo_ids::EventKey;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn limits() -> Limits {
    Limits {
        segment_bytes: u64::MAX,
        most_bytes: u64::MAX,
        longest: DAY * 30,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn open(folder: &TempDir, limits: &Limits) -> Log {
    Log::open(folder.path(), limits.clone(), at(0)).expect("the log opens")
}

fn stream(name: &str) -> StreamId {
    name.parse().expect("a stream")
}

fn entry(name: &str, seq: u64) -> Entry {
    let cluster = format!("c{seq}");
    Entry {
        key: EventKey {
            stream: stream(name),
            seq: Seq(seq),
        },
        event: Bytes::from(format!(
            r#"{{"eventheader":{{"namespace":"n","topic":["clustertopic"]}},"clustername":"{cluster}"}}"#
        )),
    }
}

fn all(log: &Log) -> Vec<(Offset, String)> {
    let mut found = Vec::new();
    let mut next = log.oldest();
    loop {
        let records = log.read(next, 3).expect("a read");
        let Some(last) = records.last() else {
            return found;
        };
        next = last.offset + 1;
        found.extend(records.iter().map(|record| {
            let cluster = record.facets.cluster.clone().expect("a cluster");
            (record.offset, cluster)
        }));
    }
}

fn expected(offsets: impl IntoIterator<Item = u64>) -> Vec<(Offset, String)> {
    offsets.into_iter().map(|o| (o, format!("c{o}"))).collect()
}

#[test]
fn what_was_appended_is_there_after_the_log_is_opened_again() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &limits());
    assert_eq!((log.oldest(), *log.head().borrow()), (1, 1));
    log.append(vec![entry("a", 1), entry("a", 2)], at(1))
        .expect("an append");
    log.append(vec![entry("b", 3)], at(2)).expect("an append");
    let cursor = log.cursor(2);
    drop(log);
    let log = open(&folder, &limits());
    assert!(log.knows(&cursor));
    assert_eq!(*log.head().borrow(), 4);
    assert_eq!(log.watermark(&stream("a")), Watermark(Seq(2)));
    assert_eq!(log.watermark(&stream("b")), Watermark(Seq(3)));
    assert_eq!(log.watermark(&stream("c")), Watermark(Seq(0)));
    assert_eq!(all(&log), expected(1..=3));
}

#[test]
fn logs_of_two_folders_differ_in_their_epoch() {
    let (one, two) = (TempDir::new().expect("a"), TempDir::new().expect("b"));
    let cursor = open(&one, &limits()).cursor(1);
    assert!(!open(&two, &limits()).knows(&cursor));
}

/// A segment for each append.
fn small() -> Limits {
    Limits {
        segment_bytes: 1,
        ..limits()
    }
}

#[test]
fn segments_follow_each_other_and_carry_the_watermarks() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &small());
    for seq in 1..=5 {
        log.append(vec![entry("a", seq)], at(1)).expect("an append");
    }
    assert_eq!(all(&log), expected(1..=5));
    drop(log);
    assert_eq!(std::fs::read_dir(folder.path()).expect("files").count(), 5);
    let log = open(&folder, &small());
    assert_eq!(log.watermark(&stream("a")), Watermark(Seq(5)));
    assert_eq!(all(&log), expected(1..=5));
    log.append(vec![entry("a", 6)], at(2)).expect("an append");
    assert_eq!(all(&log), expected(1..=6));
}

#[test]
fn the_oldest_segments_go_by_age() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &small());
    let day = 86_400;
    for (seq, time) in (1..=4).zip([0, 10 * day, 20 * day, 30 * day]) {
        log.append(vec![entry("a", seq)], at(time))
            .expect("an append");
    }
    log.tidy(at(39 * day)).expect("tidied");
    assert_eq!(log.oldest(), 1);
    log.tidy(at(41 * day)).expect("tidied");
    assert_eq!(all(&log), expected(2..=4));
    // What was the newest is closed by age, and goes in its time.
    log.tidy(at(80 * day)).expect("tidied");
    assert_eq!((log.oldest(), *log.head().borrow()), (5, 5));
    assert_eq!(all(&log), []);
}

#[test]
fn a_stream_is_forgotten_with_its_last_event_and_not_before() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &small());
    let day = 86_400;
    let told = [("ended", 1), ("quiet", 1), ("quiet", 2), ("busy", 1)];
    for ((name, seq), time) in told.into_iter().zip([0, 0, 10 * day, 20 * day]) {
        log.append(vec![entry(name, seq)], at(time))
            .expect("an append");
    }
    let known = |log: &Log| {
        let mut known: Vec<_> = log.watermarks();
        known.sort();
        let known = known.into_iter();
        known
            .map(|(stream, seq)| (stream.to_string(), seq.0))
            .collect::<Vec<_>>()
    };
    let of = |names: &[(&str, u64)]| {
        let names = names.iter();
        names
            .map(|(name, seq)| ((*name).to_owned(), *seq))
            .collect::<Vec<_>>()
    };
    log.tidy(at(29 * day)).expect("tidied");
    assert_eq!(known(&log), of(&[("busy", 1), ("ended", 1), ("quiet", 2)]));
    log.tidy(at(39 * day)).expect("tidied");
    assert_eq!(known(&log), of(&[("busy", 1), ("quiet", 2)]));
    // Its first event goes, its second is still there.
    log.tidy(at(41 * day)).expect("tidied");
    assert_eq!(
        (log.oldest(), log.watermark(&stream("quiet"))),
        (3, Watermark(Seq(2)))
    );
    log.tidy(at(52 * day)).expect("tidied");
    assert_eq!(known(&log), of(&[("busy", 1)]));

    // It may go on all the same.
    log.append(vec![entry("quiet", 3)], at(53 * day))
        .expect("an append");
    drop(log);
    let log = open(&folder, &small());
    assert_eq!(log.watermark(&stream("quiet")), Watermark(Seq(3)));
}

#[test]
fn the_oldest_segments_go_by_size() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &small());
    for seq in 1..=4 {
        log.append(vec![entry("a", seq)], at(1)).expect("an append");
    }
    drop(log);
    // Less than the newest one alone has.
    let limits = Limits {
        most_bytes: 1,
        ..limits()
    };
    let log = open(&folder, &limits);
    let before = log.bytes();
    log.tidy(at(2)).expect("tidied");
    assert_eq!(all(&log), expected(4..=4));
    assert!(log.bytes() < before);
}

#[test]
fn times_do_not_fall_though_the_clock_does() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &limits());
    log.append(vec![entry("a", 1)], at(100)).expect("an append");
    log.append(vec![entry("a", 2)], at(50)).expect("an append");
    let records = log.read(1, 10).expect("a read");
    assert!(records.iter().all(|record| record.appended == at(100)));
}

#[test]
fn a_segment_that_was_being_made_is_forgotten() {
    let folder = TempDir::new().expect("a folder");
    drop(open(&folder, &limits()));
    let left = folder
        .path()
        .join("00000000000000000009-1800000000000.redb.new");
    std::fs::write(&left, b"half").expect("a file");
    let log = open(&folder, &limits());
    assert!(!left.exists());
    assert_eq!(*log.head().borrow(), 1);
}

#[test]
fn two_processes_cannot_have_the_log_open() {
    let folder = TempDir::new().expect("a folder");
    let _log = open(&folder, &limits());
    let again = Log::open(folder.path(), limits(), at(0));
    assert!(again.is_err_and(|error| error.to_string().contains("cannot use the log's segment")));
}

#[test]
fn readers_of_a_segment_do_not_mind_that_it_is_closed() {
    let folder = TempDir::new().expect("a folder");
    let log = Arc::new(open(&folder, &small()));
    let reading = log.clone();
    let reader = std::thread::spawn(move || {
        let mut next = 1;
        while next <= 60 {
            for record in reading
                .segment_of(next)
                .expect("a segment")
                .1
                .read(next, 2)
                .expect("a read")
            {
                assert_eq!(record.offset, next);
                next += 1;
            }
        }
    });
    for seq in 1..=60 {
        log.append(vec![entry("a", seq)], at(1)).expect("an append");
    }
    reader.join().expect("no panic");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_time_leads_to_the_first_record_of_it_or_later(
        steps in prop::collection::vec((0i64..4, any::<bool>()), 1..14), asked in 0i64..40,
    ) {
        let folder = TempDir::new().expect("a folder");
        let mut log = open(&folder, &limits());
        let mut time = 0;
        let mut times = Vec::new();
        for (step, roll) in steps {
            time += step;
            if roll {
                drop(log);
                log = open(&folder, &small());
            }
            let seq = times.len() as u64 + 1;
            log.append(vec![entry("a", seq)], at(time)).expect("an append");
            times.push(log.read(seq, 1).expect("a read")[0].appended);
        }
        let first = times.iter().position(|appended| *appended >= at(asked));
        let expected = first.map_or(times.len() as u64 + 1, |at| at as u64 + 1);
        prop_assert_eq!(log.since(at(asked)).expect("a read"), expected);
    }
}
