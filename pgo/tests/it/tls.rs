//! Whom the client trusts, over real TLS.

use std::{fs, path::Path, process::Command, sync::Arc};

use crate::fake::{Fake, Reply, pgo, run};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
    client::danger::HandshakeSignatureValid,
    crypto::{ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use serde_json::json;

/// A certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// As 4.1 makes it: its own authority, for a name that is not the host's.
fn self_signed() -> Identity {
    let mut parameters = CertificateParams::new(vec!["pgo-apiserver".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Identity { certificate, key }
}

/// A leaf for a name, issued by an authority.
fn issued(authority: &Identity, name: &str) -> Identity {
    let mut parameters = CertificateParams::new(vec!["pgo-apiserver".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::from_params(&parameters, &authority.key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    Identity { certificate, key }
}

/// Wants one certificate of the client, exactly: 4.1's is an authority, which webpki refuses.
#[derive(Debug)]
struct Exactly(CertificateDer<'static>);

impl ClientCertVerifier for Exactly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.0 == *end_entity {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// An apiserver that shows one certificate and wants one issued by another, as 4.1's does.
fn serve(shown: &Identity, clients: &Identity) -> Fake {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Exactly(clients.certificate.der().clone()));
    let chain: Vec<CertificateDer<'static>> = vec![shown.certificate.der().clone()];
    let key = PrivateKeyDer::try_from(shown.key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    Fake::with(
        |_| Reply::Json(json!({ "Version": "4.1.0", "Code": "ok", "Msg": "apiserver version" })),
        move |tcp| {
            let connection = ServerConnection::new(config.clone()).ok()?;
            Some(Box::new(StreamOwned::new(connection, tcp)))
        },
    )
}

/// The client that trusts one certificate and shows another.
fn client(folder: &Path, host: &str, port: u16, trusts: &Identity, shows: &Identity) -> Command {
    let files = [
        ("ca.crt", trusts.certificate.pem()),
        ("client.crt", shows.certificate.pem()),
        ("client.key", shows.key.serialize_pem()),
    ];
    let mut command = pgo(&["version"]);
    for ((name, pem), variable) in
        files
            .iter()
            .zip(["PGO_CA_CERT", "PGO_CLIENT_CERT", "PGO_CLIENT_KEY"])
    {
        fs::write(folder.join(name), pem).unwrap();
        command.env(variable, folder.join(name));
    }
    command
        .env("PGO_APISERVER_URL", format!("https://{host}:{port}"))
        .env("PGOUSERNAME", "pgoadmin")
        .env("PGOUSERPASS", "examplepassword");
    command
}

#[test]
fn the_server_s_own_certificate_is_pinned_by_whatever_name_it_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let server = self_signed();
    let fake = serve(&server, &server);
    for host in ["127.0.0.1", "localhost"] {
        let ran = run(&mut client(
            folder.path(),
            host,
            fake.port,
            &server,
            &server,
        ));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.ends_with("pgo-apiserver version 4.1.0\n"));
    }
}

#[test]
fn another_self_signed_certificate_of_the_same_name_is_refused_before_the_password_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (server, other) = (self_signed(), self_signed());
    let fake = serve(&other, &server);
    let ran = run(&mut client(
        folder.path(),
        "127.0.0.1",
        fake.port,
        &server,
        &server,
    ));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for word in [
        "the certificate of https://127.0.0.1",
        "ca.crt",
        "PGO_CA_CERT",
    ] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_certificate_issued_by_the_one_trusted_must_be_for_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let authority = self_signed();
    let server = issued(&authority, "localhost");
    let fake = serve(&server, &authority);
    let ran = run(&mut client(
        folder.path(),
        "localhost",
        fake.port,
        &authority,
        &authority,
    ));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = run(&mut client(
        folder.path(),
        "127.0.0.1",
        fake.port,
        &authority,
        &authority,
    ));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("not valid for name"), "{}", ran.stderr);
}

#[test]
fn a_key_of_another_certificate_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = self_signed();
    let mut command = client(folder.path(), "127.0.0.1", 1, &server, &server);
    fs::write(
        folder.path().join("client.key"),
        self_signed().key.serialize_pem(),
    )
    .unwrap();
    let ran = run(&mut command);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for word in ["client.key", "client.crt", "PGO_CLIENT_KEY"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

#[test]
fn a_client_certificate_the_server_does_not_trust_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (server, other) = (self_signed(), self_signed());
    let fake = serve(&server, &server);
    let ran = run(&mut client(
        folder.path(),
        "127.0.0.1",
        fake.port,
        &server,
        &other,
    ));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("PGO_CLIENT_CERT"), "{}", ran.stderr);
}

#[test]
fn a_server_without_tls_is_told_from_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = self_signed();
    let plain = Fake::start(|_| Reply::Text(400, "no"));
    let ran = run(&mut client(
        folder.path(),
        "127.0.0.1",
        plain.port,
        &server,
        &server,
    ));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("DISABLE_TLS"), "{}", ran.stderr);
}
