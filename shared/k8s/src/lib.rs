//! Apply, compare-and-swap, leases and watches.
