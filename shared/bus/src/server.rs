//! The installation's nsqd.

use nsq::{Server, TlsConfig};
use rustls_pki_types::InvalidDnsNameError;

/// The name in nsqd's certificate.
const IDENTITY: &str = "nsqd.pgo";

/// nsqd at `address` (`host:port`), which must show a certificate of its identity.
///
/// # Errors
/// None that a constant can cause.
pub fn nsqd(address: &str, tls: TlsConfig) -> Result<Server, InvalidDnsNameError> {
    Ok(Server::new(address).with_tls(tls, IDENTITY.try_into()?))
}
