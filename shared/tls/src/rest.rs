//! The certificate of the REST interface, by 4.1's convention: one self-signed certificate, which is the server's, the
//! authority that clients trust, and the certificate that clients show.
//!
//! webpki refuses an authority's certificate as that of an end. So both sides compare the whole certificate instead,
//! and leave to rustls to prove that the peer has its key.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use zeroize::Zeroizing;

use crate::{
    Error, KeyAndCertificate,
    authority::{issue_failed, new_key, params},
    pem, provider,
};

/// Name in the certificate, as in 4.1.
pub const SERVER_NAME: &str = "pgo-apiserver";

/// Life of the certificate, as in 4.1.
pub const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Makes the certificate: self-signed, an authority, named [`SERVER_NAME`] and `names`, valid for [`LIFE`].
///
/// # Errors
/// A name is no DNS name, or nothing can be signed.
pub fn generate(names: &[String], now: Timestamp) -> Result<KeyAndCertificate, Error> {
    let failed = issue_failed(SERVER_NAME);
    let key = new_key().map_err(&failed)?;
    let all = std::iter::once(SERVER_NAME.to_owned())
        .chain(names.iter().cloned())
        .collect();
    let mut params = params(SERVER_NAME, all, now, now + LIFE).map_err(&failed)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = params.self_signed(&key).map_err(&failed)?;
    Ok(KeyAndCertificate {
        certificate_pem: certificate.pem(),
        key_pem: Zeroizing::new(key.serialize_pem()),
    })
}

/// The server's configuration; `identity` is the content of Secret `pgo.tls`. A certificate that a client shows must be it; of
/// one that shows none the handlers decide what it may ask, as since 4.1.2.
///
/// # Errors
/// Certificate or key cannot be used.
pub fn server_config(identity: &KeyAndCertificate) -> Result<Arc<ServerConfig>, Error> {
    const ORIGIN: &str = "the REST interface";
    let chain = pem::certificates(identity.certificate_pem.as_bytes(), ORIGIN)?;
    let key = pem::private_key(identity.key_pem.as_bytes(), ORIGIN)?;
    let verifier = Arc::new(Pinned {
        certificates: vec![chain[0].clone()],
        algorithms: provider().signature_verification_algorithms,
        authorities: None,
    });
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(ORIGIN, &error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(ORIGIN, &error))?;
    Ok(Arc::new(config))
}

/// A client's configuration: the server must show one of the certificates in `trusted_pem` itself, or one that chains
/// to them and carries the server's name; `identity` is shown where there is one.
///
/// # Errors
/// A certificate or the key cannot be used.
pub fn client_config(
    trusted_pem: &str,
    identity: Option<&KeyAndCertificate>,
) -> Result<Arc<ClientConfig>, Error> {
    const TRUSTED: &str = "the file of trusted certificates";
    const OWN: &str = "the client certificate";
    let certificates = pem::certificates(trusted_pem.as_bytes(), TRUSTED)?;
    let mut roots = RootCertStore::empty();
    // One that webpki cannot use as an authority may still be the server's own.
    roots.add_parsable_certificates(certificates.iter().cloned());
    let authorities = if roots.is_empty() {
        None
    } else {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| unusable(TRUSTED, &error))?;
        Some(verifier)
    };
    let verifier = Arc::new(Pinned {
        certificates,
        algorithms: provider().signature_verification_algorithms,
        authorities,
    });
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(OWN, &error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some(own) => {
            let chain = pem::certificates(own.certificate_pem.as_bytes(), OWN)?;
            let key = pem::private_key(own.key_pem.as_bytes(), OWN)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(OWN, &error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn unusable(origin: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Unusable {
        origin: origin.to_owned(),
        reason: reason.to_string(),
    }
}

/// Accepts certificates that are, byte for byte, among the given ones.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// For servers only: who may have signed a certificate that is not among the given ones.
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl Pinned {
    fn knows(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|known| known == certificate)
    }
}

impl ClientCertVerifier for Pinned {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hint: a client offers what it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.knows(end_entity) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
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
        match &self.authorities {
            _ if self.knows(end_entity) => Ok(ServerCertVerified::assertion()),
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
