//! The whole way with a real PostgreSQL: find, initialise, configure, start, set up, ask.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod unprivileged;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use pgo_postgres::{
    Installation, Session, Socket,
    conf::{self, ServerConf},
    control,
    custom::Custom,
    files::write_atomically,
    hba, identify, initdb,
    passwords::{self, Agreed, Credentials},
    position::{self, WalEnd},
    program,
    setup::{self, Account, Setup, Verifier},
    setup_sql, standby,
    synchronous::Rule,
};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_postgres::Client;
use unprivileged::unprivileged;

const DEADLINE: Duration = Duration::from_secs(60);

/// Passwords with all that could break a quotation.
const POSTGRES_PASSWORD: &str = "p'o\"s\\t g$r;e--s";
const TESTUSER_PASSWORD: &str = "t'e\\'s\"t ü";

fn account(role: &str, password: &str) -> Account {
    Account {
        role: role.parse().expect("a role"),
        verifier: Verifier::of(&SecretString::from(password)),
    }
}

fn setup() -> Setup {
    Setup {
        replication: account("primaryuser", "replicate"),
        application: account("testuser", TESTUSER_PASSWORD),
        database: "user'\"db".to_owned(),
        extensions: vec!["pg_stat_statements".to_owned(), "pgaudit".to_owned()],
    }
}

/// A server in a folder of its own.
struct Server {
    folder: TempDir,
    installation: Installation,
    log: PathBuf,
    process: Option<Child>,
}

impl Server {
    async fn initialised() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        let path = std::env::var_os("PATH");
        let installation = program::find(path.as_deref(), &data)
            .await
            .expect("PostgreSQL is installed on this machine");
        let superuser = Verifier::of(&SecretString::from(POSTGRES_PASSWORD));
        initdb::run(&installation, &data, &superuser)
            .await
            .expect("initdb");
        Self {
            log: folder.path().join("log"),
            folder,
            installation,
            process: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("hippo")
    }

    fn socket(&self) -> Socket {
        Socket {
            folder: self.folder.path().to_owned(),
            port: 5432,
        }
    }

    /// Configures as the agent does, with what is in `custom`.
    fn configure(&self, custom: &Custom) {
        let tls = rcgen::generate_simple_self_signed(vec!["hippo".to_owned()]).expect("made");
        let (certificate, key) = (
            self.folder.path().join("server.crt"),
            self.folder.path().join("server.key"),
        );
        write_atomically(&certificate, tls.cert.pem().as_bytes(), 0o600).expect("written");
        let pem = tls.signing_key.serialize_pem();
        write_atomically(&key, pem.as_bytes(), 0o600).expect("written");
        let conf = ServerConf {
            version: self.installation.version.clone(),
            port: 5432,
            sockets: vec![self.folder.path().to_owned()],
            cluster_name: "hip'po".to_owned(),
            certificate,
            key,
            authority: self.folder.path().join("server.crt"),
            hba_file: self.data().join(conf::HBA_FILE),
            ident_file: self.data().join(conf::IDENT_FILE),
            archive: None,
            standby: None,
            recovery: None,
            synchronous: Rule::default(),
            custom: custom.postgresql_conf.clone(),
            volume: Some(40 << 30),
            preload: vec!["pg_stat_statements".to_owned()],
            // The strictest test for what we log: everything.
            log_statement: Some("all".to_owned()),
            log_min_duration_statement: Some("0".to_owned()),
        };
        let texts = conf::Texts {
            conf: conf.render().expect("rendered"),
            hba: hba::render(custom.pg_hba.as_deref()),
            ident: hba::ident("agent", custom.pg_ident.as_deref()),
        };
        conf::write(&self.data(), &texts).expect("written");
    }

    async fn start(&mut self) -> Session {
        let log = fs::File::create(&self.log).expect("a log");
        let process = Command::new(self.installation.program("postgres"))
            .arg("-D")
            .arg(self.data())
            // No other test may be in the way of this port.
            .args(["-c", "listen_addresses="])
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        self.process = Some(process);
        let begin = Instant::now();
        loop {
            match Session::open(&self.socket(), "postgres").await {
                Ok(session) => return session,
                Err(error) if begin.elapsed() > DEADLINE => {
                    let log = fs::read_to_string(&self.log).unwrap_or_default();
                    unreachable!("not up in time: {error}\n{log}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn stop(mut self) -> String {
        self.end().await;
        fs::read_to_string(&self.log).expect("a log")
    }

    /// Sees that WAL reaches to `last` where it was replayed to `from`. The server may have written something of its own since.
    async fn reaches(&self, from: WalEnd, last: WalEnd) {
        let end = position::of_standby(&self.installation, &self.data(), from).await;
        let end = end.expect("read");
        assert!(
            end.timeline == last.timeline && end.lsn >= last.lsn,
            "{from:?}: {end:?} before {last:?}"
        );
    }

    /// The next timeline is begun at the end of all WAL, as a promotion does: its history is there, and its first file, a copy of the
    /// last one. Until a record of its own is in it, what was written counts as that of the timeline before: the record decides, not
    /// the timeline that is followed.
    async fn begins_a_timeline_without_a_record(&self, before: &[WalEnd]) {
        let data = self.data();
        let end = position::of_stopped(&self.installation, &data).await;
        let end = end.expect("read");
        let wal = data.join("pg_wal");
        let segment = |name: &&String| name.len() == 24 && name.starts_with("00000001");
        let names = names(&wal);
        let mut holding = names.iter().filter(segment);
        // A file has 16 MiB where initdb is not told otherwise.
        let holds = format!("{:08X}", end.lsn >> 24);
        let last = holding.find(|name| name.ends_with(&holds));
        let last = last.expect("the file in which WAL ends");
        let begun = [
            wal.join("00000002.history"),
            wal.join(last.replacen("00000001", "00000002", 1)),
        ];
        let (high, low) = (end.lsn >> 32, end.lsn & 0xFFFF_FFFF);
        fs::write(
            &begun[0],
            format!("1\t{high:X}/{low:X}\tno recovery target specified\n"),
        )
        .expect("written");
        fs::copy(wal.join(last), &begun[1]).expect("copied");
        for from in before {
            self.reaches(*from, end).await;
        }
        for file in begun {
            fs::remove_file(file).expect("removed");
        }
    }

    /// Shuts the server down; it can be started again.
    async fn end(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let pid = process.id().expect("it runs").cast_signed();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGINT,
        )
        .expect("told");
        let status = tokio::time::timeout(DEADLINE, process.wait()).await;
        assert!(status.expect("ended in time").expect("a status").success());
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("listed")
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect();
    names.sort();
    names
}

/// The application: its password is the one that was given, and its schema is its own.
async fn application(server: &Server, database: &str) -> Client {
    let (client, connection) = tokio_postgres::Config::new()
        .host_path(server.folder.path())
        .user("testuser")
        .password(TESTUSER_PASSWORD)
        .dbname(database)
        .connect(tokio_postgres::NoTls)
        .await
        .expect("testuser gets in");
    tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE first (id int); INSERT INTO first VALUES (1)")
        .await
        .expect("testuser has a place to write");
    let row = client.query_one(
        "SELECT schemaname FROM pg_tables WHERE tablename = 'first'",
        &[],
    );
    assert_eq!(row.await.expect("a row").get::<_, String>(0), "testuser");
    client
}

#[test]
fn a_new_server_has_what_a_cluster_needs_and_no_password_in_its_log() {
    let name = "a_new_server_has_what_a_cluster_needs_and_no_password_in_its_log";
    unprivileged(name, &[], async || {
        let mut server = Server::initialised().await;
        assert_eq!(
            names(server.folder.path()),
            ["hippo"],
            "nothing is left beside the data"
        );
        server.configure(&Custom::default());
        let session = server.start().await;
        let wanted = setup();
        setup::run(&server.socket(), &wanted).await.expect("set up");
        setup::run(&server.socket(), &wanted).await.expect("again");

        let ask = async |query: &str| session.names(query, DEADLINE).await.expect(query);
        assert_eq!(ask("SHOW data_checksums").await, ["on"]);
        assert_eq!(ask("SHOW server_encoding").await, ["UTF8"]);
        assert_eq!(ask("SHOW cluster_name").await, ["hip'po"]);
        assert_eq!(ask("SHOW ssl").await, ["on"]);
        let verifiers = ask(
            "SELECT rolname || coalesce(substr(rolpassword, 1, 14), '') FROM pg_authid WHERE rolcanlogin ORDER BY 1",
        );
        assert_eq!(
            verifiers.await,
            [
                "pgo_replication",
                "postgresSCRAM-SHA-256$",
                "primaryuserSCRAM-SHA-256$",
                "testuserSCRAM-SHA-256$"
            ]
        );

        let client = application(&server, &wanted.database).await;

        // What the server says and what pg_control says is the same.
        let facts = session.facts(DEADLINE).await.expect("facts");
        let control = control::read(&server.installation, &server.data())
            .await
            .expect("pg_control");
        assert_eq!(facts.system_identifier, control.system_identifier);
        assert_eq!((facts.timeline, control.timeline), (1, 1));
        assert!(!facts.in_recovery && facts.lsn > 0);

        drop((session, client));
        let log = server.stop().await;
        for secret in [
            POSTGRES_PASSWORD,
            "replicate",
            TESTUSER_PASSWORD,
            "SCRAM-SHA-256$",
        ] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
        assert!(log.contains("INSERT INTO first"), "the log was on");
    });
}

#[test]
fn a_role_gets_the_password_that_is_wanted_once_and_nothing_of_it_is_in_the_log() {
    let name = "a_role_gets_the_password_that_is_wanted_once_and_nothing_of_it_is_in_the_log";
    unprivileged(name, &[], async || {
        let mut server = Server::initialised().await;
        server.configure(&Custom::default());
        let session = server.start().await;
        setup::run(&server.socket(), &setup())
            .await
            .expect("set up");
        let credentials = |role: &str, password: &str| Credentials {
            role: role.parse().expect("a role"),
            password: SecretString::from(password),
        };
        let wanted = [
            credentials("primaryuser", "replicate"),
            credentials("testuser", "an'other\\ ü"),
            credentials("nobody", "secret"),
        ];
        let set = async |agreed: &mut Agreed| {
            let set = passwords::set(&server.socket(), &wanted, agreed)
                .await
                .expect("set");
            set.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut agreed = Agreed::default();
        assert_eq!(set(&mut agreed).await, ["testuser"]);
        assert!(agreed.has(&wanted));
        assert!(set(&mut agreed).await.is_empty());
        assert!(set(&mut Agreed::default()).await.is_empty());
        // Whoever changes the role gets the Secret's back.
        let changed = "ALTER ROLE testuser PASSWORD 'x'";
        session.execute(changed, DEADLINE).await.expect("changed");
        assert_eq!(set(&mut agreed).await, ["testuser"]);
        let query = "SELECT query FROM pg_stat_statements WHERE query LIKE '%SCRAM%' AND query LIKE 'ALTER ROLE%'";
        let extension = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
        session.execute(extension, DEADLINE).await.expect("made");
        assert!(
            session
                .names(query, DEADLINE)
                .await
                .expect("asked")
                .is_empty()
        );
        drop(session);
        let log = server.stop().await;
        for secret in ["an'other", "an''other", "SCRAM-SHA-256$"] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    });
}

#[test]
fn all_wal_of_a_standby_counts_that_follows_what_it_has_replayed() {
    let name = "all_wal_of_a_standby_counts_that_follows_what_it_has_replayed";
    unprivileged(name, &[], async || {
        let mut server = Server::initialised().await;
        server.configure(&Custom::default());
        let mut ends = Vec::new();
        let write = async |session: &Session| {
            let statements = "CREATE TABLE x (); DROP TABLE x";
            session.execute(statements, DEADLINE).await.expect("done");
        };
        let session = server.start().await;
        for _ in 0..2 {
            write(&session).await;
            ends.push(identify::ask(&server.socket()).await.expect("told"));
        }
        let switch = "SELECT pg_switch_wal()";
        session.execute(switch, DEADLINE).await.expect("done");
        // Where the next file would begin, which may not be there.
        let boundary = identify::ask(&server.socket()).await.expect("told");
        server.reaches(boundary, boundary).await;
        write(&session).await;
        ends.push(identify::ask(&server.socket()).await.expect("told"));
        for from in &ends {
            server.reaches(*from, ends[2]).await;
        }
        drop(session);
        server.end().await;
        server.begins_a_timeline_without_a_record(&ends).await;

        let version = server.installation.version.clone();
        standby::follow(&server.data(), &version, None).expect("a standby");
        let session = server.start().await;
        let promoted = standby::promote(&session, &server.data(), &version).await;
        promoted.expect("promoted");
        write(&session).await;
        let last = identify::ask(&server.socket()).await.expect("told");
        assert_eq!(last.timeline, 2);
        for from in ends.iter().chain([&last]) {
            server.reaches(*from, last).await;
        }
        drop(session);
        server.stop().await;
    });
}

#[test]
fn own_configuration_counts_where_pgo_does_not_depend_on_it() {
    let name = "own_configuration_counts_where_pgo_does_not_depend_on_it";
    unprivileged(name, &[], async || {
        let mut server = Server::initialised().await;
        let own = server.folder.path().join("pgconf");
        fs::create_dir(&own).expect("a folder");
        let files = [
            (
                "postgresql.conf",
                "work_mem = 7MB\nport = 1\nlog_statement = none\n",
            ),
            ("pg_hba.conf", "local all all reject\n"),
            (
                "setup.sql",
                "\\set n 3\nCREATE TABLE own AS SELECT :n AS n, 's3cret' AS password;\n",
            ),
            ("server.key", "unused"),
        ];
        for (name, text) in files {
            fs::write(own.join(name), text).expect("a file");
        }
        let custom = Custom::read(&own).expect("read");
        assert_eq!(custom.unused, ["server.key"]);
        server.configure(&custom);
        let session = server.start().await;
        let ask = async |query: &str| session.names(query, DEADLINE).await.expect(query);
        assert_eq!(ask("SHOW work_mem").await, ["7MB"]);
        assert_eq!(ask("SHOW log_statement").await, ["none"]);
        assert_eq!(ask("SHOW port").await, ["5432"]);

        let file = custom.setup_sql.expect("setup.sql");
        let run = async || {
            setup_sql::run(&server.installation, &server.socket(), "postgres", &file).await
        };
        run().await.expect("setup.sql runs");
        assert_eq!(ask("SELECT n::text FROM own").await, ["3"]);
        let error = run().await.expect_err("the table is there");
        let text = error.to_string();
        assert!(
            text.contains("line 2 of setup.sql with SQLSTATE 42P07") && !text.contains("s3cret"),
            "{text}"
        );
        fs::write(&file, "SELECT 1;\n\\s3cret\n").expect("a file");
        let text = run().await.expect_err("no command of psql").to_string();
        assert!(
            text.contains("line 2 of setup.sql by a command of psql") && !text.contains("s3cret"),
            "{text}"
        );

        drop(session);
        server.stop().await;
    });
}

#[test]
fn an_initdb_that_fails_leaves_nothing_and_says_why() {
    let name = "an_initdb_that_fails_leaves_nothing_and_says_why";
    unprivileged(name, &[], async || {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("hippo");
        // What was left of a try that was killed.
        fs::create_dir(folder.path().join("hippo.initdb")).expect("a folder");
        fs::write(folder.path().join("hippo.initdb/PG_VERSION"), "15").expect("a file");
        let found = program::find(None, &data).await.expect("PostgreSQL");
        // An initdb whose postgres is missing.
        let broken = Installation {
            folder: folder.path().join("bin"),
            ..found.clone()
        };
        fs::create_dir(&broken.folder).expect("a folder");
        fs::copy(found.program("initdb"), broken.program("initdb")).expect("copied");
        let superuser = Verifier::of(&SecretString::from(POSTGRES_PASSWORD));
        let error = initdb::run(&broken, &data, &superuser)
            .await
            .expect_err("it cannot work");
        assert!(
            error.to_string().contains("\"postgres\" is needed"),
            "{error}"
        );
        assert_eq!(names(folder.path()), ["bin"]);

        initdb::run(&found, &data, &superuser)
            .await
            .expect("the cause is gone");
        let before = control::read(&found, &data).await.expect("pg_control");
        initdb::run(&found, &data, &superuser)
            .await
            .expect("data is left as it is");
        assert_eq!(
            control::read(&found, &data).await.expect("pg_control"),
            before
        );
    });
}
