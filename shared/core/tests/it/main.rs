//! The decisions of the core against a small world in which they are carried out, interrupted and disturbed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod asked;
mod backlog;
mod backups;
mod base_backups;
mod certificate;
mod changes;
mod crash;
mod creation;
mod deletion;
mod drills;
mod drills_again;
mod drills_asked;
mod dumps;
mod failover;
mod following;
mod growth;
mod installation;
mod jobs;
mod lease;
mod needed;
mod passwords;
mod places;
mod policies;
mod protection;
mod published;
mod reload;
mod replicas;
mod restart;
mod restores;
mod roles;
mod scheduled;
mod scheduling;
mod services;
mod serving;
mod settings;
mod silence;
mod slots;
mod story;
mod synchronous;
mod takeover;
mod trouble;
mod upgrade;
mod volumes;
mod votes;
mod world;
