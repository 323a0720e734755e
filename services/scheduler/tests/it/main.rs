//! The scheduler's rounds against an API server in memory, and its rights.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod harness;
mod rights;
mod rounds;
mod runs;
mod server;
mod simulation;
