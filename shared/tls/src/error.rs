//! What can go wrong. Each error tells its whole cause itself, so none has a source that would be told twice.

use std::{net::SocketAddr, path::PathBuf};

/// Why a certificate, a key or a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}; is the Secret mounted there?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// A text is not the PEM that it should be.
    #[error("{origin} holds no usable {what}: {reason}")]
    Pem {
        /// Where the text is from: a path, or words.
        origin: String,
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A certificate cannot be understood.
    #[error("a certificate cannot be parsed: {0}")]
    Certificate(String),
    /// Key and certificate do not belong together, or cannot be used for TLS.
    #[error("key and certificate of {origin} cannot be used: {reason}")]
    Unusable {
        /// Where they are from.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate of {name:?}: {reason}")]
    Issue {
        /// For whom.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A text is not an identity.
    #[error("{0:?} is no identity; use a DNS name such as event.pgo")]
    Identity(String),
    /// A text is not an address.
    #[error("{0:?} is no address; use host:port")]
    Address(String),
    /// An address cannot be bound.
    #[error("cannot listen on {addr}: {cause}; is another process using it?")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        cause: std::io::Error,
    },
}
