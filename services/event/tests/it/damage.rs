//! Files that are cut, changed and lost at many places, drawn from a seed: nothing false is shown, nothing is skipped
//! silently, and the log goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use pgo_event::log::{Limits, Log, Offset};
use pgo_proto::event::{ReadRequest, read_request::From, read_response::What};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{
    installation::beginning,
    reading::{World, at, entry},
};

const COUNT: u64 = 40;

/// What happens to a file.
#[derive(Clone, Debug)]
enum Harm {
    Flip(prop::sample::Index, u8),
    Zero(prop::sample::Index, usize),
    Cut(prop::sample::Index),
    Remove,
}

fn harm() -> impl Strategy<Value = Harm> {
    let place = any::<prop::sample::Index>();
    prop_oneof![
        6 => (place.clone(), 1u8..).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        2 => (place.clone(), 1usize..5000).prop_map(|(at, count)| Harm::Zero(at, count)),
        3 => place.prop_map(Harm::Cut),
        1 => Just(Harm::Remove),
    ]
}

fn limits(segment_bytes: u64) -> Limits {
    Limits {
        segment_bytes,
        most_bytes: u64::MAX,
        longest: Duration::from_secs(86_400),
    }
}

fn open(folder: &Path, segment_bytes: u64) -> Log {
    Log::open(folder, limits(segment_bytes), at(0)).expect("the log opens")
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .expect("files")
        .map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    files.sort();
    files
}

fn strike(path: &Path, harm: &Harm) {
    let mut bytes = fs::read(path).expect("bytes");
    match harm {
        Harm::Remove => return fs::remove_file(path).expect("removed"),
        _ if bytes.is_empty() => {}
        Harm::Flip(place, bits) => {
            let at = place.index(bytes.len());
            bytes[at] ^= bits;
        }
        Harm::Zero(place, count) => {
            let at = place.index(bytes.len());
            let end = bytes.len().min(at + count);
            bytes[at..end].fill(0);
        }
        Harm::Cut(place) => bytes.truncate(place.index(bytes.len())),
    }
    fs::write(path, bytes).expect("written");
}

/// What a reader is shown from the beginning on: offsets, with their events, and how often it is told of a cut.
fn shown(world: &World) -> (Vec<(Offset, Bytes)>, Vec<usize>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let request = ReadRequest {
            follow: false,
            ..beginning()
        };
        let mut reader = world.reader(request).await.expect("a reader");
        let (mut records, mut cuts) = (Vec::new(), Vec::new());
        while let Some(answer) = reader.next().await.expect("an answer") {
            match answer.what.expect("something") {
                What::Record(record) => {
                    let offset = record.cursor.split(':').nth(1).expect("an offset");
                    records.push((offset.parse().expect("a number"), record.event.into()));
                }
                What::Cut(_) => cuts.push(records.len()),
                What::CaughtUp(_) => {}
            }
        }
        (records, cuts)
    })
}

/// Each step over missing offsets has a cut at its place, and each event is the one that was appended.
fn nothing_is_silent(world: &World, written: &[Bytes]) -> Result<(), TestCaseError> {
    let oldest = world.log.oldest();
    let (records, cuts) = shown(world);
    let mut next = oldest;
    for (at, (offset, event)) in records.iter().enumerate() {
        prop_assert_eq!(
            event,
            &written[usize::try_from(*offset).expect("small") - 1]
        );
        prop_assert!(*offset >= next);
        prop_assert!(
            *offset == next || cuts.contains(&at),
            "{} to {} are skipped",
            next,
            offset
        );
        next = offset + 1;
    }
    let head = *world.log.head().borrow();
    prop_assert!(
        next == head || cuts.contains(&records.len()),
        "the end from {} is skipped",
        next
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_to_the_files_nothing_false_is_shown_and_nothing_skipped_silently(
        harms in prop::collection::vec((any::<prop::sample::Index>(), harm()), 1..4),
        segment_bytes in prop_oneof![Just(1u64), Just(4000), Just(u64::MAX)],
        batch in 1u64..6,
    ) {
        let folder = TempDir::new().expect("a folder");
        let log = open(folder.path(), segment_bytes);
        let entries: Vec<_> = (1..=COUNT).map(|seq| entry("a", seq)).collect();
        let mut written: Vec<Bytes> = entries.iter().map(|entry| entry.event.clone()).collect();
        for part in entries.chunks(usize::try_from(batch).expect("small")) {
            log.append(part.to_vec(), at(1)).expect("an append");
        }
        drop(log);
        for (file, harm) in &harms {
            let files = segments(folder.path());
            if !files.is_empty() {
                strike(&files[file.index(files.len())], harm);
            }
        }
        let world = World::of(open(folder.path(), segment_bytes));
        prop_assert_eq!(*world.log.head().borrow(), COUNT + 1, "no offset is given twice");
        nothing_is_silent(&world, &written)?;

        // It goes on, and is the same when it is opened once more.
        let more = entry("a", COUNT + 1);
        written.push(more.event.clone());
        world.log.append(vec![more], at(2)).expect("an append");
        nothing_is_silent(&world, &written)?;
        let before = shown(&world);
        drop(world);
        let world = World::of(open(folder.path(), segment_bytes));
        prop_assert_eq!(shown(&world), before);
    }

    #[test]
    fn a_torn_write_that_was_not_confirmed_goes_and_nobody_is_told(
        torn in prop::collection::vec(any::<u8>(), 1..300),
        part in any::<prop::sample::Index>(),
        holes in any::<bool>(),
        count in 0u64..6,
    ) {
        let folder = TempDir::new().expect("a folder");
        let log = open(folder.path(), u64::MAX);
        for seq in 1..=count {
            log.append(vec![entry("a", seq)], at(1)).expect("an append");
        }
        let path = segments(folder.path()).remove(0);
        let before = fs::read(&path).expect("bytes");
        drop(log);
        // Three records of one write, of which a part arrived, or all but a part.
        let replica = Log::open_replica(folder.path(), limits(u64::MAX), at(0)).expect("the log opens");
        let three = (1..=3).map(|more| entry("a", count + more)).collect();
        replica.write(three, 0, at(1)).expect("a write");
        drop(replica);
        let mut after = fs::read(&path).expect("bytes");
        let written = after.len() - before.len();
        let begin = before.len() + part.index(written);
        if holes {
            let end = after.len().min(begin + torn.len());
            after[begin..end].copy_from_slice(&torn[..end - begin]);
        } else {
            after.truncate(begin);
            after.extend_from_slice(&torn);
        }
        fs::write(&path, after).expect("written");

        let world = World::of(open(folder.path(), u64::MAX));
        let (records, cuts) = shown(&world);
        prop_assert_eq!(cuts, Vec::<usize>::new());
        let there = records.len() as u64;
        prop_assert!((count..=count + 3).contains(&there));
        prop_assert_eq!(world.log.damaged(), 0);
        world.log.append(vec![entry("a", there + 1)], at(2)).expect("an append");
        let (records, cuts) = shown(&world);
        prop_assert_eq!((records.len() as u64, cuts.len()), (there + 1, 0));
    }
}

#[tokio::test]
async fn who_read_a_last_write_that_was_lost_in_a_power_cut_is_told_and_gets_what_comes_in_its_place()
 {
    for segment_bytes in [1, u64::MAX] {
        let folder = TempDir::new().expect("a folder");
        let log = open(folder.path(), segment_bytes);
        for seq in 1..=4 {
            log.append(vec![entry("a", seq)], at(1)).expect("an append");
        }
        let cursor = log.cursor(4);
        drop(log);
        // It is made durable every few seconds only.
        fs::remove_file(folder.path().join("confirmed")).expect("removed");
        let path = segments(folder.path()).pop().expect("a segment");
        let length = fs::metadata(&path).expect("a file").len();
        let file = fs::File::options().write(true).open(&path);
        let cut_to = if segment_bytes == 1 { 10 } else { length - 3 };
        file.and_then(|file| file.set_len(cut_to)).expect("cut");

        let world = World::of(open(folder.path(), segment_bytes));
        assert_eq!(*world.log.head().borrow(), 4, "it looks torn");
        world
            .log
            .append(vec![entry("a", 4)], at(2))
            .expect("an append");
        let request = ReadRequest {
            from: Some(From::Cursor(cursor.to_string())),
            ..ReadRequest::default()
        };
        let mut reader = world.reader(request).await.expect("a reader");
        let first = reader
            .next()
            .await
            .expect("an answer")
            .and_then(|answer| answer.what);
        assert!(
            matches!(&first, Some(What::Cut(why)) if why.contains("may be missing")),
            "{first:?}"
        );
        let second = reader
            .next()
            .await
            .expect("an answer")
            .and_then(|answer| answer.what);
        let Some(What::Record(record)) = second else {
            panic!("{second:?}");
        };
        assert_eq!(record.cursor, world.log.cursor(4).to_string());
        // Once more opened, it is the same log.
        let now = world.log.cursor(4);
        drop((reader, world));
        assert!(open(folder.path(), segment_bytes).knows(&now));
    }
}
