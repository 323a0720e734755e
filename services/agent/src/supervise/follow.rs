//! What only a replica does: copy the primary's data, follow its WAL, and notice when it cannot any more.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{sys::signal::Signal, unistd::Pid};
use pgo_ha::Position;
use pgo_postgres::{
    Installation, SUPERUSER, Session, clone, control,
    files::{FileError, named, write_atomically},
    initdb::{Presence, presence},
    position, rewind,
    standby::{self, Standby},
    synchronous::Rule,
    upstream::Upstream,
};
use pgo_tls::TlsFiles;
use tokio::time::sleep;

use super::{Supervisor, authority::place, lenient, shown};
use crate::{
    cli::Settings,
    ha::course::{Course, Helm, Leader, Told},
    orders::{Orders, Reloads},
    prepare::{self, PrepareError},
    primary::{Primary, PrimaryError},
    processes,
    progress::{Event, Way},
    server::Output,
    state::Reporter,
    store::Store,
    watch::{Watch, Watched},
};

/// Pause between two looks at whether WAL flows.
const LOOK: Duration = Duration::from_secs(1);

/// How long no WAL may flow before it is asked who is primary; and the pause between two such questions. A receiver
/// that lost its connection has another one by then.
const ASK: Duration = Duration::from_secs(2);

/// How long no WAL may flow, with a primary that answers, before the log is asked for the reason.
const JUDGE: Duration = Duration::from_secs(4);

/// First version that takes another primary without a restart.
const RELOADS_SINCE: u32 = 13;

/// How long storing a promise may take.
const PROMISE: Duration = Duration::from_secs(5);

/// How long a receiver may take to be gone.
const RECEIVER: Duration = Duration::from_secs(10);

/// Pause between two looks at whether it is.
const RECEIVER_PAUSE: Duration = Duration::from_millis(10);

/// What became of following.
enum Turn {
    /// This instance is to lead.
    Elected,
    /// The server has to be started anew, to follow another.
    Restart,
    /// The data holds what the primary has not.
    Diverged,
    /// The primary does not have the WAL any more.
    Unusable,
}

/// What the server's log says of a receiver that gets no WAL.
fn judge(log: &str) -> Option<Turn> {
    let says = |words: &[&str]| words.iter().any(|word| log.contains(word));
    // PostgreSQL's sources: walsender.c, walreceiver.c, xlogrecovery.c.
    if says(&[
        "is not in this server's history",
        "current recovery point",
        "is behind recovery timeline",
        "is ahead of the WAL flush position",
    ]) {
        return Some(Turn::Diverged);
    }
    says(&["has already been removed"]).then_some(Turn::Unusable)
}

/// File beside the data directory that says that it is being rewound: while it is there, the data is of no use.
fn rewinding_mark(data: &Path) -> PathBuf {
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
        if let Some(standby) = self.standby()
            && let Err(error) = make_slot(&standby, &self.tls).await
        {
            tracing::warn!(%error, "the primary may not keep WAL for this instance");
        }
        Ok(Event::Done)
    }

    fn awaited(&self) -> Event {
        let name = self.leader.as_ref().map_or("unknown", Leader::name);
        Event::Missing(format!("waiting for the primary, {name}, to serve"))
    }

    /// The primary, if it can be asked already.
    async fn primary(&self, standby: &Standby) -> Result<Primary, Event> {
        let primary = Primary::connect(&standby.upstream, &self.tls).await;
        primary.map_err(|error| {
            tracing::info!(%error, "the primary does not serve yet");
            self.awaited()
        })
    }

    /// Before what is here is changed, this instance stores that it does not vote until it has caught up with the primary
    /// as it is now. What is missing for that, if anything is.
    async fn promise_to_copy(&self, primary: &Primary) -> Result<Option<Event>, String> {
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

    /// Copies the data of the primary. What is there goes, if it is of the same system and so is only a former state of it.
    pub(super) async fn clone_leader(&mut self) -> Result<Event, String> {
        let Some(standby) = self.standby() else {
            return Ok(self.awaited());
        };
        prepare::copy_key(&self.settings).map_err(shown)?;
        let data = self.settings.data.clone();
        let primary = match self.primary(&standby).await {
            Ok(primary) => primary,
            Err(missing) => return Ok(missing),
        };
        if let Some(missing) = self.promise_to_copy(&primary).await? {
            return Ok(missing);
        }
        match presence(&data).map_err(shown)? {
            Presence::Nothing => {}
            Presence::Data => self.discard(&data, &primary).await?,
            Presence::Foreign => {
                return Err(format!(
                    "{} is not empty and holds no PG_VERSION; move away what is in it",
                    data.display()
                ));
            }
        }
        primary.make_slot(&standby.slot).await.map_err(shown)?;
        let reporter = &self.reporter;
        reporter.change(|state| state.clone_percent = 0);
        clone::run(self.installation()?, &data, &standby, |percent| {
            reporter.change(|state| state.clone_percent = percent);
        })
        .await
        .map_err(shown)?;
        lenient::clear(&data)?;
        remove(&rewinding_mark(&data)).map_err(shown)?;
        tracing::info!(from = %standby.upstream.address, "the data of the primary was copied");
        self.helm.tell(Told::Filled);
        self.helm.copied();
        Ok(Event::Done)
    }

    /// Refuses to touch data that is not a former state of the primary's.
    async fn check_system(&self, data: &Path, primary: &Primary) -> Result<(), String> {
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

    /// Removes data that is of no use any more.
    async fn discard(&self, data: &Path, primary: &Primary) -> Result<(), String> {
        let mark = rewinding_mark(data);
        if !mark.exists() {
            self.check_system(data, primary).await?;
            // From here on it is incomplete.
            write_atomically(&mark, b"", 0o600).map_err(shown)?;
        }
        tracing::warn!(data = %data.display(), "the data cannot follow the primary; it is copied anew");
        named(fs::remove_dir_all(data), "remove", data).map_err(shown)
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
        self.compare_with_successor().await;
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

    /// Looks after a replica, until it ends or is to be something else.
    pub(super) async fn stream(&mut self) -> Event {
        let now = Timestamp::now();
        let Self {
            settings,
            helm,
            tls,
            reporter,
            health,
            installation: Some(installation),
            server: Some(server),
            leader,
            serving,
            orders,
            ..
        } = self
        else {
            return Event::Failed("there is no server to look after".to_owned());
        };
        server.forget_output();
        helm.tell(Told::Starts(true));
        *serving = Some(Instant::now());
        reporter.change(|state| state.running_since = Some(now));
        let watch = Watch {
            socket: settings.socket(),
            server: server.pid(),
            tls,
            reporter,
            health,
            watched: Watched::Replica,
        };
        let mut follower = Follower {
            settings,
            helm,
            tls,
            reporter,
            installation,
            server: server.pid(),
            output: server.output(),
            leader,
        };
        let started = reporter.now().started.unwrap_or(now);
        let Orders { reloads, restarts } = orders;
        let turned = tokio::select! {
            biased;
            status = server.end() => Err(Some(status)),
            () = restarts.begins(started) => Err(None),
            never = watch.probe() => match never {},
            turn = follower.keep_following(reloads) => Ok(turn),
        };
        match turned {
            Err(Some(status)) => self.exited(status).await,
            Err(None) => self.restart().await,
            Ok(turn) => self.turn(turn).await,
        }
    }

    async fn turn(&mut self, turn: Turn) -> Event {
        let event = match turn {
            // It is promoted as it is.
            Turn::Elected => return Event::Elected,
            Turn::Diverged => Event::Diverged,
            Turn::Unusable => Event::Unusable,
            Turn::Restart => Event::Turned,
        };
        self.health.down("PostgreSQL is started anew".to_owned());
        self.serving = None;
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        event
    }

    /// Whether this instance is a replica, or is to be one.
    pub(super) fn follows(&self) -> bool {
        self.progress.way() == Way::Follow
    }
}

/// A replica that runs.
struct Follower<'a> {
    settings: &'a Settings,
    helm: &'a Helm,
    tls: &'a Arc<TlsFiles>,
    reporter: &'a Reporter,
    installation: &'a Installation,
    server: Pid,
    output: Output,
    leader: &'a mut Option<Leader>,
}

impl Follower<'_> {
    /// Sees that WAL flows, and from whom it should.
    async fn keep_following(&mut self, reloads: &mut Reloads) -> Turn {
        let mut courses = self.helm.watch();
        courses.mark_changed();
        let mut silent: Option<Instant> = None;
        let mut asked = Instant::now();
        let mut holds = false;
        loop {
            tokio::select! {
                _ = courses.changed() => {}
                reload = reloads.next() => reload.run(self.settings, self.server, || self.write(self.leader.as_ref())).await,
                () = sleep(LOOK) => {}
            }
            let course = courses.borrow_and_update().clone();
            let turn = match course {
                Course::Lead { .. } => return Turn::Elected,
                Course::Hold if !holds => match self.hold().await {
                    Ok(turn) => {
                        holds = true;
                        turn
                    }
                    // The next look tries it again: a vote that never comes could keep all from electing.
                    Err(error) => {
                        tracing::error!(
                            error,
                            "WAL may be received still, so there is no vote yet"
                        );
                        None
                    }
                },
                Course::Follow { leader, .. }
                    if leader.place.is_some()
                        && (holds || self.leader.as_ref() != Some(&leader)) =>
                {
                    holds = false;
                    silent = silent.map(|_| Instant::now());
                    self.follow_another(leader)
                }
                _ => None,
            };
            if turn.is_some() {
                return turn.unwrap_or(Turn::Restart);
            }
            if self.reporter.now().following.streaming {
                if silent.take().is_some() {
                    self.output.clear();
                }
                continue;
            }
            let since = *silent.get_or_insert_with(Instant::now);
            if asked.elapsed() < ASK {
                continue;
            }
            asked = Instant::now();
            if let Some(turn) = self.why_silent(since.elapsed() > JUDGE).await {
                return turn;
            }
        }
    }

    fn follow_another(&mut self, leader: Leader) -> Option<Turn> {
        self.output.clear();
        match self.turn_to(Some(&leader)) {
            Ok(true) => processes::send(self.server, Signal::SIGHUP),
            Ok(false) => return Some(Turn::Restart),
            Err(error) => {
                tracing::warn!(
                    error,
                    "the new primary cannot be followed yet; trying again"
                );
                return None;
            }
        }
        *self.leader = Some(leader);
        None
    }

    /// Receives no WAL any more, and tells how far it came. Where that cannot be found out nothing is told: no vote then.
    async fn hold(&mut self) -> Result<Option<Turn>, String> {
        *self.leader = None;
        if !self.turn_to(None)? {
            return Ok(Some(Turn::Restart));
        }
        processes::send(self.server, Signal::SIGHUP);
        let position = self.stopped_receiver().await?;
        self.helm.tell(Told::ReceiverStopped(position));
        Ok(None)
    }

    async fn stopped_receiver(&self) -> Result<Position, String> {
        const GONE: &str = "SELECT count(*) = 0 FROM pg_catalog.pg_stat_wal_receiver";
        let socket = self.settings.socket();
        let session = Session::open(&socket, SUPERUSER).await.map_err(shown)?;
        let begin = Instant::now();
        while !session.truth(GONE, RECEIVER).await.map_err(shown)? {
            if begin.elapsed() > RECEIVER {
                return Err("the WAL receiver does not end".to_owned());
            }
            sleep(RECEIVER_PAUSE).await;
        }
        let end = position::of_running(self.installation, &socket).await;
        end.map(place).map_err(shown)
    }

    /// Tells PostgreSQL to follow another primary, or nobody; whether a reload is enough.
    fn turn_to(&self, leader: Option<&Leader>) -> Result<bool, String> {
        tracing::info!(
            leader = leader.map(Leader::name),
            "following another primary"
        );
        self.write(leader).map_err(shown)?;
        Ok(reloads(self.installation))
    }

    /// Writes the configuration of one who follows `leader`.
    fn write(&self, leader: Option<&Leader>) -> Result<(), PrepareError> {
        let standby = leader.and_then(|leader| standby_of(self.settings, self.tls, leader));
        let nobody = Rule::nobody();
        let (settings, installation) = (self.settings, self.installation);
        prepare::write_conf(settings, installation, self.tls, standby.as_ref(), &nobody)
    }

    /// Why no WAL flows although the primary can be asked, if that lasts and the log says so.
    async fn why_silent(&self, lasts: bool) -> Option<Turn> {
        let standby = standby_of(self.settings, self.tls, self.leader.as_ref()?)?;
        match make_slot(&standby, self.tls).await {
            Ok(()) if lasts => {
                let log = self.output.text();
                let turn = judge(&log);
                if turn.is_some() {
                    tracing::warn!(log, "this instance cannot follow the primary as it is");
                }
                turn
            }
            Ok(()) => None,
            Err(error) => {
                tracing::debug!(%error, "no WAL flows, and the primary cannot be asked");
                None
            }
        }
    }
}

/// Whom to follow, as PostgreSQL is told.
fn standby_of(settings: &Settings, tls: &TlsFiles, leader: &Leader) -> Option<Standby> {
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

async fn make_slot(standby: &Standby, tls: &Arc<TlsFiles>) -> Result<(), PrimaryError> {
    let primary = Primary::connect(&standby.upstream, tls).await?;
    primary.make_slot(&standby.slot).await
}

fn reloads(installation: &Installation) -> bool {
    installation.version.major() >= RELOADS_SINCE
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => named(result, "remove", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_whether_data_has_diverged_or_wal_is_gone() {
        let diverged = "FATAL:  could not start WAL streaming: ERROR:  requested starting point 0/5000000 on timeline 1 \
                        is not in this server's history";
        assert!(matches!(judge(diverged), Some(Turn::Diverged)));
        let forked = "LOG:  new timeline 2 forked off current database system timeline 1 before current recovery point \
                      0/50000A0";
        assert!(matches!(judge(forked), Some(Turn::Diverged)));
        let gone = "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment 000000010000000000000003 \
                    has already been removed";
        assert!(matches!(judge(gone), Some(Turn::Unusable)));
        let away = "FATAL:  could not connect to the primary server: connection refused";
        assert!(judge(away).is_none());
    }
}
