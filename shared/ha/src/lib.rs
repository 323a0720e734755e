//! Who may be primary, and when: what each agent of a cluster decides, and nothing else.
//!
//! ```text
//!                 Input (a tick, an answer, a request)           Effect (ask, answer, write the Lease,
//!  the agent's ───────────────────────────────────────► Agent ──► start, stop, follow) ───► the agent's
//!  runtime                     and the moment now        ::step                              runtime
//! ```
//!
//! [`Agent`] is the whole state of an agent; [`Agent::step`] is its only change. What is asked of it are small decisions,
//! each in its module: [`quorum`](votes_needed), [`Promise`], [`Granter`], [`Authority`], [`Campaign`], [`members`].
//! `tests/model` explores exactly these functions; `docs/high-availability.md` is the protocol in words.
//!
//! No clock, no I/O, no chance: time comes as a [`Moment`].

mod agent;
mod authority;
mod campaign;
mod fitness;
mod granter;
mod handover;
pub mod members;
mod position;
mod promise;
mod quorum;
mod record;
mod replicas;
mod rules;
mod time;

pub use agent::{Agent, Effect, Input, Protocol, Role, Seen, Server};
pub use authority::{Authority, Membership};
pub use campaign::{Campaign, Release, Vote};
pub use fitness::Fitness;
pub use granter::{Given, Granter, NoVote};
pub use handover::Hindrance;
pub use position::{Lsn, Path, Position, Timeline, path};
pub use promise::Promise;
pub use quorum::{MOST_K, grants_needed, votes_needed};
pub use record::{MOST_HISTORY, Record, Start, Synchronous, Version, VoterId, VoterIdError};
pub use replicas::{ABSENCE, PATIENCE, Replicas};
pub use rules::Rules;
pub use time::{Moment, Timing};
