//! Data without time: agents, their WAL, standbys that acknowledge, commits that wait for them. Every wait may be over at
//! any moment, a primary may go on as long as it likes after others have followed it, and yet no commit that was
//! acknowledged is lost, and always one can be acknowledged again.

mod moves;
mod play;
mod state;

use std::{collections::BTreeSet, hash::Hash, time::Duration};

use pgo_ha::{Agent, Protocol, Role, Rules, Server, Synchronous, Timing, members::Wanted};
use stateright::{Model, Property};

pub use moves::Move;
pub use state::{Instance, State, Wal};

use crate::{
    alike::{Alike, Exchange, MOST, exchanges, node},
    explore::smallest,
};
use state::id;

/// Time stands still for who has authority, until it loses it.
pub const HOLDER: Timing = Timing {
    term: Duration::from_secs(1),
    drift_permille: 0,
    margin: Duration::ZERO,
    patience: Duration::ZERO,
    preference: Duration::ZERO,
};

/// Every wait is over at once for all others.
pub const WAITER: Timing = Timing {
    term: Duration::ZERO,
    drift_permille: 0,
    margin: Duration::ZERO,
    patience: Duration::ZERO,
    preference: Duration::ZERO,
};

/// What the world may do, and for how long it is looked at.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Instances, 4 at most.
    pub instances: usize,
    /// The highest term.
    pub terms: u64,
    /// Commits.
    pub commits: u8,
    /// Crashes of instances.
    pub crashes: u8,
    /// Servers that die and are started again in place.
    pub deaths: u8,
    /// The membership at the beginning; the first instance is the holder.
    pub first: Wanted,
    /// Memberships that the user may want, one after another.
    pub wanted: Vec<Wanted>,
    /// An instance that never comes back from a crash.
    pub lost: Option<usize>,
    /// Whether the timeline of a position is that of the last flushed record, as it must be, or that of the primary which
    /// is followed.
    pub timeline_of_record: bool,
    /// What has happened before everything that can.
    pub story: Vec<Move>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Data {
    /// How much of it is looked at.
    pub bounds: Bounds,
    /// The sentences that hold.
    pub rules: Rules,
    alike: Vec<Exchange>,
}

impl Data {
    /// The model with these rules. That a candidate waits is the other model's.
    #[must_use]
    pub fn new(bounds: Bounds, rules: Rules) -> Self {
        let nodes = |voters: &BTreeSet<_>| voters.iter().map(|voter| node(*voter)).collect();
        let mut sets: Vec<BTreeSet<usize>> = Vec::new();
        for wanted in &bounds.wanted {
            sets.extend([nodes(&wanted.voters), nodes(&wanted.synchronous.set)]);
        }
        sets.extend(bounds.lost.map(|lost| BTreeSet::from([lost])));
        Self {
            alike: exchanges(bounds.instances, &sets),
            bounds,
            rules: Rules {
                promotion_needs_wait: false,
                ..rules
            },
        }
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

    /// Whether a commit made now would be acknowledged: the holder serves, and enough are with it.
    #[must_use]
    pub fn goes_on(&self, state: &State) -> bool {
        let holder = state::node(state.record.holder);
        let instance = &state.instances[holder];
        let with_it = (0..state.instances.len()).filter(|other| {
            let standby = &state.instances[*other];
            instance.rule.set.contains(&id(*other))
                && standby.attached == Some(holder)
                && standby.agent.is_some()
                && standby.wal == instance.wal
        });
        self.serves(state, holder) && with_it.count() >= instance.rule.k
    }

    /// Whether everything is alive that is needed to go on: nobody is gone for good while another one has data that
    /// only the one that is gone can make whole.
    #[must_use]
    pub fn can_go_on(&self, state: &State) -> bool {
        let gone = self
            .bounds
            .lost
            .is_some_and(|lost| state.instances[lost].agent.is_none());
        let copying = |instance: &Instance| instance.disk.no_vote.is_some();
        state.record.term.0 < self.bounds.terms && !(gone && state.instances.iter().any(copying))
    }

    fn serves(&self, state: &State, node: usize) -> bool {
        let agent = state.instances[node].agent.as_ref();
        agent
            .is_some_and(|agent| agent.server == Server::Primary && state.record.holder == agent.me)
    }

    /// Whether everything that was acknowledged is there, where the holder serves.
    fn has_all(&self, state: &State) -> bool {
        let holder = state::node(state.record.holder);
        let wal = &state.instances[holder].wal;
        let term = state.instances[holder]
            .agent
            .as_ref()
            .and_then(|agent| agent.seen.as_ref())
            .map(|seen| seen.record.term);
        !self.serves(state, holder)
            || term != Some(state.record.term)
            || state.acknowledged.iter().all(|commit| wal.has(*commit))
    }
}

/// The rule by which a commit waits for any `k` of these.
#[must_use]
pub fn any(k: usize, of: &[usize]) -> Synchronous {
    Synchronous {
        k,
        set: if k == 0 {
            BTreeSet::new()
        } else {
            of.iter().map(|node| id(*node)).collect()
        },
    }
}

/// These vote, and a commit waits for any `k` of them.
#[must_use]
pub fn members(k: usize, voters: &[usize]) -> Wanted {
    Wanted {
        voters: voters.iter().map(|node| id(*node)).collect(),
        synchronous: any(k, voters),
        fallback: None,
    }
}

/// The same, while a commit waits for `fewer`.
#[must_use]
pub fn fallen_back(k: usize, voters: &[usize], fewer: usize) -> Wanted {
    Wanted {
        fallback: Some(fewer),
        ..members(k, voters)
    }
}

impl Model for Data {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        let first = State::first(self);
        let told = self.bounds.story.iter().try_fold(first, |state, happens| {
            self.next_state(&state, happens.clone())
        });
        told.into_iter().collect()
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        self.moves(state, moves);
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        let mut next = state.clone();
        self.play(&mut next, action)?;
        next.normalize();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(
            "no acknowledged commit is lost",
            |model: &Self, state| model.has_all(state),
        )]
    }
}

impl Alike for Data {
    fn print(&self, state: &State) -> u64 {
        smallest(&self.alike, |_, exchange, print| {
            let mut places = [0; MOST];
            for node in 0..state.instances.len() {
                places[exchange.place(node)] = node;
            }
            for node in &places[..state.instances.len()] {
                state.instances[*node].hash_by(exchange, print);
            }
            exchange.record(&state.record, print);
            (state.version, &state.acknowledged, state.commits).hash(print);
            (state.crashes, state.deaths, state.changes).hash(print);
        })
    }
}
