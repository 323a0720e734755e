//! Leadership: of the processes that want it, the one that holds a Lease.
//!
//! ```text
//! Election::run ─► read or renew the Lease ─► judge ─► create / take / renew, compare-and-swap ─► Leadership (watch)
//!       ▲                                                                                             │
//!       └────────────────────────────── every `renew`, sooner after a failure ◄───────────────────────┘
//! ```
//!
//! Leadership is there to save work, not to keep things right: a leader that was frozen does not know that another leads
//! now. Whatever it writes must be guarded by itself (compare-and-swap, preconditions).

mod candidate;

use std::{future::Future, time::Duration};

use candidate::{Candidate, Move, holder};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use crate::rights::{Right, Verb};

/// How long a Lease is the holder's without a renewal; what the components of Kubernetes use.
const DURATION: Duration = Duration::from_secs(15);

/// Time between renewals: two may fail before the holder must step down.
const RENEW: Duration = Duration::from_secs(5);

/// How long a process that ends tries to give its Lease back; if it cannot, the others wait for [`DURATION`].
const RELEASE: Duration = Duration::from_secs(2);

/// What a candidate for a Lease of these names may do in the Lease's namespace.
#[must_use]
pub const fn rights(names: &'static [&'static str]) -> [Right; 2] {
    const GROUP: &str = "coordination.k8s.io";
    const LEASES: &[&str] = &["leases"];
    [
        Right::new(
            GROUP,
            LEASES,
            &[Verb::Create],
            "Leadership. A create cannot be bound to a name.",
        ),
        Right::new(
            GROUP,
            LEASES,
            &[Verb::Get, Verb::Update],
            "The Lease is taken, renewed and given back.",
        )
        .named(names),
    ]
}

/// Which Lease, for whom, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name of this process: no two that live at the same time may have the same one. The name of a pod is such a name.
    pub identity: String,
    /// How long a holder counts on it after a renewal; rounded up to seconds for the others.
    pub duration: Duration,
    /// Time between renewals; less than half of `duration`.
    pub renew: Duration,
}

impl LeaseSettings {
    /// A Lease of 15 s, renewed every 5 s.
    #[must_use]
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: DURATION,
            renew: RENEW,
        }
    }
}

/// Who leads, as far as this process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This process.
    Leading,
    /// Another one, or nobody that is known.
    Following {
        /// Its identity.
        holder: Option<String>,
    },
}

impl Leadership {
    /// Whether this process leads.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        matches!(self, Self::Leading)
    }
}

/// Why a step of an election failed; it is tried again.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("cannot {what} the Lease: {source}")]
    Api {
        what: &'static str,
        source: kube::Error,
    },
    #[error("the API server did not answer in time")]
    Deadline,
}

/// What one look at the Lease led to.
enum Round {
    Held(Box<Lease>),
    Other(Option<String>),
}

/// A candidacy for a Lease, begun by [`Election::run`].
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    settings: LeaseSettings,
    candidate: Candidate,
    /// The Lease as this process wrote it last, while it holds it.
    held: Option<Lease>,
    /// When this process must no longer count on it.
    until: Option<Instant>,
    leadership: watch::Sender<Leadership>,
}

impl Election {
    /// A candidate that follows until [`Election::run`] says otherwise.
    #[must_use]
    pub fn new(client: Client, settings: LeaseSettings) -> Self {
        Self {
            api: Api::namespaced(client, &settings.namespace),
            candidate: Candidate::new(settings.identity.clone(), settings.duration),
            settings,
            held: None,
            until: None,
            leadership: watch::Sender::new(Leadership::Following { holder: None }),
        }
    }

    /// Tells who leads, at once and whenever it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Takes part until `done`, which must come only after everything that a leader does has ended; gives the Lease back
    /// then. Errors are logged and tried again: a process without its API server follows.
    pub async fn run(mut self, done: impl Future<Output = ()>) {
        tokio::pin!(done);
        loop {
            let begin = Instant::now();
            let round = tokio::select! {
                () = &mut done => break,
                round = self.round(begin) => round,
            };
            self.account(round, begin);
            tokio::select! {
                () = &mut done => break,
                () = sleep_until(self.next_look(begin)) => {}
            }
        }
        self.release().await;
    }

    /// Renewals come at their time; who follows or has just failed looks twice as often, and a leader that cannot renew
    /// looks once more when it must step down.
    fn next_look(&self, begin: Instant) -> Instant {
        if self.until == Some(begin + self.settings.counts_for()) {
            return begin + self.settings.renew;
        }
        let soon = Instant::now() + self.settings.renew / 2;
        self.until.map_or(soon, |until| soon.min(until))
    }

    async fn round(&mut self, begin: Instant) -> Result<Round, RoundError> {
        let mut deadline = begin + self.settings.renew;
        if let Some(until) = self.until {
            deadline = deadline.min(until);
        }
        timeout_at(deadline, self.look())
            .await
            .unwrap_or(Err(RoundError::Deadline))
    }

    async fn look(&mut self) -> Result<Round, RoundError> {
        if let Some(lease) = self.held.take()
            && let Some(renewed) = self.write(&lease, "renew").await?
        {
            return Ok(Round::Held(Box::new(renewed)));
        }
        let name = &self.settings.name;
        let found = self.api.get_opt(name).await;
        let found = found.map_err(|source| RoundError::Api {
            what: "read",
            source,
        })?;
        let moved = self
            .candidate
            .judge(found.as_ref(), Instant::now().into_std());
        let written = match (moved, &found) {
            (Move::Create, _) | (_, None) => self.create().await?,
            (Move::Take, Some(lease)) => self.write(lease, "take").await?,
            (Move::Renew, Some(lease)) => self.write(lease, "renew").await?,
            (Move::Wait, Some(_)) => None,
        };
        let holder = found.as_ref().and_then(holder).map(str::to_owned);
        Ok(match written {
            Some(lease) => Round::Held(Box::new(lease)),
            None => Round::Other(holder.filter(|holder| *holder != self.settings.identity)),
        })
    }

    /// The Lease as written, or nothing if another was faster.
    async fn create(&self) -> Result<Option<Lease>, RoundError> {
        let settings = &self.settings;
        let lease = self
            .candidate
            .first(&settings.name, &settings.namespace, Timestamp::now());
        let created = self.api.create(&PostParams::default(), &lease).await;
        won(created, "create")
    }

    /// The Lease as written, or nothing if another was faster.
    async fn write(&self, lease: &Lease, what: &'static str) -> Result<Option<Lease>, RoundError> {
        let lease = self.candidate.held(lease, Timestamp::now());
        won(self.replace(&lease).await, what)
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        self.api
            .replace(&self.settings.name, &PostParams::default(), lease)
            .await
    }

    /// Takes over what a round led to. A leader counts from the beginning of the round that renewed, the others from the
    /// answer that showed it to them, which is later.
    fn account(&mut self, round: Result<Round, RoundError>, begin: Instant) {
        match round {
            Ok(Round::Held(lease)) => {
                self.held = Some(*lease);
                self.until = Some(begin + self.settings.counts_for());
                self.tell(Leadership::Leading);
            }
            Ok(Round::Other(holder)) => {
                self.until = None;
                self.tell(Leadership::Following { holder });
            }
            Err(error) => {
                let lease = &self.settings.name;
                tracing::warn!(lease, %error, "leadership cannot be confirmed; trying again");
                if self.until.is_none_or(|until| Instant::now() >= until) {
                    self.until = None;
                    self.tell(Leadership::Following { holder: None });
                }
            }
        }
    }

    fn tell(&self, now: Leadership) {
        self.leadership.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                let lease = &self.settings.name;
                match &now {
                    Leadership::Leading => tracing::info!(lease, "this process leads"),
                    Leadership::Following { holder } => {
                        tracing::info!(lease, holder, "this process follows");
                    }
                }
                *before = now;
            }
            changed
        });
    }

    async fn release(mut self) {
        let held = self.held.take();
        self.tell(Leadership::Following { holder: None });
        let given = timeout_at(Instant::now() + RELEASE, self.give_back(held)).await;
        let lease = &self.settings.name;
        match given.unwrap_or(Err(RoundError::Deadline)) {
            Ok(true) => tracing::info!(lease, "gave the Lease back"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(lease, %error, "cannot give the Lease back; it runs out by itself");
            }
        }
    }

    /// Whether there was something to give back. A write that was cut off may have succeeded, so what is remembered may
    /// be an older version, or nothing; then the Lease is read.
    async fn give_back(&self, held: Option<Lease>) -> Result<bool, RoundError> {
        if let Some(lease) = held
            && self.write_released(&lease).await?
        {
            return Ok(true);
        }
        let found = self.api.get_opt(&self.settings.name).await;
        let found = found.map_err(|source| RoundError::Api {
            what: "read",
            source,
        })?;
        match found {
            Some(lease) if holder(&lease) == Some(&self.settings.identity) => {
                self.write_released(&lease).await
            }
            _ => Ok(false),
        }
    }

    async fn write_released(&self, lease: &Lease) -> Result<bool, RoundError> {
        let lease = self.candidate.released(lease, Timestamp::now());
        Ok(won(self.replace(&lease).await, "release")?.is_some())
    }
}

impl LeaseSettings {
    /// A holder steps down this long after the last renewal: one renewal's time before others may take over, so that
    /// what it is just doing can end.
    fn counts_for(&self) -> Duration {
        self.duration.saturating_sub(self.renew)
    }
}

/// A conflict, or that the Lease is gone, means that another was faster.
fn won(
    result: Result<Lease, kube::Error>,
    what: &'static str,
) -> Result<Option<Lease>, RoundError> {
    match result {
        Ok(mut lease) => {
            // Nobody reads them here, and they are sent back with each renewal.
            lease.metadata.managed_fields = None;
            Ok(Some(lease))
        }
        Err(kube::Error::Api(status))
            if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
        {
            Ok(None)
        }
        Err(source) => Err(RoundError::Api { what, source }),
    }
}
