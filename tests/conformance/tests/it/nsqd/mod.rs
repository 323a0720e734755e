//! The crate `nsq` against a real nsqd, one of its own for each test.

mod auth;
mod authd;
mod commands;
mod compression;
mod consuming;
mod deferral;
mod discovery;
mod failing;
mod faults;
mod harness;
mod kills;
mod lookupd;
mod publishing;
mod raw;
mod tls;
