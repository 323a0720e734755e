//! A world of instances that elect a primary while everything under them fails: the real decisions of an agent ([`pgo_ha`])
//! over clocks, a network, a Lease, volumes and PostgreSQLs that are simulated.
//!
//! ```text
//!                  ┌──── Network: late, lost, cut ────┐
//!  Instance 0..5 ──┤                                  ├── Api: the Lease by compare-and-swap, stalls, lost answers
//!   Driver   Agent::step, Replicas, Fitness, its guard's deadline      (pgo-ha)
//!   Postgres WAL, receivers, for whose answers commits wait            (simulated)
//!   Clock    runs fast or slow, its time of day jumps
//!
//!  Judge: at most one may write; what was promised is kept; what was lost is counted; once the faults stop all is well again
//! ```
//!
//! What a runtime has to do is written down with [`pgo_ha::Effect`] and [`pgo_ha::Input`]; what is simulated does it as
//! `services/agent/src/ha/driver.rs` and `services/agent/src/supervise` do.

mod api;
mod climate;
mod clock;
mod driver;
mod event;
mod faults;
mod instance;
mod judge;
mod network;
mod postgres;
mod restart;
mod users;
mod wal;
mod world;
mod wrong;

use crate::Failure;
pub use judge::Count;
use world::World;
pub use wrong::Wrong;

/// Runs the schedule of a seed, with a part that is wrong on purpose, or none.
///
/// # Errors
/// A promise was broken.
pub fn run(seed: u64, wrong: Option<Wrong>) -> Result<Count, Box<Failure>> {
    World::new(seed, wrong, false).run().map_err(|what| {
        // Once more, telling what happens: the same seed is the same schedule.
        let mut world = World::new(seed, wrong, true);
        let same = world.run().err().unwrap_or_default();
        debug_assert_eq!(what, same, "the schedule of a seed is not always the same");
        Box::new(Failure {
            seed,
            again: format!("make simulate WORLD=failover SEED={seed}"),
            what,
            trace: world.trace().to_vec(),
        })
    })
}
