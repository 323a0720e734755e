//! The agent with a real PostgreSQL: what the reconciler, a client and Kubernetes see of it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod archiving;
mod basebackups;
mod calls;
mod cancelling;
mod connections;
mod drill;
mod dumping;
mod failover;
mod fake;
mod handover;
mod inspection;
mod instance;
mod jobs;
mod lost_lease;
mod orders;
mod policy;
mod preferred;
mod process;
mod replica;
mod repository;
mod restoring;
mod rig;
mod s3;
mod synchronous;
#[path = "../../../../shared/postgres/tests/unprivileged/mod.rs"]
mod unprivileged;
mod worker;
