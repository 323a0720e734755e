//! What only a replica does with data that is there before it runs: make it fit to follow the primary.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pgo_postgres::{
    control,
    files::{FileError, named, write_atomically},
    rewind,
    standby::{self, Standby},
    upstream::Upstream,
};
use pgo_tls::TlsFiles;

use super::{Supervisor, lenient, shown};
use crate::{
    cli::Settings,
    ha::course::{Course, Leader, Told},
    prepare,
    primary::{Primary, PrimaryError},
    progress::{Event, Way},
    store::Store,
};

/// How long storing a promise may take.
const PROMISE: Duration = Duration::from_secs(5);

/// File beside the data directory that says that it is being rewound: while it is there, the data is of no use.
pub(super) fn rewinding_mark(data: &Path) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(".rewinding");
    path.into()
}

impl<S: Store> Supervisor<S> {
    /// Whom to follow, as PostgreSQL is told; none while the primary serves nowhere.
    pub(super) fn standby(&self) -> Option<Standby> {
        standby_of(&self.settings, &self.tls, self.leader.as_ref()?)
    }

    /// Whether data that is there can follow the primary.
    pub(super) async fn judge_data(&mut self) -> Result<Event, String> {
        let data = &self.settings.data;
        if rewinding_mark(data).exists() {
            return Ok(Event::Unusable);
        }
        if !standby::is_standby(data) {
            return Ok(Event::Diverged);
        }
        // A primary that was made one meanwhile keeps nothing for us yet; who cannot be asked now is asked later.
        let Some(standby) = self.standby() else {
            return Ok(Event::Done);
        };
        match self.unless_turned(make_slot(&standby, &self.tls)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "the primary may not keep WAL for this instance");
            }
            None => return Ok(Event::Turned),
        }
        Ok(Event::Done)
    }

    /// What comes of `asking`; nothing where something else is wanted before: a primary that is gone may not answer for
    /// seconds, and others wait for this instance's vote.
    async fn unless_turned<T>(&self, asking: impl Future<Output = T>) -> Option<T> {
        let mut courses = self.helm.watch();
        let is_other = |course: &Course| !matches!(course, Course::Follow { leader, .. } if Some(leader) == self.leader.as_ref());
        tokio::select! {
            biased;
            answer = asking => Some(answer),
            _ = courses.wait_for(is_other) => None,
        }
    }

    pub(super) fn awaited(&self) -> Event {
        let name = self.leader.as_ref().map_or("unknown", Leader::name);
        Event::Missing(format!("waiting for the primary, {name}, to serve"))
    }

    /// The primary, if it can be asked already.
    pub(super) async fn primary(&self, standby: &Standby) -> Result<Primary, Event> {
        let connecting = Primary::connect(&standby.upstream, &self.tls);
        let Some(primary) = self.unless_turned(connecting).await else {
            return Err(Event::Turned);
        };
        primary.map_err(|error| {
            tracing::info!(%error, "the primary does not serve yet");
            self.awaited()
        })
    }

    /// Before what is here is changed, this instance stores that it does not vote until it has caught up with the primary
    /// as it is now. What is missing for that, if anything is.
    pub(super) async fn promise_to_copy(&self, primary: &Primary) -> Result<Option<Event>, String> {
        let is_promised = |course: &Course| matches!(course, Course::Follow { copy: true, .. });
        let mut courses = self.helm.watch();
        if !is_promised(&courses.borrow_and_update()) {
            let source = primary.flushed().await.map_err(shown)?;
            self.helm.tell(Told::CopyNeeded { source });
            let promised = courses.wait_for(is_promised);
            if tokio::time::timeout(PROMISE, promised).await.is_err() {
                let what = "waiting until it is known again who is primary";
                return Ok(Some(Event::Missing(what.to_owned())));
            }
        }
        Ok(None)
    }

    /// Refuses to touch data that is not a former state of the primary's.
    pub(super) async fn check_system(&self, data: &Path, primary: &Primary) -> Result<(), String> {
        let theirs = primary.system_identifier().await.map_err(shown)?;
        let ours = control::read(self.installation()?, data)
            .await
            .map_err(shown)?
            .system_identifier;
        if ours == theirs {
            return Ok(());
        }
        Err(format!(
            "the data in {} is of another system ({ours}) than the primary's ({theirs}); it is left as it is: if nobody \
             needs it, remove the PersistentVolumeClaim and the pod",
            data.display()
        ))
    }

    /// Brings data that may have diverged back to what the primary has.
    pub(super) async fn rewind(&mut self) -> Result<Event, String> {
        let Some(standby) = self.standby() else {
            return Ok(self.awaited());
        };
        prepare::copy_key(&self.settings).map_err(shown)?;
        let data = &self.settings.data;
        let primary = match self.primary(&standby).await {
            Ok(primary) => primary,
            Err(missing) => return Ok(missing),
        };
        self.check_system(data, &primary).await?;
        if !primary.has_settled().await.map_err(shown)? {
            let what = "waiting for the primary to write its first checkpoint";
            return Ok(Event::Missing(what.to_owned()));
        }
        primary.make_slot(&standby.slot).await.map_err(shown)?;
        if let Some(missing) = self.promise_to_copy(&primary).await? {
            return Ok(missing);
        }
        self.compare_with_successor().await?;
        let data = &self.settings.data;
        let mark = rewinding_mark(data);
        write_atomically(&mark, b"", 0o600).map_err(shown)?;
        match rewind::run(self.installation()?, data, &standby.upstream).await {
            Ok(()) => {
                // Before the mark goes: what was rewound is a primary's as it is.
                self.make_standby()?;
                lenient::clear(data)?;
                remove(&mark).map_err(shown)?;
                self.helm.copied();
                Ok(Event::Done)
            }
            Err(error) if error.is_early() => {
                remove(&mark).map_err(shown)?;
                Err(shown(error))
            }
            Err(error) => {
                tracing::warn!(%error, "the data cannot be rewound");
                Ok(Event::Unusable)
            }
        }
    }

    /// Makes the data directory a standby's, which receives WAL only where somebody is to be followed.
    pub(super) fn make_standby(&self) -> Result<(), String> {
        let version = &self.installation()?.version;
        let standby = self.standby();
        standby::follow(&self.settings.data, version, standby.as_ref()).map_err(shown)
    }

    /// Whether this instance is the primary, or is to be.
    pub(super) fn leads(&self) -> bool {
        self.progress.way() == Way::Lead
    }

    /// Whether this instance is a replica, or is to be one.
    pub(super) fn follows(&self) -> bool {
        self.progress.way() == Way::Follow
    }
}

/// Whom to follow, as PostgreSQL is told.
pub(super) fn standby_of(settings: &Settings, tls: &TlsFiles, leader: &Leader) -> Option<Standby> {
    let address = leader.postgres()?;
    Some(Standby {
        upstream: Upstream {
            identity: tls.details().identity()?.to_owned(),
            address: address.ip(),
            port: address.port(),
            application: leader.follower.to_string(),
            certificate: settings.tls.join("tls.crt"),
            key: settings.private_key(),
            authority: settings.tls.join("ca.crt"),
        },
        slot: settings.instance.slot(),
    })
}

pub(super) async fn make_slot(standby: &Standby, tls: &Arc<TlsFiles>) -> Result<(), PrimaryError> {
    let primary = Primary::connect(&standby.upstream, tls).await?;
    primary.make_slot(&standby.slot).await
}

pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => named(result, "remove", path),
    }
}
