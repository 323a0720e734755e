//! Looks after a server that serves: whether it answers, and whether the Service still leads to it.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use pgo_postgres::{SUPERUSER, Session, Socket, session::SessionError};
use pgo_telemetry::{
    Condition, Telemetry,
    prometheus_client::metrics::{counter::Counter, gauge::Gauge},
};
use pgo_tls::TlsFiles;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    backrest::archiving,
    checkpoint,
    cli::Settings,
    endpoint::{self, Target},
    ha::lease::Reign,
    processes,
    state::{Phase, Reporter, State},
    store::Store,
};

/// Time between two looks at whether PostgreSQL answers.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How long PostgreSQL may take to answer `SELECT 1`.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// How long an answer counts for readiness: one may be lost.
const PROBE_COUNTS: Duration = Duration::from_secs(3);

/// Answers that have to be missing before the state says so. PostgreSQL takes none for a moment after a crash of one of
/// its processes.
const MISSES: u32 = 2;

/// Probes between two looks at what changes slowly: position in the WAL, certificates.
const PROBES_PER_LOOK: u32 = 10;

/// How far behind a replica is not near any more: one file of WAL, as the reconciler judges it (`pgo_core`).
const NEAR: u64 = 16 << 20;

/// Time between two looks at whether the Service still leads here; at a thousand clusters 17 reads a second.
const DIRECTED_INTERVAL: Duration = Duration::from_secs(60);

/// The same where the last look failed.
const DIRECTED_RETRY: Duration = Duration::from_secs(2);

/// The same at first: the reconciler makes the EndpointSlice when it sees the address of the pod.
const DIRECTED_FIRST_RETRY: Duration = Duration::from_millis(250);

/// How long looks have to fail before the state tells it.
const DIRECTED_GRACE: Duration = Duration::from_secs(5);

/// What readiness and metrics tell of PostgreSQL.
#[derive(Debug)]
pub struct Health {
    condition: Condition,
    up: Gauge,
    restarts: Counter,
}

impl Health {
    /// Registers the metrics and the condition.
    pub fn register(telemetry: &Telemetry) -> Self {
        let health = Self {
            condition: telemetry.readiness().condition("postgres"),
            up: Gauge::default(),
            restarts: Counter::default(),
        };
        let (up, restarts) = (health.up.clone(), health.restarts.clone());
        telemetry.register(|registry| {
            registry.register("pgo_postgres_up", "Whether PostgreSQL answers", up);
            let help = "Starts of PostgreSQL after it had served and ended by itself";
            registry.register("pgo_postgres_restarts", help, restarts);
        });
        health
    }

    /// A query worked just now.
    fn up(&self) {
        self.up.set(1);
        self.condition.met_for(PROBE_COUNTS);
    }

    /// PostgreSQL does not answer, because of `reason`.
    pub fn down(&self, reason: String) {
        self.up.set(0);
        self.condition.not_met(reason);
    }

    /// PostgreSQL ended by itself after it had served.
    pub fn restarted(&self) {
        self.restarts.inc();
    }
}

/// What is looked at, and who is told.
pub struct Watch<'a> {
    /// Settings of the agent.
    pub settings: &'a Settings,
    /// Where the server answers.
    pub socket: Socket,
    /// The postmaster.
    pub server: Pid,
    /// Certificates, which the server reads again when they change.
    pub tls: &'a TlsFiles,
    /// Who tells the state.
    pub reporter: &'a Reporter,
    /// Who tells readiness.
    pub health: &'a Health,
    /// What it is.
    pub watched: Watched,
}

/// What is being looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A primary: ready while it answers.
    Primary,
    /// A replica: ready while it answers and WAL flows to it, or did until a moment ago.
    Replica,
}

/// How long a replica is ready without WAL: readers need not notice that the primary changes.
const STREAMLESS: Duration = Duration::from_secs(30);

impl Watch<'_> {
    /// Asks the server again and again. One session is kept for it, so that an idle server starts no process a second.
    pub async fn probe(&self) -> Infallible {
        let mut ticks = interval(PROBE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut session = None;
        let mut misses = 0;
        let mut certificates = self.tls.server_config();
        let mut streamed: Option<Instant> = None;
        for count in 0_u32.. {
            ticks.tick().await;
            match self.ask(&mut session, count % PROBES_PER_LOOK == 0).await {
                Ok(flows) => {
                    misses = 0;
                    if flows {
                        streamed = Some(Instant::now());
                    }
                    if streamed.is_some_and(|last| last.elapsed() < STREAMLESS) {
                        self.health.up();
                    } else {
                        let reason = "no WAL comes from the primary".to_owned();
                        self.health.down(reason);
                    }
                    self.reporter.change(|state| state.phase = Phase::Running);
                }
                Err(error) => {
                    session = None;
                    misses += 1;
                    self.missed(misses, &error);
                }
            }
            let now = self.tls.server_config();
            if !Arc::ptr_eq(&certificates, &now) {
                tracing::info!("PostgreSQL reads its new certificate");
                processes::send(self.server, Signal::SIGHUP);
                certificates = now;
            }
        }
        std::future::pending().await
    }

    /// Whether it does what it is there for; to `look` is to ask for what changes slowly, too.
    async fn ask(&self, session: &mut Option<Session>, look: bool) -> Result<bool, SessionError> {
        let session = match session {
            Some(session) => session,
            None => session.insert(Session::open(&self.socket, SUPERUSER).await?),
        };
        if look {
            let facts = session.facts(PROBE_DEADLINE).await?;
            let followers = match facts.in_recovery {
                true => Vec::new(),
                false => session.followers(PROBE_DEADLINE).await?,
            };
            let before = self.reporter.now().archived;
            let archived = match facts.in_recovery {
                true => None,
                false => archiving::look(self.settings, session, before).await?,
            };
            let pending_restart = session.pending_restart(PROBE_DEADLINE).await?;
            self.reporter.change(|state| {
                state.learn(&facts);
                state.followers = followers;
                state.archived = archived;
                state.pending_restart = pending_restart;
            });
        }
        if self.watched == Watched::Primary {
            return session.check(PROBE_DEADLINE).await.map(|()| true);
        }
        let following = session.following(PROBE_DEADLINE).await?;
        let flows = following.streaming;
        let was = self.reporter.now().following;
        // Positions change all the time; whether any WAL flows is news at once, and that it has come near.
        let is_news =
            was.streaming != flows || (was.lag_bytes >= NEAR && following.lag_bytes < NEAR);
        let follow = |state: &mut State| state.follow(following);
        if is_news {
            self.reporter.change(follow);
        } else {
            self.reporter.note(follow);
        }
        if look {
            self.reporter.tell_noted();
        }
        Ok(flows)
    }

    fn missed(&self, misses: u32, error: &SessionError) {
        tracing::warn!(%error, misses, "PostgreSQL does not answer");
        // Readiness runs out by itself if the next answers are missing, too.
        if misses >= MISSES {
            self.health.down(error.to_string());
            self.reporter
                .change(|state| state.phase = Phase::Recovering);
        }
    }
}

/// How long after a promotion its checkpoint begins: who has waited to write goes first, and would wait for the disk.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(1);

/// How long a checkpoint may take: it writes all that has changed in memory.
const CHECKPOINT_DEADLINE: Duration = Duration::from_secs(600);

/// Has a server that was `promoted` write a checkpoint: until then pg_control, which pg_rewind reads, has the former
/// timeline. Nobody who writes waits for it.
pub async fn checkpoint(socket: &Socket, promoted: bool) -> Infallible {
    if promoted {
        sleep(CHECKPOINT_DELAY).await;
        if let Err(error) = checkpoint::write(socket, CHECKPOINT_DEADLINE).await {
            tracing::warn!(%error, "no checkpoint after the promotion; the next one by itself will do");
        }
    }
    std::future::pending().await
}

/// Makes the Service lead to `target`, the primary of `reign`, again and again: whoever removes the EndpointSlice gets it back empty. Where that
/// goes on failing, the state tells why.
pub async fn keep_directed(
    store: &impl Store,
    (target, reign): (&Target, &Reign),
    reporter: &Reporter,
) -> Infallible {
    let mut failing: Option<Instant> = None;
    loop {
        let pause = match endpoint::direct(store, target, reign).await {
            Ok(()) => {
                failing = None;
                reporter.change(|state| state.error = None);
                DIRECTED_INTERVAL
            }
            Err(error) => {
                let since = *failing.get_or_insert_with(Instant::now);
                tracing::warn!(%error, "the Service may not lead here; trying again");
                if since.elapsed() < DIRECTED_GRACE {
                    DIRECTED_FIRST_RETRY
                } else {
                    reporter.change(|state| state.error = Some(error.to_string()));
                    DIRECTED_RETRY
                }
            }
        };
        sleep(pause).await;
    }
}
