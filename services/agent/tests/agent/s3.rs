//! A repository that keeps what it has in S3, alone or beside its volume, with a real pgBackRest and a server that fails.

use pgo_proto::agent::{BackupSet, CreateStanza, Done, InstanceState, begin_request::Work};
use pgo_s3::{Mood, S3, binary};

use crate::{
    archiving::{archive, until_archived},
    drill::{archived, failed, files, tried},
    replica::write,
    repository::{Repository, backup, command_lines, instance},
    restoring::{another_second, check, restoring, rows, until_reached},
    rig::{DEADLINE, PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// Who orders work.
const DECIDES: &str = "reconciler.pgo";

/// Runs a test as somebody who may run PostgreSQL and the S3 server.
fn run(name: &str, body: impl AsyncFnOnce()) {
    let server = binary();
    let server = ("S3_BIN", server.to_str().expect("a path"));
    unprivileged(&format!("s3::{name}"), &[PROGRAMS[0], server], body);
}

/// A repository with those places, and a primary that archives there. No stanza yet.
async fn cluster(storages: &'static str) -> (Repository, S3, Rig) {
    let (mut repository, server) = Repository::in_places(storages);
    let mut rig = instance(&repository);
    rig.start().await;
    repository.start();
    rig.until_primary().await;
    repository.until_ready().await;
    (repository, server, rig)
}

async fn order(repository: &Repository, rig: &Rig, operation: &str, options: &[&str]) -> Done {
    repository
        .begin(DECIDES, operation, rig, backup(options))
        .await
        .expect("begun");
    repository.until_done(operation).await.0
}

fn assert_ok(done: &Done, repository: &Repository) {
    assert!(done.ok, "{done:?}\n{}", repository.log());
}

/// The places of the backups that are listed, in their order.
async fn listed(repository: &Repository, count: usize) -> Vec<BackupSet> {
    let wanted = format!("{count} backups");
    let there = |state: &pgo_proto::agent::RepositoryState| state.backups.len() == count;
    repository.until(&wanted, there).await.backups
}

/// Makes the stanza, again where WAL has not arrived in time: PostgreSQL pauses for a minute after it was refused.
async fn until_stanza(repository: &Repository, rig: &Rig) {
    for attempt in ["first", "second", "third"] {
        let work = Work::CreateStanza(CreateStanza {});
        let begun = repository.begin(DECIDES, attempt, rig, work).await;
        begun.expect("begun");
        let (done, _) = repository.until_done(attempt).await;
        if done.ok {
            return;
        }
        assert!(done.error.contains("was not archived before"), "{done:?}");
    }
    panic!("no WAL arrives\n{}", repository.log());
}

/// The key of S3 is in one file, and there for its owner alone.
fn assert_secret(repository: &Repository, rig: &Rig) {
    let secret = pgo_s3::KEY_SECRET;
    assert!(!repository.log().contains(secret), "it is in the log");
    let told = command_lines().find(|line| line.contains(secret));
    assert_eq!(told, None, "it is in an argument");
    let conf = std::fs::read_to_string(rig.settings.backrest_conf()).expect("a configuration");
    assert!(!conf.contains("s3-"), "an instance knows of S3: {conf}");
}

#[test]
fn what_is_archived_to_s3_alone_can_be_restored_from_there() {
    run(
        "what_is_archived_to_s3_alone_can_be_restored_from_there",
        async || {
            let (mut repository, _server, mut primary) = cluster("s3").await;
            repository.create_stanza(&primary).await;
            let client = primary.connect().await.expect("the application gets in");
            write(&client, 1).await;
            let full = order(&repository, &primary, "one", &["--type=full"]).await;
            assert_ok(&full, &repository);
            let set = full.backup.expect("a backup");
            assert_eq!((set.storage.as_str(), set.r#type.as_str()), ("s3", "full"));
            assert!(!repository.has_archive(), "something is on the volume");
            assert_secret(&repository, &primary);
            let text = repository.info(false).await.expect("told");
            assert!(text.contains(&set.label), "{text}");

            another_second().await;
            write(&client, 2).await;
            let checked = check(&repository, "check", Some(&primary), &[]).await;
            assert_ok(&checked, &repository);
            let local = check(&repository, "local", None, &["--repo=1"]).await;
            assert!(
                local.error.contains("keeps nothing in local"),
                "{}",
                local.error
            );
            let mut restored = restoring(&primary, &repository, &[]);
            restored.start().await;
            until_reached(&restored).await;
            assert_eq!(rows(&restored).await, ["1", "2"]);
            restored.stop().await;
            drop(client);
            primary.stop().await;
            repository.stop().await;
        },
    );
}

#[test]
fn a_key_that_s3_refuses_is_told_and_another_one_is_taken_up() {
    run(
        "a_key_that_s3_refuses_is_told_and_another_one_is_taken_up",
        async || {
            let (mut repository, _server) = Repository::in_places("s3");
            repository.set_key_secret("another");
            let mut rig = instance(&repository);
            rig.start().await;
            repository.start();
            rig.until_primary().await;
            repository.until_ready().await;
            rig.execute("CREATE TABLE x AS SELECT 1 AS n; SELECT pg_switch_wal()")
                .await;
            let fails = |state: &InstanceState| !archive(state).error.is_empty();
            let told = archive(&rig.until("failing", fails).await.0);
            for words in ["403 (Forbidden)", "SignatureDoesNotMatch"] {
                assert!(told.error.contains(words), "{}", told.error);
            }
            assert!(!told.error.contains("***"), "{}", told.error);
            assert!(told.waiting > 0, "{told:?}");

            repository.set_key_secret(pgo_s3::KEY_SECRET);
            until_stanza(&repository, &rig).await;
            // Also what its server does for the instance.
            until_archived(&rig).await;
            assert_secret(&repository, &rig);
            rig.stop().await;
            repository.stop().await;
        },
    );
}

#[test]
fn s3_that_is_away_loses_nothing_and_is_caught_up_with() {
    run(
        "s3_that_is_away_loses_nothing_and_is_caught_up_with",
        async || {
            let (mut repository, mut server, mut rig) = cluster("local,s3").await;
            repository.create_stanza(&rig).await;
            let full = order(&repository, &rig, "one", &["--type=full"]).await;
            assert_ok(&full, &repository);
            let of = |set: &BackupSet| set.storage.clone();
            let places = (full.backup.iter().map(of), full.more.iter().map(of));
            let places: Vec<String> = places.0.chain(places.1).collect();
            assert_eq!(places, ["local", "s3"]);

            server.set(Mood::Gone);
            let before = repository.wal(1).len();
            rig.execute("CREATE TABLE x AS SELECT 1 AS n; SELECT pg_switch_wal()")
                .await;
            let fails = |state: &InstanceState| {
                archive(state).waiting > 0 && !archive(state).error.is_empty()
            };
            let told = archive(&rig.until("failing", fails).await.0);
            assert!(told.error.contains("repo2"), "{}", told.error);
            eventually("the volume has it all the same", async || {
                repository.wal(1).len() > before
            })
            .await;
            server.set(Mood::Serve);
            until_archived(&rig).await;
            // One of each place is kept, as is said.
            let keep = ["--type=full", "--repo-retention-full=1"];
            let kept = order(&repository, &rig, "three", &keep).await;
            assert_ok(&kept, &repository);
            let left: Vec<String> = listed(&repository, 2).await.iter().map(of).collect();
            assert_eq!(left, ["local", "s3"]);
            rig.stop().await;
            repository.stop().await;
        },
    );
}

#[test]
fn a_backup_is_tried_with_the_wal_of_its_own_place() {
    run(
        "a_backup_is_tried_with_the_wal_of_its_own_place",
        async || {
            let (mut repository, _server, mut primary) = cluster("local,s3").await;
            repository.create_stanza(&primary).await;
            let full = order(&repository, &primary, "one", &["--type=full"]).await;
            assert_ok(&full, &repository);
            let client = primary.connect().await.expect("the application gets in");
            archived(&repository, &primary, &client, 4).await;
            until_archived(&primary).await;
            drop(client);
            primary.stop().await;

            // Only the volume lacks it.
            let wal = repository.wal(1);
            let [.., missing, _] = &wal[..] else {
                panic!("{wal:?}");
            };
            let path = repository.path().join("archive");
            for file in files(&path, &format!("{missing}-")) {
                std::fs::remove_file(file).expect("removed");
            }
            let local = full.backup.expect("a backup");
            assert_eq!(local.storage, "local");
            let (report, _) = tried(&primary, &local.label, 2 * DEADLINE).await;
            let words = format!("WAL file {missing} is missing in the archive");
            failed(&report, "replay", &words);
            let [of_s3] = &full.more[..] else {
                panic!("{:?}", full.more);
            };
            let (report, log) = tried(&primary, &of_s3.label, 2 * DEADLINE).await;
            assert!(report["error"].is_null(), "{report}\n{log}");
            repository.stop().await;
        },
    );
}

#[test]
fn a_backup_that_fails_in_one_place_says_where_and_what_the_other_has() {
    run(
        "a_backup_that_fails_in_one_place_says_where_and_what_the_other_has",
        async || {
            let (mut repository, mut server, mut rig) = cluster("local,s3").await;
            repository.create_stanza(&rig).await;
            until_archived(&rig).await;
            server.set(Mood::Fail);
            let done = order(&repository, &rig, "one", &["--type=full"]).await;
            let words = [
                "s3: ",
                "[503] Service Unavailable",
                "the backup in local is complete: ",
            ];
            for words in words {
                assert!(!done.ok && done.error.contains(words), "{done:?}");
            }
            server.set(Mood::Serve);
            let again = order(&repository, &rig, "two", &["--type=full"]).await;
            assert_ok(&again, &repository);
            rig.stop().await;
            repository.stop().await;
        },
    );
}
