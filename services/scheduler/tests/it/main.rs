//! The scheduler's rounds against an API server in memory.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod rounds;
mod server;
