//! The life of clusters on a real Kubernetes. Every test makes what it needs under a name of its own and removes it;
//! none depends on another. Those that harm PGO itself run alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod agents;
mod backup_faults;
mod backups;
mod base_backups;
mod benchmark;
mod beside;
mod broker;
mod cancel;
mod changes;
mod chaos;
mod create;
mod custom_resources;
mod delete;
mod drills;
mod dumps;
mod event_replicas;
mod eventing;
mod faces;
mod failing_creations;
mod failover;
mod harness;
mod hung_volume;
mod images;
mod installation;
mod kills;
mod load;
mod ownership;
mod policies;
mod preferred;
mod requests;
mod restart;
mod restore_faults;
mod restores;
mod rights;
mod s3;
mod scale;
mod scheduler;
mod secrecy;
mod show;
mod storm;
mod synchronous;
mod task_faults;
mod upgrade;
mod upgrade_all;
mod volumes;
mod without_nsqd;
mod wrong_input;
