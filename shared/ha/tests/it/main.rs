//! Agents as their runtime drives them, by the timing of production.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod agents;
mod blips;
mod cluster;
mod doubt;
mod handover;
mod preferred;
mod stalls;
