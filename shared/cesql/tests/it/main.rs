//! CESQL by its specification: tables of cases, one theme per file, and properties.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod arithmetic;
mod casts;
mod comparison;
mod coverage;
mod filters;
mod functions;
mod like;
mod limits;
mod literals;
mod logic;
mod membership;
mod messages;
mod missing_attributes;
mod modes;
mod own_functions;
mod parse_errors;
mod precedence;
mod properties;
mod specification;
mod table;
