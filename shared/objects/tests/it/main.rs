//! The objects of a cluster.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod objects;
mod repository;
mod rivals;
