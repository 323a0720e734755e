//! Apply, compare-and-swap, leases and watches.

pub mod lease;
