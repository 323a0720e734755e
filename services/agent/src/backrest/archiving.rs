//! What an instance needs to archive its WAL: pgBackRest, its configuration, PostgreSQL's settings, its server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use jiff::Timestamp;
use pgo_postgres::{
    Session,
    backrest::{
        self, Backrest,
        archive::{self, Archive, Archiver, Signals},
        conf::{self, Archiving, Place, Tls},
        storage::Storages,
    },
    conf::MODE,
    files::replace_if_changed,
    session::SessionError,
};
use pgo_telemetry::CancellationToken;
use pgo_tls::TlsFiles;
use tokio_util::task::AbortOnDropHandle;

use super::server::{self, Keeper};
use crate::{cli::Settings, prepare, state::Archived, watch::PROBE_DEADLINE};

/// Name of the configuration file, beside PostgreSQL's socket.
pub const CONF: &str = "pgbackrest.conf";

/// Folder for the locks of commands.
pub fn scratch(folder: &std::path::Path) -> PathBuf {
    folder.join("pgbackrest")
}

/// What of archiving the environment says.
#[derive(Clone, Debug, clap::Args)]
pub struct ArchiveSettings {
    /// Name of the repository's host; without it nothing is archived.
    #[arg(
        id = "backrest-host",
        long = "backrest-host",
        env = "PGO_BACKREST_HOST"
    )]
    pub host: Option<String>,
    /// The repository's folder there.
    #[arg(
        id = "backrest-path",
        long = "backrest-path",
        env = "PGO_BACKREST_PATH",
        default_value = "/backrestrepo"
    )]
    pub path: PathBuf,
    /// Where it keeps what it has: `local`, `s3`, or both with a comma between them.
    #[arg(
        id = "backrest-storage",
        long = "backrest-storage",
        env = "PGO_BACKREST_STORAGE",
        default_value = "local"
    )]
    pub storages: Storages,
    /// pgBackRest's configuration there.
    #[arg(
        id = "backrest-conf",
        long = "backrest-conf",
        env = "PGO_BACKREST_CONF",
        default_value = "/run/postgresql/pgbackrest.conf"
    )]
    pub conf: PathBuf,
    /// Port of pgBackRest's server there.
    #[arg(id = "backrest-port", long = "backrest-port", env = "PGO_BACKREST_PORT", default_value_t = backrest::PORT)]
    pub port: u16,
    /// Seconds after which a WAL file is archived that is not full.
    #[arg(
        id = "archive-timeout",
        long = "archive-timeout",
        env = "PGO_ARCHIVE_TIMEOUT",
        default_value_t = 60
    )]
    pub timeout: u32,
}

impl ArchiveSettings {
    /// How pgBackRest gets from this data directory to the repository, with that folder for what is on its way; none where
    /// nothing is archived.
    pub fn toward(&self, data: PathBuf, spool: PathBuf) -> Option<Archiving> {
        Some(Archiving {
            storages: self.storages.clone(),
            conf: self.conf.clone(),
            host: self.host.clone()?,
            port: self.port,
            data,
            spool,
        })
    }
}

impl Settings {
    /// How the agent and `archive_command` speak with each other.
    pub fn archive_signals(&self) -> Signals {
        Signals::within(&self.socket().folder)
    }

    /// pgBackRest's configuration.
    pub fn backrest_conf(&self) -> PathBuf {
        self.socket().folder.join(CONF)
    }

    /// What pgBackRest has archived ahead of PostgreSQL; beside the data, which it goes with.
    pub fn spool(&self) -> PathBuf {
        let mut path = self.data.as_os_str().to_owned();
        path.push(".spool");
        path.into()
    }
}

/// Looks for pgBackRest where WAL is to be archived; the settings with the program, and with what PostgreSQL is told.
pub async fn equip(mut settings: Settings) -> Settings {
    if settings.archiving.host.is_none() {
        return settings;
    }
    let found = backrest::find(std::env::var_os("PATH").as_deref()).await;
    let signals = settings.archive_signals();
    let (command, obstacle) = match &found {
        Ok(backrest) => {
            let conf = settings.backrest_conf();
            (archive::command(&backrest.program, &conf, &signals), None)
        }
        Err(error) => {
            let reason = error.to_string();
            tracing::error!(reason, "WAL cannot be archived and is kept");
            (archive::refusal(&reason, &signals), Some(reason))
        }
    };
    settings.archive = Some(Archive {
        command,
        timeout: settings.archiving.timeout,
        obstacle,
    });
    settings.backrest = found.ok();
    settings
}

/// pgBackRest's server beside PostgreSQL, where there is one to keep.
#[derive(Debug)]
pub struct Kept {
    stop: CancellationToken,
    task: Option<AbortOnDropHandle<()>>,
}

impl Kept {
    /// Keeps it from now on.
    pub fn begin(settings: &Settings, tls: &Arc<TlsFiles>) -> Self {
        let stop = CancellationToken::new();
        let task = settings.backrest.clone().map(|backrest| {
            let served = serve(settings.clone(), backrest, tls.clone(), stop.clone());
            AbortOnDropHandle::new(tokio::spawn(served))
        });
        Self { stop, task }
    }

    /// Ends it.
    pub async fn end(self) {
        self.stop.cancel();
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "who looks after pgBackRest's server broke off");
        }
    }
}

async fn serve(
    settings: Settings,
    backrest: Backrest,
    tls: Arc<TlsFiles>,
    stop: CancellationToken,
) {
    let folder = settings.socket().folder;
    let keeper = Keeper {
        conf: settings.backrest_conf(),
        listen: SocketAddr::new(settings.pod_ip, backrest::PORT),
        // Who makes a backup has the server ask PostgreSQL.
        environment: vec![server::locks(&folder), ("PGHOST", folder.into_os_string())],
        tls: tls.clone(),
        backrest: backrest.clone(),
    };
    let write = || write(&settings, &backrest, &tls);
    keeper.keep(write, |_| {}, stop).await;
}

/// Writes the configuration of an instance, with the key as pgBackRest takes it.
///
/// # Errors
/// A file cannot be written, or a value does not fit; the text says which.
pub fn write(settings: &Settings, backrest: &Backrest, tls: &TlsFiles) -> Result<(), String> {
    let archiving = &settings.archiving;
    let Some(archiving) = archiving.toward(settings.data.clone(), settings.spool()) else {
        return Ok(());
    };
    prepare::copy_key(settings).map_err(|error| error.to_string())?;
    let place = Place {
        tls: Tls {
            certificate: settings.tls.join("tls.crt"),
            key: settings.private_key(),
            authority: settings.tls.join("ca.crt"),
            peer: tls.details().common_name,
        },
        listen: SocketAddr::new(settings.pod_ip, backrest::PORT),
        repository: settings.archiving.path.clone(),
        scratch: scratch(&settings.socket().folder),
        compression: backrest.compression,
    };
    let text = conf::of_instance(&place, &archiving).map_err(|error| error.to_string())?;
    replace_if_changed(&settings.backrest_conf(), text.as_bytes(), MODE)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Makes ready for a new server of PostgreSQL: nothing of a former one counts.
///
/// # Errors
/// A file cannot be removed.
pub fn clear(settings: &Settings) -> Result<(), prepare::PrepareError> {
    if settings.archive.is_some() {
        settings.archive_signals().clear()?;
        archive::clear_spool(&settings.spool())?;
    }
    settings.fetches().clear()?;
    Ok(())
}

/// Has what the former primary may not have archived archived from here.
pub fn before_promotion(settings: &Settings) {
    if settings.archive.is_none() {
        return;
    }
    match archive::again(&settings.data) {
        Ok(count) => tracing::info!(count, "WAL of the former primary is archived from here"),
        // Who writes does not wait for that.
        Err(error) => tracing::error!(
            %error,
            "WAL that the former primary has not archived may be missing in the archive; make a backup"
        ),
    }
}

/// How archiving goes, where WAL is archived; `before` is what was told last.
///
/// # Errors
/// PostgreSQL does not answer.
pub async fn look(
    settings: &Settings,
    session: &Session,
    before: Option<Archived>,
) -> Result<Option<Archived>, SessionError> {
    let Some(wanted) = &settings.archive else {
        return Ok(None);
    };
    let archiver = session.archiver(PROBE_DEADLINE).await?;
    let waiting = archive::waiting(&settings.data).unwrap_or_else(|error| {
        tracing::warn!(%error, "how much WAL is not archived is not known");
        0
    });
    let failure = settings.archive_signals().failure();
    let failure = failure.or_else(|| wanted.obstacle.clone());
    Ok(Some(judge(archiver, waiting, failure, before)))
}

fn judge(
    archiver: Archiver,
    waiting: u32,
    failure: Option<String>,
    before: Option<Archived>,
) -> Archived {
    let began = before.and_then(|before| before.failing_since);
    let failed_at = archiver.last_failed_at.and_then(timestamp);
    let failing_since = failure
        .as_ref()
        .map(|_| began.or(failed_at).unwrap_or_else(Timestamp::now));
    Archived {
        error: failure,
        failing_since,
        last: archiver.last_archived,
        last_at: archiver.last_archived_at.and_then(timestamp),
        waiting,
    }
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn a_failure_lasts_from_its_first_attempt_to_the_first_success() {
        let archiver = |failed: i64| Archiver {
            last_archived: "1".to_owned(),
            last_failed_at: at(failed).map(SystemTime::from),
            ..Archiver::default()
        };
        let away = || Some("away".to_owned());
        let first = judge(archiver(5), 1, away(), None);
        assert_eq!((first.failing_since, first.waiting), (at(5), 1));
        let second = judge(archiver(65), 2, away(), Some(first));
        assert_eq!(second.failing_since, at(5));
        let well = judge(archiver(65), 0, None, Some(second));
        assert_eq!((well.error.clone(), well.failing_since), (None, None));
        let again = judge(archiver(99), 1, away(), Some(well));
        assert_eq!(again.failing_since, at(99));
    }
}
