//! Whom the client trusts and as whom it shows itself.
//!
//! 4.1's server certificate is self-signed and marked as an authority. webpki refuses such a certificate as a
//! server's own, so it is pinned: a server that shows exactly a certificate of the CA file is the right one, by whatever
//! name it was reached. Any other must be issued by one in the file for the name in the URL.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};

use super::{ClientError, settings::TlsFiles};

/// Configuration of TLS from the three files.
pub fn config(files: &TlsFiles) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(ring::default_provider());
    let trusted = certificates(&files.ca, CA)?;
    let verifier = Pinned::new(trusted, &provider).map_err(|why| refuse(&files.ca, CA, why))?;
    let chain = certificates(&files.certificate, CERTIFICATE)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, KEY, error))?;
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(&files.ca, CA, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .map_err(|error| {
            refuse(
                &files.key,
                KEY,
                format!("{error} (certificate {})", files.certificate.display()),
            )
        })
}

/// What a file is, and what names it.
type Kind = (&'static str, &'static str);
const CA: Kind = ("the CA certificate", "PGO_CA_CERT or --pgo-ca-cert");
const CERTIFICATE: Kind = (
    "the client certificate",
    "PGO_CLIENT_CERT or --pgo-client-cert",
);
const KEY: Kind = ("the client key", "PGO_CLIENT_KEY or --pgo-client-key");

fn refuse(path: &Path, (what, named_by): Kind, why: String) -> ClientError {
    ClientError::TlsFile {
        what,
        path: path.to_owned(),
        named_by,
        why,
    }
}

fn unusable(path: &Path, kind: Kind, error: pem::Error) -> ClientError {
    match error {
        pem::Error::Io(cause) => ClientError::Unreadable {
            what: kind.0,
            path: path.to_owned(),
            named_by: kind.1,
            cause,
        },
        pem::Error::NoItemsFound => refuse(path, kind, "it holds none in PEM form".to_owned()),
        other => refuse(path, kind, format!("it is not PEM: {other}")),
    }
}

fn certificates(path: &Path, kind: Kind) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, kind, error))?;
    match read.is_empty() {
        true => Err(unusable(path, kind, pem::Error::NoItemsFound)),
        false => Ok(read),
    }
}

/// Accepts the certificates themselves, and what they issued.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    issued: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("it is not a certificate: {error}"))?;
        }
        let issued = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            certificates,
            issued,
            provider: provider.clone(),
        })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.issued
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| match error {
                // webpki's word for "self-signed and not the one pinned" would send the reader the wrong way.
                rustls::Error::InvalidCertificate(CertificateError::Other(_)) => {
                    rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)
                }
                other => other,
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
