//! An instance that is made from a backup while its cluster serves, with a real pgBackRest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use pgo_agent::{processes, restoration::Order};
use pgo_postgres::Session;
use pgo_proto::agent::{CheckRestore, Done, InstanceState, Restore, Role, begin_request::Work};
use tokio_postgres::Client;

use crate::{
    lost_lease::record,
    process,
    replica::{has, write},
    repository::{Repository, archived, backup, beside},
    rig::{DEADLINE, PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// Who orders work.
const DECIDES: &str = "reconciler.pgo";

/// The instance that is made from a backup.
const RESTORED: &str = "hippo-wxyz";

fn words(options: &[&str]) -> Vec<String> {
    options.iter().map(ToString::to_string).collect()
}

/// An instance that is to be made from a backup of `primary`, not started.
pub fn restoring(primary: &Rig, repository: &Repository, options: &[&str]) -> Rig {
    let mut rig = beside(primary, RESTORED, repository);
    rig.settings.restore = Some(Order {
        operation: "0197".to_owned(),
        options: words(options),
    });
    rig
}

fn restore(state: &InstanceState) -> Restore {
    state.restore.clone().unwrap_or_default()
}

pub async fn until_reached(rig: &Rig) -> InstanceState {
    rig.until("at its target", |state| restore(state).reached)
        .await
        .0
}

/// Why it never will be.
async fn until_hopeless(rig: &Rig) -> String {
    let state = rig.until("given up", |state| {
        restore(state).hopeless && !restore(state).error.is_empty()
    });
    restore(&state.await.0).error
}

/// Waits until whatever was done is over for a second: the times of backups and in the archive are whole ones.
pub async fn another_second() {
    let begin = Timestamp::now().as_second();
    eventually("a second later", async || {
        Timestamp::now().as_second() > begin + 1
    })
    .await;
}

/// A primary that archives, with row 1 in its backup.
async fn cluster() -> (Repository, Rig, Client) {
    let (repository, primary) = archived().await;
    let client = primary.connect().await.expect("the application gets in");
    write(&client, 1).await;
    full(&repository, &primary, "full").await;
    another_second().await;
    (repository, primary, client)
}

async fn full(repository: &Repository, primary: &Rig, operation: &str) -> Done {
    let full = backup(&["--type=full"]);
    repository
        .begin(DECIDES, operation, primary, full)
        .await
        .expect("begun");
    let (done, _) = repository.until_done(operation).await;
    assert!(done.ok, "{done:?}\n{}", repository.log());
    done
}

async fn text(client: &Client, query: &str) -> String {
    let row = client.query_one(query, &[]).await.expect("answered");
    row.get(0)
}

/// The time now, by the clock of PostgreSQL.
async fn time(client: &Client) -> String {
    text(client, "SELECT clock_timestamp()::text").await
}

/// Has the repository's agent find out whether this can be restored.
pub async fn check(
    repository: &Repository,
    operation: &str,
    primary: Option<&Rig>,
    options: &[&str],
) -> Done {
    let work = Work::CheckRestore(CheckRestore {
        options: words(options),
        system_identifier: String::new(),
    });
    repository
        .begin_with(DECIDES, operation, primary, work)
        .await
        .expect("begun");
    repository.until_done(operation).await.0
}

/// The rows of a server that takes no writes.
pub async fn rows(rig: &Rig) -> Vec<String> {
    let socket = rig.settings.socket();
    let session = Session::open(&socket, &rig.settings.database).await;
    let session = session.expect("a session");
    let rows = session.names("SELECT n::text FROM testuser.kept ORDER BY n", DEADLINE);
    rows.await.expect("told")
}

/// Removes the Lease, and makes it anew for the instance that is made from a backup.
fn give(rig: &Rig, term: u64) {
    rig.store.lose_lease(RESTORED, term);
    rig.store.give_lease(RESTORED);
}

#[test]
fn a_cluster_is_restored_to_a_time_while_it_serves_and_goes_on_from_there() {
    let name = "restoring::a_cluster_is_restored_to_a_time_while_it_serves_and_goes_on_from_there";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        write(&client, 2).await;
        let target = format!("--target={}", time(&client).await);
        write(&client, 3).await;
        let options = ["--type=time", target.as_str()];
        let checked = check(&repository, "check", Some(&primary), &options).await;
        assert!(checked.ok, "{checked:?}\n{}", repository.log());
        let label = checked.backup.expect("a backup").label;

        let mut restored = restoring(&primary, &repository, &options);
        restored.start().await;
        let state = until_reached(&restored).await;
        assert_eq!(state.role(), Role::Unspecified, "{state:?}");
        let told = restore(&state);
        assert_eq!((told.operation.as_str(), told.percent), ("0197", 100));
        assert_eq!((told.backup, told.error), (label, String::new()));
        assert!(
            told.last_commit.is_some() && told.lsn.starts_with("0/"),
            "{state:?}"
        );
        assert_eq!(rows(&restored).await, ["1", "2"]);
        // It is nobody's member, and the cluster serves.
        write(&client, 4).await;
        let before = record(&primary).expect("recorded");
        assert!(before.voters.is_empty());
        assert_ne!(restored.readyz().await.0, 200);

        drop(client);
        primary.stop().await;
        give(&restored, before.term.0 + 6);
        let state = restored.until_primary().await;
        assert_eq!((state.term, state.timeline), (7, 7));
        let over = |state: &InstanceState| state.restore.is_none();
        let state = restored.until("over", over).await.0;
        assert_eq!(state.pending_restart, [""; 0]);
        has(&restored, &[1, 2]).await;
        let client = restored.connect().await.expect("the application gets in");
        write(&client, 5).await;
        restored.execute("SELECT pg_switch_wal()").await;
        eventually("archived on the new timeline", async || {
            !repository.wal(7).is_empty()
        })
        .await;

        // Who was primary comes back to that.
        primary.start().await;
        primary.until_streaming_from(RESTORED).await;
        has(&primary, &[1, 2, 5]).await;
        primary.until_voters(1).await;
        drop(client);
        // What was restored is not restored again.
        restored.stop().await;
        primary.until_primary().await;
        restored.start().await;
        restored.until_streaming_from("hippo").await;
        has(&restored, &[1, 2, 5]).await;
        restored.stop().await;
        primary.stop().await;
        repository.stop().await;
    });
}

#[test]
fn each_kind_of_target_is_reached_or_it_is_told_that_it_never_will_be() {
    let name = "restoring::each_kind_of_target_is_reached_or_it_is_told_that_it_never_will_be";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        primary
            .execute("SELECT pg_create_restore_point('before it')")
            .await;
        client.batch_execute("BEGIN").await.expect("begun");
        write(&client, 2).await;
        let transaction = text(&client, "SELECT txid_current()::text").await;
        client.batch_execute("COMMIT").await.expect("committed");
        write(&client, 3).await;
        let checked = check(&repository, "check", Some(&primary), &[]).await;
        assert!(checked.ok, "{checked:?}");
        // Nobody is there any more who could archive something.
        drop(client);
        primary.stop().await;

        let xid = format!("--target={transaction}");
        for (options, expected) in [
            (&["--type=immediate"][..], &["1"][..]),
            (&["--type=name", "--target=before it"], &["1"]),
            (&["--type=xid", &xid], &["1", "2"]),
            (&["--type=xid", &xid, "--target-exclusive"], &["1"]),
            (&[], &["1", "2", "3"]),
        ] {
            let mut restored = restoring(&primary, &repository, options);
            restored.start().await;
            until_reached(&restored).await;
            assert_eq!(rows(&restored).await, expected, "{options:?}");
            restored.stop().await;
        }

        let mut restored = restoring(&primary, &repository, &["--type=name", "--target=never"]);
        restored.start().await;
        let error = until_hopeless(&restored).await;
        assert!(
            error.contains("restore point \"never\" is not in the archive"),
            "{error}"
        );
        restored.stop().await;
        let mut restored = restoring(&primary, &repository, &["--set=20200101-000000F"]);
        restored.start().await;
        let error = until_hopeless(&restored).await;
        assert!(
            error.contains("there is no backup 20200101-000000F"),
            "{error}"
        );
        restored.stop().await;
        repository.stop().await;
    });
}

/// Times outside the window, which begins with the backup `label`.
async fn outside(repository: &Repository, primary: &Rig, label: &str) {
    let window = "can be restored to any point between ";
    let backup = format!("(end of backup {label})");
    for (operation, year, why) in [
        ("early", 2020, "before the end of the first backup"),
        ("future", 2120, "in the future"),
    ] {
        let target = format!("--target={year}-01-01 00:00:00+00");
        let options = ["--type=time", target.as_str()];
        let done = check(repository, operation, Some(primary), &options).await;
        let told = [why, window, &backup, "(last archived WAL 0000000100000000"];
        for words in told {
            assert!(!done.ok && done.error.contains(words), "{words}: {done:?}");
        }
    }
}

/// The repository is not that of the cluster.
async fn foreign(repository: &Repository) {
    let foreign = Work::CheckRestore(CheckRestore {
        options: Vec::new(),
        system_identifier: "7".to_owned(),
    });
    repository
        .begin_with(DECIDES, "foreign", None, foreign)
        .await
        .expect("begun");
    let (done, _) = repository.until_done("foreign").await;
    assert!(done.error.contains("another system"), "{done:?}");
}

#[test]
fn a_time_that_cannot_be_reached_is_refused_with_the_window() {
    let name = "restoring::a_time_that_cannot_be_reached_is_refused_with_the_window";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary) = archived().await;
        let none = check(&repository, "none", Some(&primary), &[]).await;
        assert!(
            !none.ok && none.error.contains("there is no backup"),
            "{none:?}"
        );
        let label = full(&repository, &primary, "full").await.backup;
        let label = label.expect("a backup").label;
        outside(&repository, &primary, &label).await;

        // What was not archived before the primary was lost is not promised.
        let client = primary.connect().await.expect("the application gets in");
        another_second().await;
        write(&client, 1).await;
        let target = format!("--target={}", time(&client).await);
        let done = check(&repository, "lost", None, &["--type=time", &target]).await;
        assert!(
            !done.ok && done.error.contains("later than what was archived last"),
            "{done:?}"
        );
        let done = check(
            &repository,
            "kept",
            Some(&primary),
            &["--type=time", &target],
        )
        .await;
        assert!(done.ok, "{done:?}");

        foreign(&repository).await;
        drop(client);
        primary.stop().await;
        repository.stop().await;
    });
}

/// All files below `folder` whose names begin so.
fn files(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // `latest` leads to one of the others.
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&entry.path(), begin));
        } else if name.starts_with(begin) {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn what_is_damaged_or_missing_in_the_repository_is_told_at_once_for_good() {
    let name = "restoring::what_is_damaged_or_missing_in_the_repository_is_told_at_once_for_good";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        for row in 2..6 {
            write(&client, row).await;
            primary.execute("SELECT pg_switch_wal()").await;
        }
        let checked = check(&repository, "check", Some(&primary), &[]).await;
        let stop = checked.backup.expect("a backup").stop_wal;
        drop(client);
        primary.stop().await;

        let wal = repository.wal(1);
        let after: Vec<_> = wal.iter().filter(|name| **name > stop).collect();
        assert!(after.len() > 2, "{wal:?}");
        let missing = after[1];
        for file in files(&repository.path(), &format!("{missing}-")) {
            fs::remove_file(file).expect("removed");
        }
        let mut restored = restoring(&primary, &repository, &[]);
        restored.start().await;
        let error = until_hopeless(&restored).await;
        let words = format!("WAL file {missing} is missing in the archive");
        assert!(error.contains(&words), "{error}");
        restored.stop().await;

        let tables = files(&repository.path(), "1259.");
        assert!(!tables.is_empty());
        for file in tables {
            fs::write(file, b"nonsense").expect("written");
        }
        let mut restored = restoring(&primary, &repository, &["--type=immediate"]);
        restored.start().await;
        let error = until_hopeless(&restored).await;
        assert!(error.contains("pgbackrest restore failed"), "{error}");
        restored.stop().await;
        repository.stop().await;
    });
}

#[test]
fn a_copy_that_broke_off_goes_on_from_what_is_there() {
    let name = "restoring::a_copy_that_broke_off_goes_on_from_what_is_there";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        primary
            .execute(
                "CREATE TABLE big AS SELECT g, md5(g::text) FROM generate_series(1, 1000000) g",
            )
            .await;
        full(&repository, &primary, "second").await;
        write(&client, 2).await;
        let checked = check(&repository, "check", Some(&primary), &[]).await;
        assert!(checked.ok, "{checked:?}");

        let restored = restoring(&primary, &repository, &[]);
        let mut init = process::start(&restored).await;
        eventually("the agent listens", async || {
            restored.watch("reconciler.pgo", 0).await.is_ok()
        })
        .await;
        let copies = |state: &InstanceState| (1..100).contains(&restore(state).percent);
        restored.until("copying", copies).await;
        let agent = processes::children_of(process::pid(&init));
        let agent = agent.first().expect("an agent");
        kill(*agent, Signal::SIGKILL).expect("it lives");
        eventually("the agent listens again", async || {
            restored.watch("reconciler.pgo", 0).await.is_ok()
        })
        .await;
        until_reached(&restored).await;
        assert_eq!(rows(&restored).await, ["1", "2"]);
        let log = fs::read_to_string(restored.path().join("log")).expect("a log");
        let begun = log.matches("a backup is copied").count();
        assert_eq!(begun, 2, "{log}");
        for (_, _, password) in crate::rig::PASSWORDS {
            assert!(!log.contains(password), "a password is in the log");
        }
        kill(process::pid(&init), Signal::SIGTERM).expect("it lives");
        let ended = tokio::time::timeout(DEADLINE, init.wait()).await;
        ended.expect("ended in time").expect("a status");
        drop(client);
        primary.stop().await;
        repository.stop().await;
    });
}

#[test]
fn a_look_at_the_backups_that_was_interrupted_is_done_again() {
    let name = "restoring::a_look_at_the_backups_that_was_interrupted_is_done_again";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, _client) = cluster().await;
        repository.stop().await;
        repository.remember("look", "check-restore");
        repository.start();
        let state = repository.until_ready().await;
        assert_eq!(state.running, None);
        let looks = |done: &&Done| done.operation == "look";
        assert_eq!(state.done.iter().find(looks), None);
        let done = check(&repository, "look", Some(&primary), &[]).await;
        assert!(done.ok, "{done:?}");
        primary.stop().await;
        repository.stop().await;
    });
}
