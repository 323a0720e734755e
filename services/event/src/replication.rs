//! Two replicas of the event service: one leads, the other copies its log and can take over.
//!
//! ```text
//! Lease (whose turn it is) ─► take over: the roster in the register, compare-and-swap ─► lead: consume, append, wait for the other
//!            └ not this one's ─► follow: ask the one in the roster, copy, acknowledge by asking on
//! ```
//!
//! A replica that is not in the roster's list of those in sync does not take over: it has not everything that counts. It waits for
//! the other, and goes on without it only after a long time, in a new epoch, which readers are told of.

mod convert;
pub mod following;
pub mod leading;
pub mod register;
mod run;

pub use run::{LEASE, Replica, ReplicaService, Turn, Way};
