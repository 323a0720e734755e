//! Policies: SQL of users that runs as the superuser, all of it or nothing, and what is said of one that fails.
//!
//! The whole text goes to the server as one simple query, so that the statements are one transaction (documentation,
//! "Multiple Statements in a Simple Query"). One statement alone may also be one that no transaction takes. A policy may hold
//! passwords: of an error only what cannot quote it is said.

mod place;
mod run;

pub use place::Place;
pub use run::{Applied, PolicyError, apply};
