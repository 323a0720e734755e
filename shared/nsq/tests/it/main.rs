//! The client against a server that misbehaves as a real one cannot be made to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod consuming;
mod discovering;
mod failing;
mod fuzz;
mod handshake;
mod publishing;
mod server;
mod several;
mod soon;
mod tls;
