//! The crate `nsq` against a real nsqd, one of its own for each test.

mod consuming;
mod faults;
mod harness;
mod process;
mod publishing;
mod tls;
