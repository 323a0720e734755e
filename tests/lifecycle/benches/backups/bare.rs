//! PostgreSQL and pgBackRest as processes of this machine, with the settings of a cluster's agents: what PGO is beside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    filled::{pgbench, postgres},
    harness::{
        Cluster, kubectl,
        kubernetes::{list, names},
        namespace,
        programs::run,
        sql::Database,
        until,
        until::seen,
    },
};

/// Port of PostgreSQL.
const POSTGRES: u16 = 5599;

/// Port of pgBackRest's server beside it.
const INSTANCE: u16 = 8632;

/// Port of pgBackRest's server with the repository.
const REPOSITORY: u16 = 8633;

/// How long a server may take to be there.
const LIMIT: Duration = Duration::from_secs(60);

/// Both ends, which go with this value.
pub struct Bare {
    folder: tempfile::TempDir,
    servers: Vec<Child>,
}

impl Bare {
    /// Made like the instance and the repository of this cluster, of which a backup was made.
    pub fn like(cluster: &Cluster) -> Self {
        let mut named = tempfile::Builder::new();
        let folder = named.prefix("pgo-bare-").tempdir_in("/var/tmp");
        let folder = folder.expect("a folder");
        let mut bare = Self {
            folder,
            servers: Vec::new(),
        };
        run(plain("chown", &["postgres:", &bare.path("")]), "").ok();
        bare.certify();
        let instance = said(&cluster.name, "pgbackrest.conf");
        bare.configure("instance.conf", &instance, INSTANCE);
        let repository = said(&repository_of(cluster), "pgbackrest-work.conf");
        bare.configure("repository.conf", &repository, REPOSITORY);
        let data = bare.path("data");
        bare.run(
            &postgres("initdb"),
            &["--pgdata", &data, "--data-checksums", "--auth=trust"],
        );
        let archive = format!(
            "archive_mode = on\narchive_command = 'pgbackrest --config={} --stanza=db archive-push \"%p\"'\n",
            bare.path("instance.conf")
        );
        let rest = format!("port = {POSTGRES}\nunix_socket_directories = '/run/postgresql'\n");
        let conf = Path::new(&data).join("postgresql.conf");
        let before = fs::read_to_string(&conf).expect("initdb makes it");
        fs::write(&conf, before + &archive + &rest).expect("it is written");
        bare.start();
        for conf in ["instance.conf", "repository.conf"] {
            let config = format!("--config={}", bare.path(conf));
            let server = bare.command("pgbackrest", &[&config, "server"]).spawn();
            bare.servers.push(server.expect("pgbackrest"));
        }
        bare.ask("postgres", &format!("CREATE DATABASE {}", Database::NAME));
        until("both servers and a stanza", LIMIT, || {
            let made = run(bare.pgbackrest("repository.conf", &["stanza-create"]), "");
            seen(made.status.success(), || made.to_string())
        });
        bare
    }

    /// pgbench on the application's database.
    pub fn pgbench(&self, arguments: &[&str]) {
        let database = Database {
            address: "127.0.0.1".to_owned(),
            user: "postgres".to_owned(),
            password: String::new(),
        };
        let mut command = pgbench(&database, arguments);
        command.env("PGPORT", POSTGRES.to_string());
        run(command, "").ok();
    }

    /// A full backup.
    pub fn back_up(&self) {
        run(
            self.pgbackrest("repository.conf", &["--type=full", "backup"]),
            "",
        )
        .ok();
    }

    /// Restores with these options, beside what was there: until the first answer of a server that takes writes.
    pub fn restore(&self, options: &[&str]) {
        self.stop();
        let former = self.path("former");
        fs::rename(self.path("data"), &former).expect("it is moved");
        fs::create_dir(self.path("data")).expect("a folder");
        run(plain("chown", &["postgres:", &self.path("data")]), "").ok();
        run(plain("chmod", &["0700", &self.path("data")]), "").ok();
        let mut all = options.to_vec();
        all.push("restore");
        run(self.pgbackrest("instance.conf", &all), "").ok();
        self.start();
        until("a server that takes writes", LIMIT, || {
            let answer = self.ask(Database::NAME, "SELECT pg_is_in_recovery()");
            seen(answer == "f", || answer)
        });
        fs::remove_dir_all(former).expect("it goes");
    }

    /// The answer to a query.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        let port = POSTGRES.to_string();
        let mut psql = plain(
            "psql",
            &[
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--command",
                sql,
            ],
        );
        psql.env("PGHOST", "/run/postgresql")
            .env("PGPORT", port)
            .env("PGUSER", "postgres")
            .env("PGDATABASE", database);
        run(psql, "").out.trim().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// One certificate for both ends, of itself.
    fn certify(&self) {
        let (key, certificate) = (self.path("tls.key"), self.path("tls.crt"));
        let curve = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ];
        let subject = [
            "-subj",
            "/CN=bare",
            "-days",
            "2",
            "-addext",
            "subjectAltName=DNS:localhost",
        ];
        let mut all = vec!["req", "-x509", "-keyout", &key, "-out", &certificate];
        all.extend(curve.iter().chain(&subject));
        self.run("openssl", &all);
    }

    /// Writes a configuration: all of the agent's but where things are.
    fn configure(&self, name: &str, agents: &str, port: u16) {
        let place = |option: &str| match option {
            "lock-path" | "log-path" => Some(self.path(name) + ".d"),
            "tls-server-address" => Some("127.0.0.1".to_owned()),
            "tls-server-port" => Some(port.to_string()),
            "tls-server-auth" => Some("bare=db".to_owned()),
            "repo1-path" => Some(self.path("repository")),
            "repo1-host-config" => Some(self.path("repository.conf")),
            "repo1-host" | "pg1-host" => Some("localhost".to_owned()),
            "repo1-host-port" => Some(REPOSITORY.to_string()),
            "pg1-host-port" => Some(INSTANCE.to_string()),
            "pg1-port" => Some(POSTGRES.to_string()),
            "pg1-path" => Some(self.path("data")),
            "spool-path" => Some(self.path("spool")),
            _ if option.ends_with("key-file") => Some(self.path("tls.key")),
            _ if option.ends_with("cert-file") || option.ends_with("ca-file") => {
                Some(self.path("tls.crt"))
            }
            _ => None,
        };
        let line = |line: &str| match line.split_once('=') {
            Some((option, value)) => {
                let value = place(option).unwrap_or_else(|| value.to_owned());
                format!("{option}={value}\n")
            }
            None => format!("{line}\n"),
        };
        let text: String = agents.lines().map(line).collect();
        fs::write(self.path(name), text).expect("it is written");
    }

    fn start(&self) {
        let (data, log) = (self.path("data"), self.path("log"));
        self.run(
            &postgres("pg_ctl"),
            &["start", "--wait", "--pgdata", &data, "--log", &log],
        );
    }

    fn stop(&self) {
        let data = self.path("data");
        self.run(
            &postgres("pg_ctl"),
            &["stop", "--wait", "--mode=fast", "--pgdata", &data],
        );
    }

    fn pgbackrest(&self, conf: &str, arguments: &[&str]) -> Command {
        let config = format!("--config={}", self.path(conf));
        let mut all = vec![config.as_str(), "--stanza=db"];
        all.extend(arguments);
        self.command("pgbackrest", &all)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        run(self.command(program, arguments), "").ok();
    }

    /// A command of the user whom Debian has for it.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let as_postgres = [
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            program,
        ];
        let mut command = plain("setpriv", &as_postgres);
        command.args(arguments).current_dir(self.folder.path());
        command
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let stop = ["stop", "--mode=immediate", "--pgdata", &self.path("data")];
        // Nothing may be said by a value that goes; the folder tells what is left.
        let _ = self
            .command(&postgres("pg_ctl"), &stop)
            .stdout(Stdio::null())
            .status();
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn plain(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// A file of an agent.
fn said(pod: &str, file: &str) -> String {
    let path = PathBuf::from("/run/postgresql")
        .join(file)
        .display()
        .to_string();
    kubectl(&[
        "exec",
        "-n",
        &namespace(),
        pod,
        "-c",
        "database",
        "--",
        "cat",
        &path,
    ])
    .ok()
    .out
}

fn repository_of(cluster: &Cluster) -> String {
    let selector = format!("pg-cluster={},pgo-backrest-repo=true", cluster.name);
    let pods = list("pods", &selector, &namespace());
    names(&pods)[0].trim_start_matches("Pod/").to_owned()
}
