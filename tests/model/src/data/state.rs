//! What the world looks like at a moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use pgo_ha::{
    Agent, Lsn, Moment, Position, Promise, Protocol, Record, Role, Synchronous, Timeline, Version,
};
use pgo_ids::Term;

use super::{Data, WAITER};
use crate::alike::{Exchange, some};
pub use crate::alike::{id, node};

/// It is always now.
pub const NOW: Moment = Moment::since_boot(std::time::Duration::from_secs(100));

/// Records of WAL: their timeline, and the commit in them; 0 where a timeline begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wal(pub Vec<(u32, u8)>);

impl Wal {
    /// Its end.
    #[must_use]
    pub fn end(&self) -> usize {
        self.0.len()
    }

    /// Whether a commit is in it.
    #[must_use]
    pub fn has(&self, commit: u8) -> bool {
        self.0.iter().any(|(_, of)| *of == commit)
    }

    /// How far it reaches.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            timeline: Timeline(self.0.last().map_or(1, |(timeline, _)| *timeline)),
            lsn: Lsn(self.end() as u64),
        }
    }
}

/// An instance: its agent if it runs, its volume, its server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// The agent.
    pub agent: Option<Agent>,
    /// What it has promised, on disk.
    pub disk: Promise,
    /// Its WAL, on disk.
    pub wal: Wal,
    /// Whose WAL its server receives.
    pub attached: Option<usize>,
    /// The timeline of the primary it followed last.
    pub target: u32,
    /// The timeline on which its server writes, where it is a primary.
    pub writes: u32,
    /// The rule that its server goes by, where it is a primary.
    pub rule: Synchronous,
    /// The end of the WAL when that rule came into force, where it was told to go by it.
    pub mark: Option<usize>,
    /// The rule before it, where walsenders may go by that still, which they must not.
    pub former: Option<Synchronous>,
    /// The end of the WAL when another rule was asked for, where that is taken for the mark, which it must not be.
    pub asked: Option<usize>,
    /// By standby, up to where it said that it has flushed.
    pub heard: BTreeMap<usize, usize>,
    /// Commits whose clients wait, and up to where their WAL has to be flushed.
    pub waiting: BTreeMap<u8, usize>,
}

impl Instance {
    /// Hashes it where instances are exchanged.
    pub(super) fn hash_by(&self, exchange: &Exchange, into: &mut impl Hasher) {
        let Self {
            agent,
            disk,
            wal,
            attached,
            target,
            writes,
            rule,
            mark,
            former,
            asked,
            heard,
            waiting,
        } = self;
        some(agent.as_ref(), into, |agent, into| {
            exchange.agent(agent, into);
        });
        (disk, wal, target, writes, mark, asked, waiting).hash(into);
        attached.map(|node| exchange.place(node)).hash(into);
        exchange.synchronous(rule, into);
        some(former.as_ref(), into, |rule, into| {
            exchange.synchronous(rule, into);
        });
        exchange.by_node(heard, into);
    }
}

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The instances.
    pub instances: Vec<Instance>,
    /// The Lease's version.
    pub version: u32,
    /// The Lease.
    pub record: Record,
    /// Commits that were acknowledged.
    pub acknowledged: BTreeSet<u8>,
    /// Commits so far.
    pub commits: u8,
    /// Crashes so far.
    pub crashes: u8,
    /// Servers so far that died and were started again in place.
    pub deaths: u8,
    /// Memberships so far that were wanted.
    pub changes: usize,
}

impl State {
    /// The first instance holds the Lease; nobody has any WAL.
    #[must_use]
    pub fn first(model: &Data) -> Self {
        let mut record = Record::first(id(0));
        record.voters = model.bounds.first.voters.clone();
        record.synchronous = model.bounds.first.synchronous.clone();
        let instances = (0..model.bounds.instances).map(|node| {
            let disk = Promise {
                term: Term(1),
                no_vote: None,
            };
            Instance {
                agent: Some(model.started(node, disk, &Wal::default())),
                disk,
                wal: Wal::default(),
                attached: None,
                target: 1,
                writes: 0,
                rule: Synchronous::default(),
                mark: None,
                former: None,
                asked: None,
                heard: BTreeMap::new(),
                waiting: BTreeMap::new(),
            }
        });
        let instances = instances.collect();
        let mut state = Self {
            instances,
            version: 1,
            record,
            acknowledged: BTreeSet::new(),
            commits: 0,
            crashes: 0,
            deaths: 0,
            changes: 0,
        };
        state.normalize();
        state
    }

    /// Versions count by whether they are the Lease's: 1 if so, else 0.
    pub(super) fn normalize(&mut self) {
        let current = version(self.version);
        let (one, none) = (version(1), version(0));
        let place = |of: &mut Version| {
            *of = if *of == current {
                one.clone()
            } else {
                none.clone()
            };
        };
        for instance in &mut self.instances {
            if let Some(agent) = &mut instance.agent {
                agent
                    .seen
                    .iter_mut()
                    .for_each(|seen| place(&mut seen.version));
                if let Role::Candidate(campaign) = &mut agent.role {
                    place(&mut campaign.version);
                }
                // It reads the Lease again before it does anything else.
                let stale = agent.seen.as_ref().is_some_and(|seen| seen.version == none);
                if stale && !matches!(agent.role, Role::Holder(_)) {
                    agent.seen = None;
                    agent.role = Role::Replica;
                    agent.told = None;
                }
                if let Role::Holder(_) = agent.role
                    && let Some(seen) = &mut agent.seen
                {
                    seen.since = NOW;
                    seen.ripe = false;
                }
                agent.granter.given = None;
                agent.owed.clear();
            }
        }
        self.version = 1;
    }
}

impl Data {
    /// An agent that starts with what is on disk.
    #[must_use]
    pub fn started(&self, node: usize, disk: Promise, wal: &Wal) -> Agent {
        let protocol = Protocol {
            timing: WAITER,
            rules: self.rules,
        };
        let mut agent = Agent::started(&protocol, id(node), disk, NOW);
        agent.granter.restarted_until = None;
        agent.autofail = false;
        agent.stopped = Some(wal.position());
        agent.flushed = wal.position();
        agent
    }
}

/// A version as the Lease has it.
#[must_use]
pub fn version(number: u32) -> Version {
    Version::from(number.to_string().as_str())
}
