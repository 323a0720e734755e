//! The feeder as others see it: between an event service that the test plays and a real nsqd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod broker;
mod event_service;
mod feeding;
