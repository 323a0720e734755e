//! The reconciler as Kubernetes, the agents and the event service meet it, each played by a small server of the test;
//! and what it and its installation must agree on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;
mod backlog;
mod backups;
mod cancelling;
mod certificates;
mod confirming;
mod deletion;
mod doorbells;
mod drills;
mod dumps;
mod event_log;
mod eventing;
mod failover;
mod following;
mod growing;
mod harness;
mod jobs;
mod kubernetes;
mod leading;
mod namespaces;
mod notes;
mod nsqd;
mod pages;
mod passwords;
mod policies;
mod preferred;
mod replicas;
mod repository;
mod requests;
mod restores;
mod rights;
mod rivals;
mod services;
mod stopping;
mod store;
mod unreadable;
mod upgrades;
mod workers;
mod writing;
