//! Which TLS configuration a connection begins with.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use nsq::{Producer, ProducerConfig, TlsConfig};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::io::AsyncReadExt as _;

use crate::{server::FakeServer, soon::soon};

/// A configuration that shows in the first bytes of a handshake, by the protocol it offers.
fn offering(protocol: &str) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn each_connection_begins_with_the_configuration_that_is_current_by_then() {
    let fake = FakeServer::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = asked.clone();
    let config = TlsConfig::source(move || {
        let before = counting.fetch_add(1, Ordering::SeqCst);
        offering(&format!("renewal-{before}"))
    });
    let server = fake
        .server()
        .with_tls(config, "nsqd.test".try_into().unwrap());
    let _producer = Producer::connect(server, ProducerConfig::default());
    for connection in 0..3 {
        let mut peer = fake.accept_raw().await;
        peer.identify("{\"tls_v1\":true}").await;
        let mut hello = vec![0; 4096];
        let read = soon("a handshake", peer.stream.read(&mut hello)).await;
        let hello = String::from_utf8_lossy(&hello[..read.unwrap()]).into_owned();
        let expected = format!("renewal-{connection}");
        assert!(hello.contains(&expected), "no {expected} in {hello:?}");
    }
}
