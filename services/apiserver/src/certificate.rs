//! The certificate of the REST interface: Secret `pgo.tls`, made where it is missing, followed when it changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use pgo_crd::label;
use pgo_tls::{Details, KeyAndCertificate, pem, rest};
use rustls::ServerConfig;

use crate::{
    accounts::{Account, REST_SECRET, rest_certificate},
    mirror::Mirror,
};

/// Name of the Service of the REST interface, as in 4.1.
const SERVICE: &str = "postgres-operator";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCertificate {
    #[error("Secret {REST_SECRET} cannot be read or made: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error(
        "Secret {REST_SECRET} has no tls.crt and tls.key with text in them; delete it, and a new one is made"
    )]
    Incomplete,
    #[error("Secret {REST_SECRET}: {0}")]
    Unusable(#[from] pgo_tls::Error),
}

/// The certificate in Secret `pgo.tls`; made and stored where there is none. Of several processes that do so at once, one
/// succeeds, and all use what it stored.
///
/// # Errors
/// Kubernetes refuses, or what is in the Secret is of no use.
pub(crate) async fn get_or_make(
    secrets: &Api<Secret>,
    namespace: &str,
    now: Timestamp,
) -> Result<KeyAndCertificate, NoCertificate> {
    let mut stored = secrets.get_opt(REST_SECRET).await?;
    if stored.is_none() {
        let made = secret(&rest::generate(&names(namespace), now)?);
        stored = match secrets.create(&PostParams::default(), &made).await {
            Ok(created) => {
                tracing::info!(
                    secret = REST_SECRET,
                    "made the certificate of the REST interface"
                );
                Some(created)
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                secrets.get_opt(REST_SECRET).await?
            }
            Err(error) => return Err(error.into()),
        };
    }
    let identity = stored
        .as_ref()
        .and_then(rest_certificate)
        .ok_or(NoCertificate::Incomplete)?;
    warn_of_expiry(&identity, now);
    Ok(identity)
}

/// Names by which clients inside Kubernetes and beside it reach the interface.
fn names(namespace: &str) -> Vec<String> {
    vec![
        SERVICE.to_owned(),
        format!("{SERVICE}.{namespace}"),
        format!("{SERVICE}.{namespace}.svc"),
        format!("{SERVICE}.{namespace}.svc.cluster.local"),
        "localhost".to_owned(),
    ]
}

fn secret(identity: &KeyAndCertificate) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta {
            name: Some(REST_SECRET.to_owned()),
            labels: Some(BTreeMap::from([(
                label::VENDOR.to_owned(),
                "crunchydata".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([
            ("tls.crt".to_owned(), bytes(&identity.certificate_pem)),
            ("tls.key".to_owned(), bytes(&identity.key_pem)),
        ])),
        ..Secret::default()
    }
}

/// It is pinned by clients, so it is not renewed behind their backs; somebody has to know.
fn warn_of_expiry(identity: &KeyAndCertificate, now: Timestamp) {
    let first = pem::certificates(identity.certificate_pem.as_bytes(), REST_SECRET);
    let details = first.and_then(|chain| Details::of(&chain[0]));
    if let Ok(details) = details
        && details.validity.needs_renewal(now)
    {
        tracing::warn!(
            secret = REST_SECRET,
            until = %details.validity.not_after,
            "the certificate of the REST interface runs out; delete the Secret, restart, and hand out the new one"
        );
    }
}

/// The TLS configuration for new connections. It follows the Secret.
#[derive(Clone)]
pub(crate) struct RestTls(Arc<RwLock<Arc<ServerConfig>>>);

impl RestTls {
    /// Begins with `identity`.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) fn start(
        identity: &KeyAndCertificate,
        mut accounts: Mirror<Account>,
    ) -> Result<Self, NoCertificate> {
        let tls = Self(Arc::new(RwLock::new(rest::server_config(identity)?)));
        let (following, mut shown) = (tls.clone(), identity.certificate_pem.clone());
        tokio::spawn(async move {
            while accounts.changed().await {
                let account = accounts.get(REST_SECRET);
                let Some(Account::RestCertificate(identity)) = account.as_deref() else {
                    continue;
                };
                if identity.certificate_pem == shown {
                    continue;
                }
                shown.clone_from(&identity.certificate_pem);
                match rest::server_config(identity) {
                    Ok(config) => {
                        tracing::info!(
                            secret = REST_SECRET,
                            "the certificate has changed and is in use"
                        );
                        *following.0.write().unwrap_or_else(PoisonError::into_inner) = config;
                    }
                    Err(error) => {
                        tracing::error!(%error, secret = REST_SECRET, "the changed certificate cannot be used; the former stays");
                    }
                }
            }
        });
        Ok(tls)
    }

    /// The configuration for the next connection.
    pub(crate) fn now(&self) -> Arc<ServerConfig> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_can_be_used() {
        let made = rest::generate(&names("pgo"), Timestamp::now()).expect("a certificate");
        let read = rest_certificate(&secret(&made)).expect("stored");
        assert_eq!(read.certificate_pem, made.certificate_pem);
        assert!(rest::server_config(&read).is_ok());
    }
}
