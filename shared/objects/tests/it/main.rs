//! The objects of a cluster.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod drill;
mod dump;
mod job;
mod objects;
mod repository;
mod rivals;
