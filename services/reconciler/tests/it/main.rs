//! What the reconciler and its installation must agree on.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod rights;
