//! The apiserver as its clients meet it: over its port, with Kubernetes, PostgreSQL and the event service played by small
//! servers of the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod backups;
mod base;
mod cancelling;
mod configuration;
mod connections;
mod creation;
mod dead_letters;
mod deadlines;
mod deletion;
mod description;
mod doorbells;
mod drills;
mod dumps;
mod event_log;
mod events;
mod failover;
mod growing;
mod harness;
mod inspecting;
mod jobs;
mod kubernetes;
mod nsqd;
mod policies;
mod postgres;
mod recorded;
mod refusals;
mod repository;
mod restarting;
mod restores;
mod rights;
mod scaling;
mod schedules;
mod showing;
mod transport;
mod upgrading;
