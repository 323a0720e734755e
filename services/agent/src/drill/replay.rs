//! The replay of all that is archived, and what is known of it then.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use pgo_postgres::{
    Installation, SUPERUSER, Session,
    backrest::{
        drill::{self, Broken, Isolated, Requests},
        storage::Storage,
        window::Chosen,
    },
    control, program,
    session::SessionError,
    standby,
};
use tokio::{process::Command, time::sleep};

use super::{Drill, Failure, Replayed, Stage, Weight};
use crate::server::Server;

/// Pause between two looks at a server that comes up.
const LOOK: Duration = Duration::from_millis(500);

/// How long PostgreSQL may go without asking for another WAL file: it replays one in seconds, and writes a checkpoint at the end.
const STALL: Duration = Duration::from_secs(1800);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a setting may take to be read from the files.
const SETTING: Duration = Duration::from_secs(10);

impl Drill {
    /// Replays all that is archived, and stops the server in order.
    pub(super) async fn replay(&self, chosen: &Chosen) -> Result<Replayed, Failure> {
        let failed = Failure::at(Stage::Replay);
        let newest = self.newest(chosen).await;
        let newest = newest.map_err(Failure::of(Stage::Replay))?;
        let newest = newest.map(|newest| newest.segment);
        let (settings, data) = (&self.settings, self.settings.data());
        let installation = program::find(std::env::var_os("PATH").as_deref(), &data).await;
        let installation = installation.map_err(|error| failed(error.to_string()))?;
        let control = control::read(&installation, &data).await;
        let control = control.map_err(|error| failed(error.to_string()))?;
        let preload = preload(&installation, &data).await;
        let isolated = Isolated {
            run: &settings.run,
            port: settings.port,
            preload: &preload,
            prepared: control.prepared.max(64),
        };
        isolated
            .write()
            .map_err(|error| failed(error.to_string()))?;
        let requests = Requests::within(&settings.run);
        requests
            .clear()
            .map_err(|error| failed(error.to_string()))?;
        let recovery = drill::recovery(self.fetch(&requests, chosen), chosen.timeline);
        standby::recover_once(&data, &installation.version, &recovery)
            .map_err(|error| failed(error.to_string()))?;
        let mut arguments = isolated.arguments(&installation.version);
        let isolated = arguments.clone();
        arguments.extend(drill::recovery_arguments(&recovery, &installation.version));
        let server = Server::start_with(&installation, &data, None, &arguments)
            .map_err(|error| failed(format!("PostgreSQL cannot be started: {error}")))?;
        let replayed = match self.until_open(server, &requests).await {
            Ok((server, reached)) => {
                server.stop().await;
                Ok(reached)
            }
            Err(ended) => Err(ended),
        };
        // Where WAL is missing or damaged, that is why it ended, if it ended.
        requests.judge(newest).map_err(|broken| Failure {
            weight: match broken {
                Broken::Missing { .. } | Broken::Unreadable { .. } => Weight::Doubtful,
                Broken::Away { .. } => Weight::Passing,
                Broken::Damaged { .. } | Broken::Nothing => Weight::Final,
            },
            ..failed(match &replayed {
                Err(ended) => format!("{broken}; {ended}"),
                Ok(_) => broken.to_string(),
            })
        })?;
        let (lsn, last_commit) = replayed.map_err(&failed)?;
        Ok(Replayed {
            installation,
            isolated,
            checksums: control.checksums,
            lsn,
            last_commit,
        })
    }

    /// The command that WAL is fetched with: from the place of the backup.
    fn fetch(&self, requests: &Requests, chosen: &Chosen) -> String {
        let storage = Storage::of_repository(chosen.set.repository);
        requests.command(&self.backrest.program, &self.conf(), storage)
    }

    /// Waits until the server takes connections; up to where it has replayed.
    async fn until_open(
        &self,
        server: Server,
        requests: &Requests,
    ) -> Result<(Server, (String, Option<Timestamp>)), String> {
        let mut progress = (requests.size(), Instant::now());
        loop {
            if let Some(status) = server.ended() {
                return Err(server.explain(status).await);
            }
            match self.reached().await {
                Ok(reached) => return Ok((server, reached)),
                Err(SessionError::Connect(_) | SessionError::NotYet(_)) => {}
                Err(error) => {
                    server.kill().await;
                    return Err(error.to_string());
                }
            }
            let size = requests.size();
            if size != progress.0 {
                progress = (size, Instant::now());
            }
            if progress.1.elapsed() > STALL {
                server.kill().await;
                let minutes = STALL.as_secs() / 60;
                return Err(format!("PostgreSQL has got no further for {minutes} min"));
            }
            sleep(LOOK).await;
        }
    }

    /// Up to where the server has replayed, once it is open.
    async fn reached(&self) -> Result<(String, Option<Timestamp>), SessionError> {
        const QUERY: &str = "SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn()::text, ''), \
             coalesce(pg_catalog.to_json(pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC')#>>'{}', '')";
        let session = self.session().await?;
        let rows = session.pairs(QUERY, &[], ANSWER).await?;
        let (lsn, commit) = rows.into_iter().next().unwrap_or_default();
        let commit = format!("{commit}Z").parse().ok();
        Ok((lsn, commit))
    }

    pub(super) async fn session(&self) -> Result<Session, SessionError> {
        Session::open(&self.settings.socket(), SUPERUSER).await
    }
}

/// `shared_preload_libraries` as the files of the copy have it. What cannot be found out is left to PostgreSQL, which says what it
/// misses.
async fn preload(installation: &Installation, data: &Path) -> String {
    let asked = Command::new(installation.program("postgres"))
        .args(["-C", "shared_preload_libraries", "-D"])
        .arg(data)
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(SETTING, asked).await {
        Ok(Ok(output)) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        other => {
            tracing::warn!(?other, "which libraries are preloaded is not known");
            String::new()
        }
    }
}
