//! A backup that is tried, with a real pgBackRest: a good one is proven, and whatever is wrong with it or with what is archived
//! after it is found, and where.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use pgo_proto::agent::{BackupSet, RepositoryState};
use serde_json::Value;
use tokio::process::Command;
use tokio_postgres::Client;

use crate::{
    replica::write,
    repository::{Repository, backup, command_lines, instance},
    rig::{DEADLINE, PROGRAMS, Rig, free_port, program},
    unprivileged::unprivileged,
};

/// Size of a page of PostgreSQL.
const PAGE: u64 = 8192;

/// A primary that archives, with rows in a table of many pages.
async fn cluster() -> (Repository, Rig, Client) {
    let mut repository = Repository::new();
    let mut primary = instance(&repository);
    primary.start().await;
    repository.start();
    primary.until_primary().await;
    repository.until_ready().await;
    repository.create_stanza(&primary).await;
    let client = primary.connect().await.expect("the application gets in");
    write(&client, 1).await;
    primary
        .execute(
            "CREATE TABLE big AS SELECT g, md5(g::text) AS text FROM generate_series(1, 20000) g; \
             CREATE INDEX ON big (g); CHECKPOINT",
        )
        .await;
    (repository, primary, client)
}

/// Makes a full backup; its label. It is none with wrong checksums.
async fn full(repository: &Repository, primary: &Rig) -> String {
    let set = set(repository, primary, ("full", &["--type=full"])).await;
    assert!(!set.damaged, "{set:?}");
    set.label
}

/// Makes a backup, as pgBackRest tells of it.
async fn set(
    repository: &Repository,
    primary: &Rig,
    (operation, options): (&str, &[&str]),
) -> BackupSet {
    repository
        .begin("reconciler.pgo", operation, primary, backup(options))
        .await
        .expect("begun");
    let (done, _) = repository.until_done(operation).await;
    assert!(done.ok, "{done:?}\n{}", repository.log());
    done.backup.expect("a backup")
}

/// Writes rows into WAL files of their own, which are archived.
pub async fn archived(repository: &Repository, primary: &Rig, client: &Client, rows: i32) {
    for row in 0..rows {
        write(client, row + 10).await;
        primary.execute("SELECT pg_switch_wal()").await;
    }
    let newest = primary_segment(primary).await;
    crate::rig::eventually("all is archived", async || {
        repository.wal(1).last().is_some_and(|last| *last >= newest)
    })
    .await;
}

/// The WAL file before the one that is written now.
async fn primary_segment(primary: &Rig) -> String {
    let session = pgo_postgres::Session::open(&primary.settings.socket(), "postgres").await;
    let session = session.expect("a session");
    let names = session.names(
        "SELECT pg_walfile_name(pg_current_wal_lsn() - 16777216)",
        DEADLINE,
    );
    names.await.expect("told").remove(0)
}

/// Tries a backup as the pod does; the report.
async fn drill(primary: &Rig, repository: &Repository, label: &str) -> Value {
    let before = contents(&repository.path());
    let (report, log) = tried(primary, label, 2 * DEADLINE).await;
    // It only reads.
    assert_eq!(contents(&repository.path()), before, "{log}");
    report
}

/// The same where the repository may be anything; the report, and the log. Nothing is left of it.
pub async fn tried(primary: &Rig, label: &str, deadline: Duration) -> (Value, String) {
    let folder = primary.path().join("drill");
    // What a former one has left goes with its pod.
    let _ = fs::remove_dir_all(&folder);
    let run = folder.join("run");
    fs::create_dir_all(&run).expect("a folder");
    let report = folder.join("report");
    let log = fs::File::create(folder.join("log")).expect("a log");
    let archiving = &primary.settings.archiving;
    let places: Vec<String> = archiving
        .storages
        .iter()
        .map(|place| place.to_string())
        .collect();
    let drill = Command::new(program())
        .arg("drill")
        .env("PGO_DRILL_BACKUP", label)
        .env("PGO_DRILL_DIR", folder.join("copy"))
        .env("PGO_DRILL_REPORT", &report)
        .env("PGO_RUN_DIR", &run)
        .env("PGO_TLS_DIR", &primary.settings.tls)
        .env("PGPORT", free_port().to_string())
        .env(
            "PGO_BACKREST_HOST",
            archiving.host.as_deref().unwrap_or_default(),
        )
        .env("PGO_BACKREST_PATH", &archiving.path)
        .env("PGO_BACKREST_CONF", &archiving.conf)
        .env("PGO_BACKREST_PORT", archiving.port.to_string())
        .env("PGO_BACKREST_STORAGE", places.join(","))
        .stdin(Stdio::null())
        .stdout(log)
        .kill_on_drop(true)
        .status();
    let status = tokio::time::timeout(deadline, drill).await;
    let log = fs::read_to_string(folder.join("log")).expect("a log");
    let status = status.unwrap_or_else(|_| panic!("not in time:\n{log}"));
    assert!(status.expect("a status").success(), "{log}");
    let own = folder.display().to_string();
    let left: Vec<String> = command_lines().filter(|line| line.contains(&own)).collect();
    assert_eq!(left, [""; 0], "{log}");
    let text = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}\n{log}"));
    eprintln!("{text}");
    let report = serde_json::from_str(&text);
    let report = report.unwrap_or_else(|error| panic!("{error}: {text}\n{log}"));
    (report, log)
}

/// All files below a folder, with their sizes; WAL may come at any time.
fn contents(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            found.extend(contents(&entry.path()));
        } else if kind.is_file()
            && !entry
                .path()
                .components()
                .any(|one| one.as_os_str() == "archive")
        {
            let size = entry.metadata().expect("it is there").len();
            found.push((entry.path(), size));
        }
    }
    found.sort();
    found
}

/// The files below `folder` whose names begin so.
pub fn files(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&entry.path(), begin));
        } else if name.starts_with(begin) {
            found.push(entry.path());
        }
    }
    found
}

pub fn failed(report: &Value, stage: &str, words: &str) {
    assert_eq!(report["stage"], stage, "{report}");
    let error = report["error"].as_str().unwrap_or_default();
    assert!(error.contains(words), "{words}: {report}");
}

/// File of the table `big`, in the data directory.
async fn table(primary: &Rig) -> PathBuf {
    let session = pgo_postgres::Session::open(&primary.settings.socket(), "postgres").await;
    let session = session.expect("a session");
    let names = session.names("SELECT pg_relation_filepath('big')", DEADLINE);
    let name = names.await.expect("told").remove(0);
    primary.settings.data.join(name)
}

/// Writes over part of a page of a file that nobody has open for writing any more.
fn corrupt(file: &Path, page: u64) {
    let file = fs::File::options().write(true).open(file).expect("opened");
    let at = page * PAGE + PAGE / 2;
    file.write_all_at(b"something else", at).expect("written");
    file.sync_all().expect("on disk");
}

#[test]
fn a_good_backup_is_proven_up_to_the_end_of_the_archive() {
    let name = "drill::a_good_backup_is_proven_up_to_the_end_of_the_archive";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        let label = full(&repository, &primary).await;
        archived(&repository, &primary, &client, 3).await;
        // Where the volume was full a file is left that has not come to its end, behind all that are whole.
        let last = repository.wal(1).pop().expect("something is archived");
        let found = files(&repository.path().join("archive"), &format!("{last}-"));
        let (path, number) = (&found[0], u64::from_str_radix(&last[16..], 16));
        let name = path.file_name().expect("a name").to_string_lossy();
        let next = number.expect("hexadecimal") + 2;
        let broken = format!("{}{next:08X}{}.pgbackrest.tmp", &last[..16], &name[24..]);
        fs::write(path.with_file_name(broken), b"half").expect("written");
        let report = drill(&primary, &repository, &label).await;
        assert!(report["error"].is_null(), "{report}");
        assert_eq!(
            (&report["backup"], &report["stage"]),
            (&label.into(), &"read".into())
        );
        assert_eq!(
            (&report["checksums"], &report["structure"]),
            (&true.into(), &true.into())
        );
        assert_eq!(report["timeline"], 1);
        assert!(report["size"].as_u64() > Some(1 << 20), "{report}");
        // What was committed last is in it.
        assert!(
            report["lsn"]
                .as_str()
                .is_some_and(|lsn| lsn.starts_with("0/")),
            "{report}"
        );
        let last: jiff::Timestamp = report["lastCommit"]
            .as_str()
            .expect("a time")
            .parse()
            .expect("a time");
        let age = jiff::Timestamp::now().duration_since(last);
        assert!(age.as_secs() < 180, "{report}");
        // The primary serves on its own timeline, and archives.
        write(&client, 99).await;
        assert_eq!(repository.wal(2), [""; 0]);
        drop(client);
        primary.stop().await;
        repository.stop().await;
    });
}

#[test]
fn a_damaged_page_and_a_damaged_file_of_the_repository_are_found() {
    let name = "drill::a_damaged_page_and_a_damaged_file_of_the_repository_are_found";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        let file = table(&primary).await;
        drop(client);
        full(&repository, &primary).await;
        corrupt(&file, 3);
        let options = ["--type=full", "--repo-retention-full=1"];
        let set = set(&repository, &primary, ("damaged", &options)).await;
        assert!(set.damaged, "pgBackRest found it, too: {set:?}");
        let label = set.label.clone();
        let listed = |state: &RepositoryState| state.backups.iter().any(|one| one.damaged);
        let state = repository.until("listed", listed).await;
        assert_eq!(state.backups.len(), 2, "the good one stays: {state:?}");
        let place = format!("{} at page 3", file.display());
        assert!(
            set.damaged_pages.iter().any(|one| one.ends_with(&place)),
            "{set:?}"
        );
        let report = drill(&primary, &repository, &label).await;
        let name = file.strip_prefix(&primary.settings.data).expect("inside");
        failed(
            &report,
            "checksums",
            &format!("{}\", block 3", name.display()),
        );
        // For pgBackRest it is a backup as another: the same, and it goes on.
        for file in files(&repository.path(), "1259.") {
            fs::write(file, b"nonsense").expect("written");
        }
        let report = drill(&primary, &repository, &label).await;
        failed(&report, "copy", "pgbackrest restore failed");
        primary.stop().await;
        repository.stop().await;
    });
}

#[test]
fn a_repository_that_is_away_is_waited_for_and_is_no_verdict() {
    let name = "drill::a_repository_that_is_away_is_waited_for_and_is_no_verdict";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        let label = full(&repository, &primary).await;
        drop(client);
        primary.stop().await;
        repository.stop().await;
        // Its pod comes again a while later.
        let returns = async {
            let log = primary.path().join("drill/log");
            crate::rig::eventually("it is tried again", async || {
                fs::read_to_string(&log).is_ok_and(|log| log.contains("it is tried again"))
            })
            .await;
            repository.start();
            repository.until_ready().await;
        };
        let limit = 4 * DEADLINE;
        let ((report, log), ()) = tokio::join!(tried(&primary, &label, limit), returns);
        assert!(report["error"].is_null(), "{report}\n{log}");
        repository.stop().await;
        // It stays away.
        let (report, log) = tried(&primary, &label, limit).await;
        failed(&report, "copy", "unable to connect");
        assert_eq!(report["untried"], "unreachable", "{report}\n{log}");
    });
}

#[test]
fn a_backup_of_a_timeline_that_was_left_has_no_verdict() {
    let name = "drill::a_backup_of_a_timeline_that_was_left_has_no_verdict";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        let label = full(&repository, &primary).await;
        drop(client);
        primary.stop().await;
        // A restore to before it went on along the second timeline.
        let archive = repository.path().join("archive");
        let wal = files(&archive, "00000001").remove(0);
        let folder = wal.ancestors().nth(2).expect("of the database");
        fs::write(folder.join("00000002.history"), "1\t0/1000060\tx\n").expect("written");
        let report = drill(&primary, &repository, &label).await;
        failed(&report, "copy", "timeline 2");
        assert_eq!(report["untried"], "superseded", "{report}");
        repository.stop().await;
    });
}

#[test]
fn an_index_that_lacks_a_row_is_found_though_all_sums_are_right() {
    let name = "drill::an_index_that_lacks_a_row_is_found_though_all_sums_are_right";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        drop(client);
        // PostgreSQL believes that the index was kept up meanwhile.
        primary
            .execute(
                "UPDATE pg_index SET indisready = false WHERE indexrelid = 'big_g_idx'::regclass; \
                 INSERT INTO big VALUES (-1, 'not in the index'); \
                 UPDATE pg_index SET indisready = true WHERE indexrelid = 'big_g_idx'::regclass; CHECKPOINT",
            )
            .await;
        let label = full(&repository, &primary).await;
        let report = drill(&primary, &repository, &label).await;
        failed(&report, "structure", "big_g_idx");
        primary.stop().await;
        repository.stop().await;
    });
}

#[test]
fn a_missing_and_a_damaged_wal_file_are_found() {
    let name = "drill::a_missing_and_a_damaged_wal_file_are_found";
    unprivileged(name, &PROGRAMS, async || {
        let (mut repository, mut primary, client) = cluster().await;
        let label = full(&repository, &primary).await;
        archived(&repository, &primary, &client, 4).await;
        drop(client);
        primary.stop().await;
        let wal = repository.wal(1);
        let [.., missing, damaged] = &wal[..] else {
            panic!("{wal:?}");
        };
        let of = |segment: &str| {
            let found = files(&repository.path().join("archive"), &format!("{segment}-"));
            found.into_iter().next().expect("it is there")
        };
        // The last one: nothing comes after it that could be missed.
        let text = fs::read(of(damaged)).expect("read");
        fs::write(of(damaged), &text[..text.len() / 2]).expect("written");
        let report = drill(&primary, &repository, &label).await;
        failed(&report, "replay", damaged);
        // In pgBackRest's own words.
        failed(&report, "replay", "[042]: unable to get");
        fs::write(of(damaged), &text).expect("written");
        // Another one's content in its place: whole for pgBackRest, and not for PostgreSQL.
        let other = fs::read(of(missing)).expect("read");
        fs::write(of(damaged), &other).expect("written");
        let report = drill(&primary, &repository, &label).await;
        failed(&report, "replay", damaged);
        fs::write(of(damaged), &text).expect("written");

        fs::remove_file(of(missing)).expect("removed");
        let report = drill(&primary, &repository, &label).await;
        let words = format!("WAL file {missing} is missing in the archive");
        failed(&report, "replay", &words);
        repository.stop().await;
    });
}
