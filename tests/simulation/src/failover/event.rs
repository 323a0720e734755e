//! What happens at a time.

use std::{cmp::Ordering, collections::BinaryHeap};

use pgo_ha::{Input, Position, Record, Version};
use pgo_ids::Term;

use crate::failover::{clock::Time, instance::Rec};

/// What a request for the Lease asks.
#[derive(Clone, Debug)]
pub enum Asks {
    /// To read it.
    Read,
    /// To write it if its version is this one.
    Write(Version, Box<Record>),
}

/// What the user wants of the instances; it goes with each read of the Lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Whether they may take over by themselves.
    pub autofail: bool,
    /// For how many answers commits wait.
    pub k: usize,
    /// Whether they go on with fewer where so many have not been there for a while.
    pub fallback: bool,
    /// Which instance becomes primary rather than others that are as far.
    pub preferred: Option<usize>,
}

/// What the supervisor of a PostgreSQL does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Its server runs as primary, promoted where it has to be.
    Lead,
    /// The server is dead: tell so.
    TellStopped,
    /// Look whether a fast shutdown is through.
    ShutDown,
    /// The same, after which another server begins.
    Restart,
    /// The receiver is gone: answer the so many-th order of that, or tell it unasked.
    TellReceiver(Option<u64>),
    /// Begin to receive.
    Attach,
    /// The copy is complete.
    Copied,
    /// Nobody counts any more; the end of WAL is noted and the new rule put into force.
    Configure,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// An agent's tick is due: whose, of which process.
    Tick(usize, u64),
    /// A step that no tick is waited for may be due.
    Due(usize, u64),
    /// The deadline of a guard may have passed.
    Guard(usize, u64),
    /// Something of another agent arrives; an answer only where the process lives that asked.
    Peer {
        to: usize,
        of: Option<u64>,
        from: (usize, u64),
        input: Input,
    },
    /// A replica that does not stream says that it is there.
    Reported {
        to: usize,
        from: usize,
        promised: Term,
    },
    /// A request reaches the API server: by whom, of which process, its number.
    Asked {
        by: (usize, u64),
        call: u64,
        asks: Asks,
    },
    /// An answer of the API server arrives.
    Answered {
        to: (usize, u64),
        call: u64,
        input: Input,
        wishes: Option<Wishes>,
    },
    /// A request has had no answer for too long.
    Late { to: (usize, u64), call: u64 },
    /// What is wanted of the instances reaches an agent.
    Wished(usize, u64, Wishes),
    /// WAL arrives on a connection, from this place on.
    Wal {
        to: usize,
        connection: u64,
        from: usize,
        records: Vec<Rec>,
    },
    /// A standby says on a connection how far it has flushed.
    Flushed {
        to: usize,
        connection: u64,
        by: usize,
        end: usize,
    },
    /// A connection has broken; its receiver notices.
    Broken { to: usize, connection: u64 },
    /// The supervisor of a PostgreSQL goes on, unless something else is to be done by now.
    Work(usize, u64, Job),
    /// What a supervisor tells reaches its agent: that nothing is received, and which order that answers.
    Told(usize, u64, Option<u64>, Position),
    /// Every process of a server is dead.
    Killed(usize, u64),
    /// A pod or an agent begins.
    Begins(usize, u64),
    /// A pod that was told to end has had its time.
    PodEnded(usize),
    /// A stopped agent goes on.
    AgentGoesOn(usize),
    /// A frozen node goes on.
    Thaws(usize),
    /// A volume answers again.
    VolumeAnswers(usize),
    /// A volume may have hung for too long.
    VolumeSilent(usize, u64),
    /// A server that went on after a freeze has had its time to end.
    MustHaveEnded(usize, u64),
    /// A cut is mended.
    Mended(usize),
    /// The network is as usual.
    NetworkIsCalm,
    /// The API server goes on.
    ApiGoesOn,
    /// A server that could not start can.
    Mends(usize),
    /// Clients write.
    Writes,
    /// Something fails, or somebody wants something.
    Fault,
    /// Whoever scales looks after what is under way.
    Scales,
}

impl Event {
    /// The instance whose agent this is for, its supervisor's and its server's included: nothing of it happens while that
    /// is stopped.
    pub fn node(&self) -> Option<(usize, Part)> {
        let found = match self {
            Self::Tick(node, _)
            | Self::Due(node, _)
            | Self::Wished(node, ..)
            | Self::Peer { to: node, .. }
            | Self::Reported { to: node, .. }
            | Self::Answered { to: (node, _), .. }
            | Self::Late { to: (node, _), .. }
            | Self::VolumeSilent(node, _)
            | Self::Told(node, ..)
            | Self::Work(node, ..) => (*node, Part::Agent),
            Self::Guard(node, _) => (*node, Part::Guard),
            Self::Wal { to, .. } | Self::Flushed { to, .. } | Self::Broken { to, .. } => {
                (*to, Part::Server)
            }
            Self::Killed(node, _) | Self::Begins(node, _) => (*node, Part::Node),
            _ => return None,
        };
        Some(found)
    }
}

/// What of an instance an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The agent, and what its process does with PostgreSQL.
    Agent,
    /// Its guard.
    Guard,
    /// PostgreSQL.
    Server,
    /// Process 1, and the node.
    Node,
}

struct Planned {
    at: Time,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// What is to happen, in the order of time; at one time in the order in which it was planned.
#[derive(Default)]
pub struct Queue {
    planned: BinaryHeap<Planned>,
    number: u64,
}

impl Queue {
    /// Plans an event.
    pub fn at(&mut self, at: Time, event: Event) {
        self.number += 1;
        let number = self.number;
        self.planned.push(Planned { at, number, event });
    }

    /// The next one.
    pub fn next(&mut self) -> Option<(Time, Event)> {
        let next = self.planned.pop()?;
        Some((next.at, next.event))
    }
}
