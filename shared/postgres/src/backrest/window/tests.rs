use super::*;

/// A second of the tests' day.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a time")
}

fn set(label: &str, timeline: u32, number: u64, ended: i64) -> Set {
    let wal = Segment { timeline, number }.to_string();
    Set {
        repository: 1,
        label: label.to_owned(),
        kind: "full".to_owned(),
        started: 1_000_000 + ended - 5,
        finished: 1_000_000 + ended,
        size: 1,
        repository_size: 1,
        start_wal: wal.clone(),
        stop_wal: wal,
        stop_lsn: (number << SEGMENT) + 0x100,
        damaged: false,
        damaged_pages: Vec::new(),
        source: String::new(),
        operation: String::new(),
    }
}

/// Backups on timelines 1 and 2; 2 left 1 in its sixth file, and the backup `left` was made on what it left behind.
fn content() -> Content {
    Content {
        sets: vec![
            set("one", 1, 2, 100),
            set("two", 1, 4, 200),
            set("left", 1, 8, 300),
            set("three", 2, 9, 400),
        ],
        archive: Some("15-1".to_owned()),
        system_identifier: Some(7),
    }
}

fn second() -> History {
    History::read(2, "1\t0/6000148\tbefore 2000-01-01\n").expect("a history")
}

fn newest() -> Option<Newest> {
    Some(Newest {
        segment: Segment {
            timeline: 2,
            number: 12,
        },
        at: Some(at(500)),
    })
}

fn wish(target: Target) -> Wish {
    Wish {
        target,
        exclusive: false,
        line: Line::Newest,
        set: None,
        storage: None,
        rest: Vec::new(),
    }
}

fn label(wish: &Wish) -> Result<(String, u32), String> {
    let chosen = choose(wish, &content(), &second(), newest(), at(600));
    let chosen = chosen.map_err(|refusal| refusal.to_string())?;
    Ok((chosen.set.label, chosen.timeline))
}

#[test]
fn a_time_is_restored_from_the_last_backup_before_it() {
    let of = |second| label(&wish(Target::Time(at(second))));
    let is = |label: &str| Ok((label.to_owned(), 2));
    assert_eq!(of(101), is("one"));
    assert_eq!(of(250), is("two"));
    // What was made on the timeline that was left does not lead there.
    assert_eq!(of(350), is("two"));
    assert_eq!(of(500), is("three"));
    // What came in this second may have come at its end.
    let half = Timestamp::from_millisecond(1_000_500_500).expect("a time");
    assert_eq!(label(&wish(Target::Time(half))), is("three"));
}

#[test]
fn a_time_outside_the_window_is_refused_with_the_window() {
    for (second, why) in [
        (100, "is before the end of the first backup"),
        (501, "is later than what was archived last"),
        (601, "is in the future"),
    ] {
        let error = label(&wish(Target::Time(at(second)))).expect_err("refused");
        let window = "can be restored to any point between 1970-01-12 13:48:20+00 (end of backup one) and \
                      1970-01-12 13:55:00+00 (last archived WAL 00000002000000000000000C)";
        assert!(error.contains(why) && error.contains(window), "{error}");
    }
}

#[test]
fn without_a_time_the_newest_backup_along_the_timeline_is_taken() {
    for target in [
        Target::End,
        Target::Immediate,
        Target::Transaction(7),
        Target::Name("x".to_owned()),
    ] {
        assert_eq!(label(&wish(target)), Ok(("three".to_owned(), 2)));
    }
    assert_eq!(
        label(&wish(Target::Lsn(0x500_0000))),
        Ok(("two".to_owned(), 2))
    );
    let error = label(&wish(Target::Lsn(0x100_0000))).expect_err("refused");
    assert!(error.contains("0/1000000 is before"), "{error}");
}

#[test]
fn a_certain_backup_is_taken_where_it_can_be() {
    let of = |label: &str, target| Wish {
        set: Some(label.to_owned()),
        ..wish(target)
    };
    assert_eq!(label(&of("one", Target::End)), Ok(("one".to_owned(), 2)));
    let error = |wish: &Wish| label(wish).expect_err("refused");
    let none = error(&of("none", Target::End));
    assert!(none.contains("there are one, two, left, three"), "{none}");
    let left = error(&of("left", Target::End));
    assert!(left.contains("timeline 2"), "{left}");
    let late = error(&of("two", Target::Time(at(150))));
    assert!(late.contains("backup two ended at"), "{late}");
    let own = Wish {
        line: Line::OfBackup,
        ..of("left", Target::End)
    };
    assert_eq!(label(&own), Ok(("left".to_owned(), 1)));
}

#[test]
fn a_backup_of_what_was_left_is_told_from_a_restore_that_cannot_be() {
    let superseded = |wish: &Wish, content: &Content| {
        let chosen = choose(wish, content, &second(), newest(), at(600));
        chosen.expect_err("refused").is_of_superseded()
    };
    let of = |label: &str, target| Wish {
        set: Some(label.to_owned()),
        ..wish(target)
    };
    let end = |label: &str| of(label, Target::End);
    assert!(superseded(&end("left"), &content()), "another timeline");
    assert!(superseded(&end("none"), &content()), "another database");
    assert!(superseded(&end("one"), &Content::default()), "no other yet");
    assert!(!superseded(&of("two", Target::Time(at(150))), &content()));
    assert!(!Refusal::NoTimeline(2).is_of_superseded());
    let foreign = Refusal::Foreign { theirs: 1, ours: 2 };
    assert!(!foreign.is_of_superseded());
}

#[test]
fn without_backups_nothing_is_restored() {
    let chosen = choose(
        &wish(Target::End),
        &Content::default(),
        &History::first(1),
        None,
        at(0),
    );
    assert_eq!(chosen, Err(Refusal::NoBackup));
}

#[test]
fn a_listing_tells_timelines_and_where_the_newest_file_may_be() {
    let text = "0000000100000000\n0000000100000001\n00000003.history\n00000002.history\n0000000200000000\narchive.info\n";
    let listing = Listing::read(text);
    assert_eq!(listing.newest(), 3);
    assert!(listing.has(1) && listing.has(3) && !listing.has(4));
    // Nothing of the third is archived yet.
    let history = History::read(3, "1\t0/6000148\tx\n\n2\t0/7000000\tx\n").expect("a history");
    let folders = listing.newest_folders(&history);
    assert_eq!(folders, ["0000000200000000", "0000000100000001"]);
    assert_eq!(Listing::read("").newest(), 1);
    assert_eq!(History::read(2, "# nothing"), None);
}

#[test]
fn the_newest_file_is_a_whole_one_that_leads_on() {
    let sum = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let file =
        |name: &str, time: i64| format!(r#""{name}":{{"type":"file","size":1,"time":{time}}}"#);
    let files = [
        file(&format!("000000010000000000000005-{sum}"), 11),
        file(&format!("000000010000000000000006-{sum}.zst"), 12),
        file(&format!("000000010000000000000006.partial-{sum}.zst"), 13),
        file("000000010000000000000004.00000028.backup", 14),
        file(&format!("000000010000000000000007-{sum}.gz"), 15),
        // What pgBackRest writes and has not come to the end of, as where the volume was full.
        file(
            &format!("000000010000000000000008-{sum}.zst.pgbackrest.tmp"),
            16,
        ),
        file(
            &format!("000000010000000000000008-{sum}.pgbackrest.tmp"),
            17,
        ),
        file("000000010000000000000008-da39", 18),
    ];
    let json = &format!(r#"{{".":{{"type":"path"}},{}}}"#, files.join(","));
    let found = newest_of(json, &second());
    assert_eq!(found, (6, Timestamp::from_second(12).ok()));
    assert_eq!(newest_of(json, &History::first(1)).0, 7);
    assert_eq!(super::newest("{}", &second()).expect("read"), None);
}

fn newest_of(json: &str, history: &History) -> (u64, Option<Timestamp>) {
    let newest = super::newest(json, history).expect("read").expect("one");
    (newest.segment.number, newest.at)
}

#[test]
fn the_end_of_the_archive_is_told_from_a_gap_in_it() {
    let absent = |number| Segment {
        timeline: 2,
        number,
    };
    let end = |number, timeline| super::end(absent(number), timeline, &second(), newest());
    assert_eq!(end(13, 2), End::Reached);
    assert_eq!(end(12, 2), End::Gap(absent(12)));
    assert_eq!(end(13, 1), End::GoesOn(2));
    assert_eq!(end(7, 1), End::GoesOn(2));
    assert_eq!(end(13, 9), End::Reached);
}

#[test]
fn a_name_is_read_as_it_is_written() {
    let segment = Segment::read("0000000A00000001000000FF").expect("a name");
    assert_eq!((segment.timeline, segment.number), (10, 0x1FF));
    assert_eq!(segment.to_string(), "0000000A00000001000000FF");
    for none in [
        "0000000A.history",
        "",
        "0000000A00000001000000F",
        "0000000A00000001000000é",
    ] {
        assert_eq!(Segment::read(none), None, "{none}");
    }
}
