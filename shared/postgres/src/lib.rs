//! PostgreSQL as a program: find it, initialise, configure, ask.
//!
//! ```text
//! program  ─► initdb ──────► conf, hba, custom ─► (the caller starts `postgres`) ─► session ─► setup
//! which one   or clone, rewind   and standby, synchronous                        SQL       roles, database
//! ```
//!
//! The modules make texts and read answers; what runs a program or opens a socket says so and has a deadline. Nothing
//! here assumes a certain image: any that holds PostgreSQL will do.

pub mod backrest;
pub mod base;
pub mod client;
pub mod clone;
pub mod conf;
pub mod control;
pub mod custom;
pub mod dump;
pub mod files;
pub mod hba;
pub mod identify;
pub mod initdb;
pub mod job;
pub mod passwords;
pub mod policy;
pub mod position;
pub mod program;
pub mod quote;
pub mod reload;
pub mod rewind;
pub mod session;
pub mod setup;
pub mod setup_sql;
pub mod standby;
pub mod synchronous;
pub mod tail;
pub mod timeline;
pub mod upstream;
pub mod version;

pub use program::Installation;
pub use session::{Facts, Follower, Following, Session, Socket};
pub use version::Version;

/// Name of the superuser that each cluster has.
pub const SUPERUSER: &str = "postgres";
