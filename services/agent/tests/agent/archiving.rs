//! An instance that archives its WAL, and the repository that keeps it, with a real pgBackRest.

use std::time::{Duration, Instant};

use pgo_proto::agent::{Archive, BackupSet, InstanceState};
use tonic::Code;

use crate::{
    repository::{Repository, archived, backup, command_lines, instance, replica},
    rig::{PASSWORDS, PROGRAMS, Rig, eventually},
    unprivileged::unprivileged,
};

/// How long a server may take to stop whose repository is away. PostgreSQL itself needs more than a minute then.
const STOP: Duration = Duration::from_secs(20);

/// Who orders work.
const DECIDES: &str = "reconciler.pgo";

pub fn archive(state: &InstanceState) -> Archive {
    state.archive.clone().unwrap_or_default()
}

/// Neither arguments nor logs hold a secret.
fn assert_no_secret(repository: &Repository) {
    let log = repository.log();
    let lines: Vec<_> = command_lines()
        .filter(|line| line.contains("pgbackrest"))
        .collect();
    assert!(!lines.is_empty(), "its server runs");
    for (_, _, password) in PASSWORDS {
        assert!(!log.contains(password), "a password is in the log");
        let told = lines.iter().find(|line| line.contains(password));
        assert_eq!(told, None, "a password is in an argument");
    }
    assert!(!log.contains("PRIVATE KEY"), "a key is in the log");
}

/// What is told of a backup is what the repository has.
fn assert_backup(set: &BackupSet, kind: &str) {
    assert_eq!((set.r#type.as_str(), set.source.as_str()), (kind, "hippo"));
    assert!(set.size > 1 << 20 && set.repository_size > 0, "{set:?}");
    assert!(set.start_wal <= set.stop_wal, "{set:?}");
    assert_eq!(set.start_wal.len(), 24, "{set:?}");
    assert!(!set.damaged && set.finished.is_some(), "{set:?}");
}

pub async fn until_archived(rig: &Rig) -> Archive {
    let wanted = |state: &InstanceState| {
        let archive = archive(state);
        archive.error.is_empty() && !archive.last_archived.is_empty() && archive.waiting == 0
    };
    archive(&rig.until("archived", wanted).await.0)
}

/// Only who decides may order one, one at a time, and the same one twice is the same.
async fn a_full_backup(repository: &Repository, rig: &Rig) {
    let refused = repository
        .begin("apiserver.pgo", "one", rig, backup(&[]))
        .await;
    let code = refused.expect_err("it may only look").code();
    assert_eq!(code, Code::PermissionDenied);
    let full = || backup(&["--type=full"]);
    repository
        .begin(DECIDES, "one", rig, full())
        .await
        .expect("begun");
    let other = repository.begin(DECIDES, "two", rig, full()).await;
    let other = other.expect_err("one at a time");
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert!(other.message().contains("one runs"), "{other}");
    repository
        .begin(DECIDES, "one", rig, full())
        .await
        .expect("the same");
    assert_no_secret(repository);
    let (done, _) = repository.until_done("one").await;
    assert!(done.ok, "{done:?}\n{}", repository.log());
    assert_backup(&done.backup.expect("a backup"), "full");
}

#[test]
fn wal_is_archived_and_backups_are_made_and_told() {
    let name = "archiving::wal_is_archived_and_backups_are_made_and_told";
    unprivileged(name, &PROGRAMS, async || {
        let mut repository = Repository::new();
        let mut rig = instance(&repository);
        rig.start().await;
        repository.start();
        rig.until_primary().await;
        let state = repository.until_ready().await;
        assert_eq!(state.cluster, "hippo");
        assert!(state.pgbackrest_version.starts_with("2."), "{state:?}");
        assert_eq!(repository.readyz().await, (200, "ok".to_owned()));
        repository.create_stanza(&rig).await;
        let archived = until_archived(&rig).await;
        assert!(archived.last_archived_at.is_some() && archived.failing_since.is_none());

        a_full_backup(&repository, &rig).await;

        // Both servers take their new certificates, and go on.
        repository.issue_certificate();
        rig.issue_certificate();
        eventually("the new certificate is in use", async || {
            let log = repository.log();
            log.contains("pgBackRest's server reads its new certificate")
        })
        .await;
        repository
            .begin(DECIDES, "three", &rig, backup(&["--type=incr"]))
            .await
            .expect("begun");
        let (done, state) = repository.until_done("three").await;
        assert!(done.ok, "{done:?}\n{}", repository.log());
        let incremental = done.backup.expect("a backup");
        assert_backup(&incremental, "incr");
        assert_eq!(state.running, None);
        // Once more what has ended is not begun again.
        repository
            .begin(DECIDES, "one", &rig, backup(&["--type=full"]))
            .await
            .expect("done already");
        let listed = |state: &pgo_proto::agent::RepositoryState| state.backups.len() == 2;
        let state = repository.until("listed", listed).await;
        assert_eq!(state.backups[1], incremental);
        assert!(state.volume_bytes > state.volume_used && state.volume_used > 0);
        let text = repository.info(false).await.expect("told");
        assert!(text.contains(&incremental.label), "{text}");

        repository
            .begin(DECIDES, "four", &rig, backup(&["--bogus"]))
            .await
            .expect("begun");
        let (done, _) = repository.until_done("four").await;
        assert!(
            !done.ok && done.error.contains("invalid option '--bogus'"),
            "{done:?}"
        );
        repository.stop().await;
        rig.stop().await;
    });
}

#[test]
fn files_are_copied_from_the_replica_and_without_it_the_backup_fails() {
    let name = "archiving::files_are_copied_from_the_replica_and_without_it_the_backup_fails";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary) = archived().await;
        let mut standby = replica(&primary, &repository);
        standby.start().await;
        standby.until_streaming_from("hippo").await;
        // pgBackRest waits for a replica where it copies from one.
        let waited = || {
            let log = repository.log();
            log.matches("replay on the standby reached").count()
        };
        for (operation, options, source, times) in [
            ("one", &["--type=full"][..], "hippo-abcd", 1),
            ("two", &["--type=full", "--backup-standby"], "hippo-abcd", 2),
            ("three", &["--type=full", "--no-backup-standby"], "hippo", 2),
        ] {
            let pair = (&primary, &standby);
            let done = repository.back_up(operation, pair, options).await;
            assert!(done.ok, "{done:?}\n{}", repository.log());
            assert_eq!(done.backup.expect("a backup").source, source, "{operation}");
            assert_eq!(waited(), times, "{operation}\n{}", repository.log());
        }

        standby.stop().await;
        let pair = (&primary, &standby);
        let done = repository.back_up("four", pair, &["--type=full"]).await;
        for words in [
            "unable to find standby",
            "replica hippo-abcd",
            "--no-backup-standby",
        ] {
            assert!(!done.ok && done.error.contains(words), "{words}: {done:?}");
        }
        // Nobody looks for it then.
        let options = ["--type=full", "--no-backup-standby"];
        let done = repository.back_up("five", pair, &options).await;
        assert!(done.ok, "{done:?}\n{}", repository.log());
        primary.stop().await;
        repository.stop().await;
    });
}

#[test]
fn a_backup_whose_agent_dies_is_told_as_interrupted_and_the_next_one_succeeds() {
    let name =
        "archiving::a_backup_whose_agent_dies_is_told_as_interrupted_and_the_next_one_succeeds";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut rig) = archived().await;
        rig.execute("CREATE TABLE big AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 100000) g")
            .await;
        let slow = backup(&["--type=full", "--compress-type=gz", "--compress-level=9"]);
        repository
            .begin("reconciler.pgo", "one", &rig, slow)
            .await
            .expect("begun");
        let copies = |state: &pgo_proto::agent::RepositoryState| {
            state.running.as_ref().is_some_and(|work| work.percent > 0)
        };
        repository.until("copying", copies).await;
        repository.kill_agent();
        let (done, state) = repository.until_done("one").await;
        assert!(
            !done.ok && done.error.starts_with("interrupted: "),
            "{done:?}"
        );
        assert_eq!((done.backup, state.running), (None, None));

        repository.until_ready().await;
        repository
            .begin("reconciler.pgo", "two", &rig, backup(&["--type=full"]))
            .await
            .expect("begun");
        let (done, state) = repository.until_done("two").await;
        assert!(done.ok, "{done:?}\n{}", repository.log());
        assert_eq!(state.done.len(), 3);

        // Asked to end in the middle of one, it ends, and says so with the next start.
        let slow = backup(&["--type=full", "--compress-type=gz", "--compress-level=9"]);
        repository
            .begin("reconciler.pgo", "three", &rig, slow)
            .await
            .expect("begun");
        repository.until("copying", copies).await;
        repository.stop().await;
        repository.start();
        let (done, _) = repository.until_done("three").await;
        assert!(
            !done.ok && done.error.starts_with("interrupted: "),
            "{done:?}"
        );
        repository.stop().await;
        rig.stop().await;
    });
}

#[test]
fn a_repository_that_is_away_is_told_keeps_no_server_from_ending_and_is_caught_up_with() {
    let name = "archiving::a_repository_that_is_away_is_told_keeps_no_server_from_ending_and_is_caught_up_with";
    unprivileged(name, &PROGRAMS, async || {
        let mut repository = Repository::new();
        let mut rig = instance(&repository);
        rig.start().await;
        rig.until_primary().await;
        rig.execute("CREATE TABLE x AS SELECT 1 AS n; SELECT pg_switch_wal()")
            .await;
        let fails = |state: &InstanceState| !archive(state).error.is_empty();
        let state = rig.until("failing", fails).await.0;
        let told = archive(&state);
        assert!(
            told.error.contains("unable to connect to 'localhost:"),
            "{told:?}"
        );
        assert!(told.failing_since.is_some() && told.waiting > 0, "{told:?}");

        // What is not archived keeps nobody from ending it, and is not lost.
        let begin = Instant::now();
        rig.stop().await;
        assert!(begin.elapsed() < STOP, "it took {:?}", begin.elapsed());
        let left = || {
            command_lines().any(|line| {
                line.contains(&*rig.path().to_string_lossy()) && line.contains(" server")
            })
        };
        eventually("its pgBackRest server is gone", async || !left()).await;
        rig.start().await;
        rig.until_primary().await;

        repository.start();
        repository.until_ready().await;
        repository.create_stanza(&rig).await;
        let archived = until_archived(&rig).await;
        assert_eq!(archived.failing_since, None);
        rig.stop().await;
        repository.stop().await;
    });
}

#[test]
fn what_a_primary_has_not_archived_its_successor_does() {
    let name = "archiving::what_a_primary_has_not_archived_its_successor_does";
    unprivileged(name, &PROGRAMS, async || {
        let mut repository = Repository::new();
        let mut primary = instance(&repository);
        let mut replica = replica(&primary, &repository);
        primary.start().await;
        primary.until_primary().await;
        replica.start().await;
        replica.until_streaming_from("hippo").await;
        primary.until_voters(1).await;
        // The repository is away; these files have come to the replica and nowhere else.
        for _ in 0..3 {
            let statements =
                "CREATE TABLE x AS SELECT 1 AS n; DROP TABLE x; SELECT pg_switch_wal()";
            primary.execute(statements).await;
        }
        let waits = |state: &InstanceState| archive(state).waiting >= 3;
        let waiting = archive(&primary.until("waiting", waits).await.0).waiting;
        primary
            .switchover(DECIDES, "hippo-abcd")
            .await
            .expect("it can be");
        replica.until_primary().await;

        repository.start();
        repository.until_ready().await;
        repository.create_stanza(&replica).await;
        until_archived(&replica).await;
        let wal = repository.wal(1);
        assert!(
            wal.len() >= 3,
            "{waiting} files waited, and of them there are {wal:?}"
        );
        replica.stop().await;
        primary.stop().await;
        repository.stop().await;
    });
}
