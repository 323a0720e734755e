//! PEM texts to keys and certificates.

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::Error;

/// All certificates in `text`, at least one. `origin` is named in errors.
///
/// # Errors
/// There is none, or one is damaged.
pub fn certificates(text: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |reason: String| Error::Pem {
        origin: origin.to_owned(),
        what: "certificate",
        reason,
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if found.is_empty() {
        return Err(failed("there is no BEGIN CERTIFICATE in it".to_owned()));
    }
    Ok(found)
}

/// The first private key in `text`: PKCS #8, PKCS #1 or SEC 1. `origin` is named in errors, the key never.
///
/// # Errors
/// There is none, or it is damaged.
pub fn private_key(text: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| Error::Pem {
        origin: origin.to_owned(),
        what: "private key",
        reason: error.to_string(),
    })
}
