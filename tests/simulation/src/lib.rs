//! Worlds in which everything fails. That of instances that elect a primary is [`failover`]; the rest is one of events and
//! operations: the real decisions of the reconciler, its relay and the event service, over a
//! Kubernetes, an nsqd, agents and a clock that are simulated. One number, the seed, decides everything that happens, so
//! that whatever is found can be seen again.
//!
//! ```text
//!  users ─► store ─► Reconciler: commit, plan ─► store: status with outbox, compare-and-swap     (pgo-core, pgo-events)
//!                        │ offer         ▲
//!                        ▼               │ confirm
//!                    Backlog ─► Broker ─► Intake ─► disk ─► Reader                         (pgo-bus, pgo-event)
//!
//!  Ledger: holds all of it against what was promised, at every step
//! ```
//!
//! What is promised: an event exists exactly when its change does; nothing is in the log that was not in an outbox; each
//! stream is logged in order, each event once; what leaves an outbox is in the log or in a page; a reader that comes back
//! with its cursor is shown each event once; and once the faults stop everything comes to rest, each operation that was
//! accepted having one beginning and one end.

mod agents;
mod asked;
mod broker;
mod chance;
mod climate;
mod event_service;
pub mod failover;
mod faults;
mod ground;
mod ledger;
mod pages;
mod publishing;
mod reader;
mod reconciler;
mod requests;
mod rest;
mod store;
mod users;
mod world;
mod wrong;

use std::fmt;

use chance::Chance;
use climate::Climate;
pub use world::Count;
use world::World;
pub use wrong::Wrong;

/// How much of what happened before is told with a failure.
const TOLD: usize = 400;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The schedule.
    pub seed: u64,
    /// What shows it again.
    pub again: String,
    /// What was broken.
    pub what: String,
    /// What happened before.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.trace.len().saturating_sub(TOLD);
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        writeln!(f, "the same again: {}", self.again)?;
        for line in &self.trace[skipped..] {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// Runs the schedule of a seed, with a part that is wrong on purpose, or none.
///
/// # Errors
/// A promise was broken.
pub fn run(seed: u64, wrong: Option<Wrong>) -> Result<Count, Box<Failure>> {
    let again = format!("make simulate WORLD=events SEED={seed}");
    told(seed, again, |traced| World::new(seed, wrong, traced))
}

/// Runs one long schedule in which every process is killed again and again, until so many operations were accepted.
///
/// # Errors
/// A promise was broken.
pub fn campaign(seed: u64, operations: usize) -> Result<Count, Box<Failure>> {
    let climate = Climate::campaign(operations);
    let again = format!("make simulate CAMPAIGN={seed}");
    told(seed, again, |traced| {
        World::with(Chance::new(seed), climate.clone(), None, traced)
    })
}

fn told(seed: u64, again: String, world: impl Fn(bool) -> World) -> Result<Count, Box<Failure>> {
    world(false).run().map_err(|what| {
        // Once more, telling what happens: the same seed is the same schedule.
        let mut world = world(true);
        let same = world.run().err().unwrap_or_default();
        debug_assert_eq!(what, same, "the schedule of a seed is not always the same");
        Box::new(Failure {
            seed,
            again,
            what,
            trace: world.trace().to_vec(),
        })
    })
}
