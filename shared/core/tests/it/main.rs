//! The decisions of the core against a small world in which they are carried out, interrupted and disturbed.

mod creation;
mod deletion;
mod installation;
mod world;
