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
            let cluster = record.facets().cluster.clone().expect("a cluster");
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
    let segments = super::Folder::new(folder.path())
        .expect("a folder")
        .segments();
    assert_eq!(segments.expect("files").len(), 5);
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
fn a_stream_falls_silent_with_its_last_event_and_not_before() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &small());
    let day = 86_400;
    let told = [
        ("ended", 1),
        ("quiet", 1),
        ("quiet", 2),
        ("busy", 1),
        ("busy", 2),
    ];
    for ((name, seq), time) in told.into_iter().zip([0, 0, 10 * day, 20 * day, 25 * day]) {
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
    assert_eq!(known(&log), of(&[("busy", 2), ("ended", 1), ("quiet", 2)]));
    log.tidy(at(39 * day)).expect("tidied");
    assert_eq!(known(&log), of(&[("busy", 2), ("quiet", 2)]));
    // Its first event goes, its second is still there.
    log.tidy(at(41 * day)).expect("tidied");
    assert_eq!(
        (log.oldest(), log.watermark(&stream("quiet"))),
        (3, Watermark(Seq(2)))
    );
    log.tidy(at(52 * day)).expect("tidied");
    assert_eq!(known(&log), of(&[("busy", 2)]));
    assert_eq!(
        log.quiet(),
        [(stream("ended"), Seq(1)), (stream("quiet"), Seq(2))]
    );

    // It may go on all the same.
    log.append(vec![entry("quiet", 3)], at(53 * day))
        .expect("an append");
    drop(log);
    let log = open(&folder, &small());
    assert_eq!(log.watermark(&stream("quiet")), Watermark(Seq(3)));
}

#[test]
fn the_last_event_of_a_stream_is_known_after_it_went_unless_it_ended_the_stream() {
    let folder = TempDir::new().expect("a folder");
    let day = 86_400;
    let log = open(&folder, &small());
    let mut deletion = entry("deleted", 4);
    deletion.event = Bytes::from(
        r#"{"eventheader":{"EventType":"DeleteClusterCompleted","namespace":"n","topic":[]}}"#,
    );
    for (told, time) in [
        (entry("quiet", 1), 0),
        (deletion, 0),
        (entry("quiet", 2), 0),
        (entry("busy", 1), 20),
        (entry("busy", 2), 25),
    ] {
        log.append(vec![told], at(time * day)).expect("an append");
    }
    let last = |log: &Log, name| log.watermark(&stream(name)).0.0;
    log.tidy(at(51 * day)).expect("tidied");
    assert_eq!(log.oldest(), 4);
    assert_eq!((last(&log, "quiet"), last(&log, "deleted")), (2, 0));
    drop(log);
    // The head of the newest segment names both still.
    let log = open(&folder, &small());
    assert_eq!(last(&log, "quiet"), 2);
    log.append(vec![entry("busy", 3)], at(70 * day))
        .expect("an append");
    log.tidy(at(91 * day)).expect("tidied");
    assert_eq!(log.oldest(), 6);
    assert_eq!((last(&log, "quiet"), last(&log, "deleted")), (2, 0));
    log.append(vec![entry("quiet", 3)], at(92 * day))
        .expect("an append");
    assert_eq!(log.read(7, 1).expect("a read")[0].cut(), 0);
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
        .join("00000000000000000009-1800000000000.log.new");
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
    assert!(again.is_err_and(|error| {
        error
            .to_string()
            .contains("another process has the log open")
    }));
}

#[test]
fn readers_mind_neither_new_segments_nor_that_old_ones_go() {
    let folder = TempDir::new().expect("a folder");
    let log = Arc::new(open(&folder, &small()));
    let reading = log.clone();
    let reader = std::thread::spawn(move || {
        let mut next = 1;
        while next <= 60 {
            for record in reading.read_between(next..61, 2).expect("a read") {
                assert!(record.offset == next || next < reading.oldest());
                next = record.offset + 1;
            }
        }
    });
    let day = 86_400;
    for seq in 1..=60 {
        log.append(vec![entry("a", seq)], at(1)).expect("an append");
        log.tidy(at(if seq == 30 { 40 * day } else { 1 }))
            .expect("tidied");
    }
    reader.join().expect("no panic");
    assert!(log.oldest() > 1);
    assert_eq!(log.damaged(), 0);
}

#[test]
fn what_is_not_committed_is_not_shown_and_does_not_count() {
    let folder = TempDir::new().expect("a folder");
    let replica = || Log::open_replica(folder.path(), limits(), at(0)).expect("the log opens");
    let log = replica();
    let end = log
        .write(vec![entry("a", 1), entry("a", 2)], 3, at(1))
        .expect("a write");
    assert_eq!((end, *log.head().borrow()), (3, 1));
    assert_eq!(log.read(1, 10).expect("a read"), []);
    assert_eq!(log.watermark(&stream("a")), Watermark(Seq(0)));
    log.commit(2);
    assert_eq!(log.read(1, 10).expect("a read").len(), 1);
    assert_eq!(log.watermark(&stream("a")), Watermark(Seq(1)));
    drop(log);
    // Also when it is opened anew; the rest is there, for who knows more.
    let log = replica();
    assert_eq!((log.tip(), *log.head().borrow()), ((3, 3), 2));
    assert_eq!(log.watermark(&stream("a")), Watermark(Seq(1)));
    assert_eq!(log.read_all(1, 10).expect("a read").len(), 2);
    log.commit(3);
    assert_eq!(all(&log), expected(1..=2));
}

#[test]
fn a_tail_is_cut_back_and_kept_aside() {
    for limits in [limits(), small()] {
        let folder = TempDir::new().expect("a folder");
        let log = open(&folder, &limits);
        for seq in 1..=5 {
            log.append(vec![entry("a", seq)], at(1)).expect("an append");
        }
        let generation = log.generation();
        assert_eq!(log.cut_back(4, at(2)).expect("a cut"), 2);
        assert_eq!(all(&log), expected(1..=3));
        assert_eq!(log.watermark(&stream("a")), Watermark(Seq(3)));
        assert!(log.generation() > generation);
        log.append(vec![entry("a", 4)], at(3)).expect("an append");
        assert_eq!(all(&log), expected(1..=4));
        assert_eq!(log.damaged(), 0);
        let aside = std::fs::read_dir(folder.path().join("aside")).expect("files");
        assert!(aside.count() > 0);
    }
}

#[test]
fn a_log_starts_over_as_a_copy_that_begins_later() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &limits());
    log.append(vec![entry("a", 1)], at(1)).expect("an append");
    let lineage = Lineage::new(1);
    let quiet = vec![(stream("quiet"), Seq(4))];
    log.start_over(lineage.clone(), 7, quiet, at(2))
        .expect("a new log");
    assert_eq!(
        (log.oldest(), log.end(), log.lineage()),
        (7, 7, lineage.clone())
    );
    assert_eq!(log.watermark(&stream("a")), Watermark(Seq(0)));
    drop(log);
    let log = open(&folder, &limits());
    assert_eq!((log.oldest(), log.end(), log.lineage()), (7, 7, lineage));
    assert_eq!(log.watermark(&stream("quiet")), Watermark(Seq(4)));
}

/// A record a day for 20 days, copied long afterwards, with a look at what is too old in between.
fn copied(folder: &TempDir) -> Log {
    let there = TempDir::new().expect("a folder");
    let other = open(&there, &limits());
    let day = 86_400;
    let log = open(folder, &limits());
    log.start_over(other.lineage(), 1, Vec::new(), at(45 * day))
        .expect("a new log");
    for (seq, days) in (1..=20).zip(1..) {
        other
            .append(vec![entry("a", seq)], at(days * day))
            .expect("an append");
        log.write_copies(other.read(seq, 1).expect("a read"))
            .expect("a copy");
        if seq == 10 {
            log.tidy(at(20 * day)).expect("tidied");
        }
    }
    log.commit(log.end());
    log
}

#[test]
fn a_copy_finds_records_by_the_times_at_which_the_other_took_them() {
    let folder = TempDir::new().expect("a folder");
    let log = copied(&folder);
    let found = |log: &Log| {
        let since = |days: i64| log.since(at(days * 86_400)).expect("a read");
        (0..=21).map(since).collect::<Vec<_>>()
    };
    let expected: Vec<_> = std::iter::once(1).chain(1..=21).collect();
    assert_eq!(found(&log), expected);
    drop(log);
    let log = open(&folder, &limits());
    assert_eq!(found(&log), expected);
}

#[test]
fn a_copy_drops_records_by_the_times_at_which_the_other_took_them() {
    let folder = TempDir::new().expect("a folder");
    let log = copied(&folder);
    log.tidy(at(45 * 86_400)).expect("tidied");
    // The one before it was the newest until day 15, which is 30 days ago.
    assert_eq!(log.oldest(), 15);
    log.append(vec![entry("a", 21)], at(45 * 86_400))
        .expect("an append");
    assert_eq!(all(&log), expected(15..=21));
}

#[test]
fn a_new_epoch_knows_the_cursors_of_the_former_one() {
    let folder = TempDir::new().expect("a folder");
    let log = open(&folder, &limits());
    log.append(vec![entry("a", 1)], at(1)).expect("an append");
    let cursor = log.cursor(1);
    let mut lineage = log.lineage();
    lineage.begin(2);
    log.adopt(lineage).expect("an epoch");
    log.append(vec![entry("a", 2)], at(3)).expect("an append");
    assert_eq!(log.kin(&cursor), Kin::Ancestor(2));
    assert_eq!(log.kin(&log.cursor(1)), Kin::Same);
    drop(log);
    let log = open(&folder, &limits());
    assert_eq!(log.kin(&cursor), Kin::Ancestor(2));
    assert_eq!(all(&log), expected(1..=2));
}

#[test]
fn damaged_records_are_put_back_where_they_were() {
    for limits in [limits(), small()] {
        let folder = TempDir::new().expect("a folder");
        let log = open(&folder, &limits);
        for seq in 1..=6 {
            log.append(vec![entry("a", seq)], at(1)).expect("an append");
        }
        let good = log.read(1, 10).expect("a read");
        drop(log);
        for file in std::fs::read_dir(folder.path()).expect("files") {
            let path = file.expect("a file").path();
            let mut bytes = std::fs::read(&path).expect("bytes");
            let text = br#""c3""#;
            if let Some(at) = bytes.windows(text.len()).position(|part| part == text) {
                bytes[at + 2] = b'9';
                std::fs::write(&path, bytes).expect("written");
            }
        }
        let log = open(&folder, &limits);
        log.look_for_damage().expect("a look");
        assert!(log.damaged_ranges().into_iter().flatten().eq([3]));
        assert_eq!(all(&log), expected([1, 2, 4, 5, 6]));
        assert_eq!(log.mend(&good).expect("mended"), 1);
        assert_eq!((log.damaged(), all(&log)), (0, expected(1..=6)));
        log.append(vec![entry("a", 7)], at(2)).expect("an append");
        drop(log);
        let log = open(&folder, &limits);
        log.look_for_damage().expect("a look");
        assert_eq!((log.damaged(), all(&log)), (0, expected(1..=7)));
    }
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

/// Three writes, the file that says what was confirmed as it was after the first, as a power cut may leave it, and a byte of
/// one record changed.
fn after_a_power_cut(folder: &TempDir, changed: &str) -> Log {
    let log = open(folder, &limits());
    let confirmed = folder.path().join("confirmed");
    log.append(vec![entry("a", 1)], at(1)).expect("an append");
    let known = std::fs::read(&confirmed).expect("the file");
    for seq in 2..=3 {
        log.append(vec![entry("a", seq)], at(1)).expect("an append");
    }
    let path = log.state().segments[0].path.clone();
    drop(log);
    std::fs::write(&confirmed, known).expect("written");
    let mut bytes = std::fs::read(&path).expect("the segment");
    let place = bytes.windows(2).rposition(|two| two == changed.as_bytes());
    bytes[place.expect("the record")] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    open(folder, &limits())
}

#[test]
fn damage_before_what_a_later_write_calls_committed_is_no_torn_tail() {
    let folder = TempDir::new().expect("a folder");
    let log = after_a_power_cut(&folder, "c2");
    assert_eq!(all(&log), expected([1, 3]));
    assert_eq!((log.damaged(), log.end()), (1, 4));
}

#[test]
fn what_no_write_came_after_is_a_torn_tail() {
    let folder = TempDir::new().expect("a folder");
    let log = after_a_power_cut(&folder, "c3");
    assert_eq!(all(&log), expected([1, 2]));
    assert_eq!((log.damaged(), log.end()), (0, 3));
}
