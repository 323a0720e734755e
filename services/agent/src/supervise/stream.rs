//! What a replica does while it runs: see that WAL flows, and from whom it should, and notice when it cannot any more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{sys::signal::Signal, unistd::Pid};
use pgo_ha::Position;
use pgo_postgres::{Installation, SUPERUSER, Session, identify, synchronous::Rule};
use pgo_tls::TlsFiles;
use tokio::time::sleep;

use super::{
    Supervisor,
    authority::place,
    follow::{make_slot, standby_of},
    reached, shown,
};
use crate::{
    cli::Settings,
    ha::course::{Course, Helm, Leader, Told},
    orders::{Orders, Reloads},
    prepare::{self, PrepareError},
    processes,
    progress::Event,
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

/// How long a receiver may take to be gone.
const RECEIVER: Duration = Duration::from_secs(10);

/// Pause between two looks at whether it is.
const RECEIVER_PAUSE: Duration = Duration::from_millis(5);

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

impl<S: Store> Supervisor<S> {
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
        reporter.change(|state| state.runs(now));
        let watch = Watch {
            settings,
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
        let mut held = None;
        self.tell_reached().await;
        loop {
            tokio::select! {
                _ = courses.changed() => {}
                reload = reloads.next() => reload.run(self.settings, self.server, || self.write(self.leader.as_ref())).await,
                () = sleep(LOOK) => {}
            }
            let course = courses.borrow_and_update().clone();
            tokio::select! {
                biased;
                turn = self.go_by(course, &mut held, &mut silent) => {
                    if let Some(turn) = turn {
                        return turn;
                    }
                }
                // To read much WAL takes long, and nobody waits for that vote any more.
                _ = courses.changed() => {
                    courses.mark_changed();
                    continue;
                }
            }
            if self.reporter.now().following.streaming {
                if silent.take().is_some() {
                    self.output.clear();
                }
                continue;
            }
            self.tell_reached().await;
            let since = *silent.get_or_insert_with(Instant::now);
            if asked.elapsed() < ASK {
                continue;
            }
            asked = Instant::now();
            tokio::select! {
                biased;
                // Something else is wanted, and who is silent may not answer for seconds.
                _ = courses.changed() => courses.mark_changed(),
                turn = self.why_silent(since.elapsed() > JUDGE) => {
                    if let Some(turn) = turn {
                        return turn;
                    }
                }
            }
        }
    }

    /// Does what is wanted now, where that is something else than before.
    async fn go_by(
        &mut self,
        course: Course,
        held: &mut Option<u64>,
        silent: &mut Option<Instant>,
    ) -> Option<Turn> {
        match course {
            Course::Lead { .. } => Some(Turn::Elected),
            Course::Hold { order } if *held != Some(order) => match self.hold(order).await {
                Ok(turn) => {
                    *held = Some(order);
                    turn
                }
                // The next look tries it again: a vote that never comes could keep all from electing.
                Err(error) => {
                    tracing::error!(error, "WAL may be received still, so there is no vote yet");
                    None
                }
            },
            Course::Follow { leader, .. }
                if leader.place.is_some()
                    && (held.is_some() || self.leader.as_ref() != Some(&leader)) =>
            {
                *held = None;
                *silent = silent.map(|_| Instant::now());
                self.follow_another(leader)
            }
            _ => None,
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
    async fn hold(&mut self, order: u64) -> Result<Option<Turn>, String> {
        let begin = Instant::now();
        let follows = self.leader.is_some();
        let reloads = self.turn_to(None)?;
        *self.leader = None;
        if reloads {
            processes::send(self.server, Signal::SIGHUP);
        } else if follows {
            return Ok(Some(Turn::Restart));
        }
        // What has no reload and was started to follow nobody is still: started again, it would be told to be again.
        let position = self.stopped_receiver().await?;
        let millis = begin.elapsed().as_millis();
        tracing::info!(?position, millis, "no WAL is received any more");
        let order = Some(order);
        self.helm.tell(Told::ReceiverStopped { order, position });
        Ok(None)
    }

    async fn stopped_receiver(&self) -> Result<Position, String> {
        // pg_stat_wal_receiver does not show one that is connecting.
        const GONE: &str = "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE backend_type = 'walreceiver') \
                            AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)";
        let socket = self.settings.socket();
        let session = Session::open(&socket, SUPERUSER).await.map_err(shown)?;
        let begin = Instant::now();
        while !session.truth(GONE, RECEIVER).await.map_err(shown)? {
            if begin.elapsed() > RECEIVER {
                return Err("the WAL receiver does not end".to_owned());
            }
            sleep(RECEIVER_PAUSE).await;
        }
        reached::ask(&session, self.settings, self.installation)
            .await
            .map(place)
    }

    /// Tells how far WAL has come, also where none flows: whoever was copied may vote again once it has all that its source
    /// had, which may be there from the start.
    async fn tell_reached(&self) {
        match identify::ask(&self.settings.socket()).await {
            Ok(end) => self.helm.tell(Told::Reached(place(end))),
            Err(error) => tracing::debug!(%error, "how far WAL has come is not known"),
        }
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

fn reloads(installation: &Installation) -> bool {
    installation.version.major() >= RELOADS_SINCE
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
