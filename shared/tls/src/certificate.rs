//! What a certificate says: whom it names, how long it is valid, when to renew it.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::Error;

/// The span in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: Timestamp,
    /// Last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether to renew at `now`: a third of the life, or less, is left.
    ///
    /// A third leaves weeks to whoever has to mend a renewal that fails.
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        self.not_after.duration_since(now) <= life / 3
    }

    /// Whether the certificate is valid at `now`.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The length of the span.
    pub fn life(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }
}

/// What is read from a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The common name: see [`common_name`](crate::common_name).
    pub common_name: String,
    /// The DNS names, in the certificate's order: the first is the identity.
    pub dns_names: Vec<String>,
    /// The IP addresses.
    pub addresses: Vec<IpAddr>,
    /// When it is valid.
    pub validity: Validity,
}

impl Details {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is not X.509, or a time in it is out of all bounds.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let failed = |reason: &dyn std::fmt::Display| Error::Certificate(reason.to_string());
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| failed(&error))?;
        let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| failed(&error));
        let validity = Validity {
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
        };
        let names = parsed
            .subject_alternative_name()
            .map_err(|error| failed(&error))?
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let dns_names = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect();
        let addresses = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::IPAddress(bytes) => address(bytes),
                _ => None,
            })
            .collect();
        let common_name = parsed.subject().iter_common_name().next();
        let common_name = common_name.and_then(|name| name.as_str().ok());
        Ok(Self {
            common_name: common_name.unwrap_or_default().to_owned(),
            dns_names,
            addresses,
            validity,
        })
    }

    /// The identity: the first DNS name.
    pub fn identity(&self) -> Option<&str> {
        self.dns_names.first().map(String::as_str)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The DNS names of a peer's certificate (DER), the identity first.
///
/// # Errors
/// The certificate cannot be parsed.
pub fn peer_identities(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    Details::of(certificate).map(|details| details.dns_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn renewal_begins_when_a_third_of_the_life_is_left() {
        let validity = Validity {
            not_before: at(0),
            not_after: at(90),
        };
        assert!(!validity.needs_renewal(at(0)));
        assert!(!validity.needs_renewal(at(59)));
        assert!(validity.needs_renewal(at(60)));
        assert!(validity.needs_renewal(at(91)));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert!(Details::of(&CertificateDer::from_slice(b"no")).is_err());
    }
}
