//! What the world looks like at a moment.

use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use pgo_ha::{Agent, Moment, Promise, Protocol, Record, Role, Server, Synchronous, Version};
use pgo_ids::Term;

use super::{Clock, UNIT, WAITER};
pub use crate::alike::{id, node};
use crate::{
    alike::Exchange,
    explore::{Print, fingerprint},
};

/// Instances.
pub const NODES: usize = 3;

/// Every agent's clock shows this: what lets time pass moves what it remembers into the past instead. Large enough for all
/// that a moment is ever subtracted.
pub const NOW: Moment = Moment::since_boot(UNIT.saturating_mul(100));

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "nearly all are up")]
pub enum Node {
    /// Its agent runs.
    Up {
        /// The agent.
        agent: Agent,
        /// What is on disk.
        disk: Promise,
    },
    /// It crashed.
    Down {
        /// What is on disk.
        disk: Promise,
    },
}

/// A node with its fingerprints.
#[derive(Debug)]
struct WithPrints {
    node: Node,
    print: u64,
    /// By exchange, where that was asked for.
    exchanged: OnceLock<Vec<u64>>,
}

/// A node with its fingerprint: most moves change one, and the others need not be looked at again.
#[derive(Clone, Debug)]
pub struct Kept(Arc<WithPrints>);

impl Kept {
    /// Keeps a node.
    #[must_use]
    pub fn new(node: Node) -> Self {
        let print = fingerprint(&node);
        Self(Arc::new(WithPrints {
            node,
            print,
            exchanged: OnceLock::new(),
        }))
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// Its fingerprint by each of these exchanges, which are always the same in a model.
    pub(super) fn prints(&self, exchanges: &[Exchange]) -> &[u64] {
        self.0.exchanged.get_or_init(|| {
            let prints = exchanges.iter().map(|exchange| {
                let mut print = Print::default();
                match &self.0.node {
                    Node::Up { agent, disk } => {
                        disk.hash(&mut print);
                        exchange.agent(agent, &mut print);
                    }
                    Node::Down { disk } => (false, disk).hash(&mut print),
                }
                print.finish()
            });
            prints.collect()
        })
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.0.print == other.0.print && self.0.node == other.0.node
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.print);
    }
}

/// A release that was sent, and is never lost for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    /// Who released.
    pub by: usize,
    /// At which version.
    pub version: u32,
    /// Who is to follow.
    pub to: Option<usize>,
}

/// A write of the Lease that is under way, or done and not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Swap {
    /// Who writes.
    pub writer: usize,
    /// Whether it still waits for the answer.
    pub waits: bool,
    /// From which version.
    pub expected: u32,
    /// To which, where it is done.
    pub done: Option<u32>,
    /// What.
    pub record: Record,
}

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The instances.
    pub nodes: [Kept; NODES],
    /// The Lease's version.
    pub version: u32,
    /// The Lease.
    pub record: Record,
    /// Writes under way.
    pub swaps: BTreeSet<Swap>,
    /// Releases that were sent.
    pub sent: BTreeSet<Sent>,
    /// Crashes so far.
    pub crashes: u8,
    /// Changes of members so far.
    pub changes: usize,
    /// Releases so far.
    pub releases: u8,
    /// Databases that could not serve, so far.
    pub failures: u8,
    /// Writes for what stands beside the record, so far.
    pub outdated: u8,
    /// Losses of the Lease, so far.
    pub losses: u8,
    /// Whether it was made anew and records nothing; what it had recorded is nothing then.
    pub anew: bool,
    /// Whether the API server answers nobody any more.
    pub stalled: bool,
}

impl State {
    /// The first instance holds the Lease; nobody runs for longer than this moment.
    #[must_use]
    pub fn first(model: &Clock) -> Self {
        let mut record = Record::first(id(0));
        record.voters = (1..=model.bounds.voters).map(id).collect();
        if model.bounds.k > 0 {
            record.synchronous = Synchronous {
                k: model.bounds.k,
                set: record.voters.clone(),
            };
        }
        let nodes = [0, 1, 2].map(|node| {
            let disk = Promise {
                term: Term(1),
                no_vote: None,
            };
            if node > model.bounds.voters && model.bounds.changes.is_empty() {
                return Kept::new(Node::Down { disk });
            }
            let mut agent = model.started(node, disk);
            agent.granter.restarted_until = None;
            Kept::new(Node::Up { agent, disk })
        });
        let mut state = Self {
            nodes,
            version: 1,
            record,
            swaps: BTreeSet::new(),
            sent: BTreeSet::new(),
            crashes: 0,
            changes: 0,
            releases: 0,
            failures: 0,
            outdated: 0,
            losses: 0,
            anew: false,
            stalled: false,
        };
        state.normalize(model.bounds.delays, true);
        state
    }

    /// Prints of the writes under way, in their order, where instances are exchanged.
    pub(super) fn swaps_by(&self, exchange: &Exchange) -> Vec<u64> {
        let prints = self.swaps.iter().map(|swap| {
            let Swap {
                writer,
                waits,
                expected,
                done,
                record,
            } = swap;
            let mut print = Print::default();
            (exchange.place(*writer), waits, expected, done).hash(&mut print);
            exchange.record(record, &mut print);
            print.finish()
        });
        let mut prints: Vec<u64> = prints.collect();
        prints.sort_unstable();
        prints
    }

    /// The same of the releases that were sent.
    pub(super) fn sent_by(&self, exchange: &Exchange) -> BTreeSet<(usize, u32, Option<usize>)> {
        let sent = self.sent.iter().map(|Sent { by, version, to }| {
            let to = to.map(|to| exchange.place(to));
            (exchange.place(*by), *version, to)
        });
        sent.collect()
    }

    /// Whether every replica that runs hears the primary, and nobody wants to take its place.
    pub(super) fn all_hear(&self) -> bool {
        let agents = (0..NODES).filter_map(|node| self.agent(node));
        let mut others = agents.filter(|agent| agent.me != self.record.holder);
        let hears =
            |agent: &Agent| matches!(agent.role, Role::Replica) && agent.granter.hears_primary(NOW);
        self.swaps.is_empty() && self.all_may_grant() && others.all(hears)
    }

    /// Whether nobody has promised a higher term than the Lease's, whose holder it would grant nothing any more.
    pub(super) fn all_may_grant(&self) -> bool {
        let mut agents = (0..NODES).filter_map(|node| self.agent(node));
        agents.all(|agent| agent.promise.term <= self.record.term)
    }

    /// The agent of an instance, if it runs.
    #[must_use]
    pub fn agent(&self, node: usize) -> Option<&Agent> {
        match self.nodes[node].node() {
            Node::Up { agent, .. } => Some(agent),
            Node::Down { .. } => None,
        }
    }
}

impl Clock {
    /// An agent that starts with what is on disk; how far its WAL reaches is nothing to this model.
    #[must_use]
    pub fn started(&self, node: usize, disk: Promise) -> Agent {
        let mut agent = Agent::started(
            &Protocol {
                timing: WAITER,
                rules: self.rules,
            },
            id(node),
            disk,
            NOW,
        );
        agent.stopped = Some(pgo_ha::Position::default());
        agent.autofail = self.bounds.autofail;
        agent.preferred = self.bounds.preferred.iter().copied().map(id).collect();
        agent
    }

    /// Who acknowledges writes: its server runs, and who guards against a hung agent has not killed it.
    pub fn serving<'a>(&'a self, state: &'a State) -> impl Iterator<Item = usize> + 'a {
        (0..NODES).filter(move |node| {
            state.agent(*node).is_some_and(|agent| {
                agent.server == Server::Primary
                    && agent
                        .serves_until(&self.protocol(agent))
                        .is_none_or(|until| NOW < until)
            })
        })
    }
}

/// A version as the Lease has it.
#[must_use]
pub fn version(number: u32) -> Version {
    Version::from(number.to_string().as_str())
}

/// The number of a version.
#[must_use]
pub fn number(version: &Version) -> u32 {
    version.as_str().parse().unwrap_or(0)
}
