//! The layout of the workspace, as rules.

mod dependencies;
mod installer;
mod manifests;
mod sources;
mod workspace;
