//! nsqd, as every process of PGO speaks with it.

use nsq::{Secret, Server, TlsConfig};

/// The name in nsqd's certificate.
const IDENTITY: &str = "nsqd.pgo";

/// What a process says where nsqd asks for a secret. It is none: nsqd wants some text (`AUTH`) before it asks the event
/// service what the client may do, and that decides by the certificate which nsqd has verified.
const SECRET: &str = "certificate";

/// An address or a name that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot speak with nsqd: {0}")]
pub struct ServerUnusable(String);

/// nsqd at `address` (`host:port`), spoken with by TLS and told who we are by our certificate.
///
/// # Errors
/// None that constants can cause.
pub fn nsqd(address: &str, tls: TlsConfig) -> Result<Server, ServerUnusable> {
    let name = IDENTITY
        .try_into()
        .map_err(|error| ServerUnusable(format!("{IDENTITY}: {error}")))?;
    let secret = Secret::new(SECRET).map_err(|error| ServerUnusable(error.to_string()))?;
    Ok(Server::new(address).with_tls(tls, name).with_secret(secret))
}
