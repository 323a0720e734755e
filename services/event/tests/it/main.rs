//! The event service as others see it: with a real nsqd, and certificates on both sides of each connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod damage;
mod dead;
mod delivery;
mod disk;
mod events;
mod examples;
mod faces;
mod forward;
mod installation;
mod kubernetes;
mod mending;
mod mirror;
mod news;
mod operation;
mod pair;
mod permissions;
mod process;
mod reading;
mod replicas;
mod rights;
