//! Dumps and what is restored from them, as their pod makes them: the program itself, with PostgreSQL's own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pgo_postgres::Session;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    rig::{DEADLINE, PROGRAMS, Rig},
    unprivileged::unprivileged,
    worker::{self, ends_when_told, execute, extend, names, option, served},
};

/// A volume for the dumps of an instance that serves.
struct Dumps<'a> {
    rig: &'a Rig,
    volume: PathBuf,
}

impl<'a> Dumps<'a> {
    fn new(rig: &'a Rig) -> Self {
        let volume = rig.path().join("dumps");
        fs::create_dir_all(&volume).expect("a folder");
        Self { rig, volume }
    }

    fn folder(&self) -> PathBuf {
        self.volume.join("hippo-backups")
    }

    fn answer(&self) -> PathBuf {
        self.volume.join("answer")
    }

    fn command(&self, order: &Value) -> Command {
        let password = self.rig.settings.secrets.join("postgres/password");
        let mut command = worker::command(self.rig, "dump", &self.answer());
        command
            .arg(option("volume", &self.volume))
            .arg(option("password", &password))
            .env("PGO_DUMP", order.to_string());
        command
    }

    fn start(&self, order: &Value) -> Child {
        self.command(order).spawn().expect("the agent starts")
    }

    /// It runs to its end: its answer, or why there is none.
    async fn run(&self, order: &Value) -> Result<Value, String> {
        worker::said(self.command(order), &self.answer()).await
    }

    /// Names of what is in the folder, but for what is ours.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder()) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| !["restores", ".lock"].contains(&name.as_str()))
            .collect();
        names.sort();
        names
    }
}

fn make(operation: &str, further: &Value) -> Value {
    let order = json!({
        "operation": operation, "work": "make", "database": "userdb", "format": "custom", "options": [],
    });
    extend(order, further)
}

fn load(operation: &str, further: &Value) -> Value {
    let order =
        json!({"operation": operation, "work": "load", "options": ["--single-transaction"]});
    extend(order, further)
}

/// A session that holds a table so that nobody else reads it.
async fn locked(rig: &Rig) -> Session {
    let session = Session::open(&rig.settings.socket(), "userdb").await;
    let session = session.expect("a session");
    session
        .execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE", DEADLINE)
        .await
        .expect("locked");
    session
}

/// Whether a process has a file open.
fn has_open(pid: u32, path: &Path) -> bool {
    let Ok(mut open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.any(|one| one.is_ok_and(|one| fs::read_link(one.path()).is_ok_and(|to| to == path)))
}

const ROWS: &str = "SELECT v FROM t ORDER BY 1";

#[test]
fn what_was_dumped_is_there_again_after_a_restore_whatever_its_format() {
    let name = "dumping::what_was_dumped_is_there_again_after_a_restore_whatever_its_format";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(
            &rig,
            "CREATE TABLE t(v text); INSERT INTO t VALUES ('one'), ('two')",
        )
        .await;
        let dumps = Dumps::new(&rig);
        for format in ["custom", "tar", "plain"] {
            let order = make(&format!("make-{format}"), &json!({"format": format}));
            let made = dumps.run(&order).await.expect(format);
            let at = Path::new(made["path"].as_str().expect("a path")).to_owned();
            assert_eq!(
                made["name"],
                at.file_name().expect("a name").to_string_lossy().as_ref()
            );
            assert!(made["bytes"].as_u64() > Some(0), "{made}");
            execute(&rig, "DROP TABLE t").await;
            let restored = dumps
                .run(&load(&format!("load-{format}"), &json!({})))
                .await;
            assert_eq!(restored.expect(format)["name"], made["name"]);
            assert_eq!(names(&rig, ROWS).await, ["one", "two"]);
        }
        // Into what is there already: refused as a whole, the rows stay, and with --clean it is replaced.
        execute(&rig, "INSERT INTO t VALUES ('three')").await;
        let first = dumps.names()[0].clone();
        let again = dumps.run(&load("again", &json!({"dump": first}))).await;
        let why = again.expect_err("it is there");
        assert!(why.contains("relation \"t\" already exists"), "{why}");
        assert_eq!(names(&rig, ROWS).await, ["one", "three", "two"]);
        let options = json!({"dump": first, "options": ["--clean", "--single-transaction"]});
        dumps.run(&load("clean", &options)).await.expect("restored");
        assert_eq!(names(&rig, ROWS).await, ["one", "two"]);
        let text = dumps.names()[2].clone();
        let wrong = dumps
            .run(&load(
                "wrong",
                &json!({"dump": text, "options": ["--clean"]}),
            ))
            .await;
        let why = wrong.expect_err("psql knows none of it");
        assert!(why.contains("--clean is an option of pg_restore"), "{why}");
        let none = dumps
            .run(&load("none", &json!({"dump": "2020-01-01-00-00-00"})))
            .await;
        let why = none.expect_err("no such dump");
        assert!(
            why.contains("there is no dump 2020-01-01-00-00-00") && why.contains(&text),
            "{why}"
        );
        rig.stop().await;
    });
}

#[test]
fn all_databases_with_their_roles_are_restored_beside_what_is_there() {
    let name = "dumping::all_databases_with_their_roles_are_restored_beside_what_is_there";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(
            &rig,
            "CREATE ROLE reader; CREATE ROLE stays PASSWORD 'former'; CREATE TABLE t(v text); INSERT INTO t VALUES ('one')",
        )
        .await;
        let dumps = Dumps::new(&rig);
        let all = json!({"all": true, "format": "plain"});
        dumps.run(&make("make", &all)).await.expect("a dump");
        execute(
            &rig,
            "DROP TABLE t; DROP ROLE reader; ALTER ROLE stays PASSWORD 'present'",
        )
        .await;
        let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'stays'";
        let present = names(&rig, password).await;
        let restored = dumps
            .run(&load("load", &json!({})))
            .await
            .expect("restored");
        let note = restored["note"].as_str().unwrap_or_default();
        assert!(note.contains("were there already"), "{restored}");
        assert_eq!(names(&rig, ROWS).await, ["one"]);
        let role = "SELECT rolname::text FROM pg_roles WHERE rolname = 'reader'";
        assert_eq!(names(&rig, role).await, ["reader"]);
        assert_eq!(names(&rig, password).await, present);
        // What cannot be done is told, though the program goes on.
        let again = dumps.run(&load("again", &json!({}))).await;
        let why = again.expect_err("the table is there");
        assert!(why.contains("relation \"t\" already exists"), "{why}");
        rig.stop().await;
    });
}

#[test]
fn an_operation_is_done_once_and_what_it_left_unfinished_is_no_dump() {
    let name = "dumping::an_operation_is_done_once_and_what_it_left_unfinished_is_no_dump";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(&rig, "CREATE TABLE t(v text); INSERT INTO t VALUES ('one')").await;
        let dumps = Dumps::new(&rig);
        let first = dumps.run(&make("one", &json!({}))).await.expect("a dump");
        let second = dumps.run(&make("one", &json!({}))).await.expect("the same");
        assert_eq!((first, dumps.names().len()), (second, 1));

        // One that is ended midway: it waits for a lock that another session holds.
        let session = locked(&rig).await;
        let _ = fs::remove_file(dumps.answer());
        let mut child = dumps.start(&make("two", &json!({})));
        let begin = Instant::now();
        let partial = || {
            dumps
                .names()
                .into_iter()
                .find(|name| name.ends_with(".partial"))
        };
        while partial().is_none() {
            assert!(begin.elapsed() < DEADLINE, "{:?}", dumps.names());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let pid = Pid::from_raw(child.id().expect("it runs").cast_signed());
        kill(pid, Signal::SIGKILL).expect("killed");
        child.wait().await.expect("waited for");
        assert!(!dumps.answer().exists(), "it could say nothing");
        // What it has begun waits for the lock all the same, and is no dump.
        session
            .execute("ROLLBACK", DEADLINE)
            .await
            .expect("unlocked");
        let made = dumps.run(&make("two", &json!({}))).await.expect("a dump");
        assert_eq!(partial(), None, "{:?}", dumps.names());
        assert_eq!(dumps.names().len(), 2);
        assert_eq!(made["name"], *dumps.names().last().expect("a dump"));

        rig.stop().await;
    });
}

#[test]
fn a_restore_is_made_once_and_never_again_where_its_end_is_not_known() {
    let name = "dumping::a_restore_is_made_once_and_never_again_where_its_end_is_not_known";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(&rig, "CREATE TABLE t(v text); INSERT INTO t VALUES ('one')").await;
        let dumps = Dumps::new(&rig);
        dumps.run(&make("one", &json!({}))).await.expect("a dump");
        // A restore of which it is not known whether it came to its end is not made again.
        let begun = dumps.folder().join("restores/half.json");
        fs::write(begun, "\"begun\"").expect("written");
        let why = dumps
            .run(&load("half", &json!({})))
            .await
            .expect_err("unknown");
        assert!(why.contains("is not known"), "{why}");
        execute(&rig, "DROP TABLE t").await;
        let done = dumps
            .run(&load("whole", &json!({})))
            .await
            .expect("restored");
        execute(&rig, "DROP TABLE t").await;
        let told = dumps
            .run(&load("whole", &json!({})))
            .await
            .expect("the same");
        assert_eq!(done, told);
        let there = "SELECT relname::text FROM pg_class WHERE relname = 't'";
        assert_eq!(
            names(&rig, there).await,
            [""; 0],
            "it was not restored again"
        );
        rig.stop().await;
    });
}

#[test]
fn one_that_is_told_to_end_leaves_nothing_and_says_nothing() {
    let name = "dumping::one_that_is_told_to_end_leaves_nothing_and_says_nothing";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(&rig, "CREATE TABLE t(v text)").await;
        let dumps = Dumps::new(&rig);
        let session = locked(&rig).await;
        let mut child = dumps.start(&make("one", &json!({})));
        let begin = Instant::now();
        let waits = "SELECT 'waits'::text FROM pg_stat_activity WHERE application_name = 'pgo-dump' AND wait_event_type = 'Lock'";
        while names(&rig, waits).await.is_empty() {
            assert!(begin.elapsed() < DEADLINE, "it does not dump");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        ends_when_told(&mut child, &dumps.answer()).await;
        assert_eq!(dumps.names(), [""; 0]);
        drop(session);

        // Also while it waits for another pod to let the volume go.
        let lock = dumps.folder().join(".lock");
        let held = fs::File::open(&lock).expect("a lock");
        held.lock().expect("held");
        let mut child = dumps.start(&make("two", &json!({})));
        let (begin, pid) = (Instant::now(), child.id().expect("it runs"));
        while !has_open(pid, &lock) {
            assert!(begin.elapsed() < DEADLINE, "it does not look for the lock");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        ends_when_told(&mut child, &dumps.answer()).await;
        rig.stop().await;
    });
}

#[test]
fn a_dump_that_gets_no_further_is_ended_and_is_none() {
    let name = "dumping::a_dump_that_gets_no_further_is_ended_and_is_none";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(&rig, "CREATE TABLE t(v text); INSERT INTO t VALUES ('one')").await;
        let dumps = Dumps::new(&rig);
        let limited = async |operation: &str| {
            let mut command = dumps.command(&make(operation, &json!({})));
            command.env("PGO_STALL_SECONDS", "2");
            worker::said(command, &dumps.answer()).await
        };
        let session = locked(&rig).await;
        let why = limited("one").await.expect_err("it waits for the table");
        assert!(
            why.starts_with("pg_dump moved no data for 2 s and was stopped"),
            "{why}"
        );
        let left = dumps.names();
        assert!(
            left.iter().all(|name| name.ends_with(".partial")),
            "{left:?}"
        );
        let dumping = "SELECT application_name::text FROM pg_stat_activity WHERE application_name = 'pgo-dump'";
        let begin = Instant::now();
        while !names(&rig, dumping).await.is_empty() {
            assert!(begin.elapsed() < DEADLINE, "its session does not end");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        session
            .execute("ROLLBACK", DEADLINE)
            .await
            .expect("unlocked");
        let made = limited("two").await.expect("a dump");
        assert_eq!(dumps.names(), [made["name"].as_str().expect("a name")]);
        rig.stop().await;
    });
}

#[test]
fn a_dump_that_failed_is_never_kept_and_one_that_is_not_whole_is_not_restored() {
    let name =
        "dumping::a_dump_that_failed_is_never_kept_and_one_that_is_not_whole_is_not_restored";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(
            &rig,
            "CREATE TABLE t AS SELECT 'x' || i AS v FROM generate_series(1, 9) i",
        )
        .await;
        let dumps = Dumps::new(&rig);
        let none = json!({"options": ["--table=nosuch"]});
        let why = dumps.run(&make("none", &none)).await.expect_err("no table");
        assert_eq!(why, "pg_dump: error: no matching tables were found");
        let unknown = json!({"options": ["--no-such-option"]});
        let why = dumps
            .run(&make("unknown", &unknown))
            .await
            .expect_err("no option");
        assert!(why.contains("pg_dump"), "{why}");
        let elsewhere = json!({"database": "nosuch host=127.0.0.1"});
        let why = dumps
            .run(&make("elsewhere", &elsewhere))
            .await
            .expect_err("no database");
        assert!(
            why.contains("database \"nosuch host=127.0.0.1\" does not exist"),
            "{why}"
        );
        rig.change_password("postgres", "another");
        let why = dumps
            .run(&make("wrong", &json!({})))
            .await
            .expect_err("no password");
        assert!(!why.is_empty() && !why.contains("another"), "{why}");
        rig.change_password("postgres", "super'secret");
        assert_eq!(dumps.names(), [""; 0]);

        // Half of one is found out before anything is changed: also where its head lists all of it.
        for format in ["custom", "plain"] {
            let order = make(format, &json!({"format": format}));
            let made = dumps.run(&order).await.expect(format);
            let folder = PathBuf::from(made["path"].as_str().expect("a path"));
            let file = folder.join(format!(
                "dump.{}",
                if format == "plain" { "sql" } else { format }
            ));
            let length = made["bytes"].as_u64().expect("a size");
            let cut = fs::File::options().write(true).open(&file).expect("a dump");
            cut.set_len(length - length / 4).expect("cut");
            execute(&rig, "DROP TABLE IF EXISTS t").await;
            let load = load(&format!("load-{format}"), &json!({}));
            let why = dumps.run(&load).await.expect_err("it is not whole");
            assert!(!why.is_empty(), "{format}");
            let there = "SELECT relname::text FROM pg_class WHERE relname = 't'";
            assert_eq!(names(&rig, there).await, [""; 0], "{format}");
        }
        rig.stop().await;
    });
}
