//! How the client reaches the apiserver.
//!
//! ```text
//! flags, environment ─► settings ─► tls ─► http ─► one request, one answer
//!        credentials ──┘                   └─► events: a stream that reconnects by itself
//! ```

pub mod clock;
mod credentials;
mod error;
pub mod events;
mod http;
mod limits;
mod settings;
mod tls;

pub use error::ClientError;
pub use http::{Answer, Api};
pub use settings::{GlobalFlags, Settings};
