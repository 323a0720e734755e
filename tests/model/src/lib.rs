//! The decisions of `pgo-ha` explored exhaustively within bounds, and with each sentence of the protocol left out.
//!
//! Two models, so that neither multiplies the other's states: [`clock`] has time, messages and the Lease, and no data;
//! [`data`] has WAL, standbys and commits, and time only as far as every wait may be over at any moment.
//! [`alike`] says which states need to be looked at only once. [`explore`] goes through all states of either and says what went wrong, or from where nothing goes on.

pub mod alike;
pub mod clock;
pub mod data;
pub mod explore;
