//! What is looked at in a copy that has replayed everything.

use std::{path::Path, process::Stdio, time::Duration};

use pgo_postgres::{backrest::drill::Damage, session::SessionError};
use tokio::{io::AsyncRead, process::Command, sync::mpsc};

use super::{Drill, Failure, Replayed, Stage};
use crate::server::{Server, follow};

/// Pause between two looks at a server that comes up.
const LOOK: Duration = Duration::from_millis(500);

/// How long one that was stopped in order may take to come up.
const OPEN: Duration = Duration::from_secs(300);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

impl Drill {
    /// Each page of the stopped copy against its checksum.
    pub(super) async fn check_pages(&self, replayed: &Replayed) -> Result<(), Failure> {
        let failed = Failure::at(Stage::Checksums);
        let data = self.settings.data();
        let mut command = Command::new(replayed.installation.program("pg_checksums"));
        // Where it writes its sums: what is wrong it says as errors.
        command.stdout(Stdio::null());
        command.args(["--check", "-D"]).arg(&data);
        run(command, "pg_checksums", &data).await.map_err(failed)
    }

    /// Starts the copy that was stopped.
    pub(super) async fn start_again(&self, replayed: &Replayed) -> Result<Server, Failure> {
        let failed = Failure::at(Stage::Structure);
        let (data, arguments) = (self.settings.data(), &replayed.isolated);
        let server = Server::start_with(&replayed.installation, &data, None, arguments);
        let server =
            server.map_err(|error| failed(format!("PostgreSQL cannot be started: {error}")))?;
        let open = async {
            while server.ended().is_none() {
                match self.session().await {
                    Ok(session) => return session.check(ANSWER).await.map_err(|e| e.to_string()),
                    Err(SessionError::Connect(_) | SessionError::NotYet(_)) => {}
                    Err(error) => return Err(error.to_string()),
                }
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        let opened = tokio::time::timeout(OPEN, open).await;
        if let Some(status) = server.ended() {
            return Err(failed(server.explain(status).await));
        }
        let late = || Err(format!("it does not answer within {} s", OPEN.as_secs()));
        opened.unwrap_or_else(|_| late()).map_err(failed)?;
        Ok(server)
    }

    /// Tables and indexes of all databases against each other; whether the image has what it takes.
    pub(super) async fn check_structure(
        &self,
        replayed: &Replayed,
        server: &Server,
    ) -> Result<bool, Failure> {
        let failed = Failure::at(Stage::Structure);
        let program = replayed.installation.program("pg_amcheck");
        if !program.exists() || !self.has_amcheck().await.map_err(&failed)? {
            tracing::warn!(
                "the image has no pg_amcheck: tables and indexes are not held against each other"
            );
            return Ok(false);
        }
        let mut command = Command::new(program);
        self.reaches(&mut command);
        command.args(["--all", "--install-missing", "--heapallindexed"]);
        command.stdout(Stdio::piped());
        let checked = run(command, "pg_amcheck", &self.settings.data()).await;
        checked.map_err(|error| failed(with_end(error, server)))?;
        Ok(true)
    }

    async fn has_amcheck(&self) -> Result<bool, String> {
        const QUERY: &str =
            "SELECT count(*) > 0 FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'";
        let asked = async { self.session().await?.truth(QUERY, ANSWER).await };
        asked.await.map_err(|error| error.to_string())
    }

    /// Reads every table of every database, and what makes them up.
    pub(super) async fn read_all(&self, replayed: &Replayed) -> Result<(), Failure> {
        let failed = Failure::at(Stage::Read);
        let mut command = Command::new(replayed.installation.program("pg_dumpall"));
        self.reaches(&mut command);
        command.args(["--no-sync", "--file=/dev/null"]);
        command.stdout(Stdio::piped());
        run(command, "pg_dumpall", &self.settings.data())
            .await
            .map_err(failed)
    }

    /// How a client gets to the server.
    fn reaches(&self, command: &mut Command) {
        let settings = &self.settings;
        command
            .arg("--host")
            .arg(&settings.run)
            .args(["--port", &settings.port.to_string()])
            .args(["--username", pgo_postgres::SUPERUSER, "--no-password"]);
    }
}

/// Says that the server has ended, where it has.
fn with_end(error: String, server: &Server) -> String {
    match server.ended() {
        Some(status) => format!("{error}; PostgreSQL has ended: {status}"),
        None => error,
    }
}

/// Runs a program to its end. How long it takes depends on the data.
async fn run(mut command: Command, name: &str, data: &Path) -> Result<(), String> {
    tracing::info!(program = name, "begins");
    let begin = std::time::Instant::now();
    let started = command
        // Their words are translated otherwise.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|error| format!("{name} cannot be started: {error}"))?;
    let (sender, mut lines) = mpsc::unbounded_channel();
    if let Some(output) = child.stdout.take() {
        tokio::spawn(hand_on(output, sender.clone()));
    }
    if let Some(output) = child.stderr.take() {
        tokio::spawn(hand_on(output, sender.clone()));
    }
    drop(sender);
    let mut damage = Damage::default();
    // Its own name, which is told in any case.
    let own = format!("{name}: error: ");
    while let Some(line) = lines.recv().await {
        tracing::info!(target: "drill", program = name, "{line}");
        damage.hear(line.strip_prefix(&own).unwrap_or(&line), data);
    }
    let status = child.wait().await;
    let status = status.map_err(|error| format!("how {name} ended is not known: {error}"))?;
    if status.success() {
        tracing::info!(program = name, took = ?begin.elapsed(), "found nothing wrong");
        return Ok(());
    }
    match damage.is_empty() {
        true => Err(format!("{name} failed without a word: {status}")),
        false => Err(format!("{name}: {damage}")),
    }
}

async fn hand_on(output: impl AsyncRead + Unpin, lines: mpsc::UnboundedSender<String>) {
    follow(output, |line| {
        // Nobody hears any more what comes after a program was given up.
        let _ = lines.send(line.to_owned());
    })
    .await;
}
