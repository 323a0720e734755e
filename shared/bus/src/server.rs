//! nsqd, as every process of PGO speaks with it.

use nsq::{Secret, Server, TlsConfig};

/// The name in nsqd's certificate.
pub const NSQD: &str = "nsqd.pgo";

/// What a process says where nsqd asks for a secret. It is none: nsqd wants some text (`AUTH`) before it asks the event
/// service what the client may do, and that decides by the certificate which nsqd has verified.
pub const SECRET: &str = "certificate";

/// An address or a name that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot speak with nsqd: {0}")]
pub struct ServerUnusable(String);

/// nsqd at `address` (`host:port`), spoken with by TLS and told who we are by our certificate.
///
/// # Errors
/// None that constants can cause.
pub fn server(address: &str, config: TlsConfig) -> Result<Server, ServerUnusable> {
    let name = NSQD
        .try_into()
        .map_err(|error| ServerUnusable(format!("{NSQD}: {error}")))?;
    let secret = Secret::new(SECRET).map_err(|error| ServerUnusable(error.to_string()))?;
    Ok(Server::new(address)
        .with_tls(config, name)
        .with_secret(secret))
}
