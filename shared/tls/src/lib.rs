//! Certificates, their authority, and TLS configurations.
//!
//! Between PGO's processes both sides of each connection show a certificate of the installation's [`Authority`]. What
//! counts is the identity in it, a DNS name such as `event.pgo`; addresses do not.
//!
//! ```text
//! Authority ─issue─► leaf, key ─► folder of a process (TlsFiles, read anew when its files change)
//!                                   ├─ server_config ─► TlsListener ─► tonic, axum   (handlers get the Peer)
//!                                   └─ client_config ─► grpc::channel(address, identity)
//! ```
//!
//! The REST interface has 4.1's convention instead, one self-signed certificate on both sides: [`rest`].

pub mod authority;
pub mod certificate;
pub mod error;
pub mod files;
pub mod grpc;
pub mod listener;
pub mod pem;
pub mod rest;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub use authority::{Authority, KeyAndCertificate, LeafSpec, common_name};
pub use certificate::{Details, Validity, peer_identities};
pub use error::Error;
pub use files::TlsFiles;
pub use listener::{Connection, Peer, TlsListener};

/// The one provider of cryptography, also for libraries that look for a default of the process.
pub fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have been faster; then the default is there all the same.
        let _ = ring::default_provider().install_default();
    }
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(ring::default_provider()))
}
