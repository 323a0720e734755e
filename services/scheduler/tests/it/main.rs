//! The scheduler's rounds against an API server in memory, and its rights.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod rights;
mod rounds;
mod server;
