//! Backups by pgBackRest.

pub mod options;
