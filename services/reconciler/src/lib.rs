//! Makes what is there what was asked for.
