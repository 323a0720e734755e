//! The catalogue and the events, as other crates see them.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod catalogue;
mod cloudevents;
mod generated;
mod recorded;
mod secrecy;
