//! The decisions of the core against a small world in which they are carried out, interrupted and disturbed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod changes;
mod creation;
mod deletion;
mod installation;
mod passwords;
mod published;
mod silence;
mod trouble;
mod world;
