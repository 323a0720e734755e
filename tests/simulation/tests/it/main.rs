//! The simulation, and that it finds what it is for.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod failover;
mod schedules;
mod seeds;
