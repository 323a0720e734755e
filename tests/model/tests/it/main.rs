//! The protocol holds within the bounds of a test run, and no sentence of it can be left out.
//!
//! `MODEL=wide` looks further (`make simulate MODEL=wide`).

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod protocol;
mod sentences;

use pgo_model_tests::explore::{Size, Wrong};

/// Prints how much was looked at, or fails with how it went wrong.
fn holds(what: &str, looked: Result<Size, Wrong>) {
    match looked {
        Ok(size) => println!("{what}: {} states, {} moves", size.states, size.moves),
        Err(wrong) => panic!("{what}: {}:\n  {}", wrong.what, wrong.trace.join("\n  ")),
    }
}
