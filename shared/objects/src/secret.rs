//! Secrets: users with their passwords, and the agents' certificate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use pgo_core::{Desired, Fixture, UserSecret};
use pgo_crd::label;
use pgo_ids::StreamId;

use crate::identity::{fixture_name, kept, made_for, owned};

/// Annotation with the end of validity of the certificate beside it, so that nobody needs the Secret's content to know.
pub const CERTIFICATE_UNTIL: &str = "pgo.crunchydata.com/certificate-until";

/// A user and the password drawn for it. It stays when the cluster goes without its data.
#[must_use]
pub fn user_secret(desired: &Desired, which: UserSecret, password: &str) -> Secret {
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: kept(desired, desired.secret_name(which)),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([
            ("username".to_owned(), text(desired.role_name(which))),
            ("password".to_owned(), text(password)),
        ])),
        ..Secret::default()
    }
}

/// The password in a user Secret, if there is one: a text that is not empty.
#[must_use]
pub fn password(secret: &Secret) -> Option<String> {
    let bytes = secret.data.as_ref()?.get("password")?;
    let password = String::from_utf8(bytes.0.clone()).ok()?;
    (!password.is_empty()).then_some(password)
}

/// Keys of the Secret by which the repository of a cluster is let into its bucket: the access key, its secret, and the authority of
/// the server's certificate where it is none that everybody trusts (4.1).
pub const BUCKET_KEYS: [&str; 3] = ["aws-s3-key", "aws-s3-key-secret", "aws-s3-ca.crt"];

/// That Secret. It stays when the cluster goes without its backups.
#[must_use]
pub fn bucket_secret(desired: &Desired, [key, secret, authority]: [Option<&[u8]>; 3]) -> Secret {
    let mut metadata = kept(desired, desired.repository_secret_name());
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(label::BACKREST_REPO.to_owned(), "true".to_owned());
    let data = BUCKET_KEYS.into_iter().zip([key, secret, authority]);
    let data =
        data.filter_map(|(name, value)| Some((name.to_owned(), ByteString(value?.to_vec()))));
    Secret {
        metadata,
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

/// The agents' certificate, its key, and the authority they trust.
#[must_use]
pub fn certificate_secret(
    desired: &Desired,
    uid: &StreamId,
    (certificate, key, authority): (&str, &str, &str),
    until: Timestamp,
) -> Secret {
    let name = fixture_name(Fixture::Certificate, &desired.name);
    let mut metadata = owned(desired, uid, name);
    made_for(&mut metadata, &desired.certificate_form());
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(CERTIFICATE_UNTIL.to_owned(), until.to_string());
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata,
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([
            ("tls.crt".to_owned(), text(certificate)),
            ("tls.key".to_owned(), text(key)),
            ("ca.crt".to_owned(), text(authority)),
        ])),
        ..Secret::default()
    }
}
