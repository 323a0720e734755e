//! Backups by pg_basebackup and what is restored from them, as their pod makes them: the program itself, with PostgreSQL's own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use pgo_postgres::{Session, Socket, program as installed};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    replica::pair,
    rig::{DEADLINE, PROGRAMS, Rig},
    unprivileged::unprivileged,
    worker::{self, execute, option, served},
};

/// A volume for backups of an instance that serves, and one to restore to.
struct Copies<'a> {
    rig: &'a Rig,
    volume: PathBuf,
    target: PathBuf,
}

impl<'a> Copies<'a> {
    fn new(rig: &'a Rig) -> Self {
        let [volume, target] = ["copies", "restored"].map(|name| rig.path().join(name));
        for path in [&volume, &target] {
            fs::create_dir_all(path).expect("a folder");
        }
        Self {
            rig,
            volume,
            target,
        }
    }

    /// It runs to its end: its answer, or why there is none.
    async fn run(&self, order: &Value) -> Result<Value, String> {
        self.run_with(order, 0).await
    }

    /// The same, where a program is ended that moves no data for so many seconds; 0 for never.
    async fn run_with(&self, order: &Value, stall: u32) -> Result<Value, String> {
        let (answer, tls) = (self.volume.join("answer"), &self.rig.settings.tls);
        let mut command = worker::command(self.rig, "dump", &answer);
        command
            .arg(option("volume", &self.volume))
            .arg(option("target", &self.target))
            .arg(option("certificate", &tls.join("tls.crt")))
            .arg(option("key", &tls.join("tls.key")))
            .env("PGO_DUMP", order.to_string())
            .env("PGO_STALL_SECONDS", stall.to_string());
        worker::said(command, &answer).await
    }

    async fn copy(&self, operation: &str) -> Result<Value, String> {
        self.copy_with(operation, "--max-rate=1024M", 0).await
    }

    async fn copy_with(&self, operation: &str, option: &str, stall: u32) -> Result<Value, String> {
        let source = json!({
            "instance": "hippo", "address": "127.0.0.1", "port": self.rig.settings.port,
        });
        let order = json!({
            "operation": operation, "work": "baseBackup", "source": source, "options": [option],
        });
        self.run_with(&order, stall).await
    }

    async fn restore(
        &self,
        operation: &str,
        backup: Option<&str>,
        to: &str,
    ) -> Result<Value, String> {
        self.run(
            &json!({"operation": operation, "work": "baseRestore", "backup": backup, "to": to}),
        )
        .await
    }

    /// Names of backups, whole or not.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.volume.join("hippo-backups")).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("20")).collect()
    }

    /// What a restored data directory holds: a server is started on it alone.
    async fn rows(&self, to: &str) -> Vec<String> {
        let socket = self.target.join("socket");
        fs::create_dir_all(&socket).expect("a folder");
        let conf = self.target.join("empty.conf");
        fs::write(&conf, "").expect("written");
        let data = self.target.join(to);
        let hba = self.target.join("hba.conf");
        fs::write(&hba, "local all all trust\n").expect("written");
        let at = |path: &Path| path.display().to_string();
        let found = installed::all(std::env::var_os("PATH").as_deref()).await;
        let installation = installed::choose(found, None).expect("PostgreSQL");
        let mut server = Command::new(installation.program("postgres"))
            .args(["-D", &at(&data)])
            .args(["-c", &format!("config_file={}", at(&conf))])
            .args(["-c", &format!("hba_file={}", at(&hba))])
            .args(["-c", "listen_addresses="])
            .args(["-c", &format!("unix_socket_directories={}", at(&socket))])
            .kill_on_drop(true)
            .spawn()
            .expect("PostgreSQL starts");
        let at_socket = Socket {
            folder: socket,
            port: 5432,
        };
        let begin = std::time::Instant::now();
        let session = loop {
            match Session::open(&at_socket, "userdb").await {
                Ok(session) => break session,
                Err(error) => assert!(begin.elapsed() < DEADLINE, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let query = "SELECT v FROM t ORDER BY 1";
        let rows = session.names(query, DEADLINE).await.expect("an answer");
        server.start_kill().expect("killed");
        server.wait().await.expect("waited for");
        rows
    }
}

/// A data directory has nothing that a copy or a standby has.
fn is_no_copy_any_more(data: &Path) {
    for gone in [
        "backup_label",
        "backup_manifest",
        "pgo-basebackup.json",
        "standby.signal",
    ] {
        assert!(!data.join(gone).exists(), "{gone}");
    }
}

#[test]
fn a_copy_is_made_once_and_its_restore_comes_up_with_what_was_there() {
    let name = "basebackups::a_copy_is_made_once_and_its_restore_comes_up_with_what_was_there";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(
            &rig,
            "CREATE TABLE t(v text); INSERT INTO t VALUES ('one'), ('two')",
        )
        .await;
        let copies = Copies::new(&rig);
        let made = copies.copy("first").await.expect("a copy");
        assert_eq!(
            copies.copy("first").await.as_ref(),
            Ok(&made),
            "it is done once"
        );
        assert_eq!(copies.names().len(), 1);
        assert!(made["bytes"].as_u64() > Some(1 << 20), "{made}");
        assert_eq!(made["note"], Value::Null, "it was verified: {made}");
        let wal = |end: &str| made["wal"][end].as_str().unwrap_or_default().to_owned();
        assert!(
            wal("start").len() == 24 && wal("start") <= wal("stop"),
            "{made}"
        );
        execute(&rig, "DELETE FROM t").await;
        let name = made["name"].as_str();
        let restored = copies.restore("back", name, "hippo-abcd").await;
        let restored = restored.expect("restored");
        assert_eq!(restored["name"], made["name"]);
        let end = &restored["end"];
        assert_eq!(end["timeline"], 1, "{restored}");
        assert!(
            end["lsn"].as_str().is_some_and(|lsn| lsn.starts_with("0/")),
            "{restored}"
        );
        let data = copies.target.join("hippo-abcd");
        assert_eq!(
            data.metadata().expect("there").permissions().mode() & 0o777,
            0o700
        );
        is_no_copy_any_more(&data);
        // The same operation does nothing again; another one does not touch what is there.
        assert_eq!(
            copies.restore("back", name, "hippo-abcd").await,
            Ok(restored)
        );
        let why = copies
            .restore("again", None, "hippo-abcd")
            .await
            .expect_err("it is taken");
        assert!(why.contains("is there already"), "{why}");
        assert_eq!(copies.rows("hippo-abcd").await, ["one", "two"]);
        let none = copies
            .restore("none", Some("2020-01-01-00-00-00"), "hippo-none")
            .await
            .expect_err("no such copy");
        assert!(
            none.contains("there is no backup 2020-01-01-00-00-00"),
            "{none}"
        );
        rig.stop().await;
    });
}

#[test]
fn what_is_not_whole_is_no_backup_and_is_not_restored() {
    let name = "basebackups::what_is_not_whole_is_no_backup_and_is_not_restored";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        execute(&rig, "CREATE TABLE t(v text); INSERT INTO t VALUES ('one')").await;
        let copies = Copies::new(&rig);
        let made = copies.copy("first").await.expect("a copy");
        let at = Path::new(made["path"].as_str().expect("a path")).to_owned();
        // A page that changed on the volume.
        let file = at.join("global/pg_filenode.map");
        let mut bytes = fs::read(&file).expect("read");
        bytes[9] ^= 1;
        fs::write(&file, bytes).expect("written");
        let why = copies
            .restore("damaged", None, "hippo-abcd")
            .await
            .expect_err("it is damaged");
        assert!(
            why.contains("checksum mismatch for file \"global/pg_filenode.map\""),
            "{why}"
        );
        // WAL that is not there.
        fs::remove_dir_all(&at).expect("removed");
        let made = copies.copy("second").await.expect("a copy");
        let at = Path::new(made["path"].as_str().expect("a path")).to_owned();
        let first = made["wal"]["start"].as_str().expect("a name");
        fs::remove_file(at.join("pg_wal").join(first)).expect("removed");
        // Not even where nothing else would notice it.
        fs::remove_file(at.join("backup_manifest")).expect("removed");
        let why = copies.restore("half", None, "hippo-abcd").await;
        let why = why.expect_err("its WAL is missing");
        assert!(why.contains("FATAL"), "{why}");
        let left = fs::read_dir(&copies.target).expect("a folder").count();
        assert_eq!(left, 0, "nothing is left of it");
        // A server that is not there.
        rig.stop().await;
        let copies = Copies::new(&rig);
        let why = copies.copy("third").await.expect_err("nobody serves");
        assert!(why.contains("pg_basebackup: error"), "{why}");
        assert_eq!(copies.names().len(), 1, "{:?}", copies.names());
    });
}

#[test]
fn a_copy_that_gets_no_further_is_ended_and_one_that_is_slow_is_not() {
    let name = "basebackups::a_copy_that_gets_no_further_is_ended_and_one_that_is_slow_is_not";
    unprivileged(name, &PROGRAMS, async || {
        let mut rig = served().await;
        // So much that PostgreSQL takes minutes to write it where it may.
        execute(
            &rig,
            "CREATE TABLE big AS SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g",
        )
        .await;
        let copies = Copies::new(&rig);
        let why = copies.copy_with("first", "--checkpoint=spread", 2).await;
        let why = why.expect_err("it waits for the checkpoint");
        assert!(
            why.starts_with("pg_basebackup moved no data for 2 s and was stopped"),
            "{why}"
        );
        assert!(
            copies.names().iter().all(|name| name.ends_with(".partial")),
            "{:?}",
            copies.names()
        );
        // 30 MB and more, so that it takes longer than it may do nothing.
        let begin = std::time::Instant::now();
        let made = copies.copy_with("second", "--max-rate=8M", 2).await;
        let made = made.expect("it goes on");
        assert!(
            begin.elapsed().as_secs() > 2,
            "too fast to tell: {:?}",
            begin.elapsed()
        );
        assert_eq!(copies.names(), [made["name"].as_str().expect("a name")]);
        rig.stop().await;
    });
}

#[test]
fn a_copy_of_a_replica_comes_up_by_itself_and_follows_nobody() {
    let name = "basebackups::a_copy_of_a_replica_comes_up_by_itself_and_follows_nobody";
    unprivileged(name, &PROGRAMS, async || {
        let (mut primary, mut replica) = pair().await;
        execute(
            &primary,
            "CREATE TABLE t(v text); INSERT INTO t VALUES ('one')",
        )
        .await;
        let seen = async || {
            let session = Session::open(&replica.settings.socket(), "userdb").await;
            let session = session.expect("a session");
            let rows = session.names("SELECT v FROM t", DEADLINE).await;
            rows.unwrap_or_default()
        };
        let begin = std::time::Instant::now();
        while seen().await != ["one"] {
            assert!(begin.elapsed() < DEADLINE, "the row does not come");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let copies = Copies::new(&replica);
        let made = copies.copy("first").await.expect("a copy");
        let at = Path::new(made["path"].as_str().expect("a path")).to_owned();
        let label = fs::read_to_string(at.join("backup_label")).expect("a label");
        assert!(label.contains("BACKUP FROM: standby"), "{label}");
        assert!(at.join("standby.signal").exists(), "as it was");
        execute(&primary, "DELETE FROM t").await;
        let restored = copies.restore("back", None, "hippo-efgh").await;
        restored.expect("restored");
        assert!(!copies.target.join("hippo-efgh/standby.signal").exists());
        assert_eq!(copies.rows("hippo-efgh").await, ["one"]);
        replica.stop().await;
        primary.stop().await;
    });
}
