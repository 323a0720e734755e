//! Connections between processes, over real sockets: who gets through, and who is told why not.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::serve::Listener as _;
use bytes::Bytes;
use futures::{StreamExt as _, future, stream};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use pgo_tls::{
    Authority, Connection, KeyAndCertificate, LeafSpec, Peer, TlsFiles, TlsListener, grpc, rest,
};
use rustls::{
    ClientConfig, SignatureScheme, client::ResolvesClientCert,
    crypto::ring::sign::any_supported_type, sign::CertifiedKey,
};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

const DEADLINE: Duration = Duration::from_secs(10);
const LIFE: SignedDuration = SignedDuration::from_hours(24);

fn authority() -> Authority {
    Authority::generate("test authority", Timestamp::now(), LIFE * 10).expect("an authority")
}

fn leaf(authority: &Authority, identity: &str) -> KeyAndCertificate {
    authority
        .issue(&LeafSpec::of_identity(identity, LIFE), Timestamp::now())
        .expect("a certificate")
}

/// Writes the files of a process as kubelet does: complete, then renamed.
fn write(folder: &Path, authority: &Authority, own: &KeyAndCertificate) {
    let files = [
        ("tls.crt", own.certificate_pem.as_str()),
        ("tls.key", own.key_pem.as_str()),
        ("ca.crt", authority.certificate_pem()),
    ];
    for (name, text) in files {
        let new = folder.join(format!("{name}.new"));
        fs::write(&new, text).expect("written");
        fs::rename(&new, folder.join(name)).expect("renamed");
    }
}

/// The folder of the process `identity`.
fn folder(authority: &Authority, identity: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), authority, &leaf(authority, identity));
    folder
}

fn files(folder: &TempDir) -> Arc<TlsFiles> {
    Arc::new(TlsFiles::open(folder.path()).expect("certificates"))
}

/// A gRPC server that answers any request with the identity of its caller.
async fn serve(files: Arc<TlsFiles>) -> SocketAddr {
    let listener = grpc::listen((Ipv4Addr::LOCALHOST, 0).into(), files)
        .await
        .expect("a free port");
    let addr = listener.addr();
    let service = tower::service_fn(|request: http::Request<Body>| async move {
        let identity = request.extensions().get::<Peer>().and_then(Peer::identity);
        let name = identity.unwrap_or_default();
        let answer = http::Response::builder().header("caller", name);
        Ok::<_, Infallible>(answer.body(Body::empty()).expect("a response"))
    });
    tokio::spawn(async move {
        grpc::server()
            .serve_with_incoming(service, listener)
            .await
            .expect("serving");
    });
    addr
}

/// Who the server at `addr`, expected to be `identity`, says that we are.
async fn call(addr: SocketAddr, identity: &str, files: Arc<TlsFiles>) -> Result<String, String> {
    let mut channel = grpc::channel(&addr.to_string(), identity, files).expect("a channel");
    let request = http::Request::post("http://any/x")
        .body(Body::empty())
        .expect("a request");
    let exchange = async { channel.ready().await?.call(request).await };
    let answer = tokio::time::timeout(DEADLINE, exchange)
        .await
        .expect("an answer in time")
        .map_err(|error| format!("{error:?}"))?;
    let caller = answer.headers()["caller"].to_str().expect("a name");
    Ok(caller.to_owned())
}

#[tokio::test]
async fn a_server_learns_the_identity_of_its_caller() {
    let authority = authority();
    let addr = serve(files(&folder(&authority, "event.pgo"))).await;
    let reconciler = files(&folder(&authority, "reconciler.pgo"));
    assert_eq!(
        call(addr, "event.pgo", reconciler).await.as_deref(),
        Ok("reconciler.pgo")
    );
}

#[tokio::test]
async fn a_server_with_another_identity_is_not_talked_to() {
    let authority = authority();
    let addr = serve(files(&folder(&authority, "scheduler.pgo"))).await;
    let reconciler = files(&folder(&authority, "reconciler.pgo"));
    let error = call(addr, "event.pgo", reconciler)
        .await
        .expect_err("it is the scheduler");
    assert!(error.contains("NotValidForName"), "{error}");
}

#[tokio::test]
async fn a_process_of_another_installation_gets_nowhere() {
    let ours = authority();
    let addr = serve(files(&folder(&ours, "event.pgo"))).await;
    // It trusts our authority, but its own certificate is another's.
    let stranger = folder(&authority(), "reconciler.pgo");
    fs::write(stranger.path().join("ca.crt"), ours.certificate_pem()).expect("written");
    assert!(call(addr, "event.pgo", files(&stranger)).await.is_err());
}

#[tokio::test]
async fn new_certificates_are_used_for_the_next_connection() {
    let first = authority();
    let event = folder(&first, "event.pgo");
    let served = files(&event);
    let addr = serve(served.clone()).await;
    let caller = folder(&first, "apiserver.pgo");
    assert!(call(addr, "event.pgo", files(&caller)).await.is_ok());

    // Everything is replaced, the authority included.
    let second = authority();
    write(event.path(), &second, &leaf(&second, "event.pgo"));
    assert!(call(addr, "event.pgo", files(&caller)).await.is_err());
    let caller = folder(&second, "apiserver.pgo");
    assert!(call(addr, "event.pgo", files(&caller)).await.is_ok());

    // What cannot be used leaves the former in use.
    fs::write(event.path().join("tls.crt"), "damaged").expect("written");
    assert!(call(addr, "event.pgo", files(&caller)).await.is_ok());
    assert_eq!(served.details().identity(), Some("event.pgo"));
}

#[tokio::test]
async fn a_client_that_says_nothing_delays_no_other() {
    let authority = authority();
    let addr = serve(files(&folder(&authority, "event.pgo"))).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(addr).await.expect("a connection"));
    }
    let caller = files(&folder(&authority, "apiserver.pgo"));
    assert!(call(addr, "event.pgo", caller).await.is_ok());
}

/// A gRPC server whose answers never end.
async fn serve_streams(files: Arc<TlsFiles>) -> SocketAddr {
    let listener = grpc::listen((Ipv4Addr::LOCALHOST, 0).into(), files)
        .await
        .expect("a free port");
    let addr = listener.addr();
    let service = tower::service_fn(|_: http::Request<Body>| async {
        let frames = stream::repeat_with(|| {
            let data = Bytes::from_static(&[0; 16 * 1024]);
            Ok::<_, Infallible>(hyper::body::Frame::data(data))
        });
        let body = Body::new(http_body_util::StreamBody::new(frames));
        Ok::<_, Infallible>(http::Response::new(body))
    });
    tokio::spawn(grpc::server().serve_with_incoming(service, listener));
    addr
}

#[tokio::test]
async fn streams_that_are_not_read_slow_no_other_of_the_same_channel() {
    let authority = authority();
    let addr = serve_streams(files(&folder(&authority, "event.pgo"))).await;
    let caller = files(&folder(&authority, "apiserver.pgo"));
    let mut channel = grpc::channel(&addr.to_string(), "event.pgo", caller).expect("a channel");
    let mut open = async || {
        let request = http::Request::post("http://any/x").body(Body::empty());
        let ready = channel.ready().await.expect("a connection");
        let answer = ready.call(request.expect("a request")).await;
        answer.expect("an answer").into_body()
    };
    let mut unread = Vec::new();
    for _ in 0..8 {
        unread.push(open().await);
    }
    // What the others may leave unread has arrived long before this one has read so much, more than all windows together
    // that HTTP/2 libraries have by themselves.
    let mut read_on = open().await;
    let mut read = 0;
    while read < 64 * 1024 * 1024 {
        let frame = tokio::time::timeout(DEADLINE, read_on.frame()).await;
        let frame = frame.unwrap_or_else(|_| panic!("nothing comes any more after {read} bytes"));
        let data = frame.expect("it never ends").expect("a frame").into_data();
        read += data.expect("data").len();
    }
    drop(unread);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_let_go() {
    let (mut client, connection) = tokio::io::duplex(64 * 1024);
    let incoming = stream::once(future::ready(Ok::<_, Infallible>(connection)));
    let service = tower::service_fn(|_: http::Request<Body>| async {
        Ok::<_, Infallible>(http::Response::new(Body::empty()))
    });
    let serving = grpc::server().serve_with_incoming(service, incoming.chain(stream::pending()));
    tokio::spawn(serving);
    // RFC 9113, section 3.4: the preface and an empty SETTINGS frame; nothing is said after them.
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .expect("written");
    let mut heard = Vec::new();
    tokio::time::timeout(DEADLINE * 3, client.read_to_end(&mut heard))
        .await
        .expect("the server ends the connection")
        .expect("read");
}

#[test]
fn a_missing_file_and_a_foreign_key_are_named() {
    let authority = authority();
    let folder = folder(&authority, "event.pgo");
    fs::write(
        folder.path().join("tls.key"),
        leaf(&authority, "x.pgo").key_pem.as_str(),
    )
    .expect("written");
    let error = TlsFiles::open(folder.path()).expect_err("the key is another's");
    assert!(error.to_string().contains("cannot be used"), "{error}");

    fs::remove_file(folder.path().join("ca.crt")).expect("removed");
    let error = TlsFiles::open(folder.path()).expect_err("a file is missing");
    assert!(error.to_string().contains("ca.crt"), "{error}");
}

/// A REST server that tells whether its client showed a certificate.
async fn serve_rest(own: &KeyAndCertificate) -> SocketAddr {
    let config = rest::server_config(own).expect("a configuration");
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let mut listener = TlsListener::bind(addr, Arc::new(move || config.clone()))
        .await
        .expect("a free port");
    let addr = listener.addr();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await;
            // Who breaks off is told by what he sees.
            tokio::spawn(async move { tell(connection).await.ok() });
        }
    });
    addr
}

/// Reads a request and answers it.
async fn tell(mut connection: Connection) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(connection.read_u8().await?);
    }
    let told = format!("certificate: {}", connection.peer().has_certificate());
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{told}");
    connection.write_all(answer.as_bytes()).await?;
    connection.shutdown().await
}

async fn get_root(addr: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<String> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn the_one_certificate_of_the_rest_interface_works_on_both_sides() {
    let own = rest::generate(&["localhost".to_owned()], Timestamp::now()).expect("a certificate");
    let addr = serve_rest(&own).await;
    let config = rest::client_config(&own.certificate_pem, Some(&own)).expect("a configuration");
    let answer = get_root(addr, config).await.expect("an answer");
    assert!(answer.ends_with("certificate: true"), "{answer}");
}

#[tokio::test]
async fn who_shows_no_certificate_is_known_and_who_shows_a_wrong_one_is_refused() {
    let own = rest::generate(&[], Timestamp::now()).expect("a certificate");
    let addr = serve_rest(&own).await;
    let without = rest::client_config(&own.certificate_pem, None).expect("a configuration");
    let answer = get_root(addr, without).await.expect("an answer");
    assert!(answer.ends_with("certificate: false"), "{answer}");

    let other = rest::generate(&[], Timestamp::now()).expect("a certificate");
    let wrong = rest::client_config(&own.certificate_pem, Some(&other)).expect("a configuration");
    assert!(get_root(addr, wrong).await.is_err());
}

#[tokio::test]
async fn a_rest_client_refuses_a_server_that_it_does_not_trust() {
    let own = rest::generate(&["localhost".to_owned()], Timestamp::now()).expect("a certificate");
    let addr = serve_rest(&own).await;
    let other = rest::generate(&["localhost".to_owned()], Timestamp::now()).expect("a certificate");
    let config = rest::client_config(&other.certificate_pem, None).expect("a configuration");
    assert!(get_root(addr, config).await.is_err());
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_of_no_use() {
    let own = rest::generate(&[], Timestamp::now()).expect("a certificate");
    let addr = serve_rest(&own).await;
    let thief = KeyAndCertificate {
        certificate_pem: own.certificate_pem.clone(),
        key_pem: rest::generate(&[], Timestamp::now())
            .expect("a certificate")
            .key_pem,
    };
    // rustls refuses the pair itself; a client that does not is refused by the check of its signature.
    assert!(rest::client_config(&own.certificate_pem, Some(&thief)).is_err());
    assert!(get_root(addr, client_showing(&own, &own)).await.is_ok());
    assert!(get_root(addr, client_showing(&own, &thief)).await.is_err());
}

/// A client that shows the certificate of `shown` and signs with the key of `signing`.
fn client_showing(shown: &KeyAndCertificate, signing: &KeyAndCertificate) -> Arc<ClientConfig> {
    #[derive(Debug)]
    struct Fixed(Arc<CertifiedKey>);
    impl ResolvesClientCert for Fixed {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let chain =
        pgo_tls::pem::certificates(shown.certificate_pem.as_bytes(), "test").expect("a chain");
    let key = signing.key().expect("a key");
    let signer = any_supported_type(&key).expect("a signer");
    let trusting = rest::client_config(&shown.certificate_pem, None).expect("a configuration");
    let mut config = ClientConfig::clone(&trusting);
    config.client_auth_cert_resolver = Arc::new(Fixed(Arc::new(CertifiedKey::new(chain, signer))));
    Arc::new(config)
}
