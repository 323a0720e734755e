//! Time without data: agents with clocks of different rates, messages that are lost, late or repeated, a Lease whose
//! writes are late or done without an answer. What is asked: never do two serve, and always one can serve again.

mod moves;
mod normal;
mod state;

use std::time::Duration;

use pgo_ha::{Protocol, Rules, Timing};
use stateright::{Model, Property};

pub use moves::Move;
pub use state::{Node, Sent, State, Swap};

/// One unit of the model's time.
pub const UNIT: Duration = Duration::from_secs(1);

/// T is two units and T·(1+ρ) three: the least with which a clock can be too slow within an authority.
pub const TIMING: Timing = Timing {
    term: Duration::from_secs(2),
    drift_permille: 500,
    margin: Duration::ZERO,
};

/// What the world may do, and for how long it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The highest term.
    pub terms: u64,
    /// Crashes of agents, each with its server.
    pub crashes: u8,
    /// Members that are added or removed.
    pub changes: u8,
    /// Releases.
    pub releases: u8,
    /// Whether answers are lost and requests are late by themselves too. Without, an answer that is lost or late shows as one
    /// that has no effect: a grant that is older or missing gives less, and a vote that is asked for again is given again.
    pub delays: bool,
    /// Instances that are voters from the beginning, beside the holder.
    pub voters: usize,
    /// Votes of k acknowledgers.
    pub k: usize,
    /// Instances whose clock may be the slow one.
    pub slow: &'static [Option<usize>],
    /// An instance that never comes back from a crash.
    pub lost: Option<usize>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Clock {
    /// How much of it is looked at.
    pub bounds: Bounds,
    /// What the agents go by.
    pub protocol: Protocol,
}

impl Clock {
    /// The model with these rules.
    #[must_use]
    pub fn new(bounds: Bounds, rules: Rules) -> Self {
        Self {
            bounds,
            protocol: Protocol {
                timing: TIMING,
                rules,
            },
        }
    }
}

impl Model for Clock {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        self.bounds
            .slow
            .iter()
            .map(|slow| State::first(self, *slow))
            .collect()
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        self.moves(state, moves);
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        let mut next = state.clone();
        self.play(&mut next, action)?;
        next.normalize(self.bounds.delays);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("at most one serves", |model: &Self, state| {
            model.serving(state).count() <= 1
        })]
    }
}
