//! The copy of a backup.

use std::{fs, net::SocketAddr, time::Duration};

use pgo_postgres::{
    backrest::{
        self,
        conf::{self, Place, Tls},
        output,
        restore::{Line, Target, Wish},
        storage::Storage,
        window::{Chosen, Newest},
    },
    conf::MODE,
    files::{FileError, named, write_if_changed},
};
use pgo_telemetry::CancellationToken;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{Drill, Trouble, Weight};
use crate::backrest::{
    archiving::{CONF, scratch},
    command::{CommandError, Order},
    lookup::{self, Lookup, LookupError},
};

/// How often the repository is asked, or copied from, before it is given up: it is away for a moment while its pod is made anew.
const TRIES: u32 = 10;

/// Pause between two of those.
const PAUSE: Duration = Duration::from_secs(10);

impl Drill {
    pub(super) fn conf(&self) -> std::path::PathBuf {
        self.settings.run.join(CONF)
    }

    /// Copies the backup; which one it is, and along which timeline WAL comes after it.
    pub(super) async fn copy(&self) -> Result<Chosen, Trouble> {
        self.write_conf().map_err(Trouble::passing)?;
        let chosen = persistently(async || self.choose().await).await?;
        tracing::info!(
            backup = chosen.set.label,
            timeline = chosen.timeline,
            "a backup is copied to be tried"
        );
        persistently(async || self.copy_files(&chosen).await).await?;
        Ok(chosen)
    }

    /// The newest WAL file along the timeline of a backup, in the archive beside it.
    pub(super) async fn newest(&self, chosen: &Chosen) -> Result<Option<Newest>, Trouble> {
        let conf = self.conf();
        let lookup = Lookup {
            backrest: &self.backrest,
            conf: &conf,
            storage: Storage::of_repository(chosen.set.repository),
        };
        persistently(async || match lookup.reaches(Some(chosen.timeline)).await {
            Ok((_, newest)) => Ok(newest),
            Err(error) => Err(untold(&error)),
        })
        .await
    }

    async fn choose(&self) -> Result<Chosen, Trouble> {
        let wish = Wish {
            target: Target::End,
            exclusive: false,
            line: Line::Newest,
            set: Some(self.settings.backup.clone()),
            storage: None,
            rest: Vec::new(),
        };
        let conf = self.conf();
        let storages = &self.settings.archiving.storages;
        let chosen = lookup::choose((&self.backrest, &conf), storages, &wish, None).await;
        chosen.map_err(|error| untold(&error))
    }

    async fn copy_files(&self, chosen: &Chosen) -> Result<(), Trouble> {
        let conf = self.conf();
        let tablespaces = self.settings.folder.join("tablespaces");
        for folder in [&self.settings.data(), &tablespaces] {
            fs::create_dir_all(folder).map_err(|error| {
                Trouble::passing(format!("cannot make {}: {error}", folder.display()))
            })?;
        }
        let order = Order {
            backrest: &self.backrest,
            conf: &conf,
            command: "restore",
            options: vec![
                format!("--set={}", chosen.set.label),
                format!("--repo={}", chosen.set.repository),
                format!("--tablespace-map-all={}", tablespaces.display()),
                // Files that are whole already stay; nothing is written of how PostgreSQL recovers.
                "--delta".to_owned(),
                "--type=none".to_owned(),
            ],
            deadline: None,
            stall: None,
        };
        // It ends with whoever waits for it.
        let never = CancellationToken::new();
        let copied = order.run(&never, |line| {
            if output::is_news(line) {
                tracing::info!(target: "pgbackrest", "{line}");
            }
        });
        copied.await.map_err(|error| Trouble {
            weight: match &error {
                CommandError::Failed { said, .. } if output::is_final(said) => Weight::Final,
                error if error.is_passing() => Weight::Passing,
                _ => Weight::Doubtful,
            },
            error: error.to_string(),
        })
    }

    /// Size of the copy, in bytes; what cannot be seen is not counted.
    pub(super) fn size(&self) -> u64 {
        let mut folders = vec![self.settings.folder.clone()];
        let mut size = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(found) if found.is_dir() => folders.push(entry.path()),
                    Ok(found) if found.is_file() => size += found.len(),
                    _ => {}
                }
            }
        }
        size
    }

    /// pgBackRest's configuration, with the key as it takes it: of a file that is only the own user's.
    fn write_conf(&self) -> Result<(), String> {
        let settings = &self.settings;
        let shown = |error: FileError| error.to_string();
        let (from, key) = (settings.tls.join("tls.key"), settings.run.join("agent.key"));
        let text = named(fs::read(&from), "read", &from).map(Zeroizing::new);
        write_if_changed(&key, &text.map_err(shown)?, MODE).map_err(shown)?;
        let place = Place {
            tls: Tls {
                certificate: settings.tls.join("tls.crt"),
                key,
                authority: settings.tls.join("ca.crt"),
                peer: self.tls.details().common_name,
            },
            // No server of pgBackRest runs here.
            listen: SocketAddr::from(([127, 0, 0, 1], backrest::PORT)),
            repository: settings.archiving.path.clone(),
            scratch: scratch(&settings.run),
            compression: self.backrest.compression,
        };
        let archiving = settings
            .archiving
            .toward(settings.data(), settings.folder.join("spool"));
        let archiving = archiving.ok_or("this cluster has no repository of backups")?;
        let text = conf::of_instance(&place, &archiving).map_err(|error| error.to_string())?;
        write_if_changed(&self.conf(), text.as_bytes(), MODE)
            .map(drop)
            .map_err(shown)
    }
}

/// What it means that the repository does not tell what it has.
fn untold(error: &LookupError) -> Trouble {
    let weight = match error {
        error if error.is_of_superseded() => {
            let error = format!(
                "it is of a former database or of a timeline that was left, and no backup of the present one: {error}"
            );
            let weight = Weight::Superseded;
            return Trouble { weight, error };
        }
        error if error.is_final() => Weight::Final,
        error if error.is_passing() => Weight::Passing,
        _ => Weight::Doubtful,
    };
    let error = error.to_string();
    Trouble { weight, error }
}

/// Tries something until it works, cannot work, or was tried often enough.
async fn persistently<T>(what: impl AsyncFn() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let mut tried = 1;
    loop {
        match what().await {
            Ok(done) => return Ok(done),
            Err(trouble)
                if matches!(trouble.weight, Weight::Final | Weight::Superseded)
                    || tried == TRIES =>
            {
                return Err(trouble);
            }
            Err(Trouble { error, .. }) => {
                tracing::warn!(error, "it is tried again");
                tried += 1;
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pgo_postgres::backrest::window::Refusal;

    use super::*;
    use crate::drill::{Failure, Report, Stage, Untried};

    /// What a drill says where no backup is chosen for this reason.
    fn told(error: &LookupError) -> Report {
        let mut report = Report::of("20261126-210300F");
        Failure::of(Stage::Copy)(untold(error)).tell(&mut report);
        report
    }

    #[test]
    fn a_backup_of_a_former_database_or_timeline_has_no_verdict() {
        let left = || LookupError::Refused(Refusal::NotOnTimeline(2));
        let none = || LookupError::Refused(Refusal::NoBackup);
        let both = LookupError::Each(vec![(Storage::Local, none()), (Storage::S3, left())]);
        for error in [left(), none(), both] {
            let report = told(&error);
            assert_eq!(report.untried, Some(Untried::Superseded), "{error}");
            let text = report.error.unwrap_or_default();
            assert!(text.contains("a timeline that was left"), "{text}");
            assert!(text.contains(&error.to_string()), "{text}");
        }
        // What it is restored along has to be there.
        let absent = || LookupError::Refused(Refusal::NoTimeline(2));
        let mixed = LookupError::Each(vec![(Storage::Local, none()), (Storage::S3, absent())]);
        for error in [absent(), mixed] {
            assert_eq!(told(&error).untried, None, "{error}");
        }
    }
}
