//! An instance: its volume, its processes, and the node under it.

use pgo_ha::{
    Agent, Effect, Fitness, Lsn, Moment, Position, Promise, Record, Replicas, Start, Synchronous,
    Timeline, VoterId,
};
use uuid::Uuid;

use crate::failover::{
    clock::{Clock, Time},
    event::{Event, Part, Wishes},
};

/// The identity of an instance's volume.
pub fn id(node: usize) -> VoterId {
    VoterId::from(Uuid::from_u128(node as u128 + 1))
}

/// A record of WAL: its timeline, and the commit in it; 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rec {
    /// On which timeline.
    pub timeline: u32,
    /// Which commit.
    pub commit: u32,
}

/// What the volume holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing yet.
    Nothing,
    /// What is being rewound or copied: of no use until that is complete.
    Copying,
    /// A database.
    There,
}

/// What the protocol wants of PostgreSQL; the newest one counts.
#[derive(Clone, Debug)]
pub enum Course {
    /// Nothing is known.
    Wait,
    /// Run as primary.
    Lead {
        /// The timeline.
        start: Start,
        /// For whose answers commits wait.
        rule: Synchronous,
    },
    /// Receive WAL.
    Follow {
        /// Whose.
        holder: usize,
        /// What the Lease recorded then.
        record: Box<Record>,
        /// Whether data that does not fit may be replaced.
        copy: bool,
    },
    /// Receive nothing, by the so many-th order.
    Hold(u64),
    /// Nothing that writes may live.
    End,
}

/// What is asked of other agents; one of each kind is under way to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A grant.
    Grant,
    /// A vote.
    Vote,
    /// That a primary has released.
    Release,
}

/// What an agent's process knows.
#[derive(Debug)]
pub struct Driver {
    /// The decisions.
    pub agent: Agent,
    /// While it serves: what is known of the replicas.
    pub replicas: Option<Replicas>,
    /// Whether PostgreSQL could serve here.
    pub fitness: Fitness,
    /// What is wanted of the instances.
    pub wishes: Wishes,
    /// When that was looked at last.
    pub looked: Moment,
    /// The request for the Lease that it waits for.
    pub call: Option<u64>,
    /// Requests under way to other agents, and since when.
    pub under_way: Vec<(usize, Kind, Moment)>,
    /// Of which process the last request of each other agent came.
    pub askers: Vec<(usize, u64)>,
    /// What PostgreSQL is to do.
    pub course: Course,
    /// How often it was to receive nothing.
    pub holds: u64,
    /// Its supervisor is at something that no other course but the end breaks off.
    pub busy: bool,
    /// Tries in a row of which none led to a server.
    pub vain: u32,
    /// Effects that wait for a promise to be on a volume that hangs.
    pub stuck: Option<Vec<Effect>>,
    /// When it looks next whether a step is due.
    pub due_planned: Time,
}

/// A way on which WAL goes to a standby.
#[derive(Clone, Debug)]
pub struct Sender {
    /// To whom.
    pub to: usize,
    /// The connection.
    pub connection: u64,
    /// How much was sent.
    pub sent: usize,
    /// When the last of it arrives.
    pub arrives: Time,
    /// How far it says that it has flushed.
    pub flushed: usize,
}

/// A PostgreSQL that runs as primary.
#[derive(Clone, Debug)]
pub struct Primary {
    /// Which server: each has its own number.
    pub number: u64,
    /// On which timeline it writes.
    pub timeline: u32,
    /// For whose answers commits wait.
    pub rule: Synchronous,
    /// No answer counts at the moment: another rule comes into force.
    pub nobody: bool,
    /// Whether it takes commits; not while it shuts down.
    pub accepts: bool,
    /// Up to where the rule's answers are waited for since it came into force.
    pub mark: Option<usize>,
    /// Who receives its WAL.
    pub senders: Vec<Sender>,
    /// Commits whose clients wait, and up to where their WAL has to be flushed.
    pub waiting: Vec<(u32, usize)>,
    /// It went on after its node was frozen beyond its deadline.
    pub late: bool,
}

impl Primary {
    /// Whether enough of those whose answers count have flushed so much.
    pub fn is_flushed(&self, end: usize) -> bool {
        if self.nobody {
            return false;
        }
        let counts =
            |sender: &&Sender| sender.flushed >= end && self.rule.set.contains(&id(sender.to));
        self.rule.k == 0 || self.senders.iter().filter(counts).count() >= self.rule.k
    }
}

/// Where WAL comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The connection.
    pub connection: u64,
    /// Whose WAL.
    pub from: usize,
}

/// The second process: until when servers may live.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guard {
    /// As it was told.
    pub deadline: Option<Moment>,
    /// When it looks next.
    pub planned: Option<Time>,
    /// Until when servers might live by what it was told last; it outlives the guard.
    pub until: Option<Moment>,
}

/// An instance.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is something that fails by itself"
)]
pub struct Instance {
    /// Whose volume it is.
    pub id: VoterId,
    /// The node's clocks.
    pub clock: Clock,
    /// Whether it is part of the cluster; its volume is gone where not.
    pub exists: bool,
    /// What is promised, on the volume.
    pub promise: Promise,
    /// What the volume holds.
    pub data: Data,
    /// Its WAL.
    pub wal: Vec<Rec>,
    /// Whether the data is that of a primary, which no standby has been since.
    pub of_primary: bool,
    /// Which process of the agent this is.
    pub process: u64,
    /// The agent, while it runs.
    pub driver: Option<Driver>,
    /// Its guard.
    pub guard: Guard,
    /// PostgreSQL, where it runs as primary.
    pub server: Option<Primary>,
    /// PostgreSQL's receiver, where it is a standby.
    pub receiver: Option<Receiver>,
    /// From which server it is being copied.
    pub copied_from: Option<(usize, u64)>,
    /// What the supervisor does is this one.
    pub job: u64,
    /// Its agent is stopped.
    pub stopped: bool,
    /// Its node is frozen.
    pub frozen: bool,
    /// When that went on last after it was.
    pub thawed: Time,
    /// Its volume hangs, for the so many-th time.
    pub hangs: Option<u64>,
    /// Its server does not start.
    pub broken: bool,
    /// When something of it went on last that had been frozen, stopped or stuck.
    pub woke: Time,
    /// What happened to what is stopped.
    pub deferred: Vec<Event>,
}

impl Instance {
    /// One with this data, of which nothing runs yet.
    pub fn new(node: usize, clock: Clock, data: Data) -> Self {
        Self {
            id: id(node),
            clock,
            exists: true,
            promise: Promise::default(),
            data,
            wal: Vec::new(),
            of_primary: node == 0,
            process: 0,
            driver: None,
            guard: Guard::default(),
            server: None,
            receiver: None,
            copied_from: None,
            job: 0,
            stopped: false,
            frozen: false,
            thawed: 0,
            hangs: None,
            broken: false,
            woke: 0,
            deferred: Vec::new(),
        }
    }

    /// How far its WAL reaches, as its last record says.
    pub fn position(&self) -> Position {
        Position {
            timeline: Timeline(self.wal.last().map_or(1, |last| last.timeline)),
            lsn: Lsn(self.wal.len() as u64),
        }
    }

    /// Whether nothing of this part goes on.
    pub fn rests(&self, part: Part) -> bool {
        let stuck = || self.driver.as_ref().is_some_and(|d| d.stuck.is_some());
        self.frozen
            || match part {
                Part::Agent => self.stopped || stuck(),
                Part::Server => self.hangs.is_some(),
                Part::Guard | Part::Node => false,
            }
    }

    /// Whether clients can write here.
    pub fn writes(&self) -> bool {
        let accepts = self.server.as_ref().is_some_and(|server| server.accepts);
        accepts && !self.frozen && self.hangs.is_none()
    }

    /// Whether a standby can connect here.
    pub fn answers(&self) -> bool {
        self.writes()
    }
}
