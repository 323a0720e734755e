//! TLS, and the certificate of 4.1's convention.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use jiff::Timestamp;
use pgo_tls::{Authority, rest};

use crate::harness::{
    Client, authority, eventually, installation, secret, start, start_plain, try_start,
};

#[tokio::test]
async fn the_certificate_is_made_stored_and_needed_by_clients() {
    let kubernetes = installation();
    let apiserver = start(&kubernetes).await;
    let stored = kubernetes.get("secrets", "pgo", "pgo.tls").unwrap();
    assert_eq!(stored["type"], "kubernetes.io/tls");
    assert_eq!(stored["metadata"]["labels"]["vendor"], "crunchydata");
    apiserver.tls().get("/version").await.done();

    let own = apiserver.certificate();
    let without = rest::client_config(&own.certificate_pem, None).unwrap();
    let nobody = Client::new(apiserver.addr, Some(without));
    for target in ["/health", "/version", "/metrics", "/nosuch"] {
        let refused = nobody.get(target).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{target}");
        assert_eq!(refused.text, "Forbidden: Client Certificate Required\n");
    }
    let probed = nobody.get("/healthz").await;
    assert_eq!(
        (probed.status, probed.text.as_str()),
        (StatusCode::OK, "ok")
    );
    let other = rest::generate(&[], Timestamp::now()).unwrap();
    let wrong = rest::client_config(&own.certificate_pem, Some(&other)).unwrap();
    let refused = Client::new(apiserver.addr, Some(wrong))
        .try_send("GET", "/health", "")
        .await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn open_routes_need_no_certificate_and_all_others_do() {
    let kubernetes = installation();
    let arguments = ["--noauth-routes=/health"];
    let apiserver = try_start(&kubernetes, authority(), &arguments)
        .await
        .unwrap();
    let own = apiserver.certificate();
    let without = rest::client_config(&own.certificate_pem, None).unwrap();
    let client = Client::new(apiserver.addr, Some(without));
    client.get("/health").await.done();
    assert_eq!(client.get("/healthz").await.text, "ok");
    for target in ["/version", "/metrics", "/nosuch"] {
        let refused = client.get(target).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{target}");
        assert_eq!(refused.text, "Forbidden: Client Certificate Required\n");
    }
    apiserver.tls().get("/version").await.done();
    let other = rest::generate(&[], Timestamp::now()).unwrap();
    let wrong = rest::client_config(&own.certificate_pem, Some(&other)).unwrap();
    let refused = Client::new(apiserver.addr, Some(wrong))
        .try_send("GET", "/health", "")
        .await;
    assert!(refused.is_err(), "one that is shown must be right");
}

#[tokio::test]
async fn two_processes_that_start_at_once_have_one_certificate() {
    let kubernetes = installation();
    let (one, two) = tokio::join!(start(&kubernetes), start(&kubernetes));
    // Both accept the certificate that is stored, whoever stored it.
    one.tls().get("/version").await.done();
    two.tls().get("/version").await.done();
}

#[tokio::test]
async fn a_certificate_that_is_there_is_used_and_its_successor_without_a_restart() {
    let kubernetes = installation();
    let put = |identity: &pgo_tls::KeyAndCertificate| {
        let data = [
            ("tls.crt", identity.certificate_pem.as_str()),
            ("tls.key", identity.key_pem.as_str()),
        ];
        kubernetes.put("secrets", "pgo", secret("pgo.tls", &data));
    };
    let first = rest::generate(&[], Timestamp::now()).unwrap();
    put(&first);
    let apiserver = start(&kubernetes).await;
    assert_eq!(
        apiserver.certificate().certificate_pem,
        first.certificate_pem
    );
    apiserver.tls().get("/version").await.done();

    let second = rest::generate(&[], Timestamp::now()).unwrap();
    put(&second);
    eventually("the new certificate is served", async || {
        apiserver.tls().try_send("GET", "/version", "").await.ok()
    })
    .await;
    let garbage = [("tls.crt", "garbage"), ("tls.key", "garbage")];
    kubernetes.put("secrets", "pgo", secret("pgo.tls", &garbage));
    let client = rest::client_config(&second.certificate_pem, Some(&second)).unwrap();
    let answer = Client::new(apiserver.addr, Some(client))
        .get("/version")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "the former stays in use");
}

/// An RSA key of 2048 bits as PKCS #8, and the same as PKCS #1, which is what is in it behind 26 bytes (RFC 5208, section 5;
/// RFC 8017, appendix A.1.2).
fn rsa_keys() -> [String; 2] {
    let pkcs8 = include_str!("rsa-key.pem");
    let encoded: String = pkcs8
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(encoded).unwrap();
    let pkcs1 = STANDARD.encode(&der[26..]);
    let pkcs1 =
        format!("-----BEGIN RSA PRIVATE KEY-----\n{pkcs1}\n-----END RSA PRIVATE KEY-----\n");
    [pkcs8.to_owned(), pkcs1]
}

#[tokio::test]
async fn a_certificate_that_4_1_made_is_used() {
    let key = rcgen::KeyPair::from_pem(&rsa_keys()[0]).unwrap();
    let mut params = rcgen::CertificateParams::default();
    // 4.1's has no name that a client could check.
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "*");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![
        rcgen::KeyUsagePurpose::KeyEncipherment,
        rcgen::KeyUsagePurpose::DigitalSignature,
        rcgen::KeyUsagePurpose::KeyCertSign,
    ];
    let certificate = params.self_signed(&key).unwrap().pem();
    // The apiserver of 4.1 wrote PKCS #1, its installer PKCS #8.
    for key in rsa_keys() {
        let kubernetes = installation();
        let data = [("tls.crt", certificate.as_str()), ("tls.key", key.as_str())];
        kubernetes.put("secrets", "pgo", secret("pgo.tls", &data));
        let apiserver = start(&kubernetes).await;
        apiserver.tls().get("/version").await.done();
        assert_eq!(apiserver.certificate().certificate_pem, certificate);
    }
}

#[tokio::test]
async fn without_tls_the_certificate_is_made_all_the_same() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    apiserver.plain().get("/version").await.done();
    assert!(kubernetes.get("secrets", "pgo", "pgo.tls").is_some());
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let kubernetes = installation();
    let why = async |arguments: &[&str]| {
        let authority: Authority = authority();
        let refused = try_start(&kubernetes, authority, arguments).await.err();
        format!("{:#}", refused.expect("it does not start"))
    };
    let route = why(&["--noauth-routes=/health,/version"]).await;
    assert!(
        route.contains("\"/version\"") && route.contains("not supported"),
        "{route}"
    );
    let namespaces = why(&["--namespaces=pgouser1,,x"]).await;
    assert!(namespaces.contains("empty string"), "{namespaces}");
    let events = why(&["--event-service=nowhere"]).await;
    assert!(
        events.contains("EVENT_SERVICE") && events.contains("nowhere"),
        "{events}"
    );
    kubernetes.put(
        "secrets",
        "pgo",
        secret("pgo.tls", &[("tls.crt", "garbage")]),
    );
    let incomplete = why(&[]).await;
    assert!(
        incomplete.contains("Secret pgo.tls has no tls.crt and tls.key"),
        "{incomplete}"
    );
}

#[tokio::test]
async fn the_process_ends_when_it_is_asked_to() {
    let apiserver = start(&installation()).await;
    let client = apiserver.tls();
    client.get("/version").await.done();
    apiserver.stop().await;
    assert!(client.try_send("GET", "/version", "").await.is_err());
}
