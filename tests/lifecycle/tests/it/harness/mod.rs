//! What every test needs.

pub mod beside;
pub mod chance;
pub mod cluster;
pub mod containers;
pub mod events;
pub mod faults;
pub mod fence;
pub mod forward;
pub mod hanging;
pub mod installer;
pub mod kubernetes;
pub mod measured;
pub mod minors;
pub mod programs;
pub mod proxies;
pub mod shown;
pub mod sql;
pub mod three;
pub mod turns;
pub mod until;
pub mod writer;

pub use cluster::Cluster;
pub use events::Watch;
pub use forward::Forward;
pub use installer::Installer;
pub use programs::{Ran, kubectl, pgo};
pub use until::until;

/// The namespace that the tests make clusters in.
pub fn namespace() -> String {
    programs::setting("PGO_NAMESPACE")
}

/// PGO's own.
pub fn operator() -> String {
    std::env::var("PGO_OPERATOR_NAMESPACE").unwrap_or_else(|_| "pgo".to_owned())
}
