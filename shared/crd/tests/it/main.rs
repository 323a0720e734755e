//! Custom resources and configuration, through the public face.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod backing_up;
mod cancelled;
mod configuration;
mod convert;
mod dumping;
mod failover;
mod generated;
mod jobs;
mod made;
mod policies;
mod recorded;
mod requests;
mod restarting;
mod restoring;
mod said;
mod status;
mod upgrading;
