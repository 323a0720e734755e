//! The layout of the workspace, as rules.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot read the sources has failed"
)]

mod broker;
mod dependencies;
mod documents;
mod events;
mod examples;
mod installer;
mod layout;
mod manifests;
mod purity;
mod sources;
mod workspace;
