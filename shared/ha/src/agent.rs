//! The agent of one instance as a state machine.
//!
//! Whoever drives it carries out the effects of a step in their order, each to its end before the next one; if storing a
//! promise fails, nothing after it is done and the process ends. See [`Effect`] and [`Input`] for what each asks for.

mod deadlines;
mod holder;
mod lease;
mod requests;
mod voter;

use std::collections::BTreeSet;

use pgo_ids::Term;

use crate::{
    Authority, Campaign, Granter, Moment, NoVote, Position, Promise, Record, Release, Rules, Start,
    Synchronous, Timing, Version, Vote, VoterId, members::Wanted,
};

/// For how many T an order to take over counts: longer than the pauses in which it is repeated while it is wanted, and short
/// enough that nobody is surprised by what was given up long ago.
const ORDER: u32 = 5;

/// What all agents of a cluster go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol {
    /// How long authority lasts.
    pub timing: Timing,
    /// The sentences that hold.
    pub rules: Rules,
}

impl Protocol {
    /// What production goes by.
    pub const PRODUCTION: Self = Self {
        timing: Timing::PROTOCOL,
        rules: Rules::PROTOCOL,
    };
}

/// What PostgreSQL does here, as far as authority is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Nothing runs that was started as primary, and nothing runs that receives WAL unless `following` says so.
    Replica,
    /// It runs as primary, or is about to.
    Primary,
    /// It was primary and is told to end; its processes are not known to be dead.
    Ending,
}

/// The Lease as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Its version.
    pub version: Version,
    /// What it records.
    pub record: Record,
    /// When a read that showed this version was received first.
    pub since: Moment,
    /// Whether a later read has shown it T·(1+ρ) after that.
    pub ripe: bool,
}

/// The one request for the Lease that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// When it began.
    pub began: Moment,
    /// What it writes; it reads where there is nothing.
    pub write: Option<Record>,
}

/// What this agent is after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// To follow the holder.
    Replica,
    /// To become the holder.
    Candidate(Campaign),
    /// To serve: the Lease names it.
    Holder(Authority),
}

/// A candidate that waits for this voter's receiver to stop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owed {
    /// The candidate.
    pub to: VoterId,
    /// Its term.
    pub term: Term,
    /// The version from which it swaps.
    pub version: Version,
}

/// Everything that an agent knows. Only `me` and `promise` outlive the process, in the data volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agent {
    /// Its own identity.
    pub me: VoterId,
    /// What it has promised, as it is on disk.
    pub promise: Promise,
    /// What it has granted.
    pub granter: Granter,
    /// What it is after.
    pub role: Role,
    /// What its PostgreSQL does.
    pub server: Server,
    /// The Lease as it saw it last.
    pub seen: Option<Seen>,
    /// The request for the Lease under way.
    pub call: Option<Call>,
    /// The holder and term whose WAL it receives.
    pub following: Option<(VoterId, Term)>,
    /// How far it has flushed, as it was told last.
    pub flushed: Position,
    /// How far it has flushed, once no WAL is received any more.
    pub stopped: Option<Position>,
    /// Candidates to be answered when the receiver has stopped.
    pub owed: Vec<Owed>,
    /// A release that it may follow.
    pub release: Option<Release>,
    /// Who is to follow, while it shuts down for that; `Some(None)` is anybody.
    pub releasing: Option<Option<VoterId>>,
    /// Whether its PostgreSQL could serve.
    pub fit: bool,
    /// Whether it may become primary without being told to.
    pub autofail: bool,
    /// The instances that become primary rather than others that are as far.
    pub preferred: BTreeSet<VoterId>,
    /// Until when it may because it was told to. Whoever still wants it says so again.
    pub told: Option<Moment>,
    /// What membership is wanted.
    pub wanted: Option<Wanted>,
    /// The synchronous rule that PostgreSQL has, and whether enough have flushed what was acknowledged before it had.
    pub configured: Option<(Synchronous, bool)>,
    /// The rule that PostgreSQL was told to take over.
    pub configuring: Option<Synchronous>,
    /// Where its timeline really began, if it is known and not recorded yet.
    pub began_at: Option<Position>,
    /// Whether what stands beside its record is out of date.
    pub outdated: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Some time has passed. Every T/10; what is sent with it is sent again with the next.
    Tick,
    /// A primary asks for a grant.
    GrantAsked {
        /// Who.
        from: VoterId,
        /// In which term.
        term: Term,
        /// The Lease's version that it knows, if it says so: whoever has seen another one reads the Lease, so that the wait
        /// for a silent primary begins with the last thing it wrote.
        version: Option<Version>,
        /// Its moment of asking, which goes back with the answer; it means nothing here.
        sent: Moment,
    },
    /// A replica answered a request for a grant.
    GrantAnswered {
        /// Who.
        by: VoterId,
        /// In which term it was asked.
        term: Term,
        /// When it was asked, by this agent's clock.
        sent: Moment,
        /// A grant, or the higher term that it has promised.
        answer: Result<(), Term>,
    },
    /// A candidate asks for a vote.
    VoteAsked {
        /// Who.
        from: VoterId,
        /// In which term.
        term: Term,
        /// For a swap from which version.
        version: Version,
        /// What makes waiting needless.
        release: Option<Release>,
    },
    /// A voter answered a request for a vote.
    VoteAnswered {
        /// Who.
        by: VoterId,
        /// In which term it was asked.
        term: Term,
        /// For a swap from which version.
        version: Version,
        /// The vote, or why there is none.
        answer: Result<Vote, NoVote>,
    },
    /// The Lease was read, by a read that is not served from a cache.
    LeaseRead {
        /// Its version.
        version: Version,
        /// What it records.
        record: Record,
    },
    /// The Lease was read the same way, and records nothing: it was lost, and made anew.
    LeaseAnew {
        /// Its version.
        version: Version,
        /// Above all terms that whoever made it knows of.
        term: Term,
    },
    /// The Lease was written as asked.
    LeaseWritten {
        /// Its version now.
        version: Version,
    },
    /// The Lease was not written: its version is another one. Only an answer of the API server to this one request
    /// says so; a client that repeats requests by itself must not be used.
    LeaseConflict,
    /// The request has failed or had no answer in time. A write may have been done, or be done yet.
    LeaseUnknown,
    /// A primary has released.
    Released(Release),
    /// No WAL is received any more, and so much is flushed.
    ReceiverStopped(Position),
    /// So much is flushed.
    Flushed(Position),
    /// Every process of a server that was primary is dead. So much is flushed; nothing where that cannot be found out, and
    /// then there is no vote before [`Input::ReceiverStopped`] says it.
    ServersStopped(Option<Position>),
    /// A replica says what term it has promised. Who votes would refuse a grant for a higher one; nobody asks the others.
    Promised(Term),
    /// The timeline that was asked for has begun, going on from here.
    Promoted(Position),
    /// The user, or the end of this pod, wants another primary: this one if given.
    Switchover(Option<VoterId>),
    /// This instance is to take over without a release, whatever autofail says.
    Failover,
    /// Whether instances may take over by themselves.
    Autofail(bool),
    /// Which instances become primary rather than others that are as far.
    Preferred(BTreeSet<VoterId>),
    /// Whether PostgreSQL could serve here: its volume answers, it starts.
    Fit(bool),
    /// The membership that is wanted.
    Members(Wanted),
    /// What stands in the Lease beside the record is out of date, which is where the instances are: a holder writes the record
    /// once more, and the rest with it.
    Outdated,
    /// The rule is in force: what left it has no walsender, the others have read it, and the WAL's end was taken then.
    Configured(Synchronous),
    /// k of the configured set have flushed up to the place taken when it came into force.
    Held,
    /// What is here cannot follow the holder, or is not there; the holder, as the source, has flushed so much.
    CopyNeeded {
        /// How far the source is.
        source: Position,
    },
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put the promise on disk (fsync of file and folder). Nothing that comes after it is done before that.
    StorePromise(Promise),
    /// Ask for a grant; [`Input::GrantAnswered`] with the same `term` and `sent`.
    AskGrant {
        /// Whom.
        of: VoterId,
        /// In which term.
        term: Term,
        /// The Lease's version that is known here.
        version: Version,
        /// Now.
        sent: Moment,
    },
    /// Answer [`Input::GrantAsked`].
    AnswerGrant {
        /// Whom.
        to: VoterId,
        /// In which term it asked.
        term: Term,
        /// What it sent.
        sent: Moment,
        /// The grant, or the promise that forbids it.
        answer: Result<(), Term>,
    },
    /// Ask for a vote; [`Input::VoteAnswered`] with the same `term` and `version`.
    AskVote {
        /// Whom.
        of: VoterId,
        /// In which term.
        term: Term,
        /// For a swap from which version.
        version: Version,
        /// What makes waiting needless.
        release: Option<Release>,
    },
    /// Answer [`Input::VoteAsked`].
    AnswerVote {
        /// Whom.
        to: VoterId,
        /// In which term it asked.
        term: Term,
        /// For which version.
        version: Version,
        /// The vote, or why there is none.
        answer: Result<Vote, NoVote>,
    },
    /// Read the Lease, not from a cache; [`Input::LeaseRead`] or [`Input::LeaseUnknown`].
    ReadLease,
    /// Write the Lease if its version is `expected`; [`Input::LeaseWritten`], [`Input::LeaseConflict`] or
    /// [`Input::LeaseUnknown`].
    WriteLease {
        /// The version it must have.
        expected: Version,
        /// What to record.
        record: Record,
    },
    /// Run as primary of this timeline: promote to it if it has not begun here; then [`Input::Promoted`]. The Service leads
    /// here. The rule is in force before the first commit.
    Serve {
        /// The term.
        term: Term,
        /// The timeline.
        start: Start,
        /// `synchronous_standby_names`.
        synchronous: Synchronous,
    },
    /// Kill every server process, at once; [`Input::ServersStopped`] when all are dead.
    KillServers,
    /// Shut PostgreSQL down in order (fast mode), so that replicas get all of its WAL; [`Input::ServersStopped`].
    ShutDown,
    /// Tell a voter that this primary has released.
    SendRelease {
        /// Whom.
        to: VoterId,
        /// The release.
        release: Release,
    },
    /// Let no more WAL come in; [`Input::ReceiverStopped`].
    StopReceiver,
    /// Receive the holder's WAL, or find out that a copy is needed ([`crate::path`], [`Input::CopyNeeded`]).
    Follow {
        /// Whose.
        holder: VoterId,
        /// In which term.
        term: Term,
    },
    /// Rewind to the holder or clone it, and follow.
    Copy {
        /// Whom.
        holder: VoterId,
    },
    /// Bring this rule into force as [`crate::members::Step::Configure`] says; [`Input::Configured`], [`Input::Held`].
    Configure(Synchronous),
}

impl Agent {
    /// An agent that starts at `now`, with what its volume holds.
    #[must_use]
    pub fn started(protocol: &Protocol, me: VoterId, promise: Promise, now: Moment) -> Self {
        Self {
            me,
            promise,
            granter: Granter::started(protocol, now),
            role: Role::Replica,
            server: Server::Replica,
            seen: None,
            call: None,
            following: None,
            flushed: Position::default(),
            stopped: None,
            owed: Vec::new(),
            release: None,
            releasing: None,
            fit: true,
            autofail: true,
            preferred: BTreeSet::new(),
            told: None,
            wanted: None,
            configured: None,
            configuring: None,
            began_at: None,
            outdated: false,
        }
    }

    /// Takes in what happened at `now`; what to do follows.
    pub fn step(&mut self, protocol: &Protocol, input: Input, now: Moment) -> Vec<Effect> {
        let mut step = Step {
            agent: self,
            protocol,
            now,
            effects: Vec::new(),
        };
        step.forget();
        step.fall_if_short();
        let tick = input == Input::Tick;
        let failed = input == Input::LeaseUnknown;
        step.take(input);
        // A swap that failed at once is tried again with the next tick, not at once again and again.
        if !failed {
            step.campaign(tick);
        }
        step.hold(tick);
        step.look(tick);
        step.effects
    }

    /// Whether the Lease names it, as far as it knows, so that it has no reason of its own to read it. Whoever drives it looks
    /// for what is wanted of the instances then, also where no server runs: one whose servers are not known to be dead keeps
    /// its grants until it hears that another instance may take over.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.role, Role::Holder(_))
    }

    /// For how many answers a commit waits while it serves; for the fewer of two while PostgreSQL is told to go by another
    /// rule. Fewer than the Lease records is a fallback: whoever tells of it by this tells it before a commit goes by it.
    #[must_use]
    pub fn waits_for(&self) -> Option<usize> {
        let (in_force, _) = self.configured.as_ref()?;
        let coming = self.configuring.as_ref().map_or(in_force.k, |rule| rule.k);
        Some(in_force.k.min(coming))
    }

    /// Until when it may serve if nothing more comes: whoever guards against a hung agent kills the servers then. The
    /// runtime has a tick D before it, beside the regular ones, so that the kill has all of D. `None` where it needs
    /// nothing to go on.
    #[must_use]
    pub fn serves_until(&self, protocol: &Protocol) -> Option<Moment> {
        match (&self.role, &self.seen) {
            (Role::Holder(authority), Some(seen)) => authority
                .until(protocol, &seen.record)
                .unwrap_or(Some(Moment::default())),
            _ => Some(Moment::default()),
        }
    }
}

/// One step under way.
struct Step<'a> {
    agent: &'a mut Agent,
    protocol: &'a Protocol,
    now: Moment,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => {}
            Input::GrantAsked {
                from,
                term,
                version,
                sent,
            } => self.grant_asked(from, term, version.as_ref(), sent),
            Input::GrantAnswered {
                by,
                term,
                sent,
                answer,
            } => {
                self.grant_answered(by, term, sent, answer);
            }
            Input::VoteAsked {
                from,
                term,
                version,
                release,
            } => {
                self.vote_asked(from, term, version, release.as_ref());
            }
            Input::VoteAnswered {
                by,
                term,
                version,
                answer,
            } => {
                self.vote_answered(by, term, &version, answer);
            }
            Input::LeaseRead { version, record } => self.lease_read(version, record),
            Input::LeaseAnew { version, term } => self.lease_anew(version, term),
            Input::LeaseWritten { version } => self.lease_written(version),
            Input::LeaseConflict => self.lease_conflict(),
            Input::LeaseUnknown => self.lease_unknown(),
            Input::Released(release) => self.released(release),
            Input::ReceiverStopped(position) => self.receiver_stopped(position),
            Input::Flushed(position) => self.flushed(position),
            Input::ServersStopped(position) => self.servers_stopped(position),
            Input::Promised(term) => self.promised(term),
            Input::Promoted(from) => self.agent.began_at = Some(from),
            Input::Switchover(to) => self.switchover(to),
            Input::Failover => self.failover(),
            Input::Autofail(on) => self.agent.autofail = on,
            Input::Preferred(preferred) => self.agent.preferred = preferred,
            Input::Fit(fit) => self.fit(fit),
            Input::Members(wanted) => self.agent.wanted = Some(wanted),
            Input::Outdated => {
                self.agent.outdated = matches!(self.agent.role, Role::Holder(_));
            }
            Input::Configured(rule) => self.configured(rule),
            Input::Held => {
                if let Some((_, held)) = &mut self.agent.configured {
                    *held = true;
                }
            }
            Input::CopyNeeded { source } => self.copy_needed(source),
        }
    }

    /// Drops what has run out, so that equal situations are equal states.
    fn forget(&mut self) {
        self.agent.granter.forget(&self.protocol.timing, self.now);
        self.agent.told = self.agent.told.filter(|until| self.now < *until);
        match &mut self.agent.role {
            Role::Replica => {}
            Role::Candidate(campaign) => {
                campaign.yields_until = campaign.yields_until.filter(|until| self.now < *until);
            }
            Role::Holder(authority) => authority.forget(self.protocol, self.now),
        }
    }

    /// Puts a promise on disk, if it is another one.
    fn store(&mut self, promise: Promise) {
        if promise != self.agent.promise {
            self.agent.promise = promise;
            if self.protocol.rules.term_is_stored {
                self.effects.push(Effect::StorePromise(promise));
            }
        }
    }

    /// Begins the one request for the Lease that may be under way.
    fn read(&mut self) {
        if self.agent.call.is_none() {
            self.agent.call = Some(Call {
                began: self.now,
                write: None,
            });
            self.effects.push(Effect::ReadLease);
        }
    }

    fn write(&mut self, expected: Version, record: Record) {
        if self.agent.call.is_none() {
            self.agent.call = Some(Call {
                began: self.now,
                write: Some(record.clone()),
            });
            self.effects.push(Effect::WriteLease { expected, record });
        }
    }
}
