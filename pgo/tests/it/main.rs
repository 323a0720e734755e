//! The client against an apiserver in the same process, as a user runs it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code; helpers are not seen as such"
)]

mod backups;
mod cancels;
mod completion;
mod dead_letters;
mod drills;
mod failures;
mod fake;
mod jobs;
mod man_pages;
mod partial;
mod primary;
mod recorded;
mod restarts;
mod restores;
mod standing;
mod streams;
mod terminal;
mod tls;
mod upgrades;
mod volumes;
mod waiting;
mod watch_ends;
mod watch_until;
