//! pgBackRest in a pod: its server, its commands, and what archiving needs of it.

pub mod archiving;
pub mod command;
pub mod lookup;
pub mod server;
pub mod stall;
pub mod storage;
