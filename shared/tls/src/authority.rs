//! The installation's authority: makes itself, and the certificates of the processes.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{Details, Error, Validity, pem};

/// End of all identities. No other name with this end gets into a certificate: it could pass for another process.
pub const IDENTITY_SUFFIX: &str = ".pgo";

/// How far a certificate reaches into the past, for machines whose clocks are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A private key and its certificate, as PEM. Its debug form does not show the key.
#[derive(Clone)]
pub struct KeyAndCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// The key, PKCS #8.
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for KeyAndCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAndCertificate")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafSpec {
    /// The identity, as in `event.pgo`; the certificate's first DNS name.
    pub identity: String,
    /// Further DNS names, such as those of Services. Names that end in `.pgo` are left out, since they are identities
    /// of others: the Service of a cluster `event` in a namespace `pgo` is called `event.pgo`.
    pub names: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
    /// How long it is valid; not longer than the authority itself.
    pub life: SignedDuration,
}

impl LeafSpec {
    /// A certificate with nothing but an identity.
    pub fn of_identity(identity: impl Into<String>, life: SignedDuration) -> Self {
        Self {
            identity: identity.into(),
            names: Vec::new(),
            addresses: Vec::new(),
            life,
        }
    }

    fn dns_names(&self) -> Vec<String> {
        let mut names = vec![self.identity.clone()];
        for name in &self.names {
            if !name.ends_with(IDENTITY_SUFFIX) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Whether a certificate with these `details` names just what this specification names.
    pub fn is_met_by(&self, details: &Details) -> bool {
        let mut wanted = self.addresses.clone();
        let mut found = details.addresses.clone();
        wanted.sort();
        found.sort();
        details.dns_names == self.dns_names() && wanted == found
    }
}

/// An authority: ECDSA on P-256, and allowed to sign leaves only.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    validity: Validity,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority whose subject is `name`.
    ///
    /// # Errors
    /// No key or certificate can be made.
    pub fn generate(name: &str, now: Timestamp, life: SignedDuration) -> Result<Self, Error> {
        let failed = issue_failed(name);
        let key = new_key().map_err(&failed)?;
        let mut params = params(name, Vec::new(), now, now + life).map_err(&failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(&failed)?;
        Self::assemble(certificate.pem(), certificate.der().clone(), key)
    }

    /// The authority whose certificate and key these are.
    ///
    /// # Errors
    /// They cannot be parsed, do not belong together, or the certificate is not an authority's.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        const ORIGIN: &str = "the authority";
        let unusable = |reason: String| Error::Unusable {
            origin: ORIGIN.to_owned(),
            reason,
        };
        let certificate = pem::certificates(certificate_pem.as_bytes(), ORIGIN)?.remove(0);
        let key = pem::private_key(key_pem.as_bytes(), ORIGIN)?;
        let key = KeyPair::try_from(&key).map_err(|error| unusable(error.to_string()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| Error::Certificate(error.to_string()))?;
        if !parsed.is_ca() {
            return Err(unusable(
                "the certificate is not an authority's; use the one that the installer made"
                    .to_owned(),
            ));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(unusable("the key is of another certificate".to_owned()));
        }
        Self::assemble(certificate_pem.to_owned(), certificate, key)
    }

    fn assemble(
        certificate_pem: String,
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, Error> {
        let validity = Details::of(&certificate)?.validity;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| Error::Certificate(error.to_string()))?;
        Ok(Self {
            issuer,
            certificate,
            certificate_pem,
            validity,
        })
    }

    /// The certificate, PEM: what others trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, PEM.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// When the authority is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Makes a key and the certificate for `spec`, for servers and clients both.
    ///
    /// # Errors
    /// A name in `spec` is no DNS name, or nothing can be signed.
    pub fn issue(&self, spec: &LeafSpec, now: Timestamp) -> Result<KeyAndCertificate, Error> {
        let failed = issue_failed(&spec.identity);
        let end = (now + spec.life).min(self.validity.not_after);
        let mut params = params(&spec.identity, spec.dns_names(), now, end).map_err(&failed)?;
        let addresses = spec.addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = new_key().map_err(&failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&failed)?;
        Ok(KeyAndCertificate {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

pub(crate) fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

pub(crate) fn issue_failed(name: &str) -> impl Fn(rcgen::Error) -> Error {
    move |error| Error::Issue {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}

/// Longest common name (X.520, `ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;

/// Digits of a hash that stands for the end of a longer name: 64 bits.
const HASH_DIGITS: usize = 16;

/// The common name in a certificate of `identity`, which PostgreSQL knows its bearer by; other peers know it by its
/// alternative names, where the identity is whole. The end of one that is too long is replaced by a hash, so that
/// different ones stay different.
pub fn common_name(identity: &str) -> String {
    if identity.len() <= LONGEST_COMMON_NAME {
        return identity.to_owned();
    }
    let hash = Sha256::digest(identity.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let head = &identity[..identity.floor_char_boundary(LONGEST_COMMON_NAME - HASH_DIGITS - 1)];
    format!("{head}~{}", &hash[..HASH_DIGITS])
}

/// What all our certificates have in common.
pub(crate) fn params(
    common_name: &str,
    dns_names: Vec<String>,
    now: Timestamp,
    end: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(dns_names)?;
    params.distinguished_name = DistinguishedName::new();
    let name = self::common_name(common_name);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::from(now) - CLOCK_SKEW).into();
    params.not_after = SystemTime::from(end).into();
    Ok(params)
}

impl KeyAndCertificate {
    /// What the certificate says.
    ///
    /// # Errors
    /// It cannot be parsed.
    pub fn details(&self) -> Result<Details, Error> {
        let certificates = pem::certificates(self.certificate_pem.as_bytes(), "a certificate")?;
        Details::of(&certificates[0])
    }

    /// The key, DER, for configurations that are made in memory.
    ///
    /// # Errors
    /// It cannot be parsed.
    pub fn key(&self) -> Result<rustls_pki_types::PrivateKeyDer<'static>, Error> {
        pem::private_key(self.key_pem.as_bytes(), "a private key")
    }
}
