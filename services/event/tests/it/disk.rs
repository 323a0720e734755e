//! A disk that is full, and one that lost or changed what was written to it.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::Path,
};

use pgo_proto::event::read_response::What;

use crate::{
    dead::{letters, publish},
    events::{events, stream},
    installation::{Installation, beginning, eventually, next, open, records, soon},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_confirms_nothing_is_told_and_is_recovered_from() {
    let installation = Installation::start(&[]);
    let relay = installation.relay();
    let mut unconfirmed = relay.unconfirmed();
    relay.offer(&stream("a"), events("a", 1..=3));
    let confirmed = unconfirmed.wait_for(|count| *count == 0);
    soon("the first are confirmed", confirmed).await.unwrap();
    eventually("ready", || installation.admin("/readyz").unwrap().0 == 200).await;

    let size = installation.segments()[0].metadata().unwrap().len();
    installation.limit_files_to(Some(size + 100));
    relay.offer(&stream("a"), events("a", 4..=6));
    eventually("it is told", || {
        installation.admin("/readyz").unwrap().0 == 503
    })
    .await;
    let (_, reason) = installation.admin("/readyz").unwrap();
    assert!(reason.starts_with("log: cannot write"), "{reason}");
    eventually("it is counted", || {
        installation.metric("pgo_event_append_failures_total") > 1
    })
    .await;
    assert_eq!(relay.confirmed(&stream("a")).map(|seq| seq.0), Some(3));
    assert_eq!(installation.segments()[0].metadata().unwrap().len(), size);
    // What is there is still read.
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    assert_eq!(records(&mut reader, 3).await[2].1, 3);

    installation.limit_files_to(None);
    let confirmed = unconfirmed.wait_for(|count| *count == 0);
    soon("all is confirmed", confirmed).await.unwrap();
    let seqs: Vec<u64> = records(&mut reader, 3)
        .await
        .into_iter()
        .map(|r| r.1)
        .collect();
    assert_eq!(seqs, [4, 5, 6]);
    eventually("ready again", || {
        installation.admin("/readyz").unwrap().0 == 200
    })
    .await;
}

fn files_of_the_log(folder: &Path) -> usize {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let of_log = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
    of_log.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_without_room_for_the_next_file_is_told_and_the_log_goes_on_when_there_is_some() {
    // Each write begins a file.
    let settings = [("PGO_EVENT_SEGMENT_BYTES", "1")];
    let installation = Installation::start_with_volume("8m", &settings);
    let relay = installation.relay();
    let mut unconfirmed = relay.unconfirmed();
    for seq in 1..=3 {
        relay.offer(&stream("a"), events("a", seq..=seq));
        let confirmed = unconfirmed.wait_for(|count| *count == 0);
        soon("it is confirmed", confirmed).await.unwrap();
    }
    let folder = installation.data_in_volume();
    let before = files_of_the_log(&folder);
    assert!(before > 1, "{before} files");

    let other = folder.join("of-another");
    let mut file = File::create(&other).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    relay.offer(&stream("a"), events("a", 4..=6));
    eventually("it is told", || {
        let (status, reason) = installation.admin("/readyz").unwrap();
        status == 503 && reason.starts_with("log: cannot write")
    })
    .await;
    assert_eq!(relay.confirmed(&stream("a")).map(|seq| seq.0), Some(3));
    eventually("what was begun is gone", || {
        files_of_the_log(&folder) == before
    })
    .await;

    fs::remove_file(&other).unwrap();
    drop(file);
    let confirmed = unconfirmed.wait_for(|count| *count == 0);
    soon("all is confirmed", confirmed).await.unwrap();
    assert!(files_of_the_log(&folder) > before);
    let mut reader = open(&mut installation.client("apiserver"), beginning()).await;
    let seqs = records(&mut reader, 6).await.into_iter().map(|r| r.1);
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_comes_while_the_disk_is_full_is_kept_when_there_is_room() {
    let installation = Installation::start(&[]);
    let mut client = installation.dead_letters("apiserver");
    publish(&installation, "alltopic", "no event").await;
    letters(&mut client, 1).await;

    installation.limit_files_to(Some(1));
    publish(&installation, "alltopic", "none either").await;
    installation.event_says("a dead letter is not kept; it comes again");
    installation.limit_files_to(None);
    letters(&mut client, 2).await;
    // And those that come later.
    publish(&installation, "alltopic", "nor this").await;
    letters(&mut client, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_told_counted_and_costs_no_other() {
    let mut installation = Installation::start(&[]);
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=9));
    let mut client = installation.client("apiserver");
    records(&mut open(&mut client, beginning()).await, 9).await;
    assert!(installation.terminate_event());

    let path = installation.segments().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let text = b"CreateClusterProgress";
    let mut places = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, part)| part == text);
    let (fifth, _) = places.nth(4).unwrap();
    bytes[fifth] = b'D';
    std::fs::write(&path, bytes).unwrap();
    installation.start_event();
    eventually("it is counted", || {
        installation.metric("pgo_event_log_damaged") == 1
    })
    .await;

    let mut reader = open(&mut client, beginning()).await;
    let mut found = Vec::new();
    while found.len() < 9 {
        match next(&mut reader).await.unwrap().unwrap() {
            What::Record(record) => {
                let event = pgo_events::Event::from_wire(&record.event).unwrap();
                found.push(event.seq.to_string());
            }
            What::Cut(cut) => found.push(cut),
            What::CaughtUp(_) => {}
        }
    }
    let cut =
        "1 records are damaged in the log and cannot be read now; the next one there is follows";
    assert_eq!(found, ["1", "2", "3", "4", cut, "6", "7", "8", "9"]);
}
