//! Publishes one message through TLS, with a secret and compression.
//!
//! `cargo run --example secure -- ADDRESS NAME CA_FILE [SECRET]`: NAME is what nsqd's certificate carries, CA_FILE has the
//! certificate (PEM) of who signed it.

use std::{env, sync::Arc};

use nsq::{Compression, Producer, ProducerConfig, Secret, Server};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let usage = "give ADDRESS, NAME, CA_FILE and perhaps SECRET";
    let (address, name, ca) = (
        arguments.next().ok_or(usage)?,
        arguments.next().ok_or(usage)?,
        arguments.next().ok_or(usage)?,
    );

    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();

    let mut server = Server::new(address)
        .with_tls(Arc::new(config), name.try_into()?)
        .with_compression(Compression::Snappy);
    if let Some(secret) = arguments.next() {
        server = server.with_secret(Secret::new(secret)?);
    }
    let producer = Producer::connect(server, ProducerConfig::default());
    producer
        .publish(&"orders".parse()?, "one coffee, in private")
        .await?;
    println!("acknowledged");
    Ok(())
}
