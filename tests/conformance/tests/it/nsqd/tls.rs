//! TLS with certificates on both sides, and whom it keeps out.

use std::{fs, sync::Arc, time::Duration};

use nsq::{
    ConnectionError, Consumer, ConsumerConfig, NotSent, Producer, ProducerConfig, PublishError,
    Server,
};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::harness::{Nsqd, channel, next_body, soon, topic};

/// An authority that nsqd and its clients trust, and an nsqd that asks for certificates of it.
pub struct Secured {
    authority: Certificate,
    issuer: Issuer<'static, KeyPair>,
    pub nsqd: Nsqd,
}

impl Secured {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments of nsqd.
    pub fn start_with(further: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);

        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = leaf(&issuer, "nsqd.test");
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("ca.crt", authority.pem());
        write("tls.crt", certificate.pem());
        write("tls.key", key.serialize_pem());
        let own = [
            "--tls-cert=tls.crt",
            "--tls-key=tls.key",
            "--tls-root-ca-file=ca.crt",
            "--tls-client-auth-policy=require-verify",
            // Plain HTTP stays open for the statistics.
            "--tls-required=tcp-https",
            "--tls-min-version=tls1.2",
        ];
        let nsqd = Nsqd::start_in(folder, &[&own, further].concat());
        Self {
            authority,
            issuer,
            nsqd,
        }
    }

    /// A client's configuration, with a certificate or without.
    fn client(&self, with_certificate: bool) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(if with_certificate {
            let (certificate, key) = leaf(&self.issuer, "client.test");
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .unwrap()
        } else {
            builder.with_no_client_auth()
        })
    }

    pub fn server(&self, with_certificate: bool, name: &'static str) -> Server {
        self.nsqd
            .server()
            .with_tls(self.client(with_certificate), name.try_into().unwrap())
    }
}

fn leaf(issuer: &Issuer<'_, KeyPair>, name: &str) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.signed_by(&key, issuer).unwrap(), key)
}

/// Why a producer with these settings cannot publish.
async fn refusal(server: Server) -> Arc<ConnectionError> {
    let config = ProducerConfig {
        send_timeout: Duration::from_millis(500),
        ..ProducerConfig::default()
    };
    let producer = Producer::connect(server, config);
    match soon("the refusal", producer.publish(&topic(), "tea")).await {
        Err(PublishError::NotSent(NotSent::Expired {
            last: Some(reason), ..
        })) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_of_all_sizes_pass_through_tls_with_certificates_on_both_sides() {
    let secured = Secured::start();
    let server = secured.server(true, "nsqd.test");
    let producer = Producer::connect(server.clone(), ProducerConfig::default());
    let mut consumer = Consumer::subscribe(server, topic(), channel(), ConsumerConfig::default());
    for size in [1, 1000, 1 << 14, 1 << 20] {
        let body = "x".repeat(size);
        soon(
            "the acknowledgement",
            producer.publish(&topic(), body.clone()),
        )
        .await
        .unwrap();
        assert!(next_body(&mut consumer).await == body, "{size} bytes");
    }
    let stats = secured.nsqd.channel_stats(&topic(), &channel());
    assert_eq!(stats["clients"][0]["tls"], true);
    assert_eq!(soon("closing", consumer.close()).await, 0);
    soon("closing", producer.close()).await;
}

#[tokio::test]
async fn tls_is_restored_after_a_restart() {
    let mut secured = Secured::start();
    let server = secured.server(true, "nsqd.test");
    let producer = Producer::connect(server, ProducerConfig::default());
    soon("before", producer.publish(&topic(), "before"))
        .await
        .unwrap();
    secured.nsqd.kill();
    secured.nsqd.restart();
    // The first may meet the old connection and be unknown.
    let _ = soon("in between", producer.publish(&topic(), "between")).await;
    soon("after", producer.publish(&topic(), "after"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let secured = Secured::start();
    let reason = refusal(secured.server(false, "nsqd.test")).await;
    assert!(
        matches!(
            *reason,
            ConnectionError::Tls { .. } | ConnectionError::Closed { .. }
        ),
        "{reason:?}"
    );
}

#[tokio::test]
async fn an_nsqd_with_another_name_is_refused() {
    let secured = Secured::start();
    let reason = refusal(secured.server(true, "other.test")).await;
    assert!(matches!(*reason, ConnectionError::Tls { .. }), "{reason:?}");
    assert!(reason.to_string().contains("other.test"), "{reason}");
}

#[tokio::test]
async fn an_nsqd_without_tls_is_refused_by_a_client_that_wants_it() {
    let secured = Secured::start();
    let plain = Nsqd::start(&[]);
    let server = plain
        .server()
        .with_tls(secured.client(true), "nsqd.test".try_into().unwrap());
    let reason = refusal(server).await;
    assert!(
        matches!(*reason, ConnectionError::TlsNotOffered { .. }),
        "{reason:?}"
    );
}

#[tokio::test]
async fn a_plain_client_is_refused_by_an_nsqd_that_wants_tls() {
    let secured = Secured::start();
    let producer = secured.nsqd.producer();
    let result = soon("the refusal", producer.publish(&topic(), "tea")).await;
    assert!(
        matches!(&result, Err(PublishError::Rejected(error)) if error.text.contains("TLS")),
        "{result:?}"
    );
}
