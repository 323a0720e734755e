//! Time without data: agents with clocks of different rates, messages that are lost, late or repeated, a Lease whose
//! writes are late or done without an answer. What is asked: never do two serve, and always one can serve again.

mod moves;
mod normal;
mod play;
mod state;

use std::{collections::BTreeSet, hash::Hash, time::Duration};

use pgo_ha::{Agent, Protocol, Role, Rules, Timing};
use stateright::{Model, Property};

pub use moves::Move;
pub use state::{Node, Sent, State, Swap};

use crate::{
    alike::{Alike, Exchange, exchanges},
    explore::smallest,
};
use state::NODES;

/// One unit of the model's time.
pub const UNIT: Duration = Duration::from_secs(1);

/// How long authority lasts in the model, for who has it: two units. Clocks are always as wrong as ρ allows for: that of
/// whoever holds authority is slow, that of whoever waits for it to run out is fast.
pub const HOLDER: Timing = Timing {
    term: Duration::from_secs(2),
    drift_permille: 0,
    margin: Duration::ZERO,
    patience: Duration::ZERO,
    preference: UNIT,
};

/// How long it lasts for who waits for it to run out: one unit, and with ρ, which is 1 here, the two that it can take.
pub const WAITER: Timing = Timing {
    term: Duration::from_secs(1),
    drift_permille: 1000,
    margin: Duration::ZERO,
    patience: Duration::ZERO,
    preference: UNIT,
};

/// What the world may do, and for how long it is looked at.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The highest term.
    pub terms: u64,
    /// Crashes of agents, each with its server.
    pub crashes: u8,
    /// Memberships that the user may want, one after another.
    pub changes: Vec<Vec<usize>>,
    /// Releases, to a named instance or to anybody.
    pub releases: u8,
    /// How often a primary whose database cannot serve hands over, and may serve again later.
    pub failures: u8,
    /// How often a primary writes the Lease for what stands beside the record.
    pub outdated: u8,
    /// How often the Lease is lost with what it records, and made anew by somebody who knows of no term.
    pub losses: u8,
    /// Whether the API server may stop answering for good, at a moment when every replica that runs hears the primary.
    pub stalls: bool,
    /// Whether instances may take over without being told to.
    pub autofail: bool,
    /// Instances that become primary rather than others that are as far, as all are here.
    pub preferred: Vec<usize>,
    /// Whether answers are lost and requests are late by themselves too. Without, an answer that is lost or late shows as one
    /// that has no effect: a grant that is older or missing gives less, and a vote that is asked for again is given again.
    pub delays: bool,
    /// Instances that are voters from the beginning, beside the holder.
    pub voters: usize,
    /// For how many of the voters a commit waits.
    pub k: usize,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Clock {
    /// How much of it is looked at.
    pub bounds: Bounds,
    /// The sentences that hold.
    pub rules: Rules,
    alike: Vec<Exchange>,
}

impl Clock {
    /// The model with these rules.
    #[must_use]
    pub fn new(bounds: Bounds, rules: Rules) -> Self {
        let mut sets: Vec<BTreeSet<usize>> = Vec::new();
        if bounds.changes.is_empty() {
            // Whoever is not there in the beginning never comes.
            sets.push((0..=bounds.voters).collect());
        }
        let named = bounds.changes.iter().chain([&bounds.preferred]);
        sets.extend(named.map(|nodes| nodes.iter().copied().collect()));
        Self {
            alike: exchanges(NODES, &sets),
            bounds,
            rules,
        }
    }

    /// Whether what an agent knows of an earlier version of the Lease is looked at for as long as it believes it. Without,
    /// it has read the Lease again before it does anything else.
    fn keeps_stale(&self) -> bool {
        self.bounds.delays
            || !self.rules.voters_of_that_version
            || !self.rules.wait_is_for_one_version
    }

    /// What an agent goes by.
    #[must_use]
    pub fn protocol(&self, agent: &Agent) -> Protocol {
        let timing = match agent.role {
            Role::Holder(_) => HOLDER,
            Role::Replica | Role::Candidate(_) => WAITER,
        };
        Protocol {
            timing,
            rules: self.rules,
        }
    }
}

impl Model for Clock {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        self.moves(state, moves);
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        let mut next = state.clone();
        self.play(&mut next, action)?;
        next.normalize(self.keeps_stale(), self.rules.wait_is_for_one_version);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one serves", |model: &Self, state| {
                model.serving(state).count() <= 1
            }),
            Property::always(
                "an API server that stalls costs no grant",
                |_: &Self, state: &State| !state.stalled || state.all_may_grant(),
            ),
        ]
    }
}

impl Alike for Clock {
    fn print(&self, state: &State) -> u64 {
        smallest(&self.alike, |place, exchange, print| {
            let mut nodes = [0; NODES];
            for node in 0..NODES {
                nodes[exchange.place(node)] = state.nodes[node].prints(&self.alike)[place];
            }
            nodes.hash(print);
            (state.version, state.crashes, state.changes, state.releases).hash(print);
            (state.failures, state.outdated).hash(print);
            (state.losses, state.anew, state.stalled).hash(print);
            exchange.record(&state.record, print);
            state.swaps_by(exchange).hash(print);
            state.sent_by(exchange).hash(print);
        })
    }
}
