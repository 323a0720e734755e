//! The loop that drives the protocol: one event, one step, its effects in their order.

mod apart;
mod asked;
mod effects;
mod fitness;
mod leases;
mod lost;
mod release;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use pgo_ha::{
    Agent, Campaign, Fitness, Input, Lsn, MOST_K, Moment, NoVote, Position, Protocol, Release,
    Replicas, Role, Server, Timeline, Version, Vote, VoterId,
};
use pgo_ids::{InstanceName, Term};
use pgo_postgres::Socket;
use pgo_telemetry::CancellationToken;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use asked::Preparing;
use release::Arrived;

use crate::{
    ha::{
        book::{Book, Place},
        calls::Calls,
        clock,
        course::{Course, Told},
        guard::Guard,
        lease::{Reading, Wishes},
        volume::{Volume, VolumeError},
        wire::LastWords,
    },
    state::State,
    store::Store,
};

/// Time between two ticks: a tenth of T, so that a lost message costs no grant.
const TICK: Duration = Duration::from_millis(200);

/// How long the last calls of an agent that ends may take: a release lets another one follow at once.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the driver waits for.
#[derive(Debug)]
pub enum Event {
    /// An input of the protocol as it is.
    Input(Input),
    /// Another agent asks for a grant, and tells where the instances are.
    GrantAsked {
        /// Who.
        from: VoterId,
        /// Where it is.
        place: Place,
        /// In which term.
        term: Term,
        /// The Lease's version that it knows, if it says so.
        version: Option<Version>,
        /// The other instances.
        others: Vec<(VoterId, Place)>,
        /// Who waits for the answer.
        answer: oneshot::Sender<Result<(), Term>>,
    },
    /// Another agent asks for a vote.
    VoteAsked {
        /// Who.
        from: VoterId,
        /// Where it is.
        place: Place,
        /// In which term.
        term: Term,
        /// For a swap from which version.
        version: Version,
        /// What makes waiting needless.
        release: Option<Release>,
        /// Who waits for the answer.
        answer: oneshot::Sender<Result<Vote, NoVote>>,
    },
    /// A primary gives up in order, with what it says beside that.
    Released(Release, LastWords),
    /// A replica is there.
    Reported {
        /// Who.
        from: VoterId,
        /// Where it is.
        place: Place,
        /// Whether it says that WAL flows to it.
        streaming: bool,
        /// What term it has promised.
        promised: Term,
        /// Whether it does not vote since its data is not complete yet.
        lacks_data: bool,
    },
    /// A request for the Lease has ended.
    Lease(Box<leases::Ended>),
    /// What is wanted of the instances, by the Lease, and whether it records something.
    Wished(Wishes, bool),
    /// The supervisor tells something.
    Told(Told),
    /// Somebody who may asks for another primary.
    Change(Change, Decision),
    /// What a planned change of the primary is prepared by is done.
    Prepared,
    /// This instance is to keep its place when it ends soon.
    Stay,
    /// The instance with this replication slot does not belong to the cluster any more.
    Removed(String),
}

/// Who waits for a change to begin, or for why it does not.
pub type Decision = oneshot::Sender<Result<(), String>>;

/// A change of the primary that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The primary gives up in order; the named instance takes over, or any.
    Switchover(Option<String>),
    /// This replica takes over from a primary that is gone.
    Failover,
}

/// What is known of the protocol's state, for whoever shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The term of the Lease; 0 before it was read.
    pub term: Term,
    /// Name of the holder, if it is known.
    pub holder: Option<String>,
    /// Why nothing is known.
    pub waiting: Option<String>,
    /// While it serves: for whose answers commits wait.
    pub commits: Option<Commits>,
    /// Whether the data volume hangs.
    pub volume_hangs: bool,
    /// Names of the instances that are preferred, in their order.
    pub preferred: Vec<String>,
}

/// For whose answers the commits of a primary wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// For how many by the rule that is recorded.
    pub rule: usize,
    /// Of how many.
    pub of: usize,
    /// For how many now: fewer than that where they go on without those that are missing.
    pub wait_for: usize,
}

/// Why the driver gave up. PostgreSQL is not served without it.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A promise could not be put on disk.
    #[error("a promise cannot be kept, so nothing may be agreed to: {0}")]
    Volume(#[from] VolumeError),
    /// The guard is gone.
    #[error("the guard of the servers is gone: {0}")]
    Guard(std::io::Error),
    /// What was begun in the background broke off.
    #[error("a task broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What the driver is made of.
pub struct Parts<S> {
    /// This instance's name.
    pub me: InstanceName,
    /// Where its agent answers.
    pub place: Place,
    /// What its volume holds.
    pub volume: Volume,
    /// Where the Lease is.
    pub store: Arc<S>,
    /// How others are asked.
    pub calls: Calls,
    /// Who ends the servers when authority ends.
    pub guard: Guard,
    /// What PostgreSQL is to do, for who carries it out.
    pub course: Arc<watch::Sender<Course>>,
    /// Who shows how it stands.
    pub standing: watch::Sender<Standing>,
    /// What PostgreSQL says of itself here.
    pub state: watch::Receiver<State>,
    /// Where it answers.
    pub socket: Socket,
    /// Whether it is made from a backup, and no part of its cluster until it is given the Lease.
    pub restores: bool,
}

/// The loop's state.
pub struct Driver<S> {
    protocol: Protocol,
    agent: Agent,
    parts: Parts<S>,
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
    /// The Lease as it was read or written last.
    lease: Option<Lease>,
    /// Whether the Lease records nothing, and this instance does not go on by it.
    lease_is_lost: bool,
    begun: Instant,
    book: Book,
    /// Where the instances are by the Lease.
    recorded: Book,
    /// While it serves: what is known of the replicas.
    replicas: Option<Replicas>,
    /// Who waits for the answer about a grant. The protocol names each by who asked and by a moment, which is only a
    /// number here.
    grants: HashMap<(VoterId, Moment), oneshot::Sender<Result<(), Term>>>,
    asked: u64,
    /// Who waits for the answer about a vote.
    votes: HashMap<(VoterId, Term, Version), oneshot::Sender<Result<Vote, NoVote>>>,
    /// How often PostgreSQL was told to receive no more WAL.
    holds: u64,
    /// Whether WAL was said to flow here.
    streaming: bool,
    /// When it was said last.
    streamed: Option<Moment>,
    /// All that the server had written that shut down here in order.
    ended: Option<Position>,
    /// The release that arrived last.
    arrived: Option<Arrived>,
    /// Whether PostgreSQL could serve here.
    fitness: Fitness,
    /// What is wanted of the instances, by the Lease.
    wishes: Wishes,
    /// When that was looked at last.
    looked: Moment,
    /// When a primary was heard last.
    heard: Option<Timestamp>,
    /// The Lease's version that a primary told last.
    told_version: Option<Version>,
    /// The planned change of the primary that is being prepared.
    preparing: Option<Preparing>,
    /// When it was told to keep its place where it ends soon.
    stays: Option<Instant>,
}

impl<S: Store> Driver<S> {
    /// A driver that has done nothing yet; `events` come also from `sender`.
    pub fn new(
        parts: Parts<S>,
        (sender, events): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    ) -> Self {
        let protocol = Protocol::PRODUCTION;
        let (voter, promise) = (parts.volume.voter(), parts.volume.promise());
        let mut book = Book::default();
        book.learn(voter, parts.place.clone());
        let mut agent = Agent::started(&protocol, voter, promise, clock::now());
        // Until the Lease says otherwise.
        agent.autofail = false;
        Self {
            agent,
            protocol,
            parts,
            events,
            sender,
            lease: None,
            lease_is_lost: false,
            begun: Instant::now(),
            book,
            recorded: Book::default(),
            replicas: None,
            grants: HashMap::new(),
            asked: 0,
            votes: HashMap::new(),
            holds: 0,
            streaming: false,
            streamed: None,
            ended: None,
            arrived: None,
            fitness: Fitness::default(),
            wishes: Wishes::default(),
            looked: Moment::default(),
            heard: None,
            told_version: None,
            preparing: None,
            stays: None,
        }
    }

    /// Drives until `ended`. From `stop` on another instance is to take over.
    ///
    /// # Errors
    /// It cannot go on; no server may go on without it.
    pub async fn run(
        mut self,
        stop: CancellationToken,
        ended: CancellationToken,
    ) -> Result<(), DriverError> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.hand_over().await?;
                }
                Some(event) = self.events.recv() => self.take(event).await?,
                _ = ticks.tick() => {
                    self.tick().await?;
                    // It is not begun while a request for the Lease is under way.
                    if stopping {
                        self.hand_over().await?;
                    }
                }
                () = sleep(due.unwrap_or_default()), if due.is_some() => self.step(Input::Tick).await?,
            }
            self.find_leader();
        }
        // The supervisor has told the last before it ended.
        while let Ok(event) = self.events.try_recv() {
            self.take(event).await?;
        }
        self.parts.calls.finish(FAREWELL).await;
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), DriverError> {
        if self.is_apart() && !self.looks() {
            return Ok(());
        }
        self.hear_own().await?;
        self.let_released().await?;
        self.step(Input::Tick).await?;
        self.look_for_wishes();
        self.judge_fitness().await?;
        self.want_members().await?;
        self.want_places().await?;
        self.report();
        Ok(())
    }

    async fn take(&mut self, event: Event) -> Result<(), DriverError> {
        if self.is_apart() && apart::concerns_members(&event) {
            return Ok(());
        }
        match event {
            Event::Input(input) => self.step(input).await,
            Event::Released(release, words) => self.released(release, words).await,
            asked @ Event::GrantAsked { .. } => self.grant_asked(asked).await,
            asked @ Event::VoteAsked { .. } => self.vote_asked(asked).await,
            Event::Reported {
                from,
                place,
                streaming,
                promised,
                lacks_data,
            } => {
                self.book.learn(from, place);
                if let Some(replicas) = &mut self.replicas {
                    replicas.hear(from, streaming, clock::now());
                    replicas.lacks(from, lacks_data);
                }
                self.step(Input::Promised(promised)).await
            }
            Event::Lease(ended) => self.lease_ended(*ended).await,
            Event::Wished(wishes, records) => self.looked(wishes, records).await,
            Event::Told(told) => self.told(told).await,
            Event::Change(change, answer) => self.change(change, answer).await,
            Event::Stay => {
                self.stays = Some(Instant::now());
                Ok(())
            }
            Event::Prepared => self.prepared().await,
            Event::Removed(slot) => {
                self.removed(&slot);
                Ok(())
            }
        }
    }

    async fn told(&mut self, told: Told) -> Result<(), DriverError> {
        let input = match told {
            // WAL may have been received after that.
            Told::ReceiverStopped { order, .. }
                if order.is_some_and(|order| order != self.holds) =>
            {
                return Ok(());
            }
            Told::ReceiverStopped { position, .. } => Input::ReceiverStopped(position),
            Told::Reached(position) => Input::Flushed(position),
            Told::Ended(position) => {
                self.ended = Some(position);
                return Ok(());
            }
            Told::ServersStopped(position) => Input::ServersStopped(position),
            Told::Promoted(position) => Input::Promoted(position),
            Told::Configured(rule) => Input::Configured(rule),
            Told::Held => Input::Held,
            Told::CopyNeeded { source } => Input::CopyNeeded { source },
            Told::Starts(starts) => return self.starts(starts).await,
            Told::Answers(answers) => return self.answers(answers).await,
            Told::Filled => {
                self.parts.volume.filled()?;
                return Ok(());
            }
        };
        self.step(input).await
    }

    /// One step of the protocol.
    async fn step(&mut self, input: Input) -> Result<(), DriverError> {
        let was_primary = self.agent.server == Server::Primary;
        let was_candidate = matches!(self.agent.role, Role::Candidate(_));
        let now = clock::now();
        let effects = self.agent.step(&self.protocol, input, now);
        if let (false, Role::Candidate(campaign)) = (was_candidate, &self.agent.role) {
            self.begins(campaign, now);
        }
        let deadline = self.agent.servers_live_until(&self.protocol);
        // Before anything is served by it; and a shorter one before it runs out.
        self.parts.guard.set(deadline).map_err(DriverError::Guard)?;
        for effect in effects {
            self.carry_out(effect, now).await?;
        }
        if self.agent.server != Server::Primary {
            self.replicas = None;
        } else if !was_primary && let Some(seen) = &self.agent.seen {
            self.replicas = Some(Replicas::begin(&seen.record, now));
        }
        self.show();
        Ok(())
    }

    /// Tells why this instance wants to be primary, with what it waited for.
    fn begins(&self, campaign: &Campaign, now: Moment) {
        let seen = self.agent.seen.as_ref();
        let unchanged = seen.map(|seen| now.since(seen.since).as_millis());
        let silent = self
            .heard
            .map(|heard| heard.duration_until(Timestamp::now()).as_millis());
        tracing::info!(
            term = %campaign.term,
            released = self.agent.release.is_some(),
            unchanged_millis = unchanged,
            silent_millis = silent,
            yields = campaign.yields_until.is_some(),
            "this instance asks for votes"
        );
    }

    /// Where the leader is may become known, or change, while it is followed.
    fn find_leader(&self) {
        self.parts.course.send_if_modified(|course| {
            let Course::Follow { leader, .. } = course else {
                return false;
            };
            let place = self.book.place(&leader.voter);
            let is_news = place.is_some() && leader.place.as_ref() != place;
            if is_news {
                leader.place = place.cloned();
            }
            is_news
        });
    }

    /// How long until a step is due that no tick is waited for.
    fn due(&self) -> Option<Duration> {
        let due = self.agent.due(&self.protocol)?;
        Some(due.since(clock::now()))
    }

    /// Tells the protocol which replicas should vote.
    async fn want_members(&mut self) -> Result<(), DriverError> {
        self.hear_followers();
        let (Some(replicas), Some(seen)) = (&self.replicas, &self.agent.seen) else {
            return Ok(());
        };
        let k = self.wishes.synchronous;
        let k = k.unwrap_or(seen.record.synchronous.k).min(MOST_K);
        let fallback = self.wishes.fallback;
        let wanted = replicas.wanted(&seen.record, k, fallback, clock::now());
        if self.agent.wanted.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.step(Input::Members(wanted)).await
    }

    /// How far WAL from the leader has come.
    async fn hear_own(&mut self) -> Result<(), DriverError> {
        let following = self.parts.state.borrow().following.clone();
        self.streaming = following.streaming && self.agent.following.is_some();
        if self.streaming {
            self.streamed = Some(clock::now());
        }
        let position = Position {
            timeline: Timeline(following.timeline),
            lsn: Lsn(following.received),
        };
        if self.streaming && following.timeline > 0 && self.agent.flushed != position {
            self.step(Input::Flushed(position)).await?;
        }
        Ok(())
    }

    /// Whoever streams from here is there, by what PostgreSQL says.
    fn hear_followers(&mut self) {
        let Some(replicas) = &mut self.replicas else {
            return;
        };
        let now = clock::now();
        let state = self.parts.state.borrow();
        for follower in state.followers.iter().filter(|follower| follower.streaming) {
            if let Some(voter) = self.book.of_slot(&follower.slot) {
                replicas.hear(voter, true, now);
            }
        }
    }

    /// A replica tells the primary that it is there.
    fn report(&mut self) {
        let Some(seen) = &self.agent.seen else {
            return;
        };
        let holder = seen.record.holder;
        if holder != self.agent.me && matches!(self.agent.role, Role::Replica) {
            let how = (self.streaming, self.agent.promise);
            self.parts
                .calls
                .report(holder, &self.book, how, clock::now());
        }
    }

    fn show(&self) {
        let name = |voter: &VoterId| self.book.place(voter).map(|place| place.name.clone());
        let record = self.agent.seen.as_ref().map(|seen| &seen.record);
        self.parts.standing.send_if_modified(|standing| {
            let next = Standing {
                term: record.map(|record| record.term).unwrap_or_default(),
                holder: record.and_then(|record| name(&record.holder)),
                waiting: standing
                    .waiting
                    .clone()
                    .filter(|_| record.is_none() || self.lease_is_lost),
                volume_hangs: self.fitness.volume_hangs(),
                commits: self.commits(),
                preferred: self.preferred(),
            };
            let is_news = *standing != next;
            *standing = next;
            is_news
        });
    }

    fn commits(&self) -> Option<Commits> {
        let rule = &self.agent.seen.as_ref()?.record.synchronous;
        Some(Commits {
            rule: rule.k,
            of: rule.set.len(),
            wait_for: self.agent.waits_for()?,
        })
    }

    fn wait_for(&self, reason: String) {
        self.parts.standing.send_if_modified(|standing| {
            let is_news = standing.waiting.as_ref() != Some(&reason);
            standing.waiting = Some(reason);
            is_news
        });
    }

    fn learn(&mut self, reading: &Reading) {
        if let Reading::Recorded { instances, .. } = reading {
            self.book.fill(instances);
            self.recorded.clone_from(instances);
        }
    }
}
