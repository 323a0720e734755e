//! Apply, compare-and-swap, leases and watches; and what a process may do of all that.

pub mod ahead;
pub mod lease;
pub mod rights;
