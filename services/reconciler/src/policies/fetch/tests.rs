use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server that gives each of these answers once, in this order; its port.
async fn server(answers: Vec<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    });
    port
}

fn answer(status: &str, header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{header}\r\n{body}"
    )
}

async fn fetched(answers: Vec<String>) -> Result<String, String> {
    let port = server(answers).await;
    let url = format!("http://ann:hunter2@127.0.0.1:{port}/gold.sql?token=hunter2");
    text(&url, RootCertStore::empty()).await
}

#[tokio::test]
async fn the_text_at_an_address_is_fetched_also_by_redirections() {
    let body = "create table t(a text);\n";
    let there = fetched(vec![answer("200 OK", "", body)]).await;
    assert_eq!(there.as_deref(), Ok(body));
    let elsewhere = vec![
        answer("302 Found", "Location: /other.sql\r\n", ""),
        answer("200 OK", "", body),
    ];
    assert_eq!(fetched(elsewhere).await.as_deref(), Ok(body));
}

#[tokio::test]
async fn what_is_no_text_or_too_large_or_not_there_is_told_without_the_address() {
    let circle = answer("302 Found", "Location: /again\r\n", "");
    let large = "x".repeat(LIMIT + 1);
    for (answers, why) in [
        (vec![answer("404 Not Found", "", "")], "it answers 404"),
        (vec![answer("302 Found", "", "")], "without a Location"),
        (
            vec![answer("302 Found", "Location: file:///etc/passwd\r\n", "")],
            "no address that can be asked",
        ),
        (vec![circle; 6], "more than 5 redirections"),
        (vec![answer("200 OK", "", &large)], "524288 bytes at most"),
        (
            vec!["nonsense\r\n\r\n".to_owned()],
            "cannot be fetched from 127.0.0.1",
        ),
    ] {
        let error = fetched(answers).await.expect_err(why);
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for url in ["file:///etc/passwd", "gold.sql", "ftp://host/a", "http://"] {
        let error = text(url, RootCertStore::empty()).await.expect_err(url);
        assert!(error.contains("begins with http://"), "{url}: {error}");
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}/");
    let error = within(Duration::from_secs(1), &url, RootCertStore::empty()).await;
    assert!(error.expect_err("no answer").contains("within 1 s"));
}

#[test]
fn what_was_asked_for_with_tls_is_not_fetched_without() {
    let from: Uri = "https://host:8443/a?b".parse().expect("an address");
    let error = redirected(&from, "http://host/a").expect_err("refused");
    assert_eq!(error, "it leads from https to http");
    let path = redirected(&from, "/c").expect("an address");
    assert_eq!(path.to_string(), "https://host:8443/c");
    assert!(!roots().is_empty());
}

#[tokio::test]
async fn a_server_with_tls_is_believed_by_its_authority_and_by_no_other() {
    let body = "select 1";
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            // Who does not believe it goes.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = answer("200 OK", "", body);
            stream.write_all(answer.as_bytes()).await.expect("written");
            stream.shutdown().await.expect("ended");
        }
    });
    let url = format!("https://127.0.0.1:{port}/gold.sql");
    let mut believed = RootCertStore::empty();
    believed.add(own.cert.der().clone()).expect("a root");
    assert_eq!(text(&url, believed).await.as_deref(), Ok(body));
    let error = text(&url, roots()).await.expect_err("nobody knows it");
    assert!(error.contains("certificate"), "{error}");
}
