//! Nobody waits for ever: neither the server for a client or for Kubernetes, nor a client for the server.

use std::time::Duration;

use http::StatusCode;
use pgo_telemetry::HEAD_DEADLINE;
use pgo_tls::rest;
use rustls_pki_types::ServerName;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    harness::{
        Apiserver, PGO_YAML, authority, configure, create_request, installation, start,
        start_plain, try_start, within,
    },
    kubernetes::{Failure, Kubernetes, place},
};

/// How long Kubernetes may take for a call.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// What is past a deadline that is kept.
const A_LITTLE: Duration = Duration::from_secs(5);

/// The head of a request for a creation, without its end.
const HALF_A_HEAD: &str = "POST /clusters HTTP/1.1\r\nhost: x\r\nauthorization: Basic cGdvYWRtaW46ZXhhbXBsZXBhc3N3b3Jk\r\n";

async fn connect(apiserver: &Apiserver) -> TcpStream {
    TcpStream::connect(apiserver.addr).await.unwrap()
}

/// The server ends the connection because no whole head comes, and not before its deadline.
async fn is_let_go(mut stream: impl AsyncRead + Unpin) {
    let mut said = Vec::new();
    let early = tokio::time::timeout(Duration::from_millis(50), stream.read_to_end(&mut said));
    assert!(early.await.is_err(), "it was let go at once");
    // An end without a farewell is one, too.
    let _ = within(HEAD_DEADLINE + A_LITTLE, stream.read_to_end(&mut said)).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_is_let_go() {
    let apiserver = start_plain(&installation()).await;
    is_let_go(connect(&apiserver).await).await;
    let mut half = connect(&apiserver).await;
    half.write_all(HALF_A_HEAD.as_bytes()).await.unwrap();
    is_let_go(half).await;
    // Idle after a whole request.
    let mut idle = connect(&apiserver).await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    idle.write_all(request).await.unwrap();
    until(&mut idle, "\r\n\r\nok").await;
    is_let_go(idle).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_after_its_handshake_is_let_go() {
    let apiserver = start(&installation()).await;
    let own = apiserver.certificate();
    let config = rest::client_config(&own.certificate_pem, Some(&own)).unwrap();
    let stream = connect(&apiserver).await;
    let name = ServerName::try_from("pgo-apiserver").unwrap();
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    is_let_go(stream).await;
}

/// Reads up to this text.
async fn until(stream: &mut TcpStream, end: &str) {
    let mut said = String::new();
    while !said.ends_with(end) {
        said.push(char::from(stream.read_u8().await.unwrap()));
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_all_the_same() {
    let apiserver = start_plain(&installation()).await;
    let mut stream = connect(&apiserver).await;
    let rest_of_head = "content-length: 100\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    let head = [HALF_A_HEAD, rest_of_head].concat();
    stream.write_all(head.as_bytes()).await.unwrap();
    // From here on the server waits for the body.
    until(&mut stream, "100 Continue\r\n\r\n").await;
    stream.write_all(b"{").await.unwrap();
    let mut answer = String::new();
    let limit = Duration::from_secs(30) + A_LITTLE;
    within(limit, stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("\"Msg\":\"the body of the request did not arrive in time\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_is_answered_in_time_and_what_was_begun_is_finished() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let slow = Failure::Slow(CALL_DEADLINE - A_LITTLE);
    for kind in ["pgclusters", "pgtasks"] {
        for method in ["GET", "POST"] {
            kubernetes.fail(format!("{method} {}", place(kind, "pgouser1")), slow);
        }
    }
    let client = apiserver.plain();
    let asking = client.post("/clusters", create_request("hippo"));
    let answer = within(Duration::from_secs(55) + A_LITTLE, asking).await;
    assert_eq!(answer.status, StatusCode::OK);
    let refusal = answer.refusal();
    assert!(refusal.starts_with("no answer within 55 s"), "{refusal}");
    let finished = async {
        while !kubernetes.has("pgtasks", "pgouser1", "hippo-createcluster") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(CALL_DEADLINE, finished).await;
    assert!(kubernetes.has("pgclusters", "pgouser1", "hippo"));
}

#[tokio::test]
async fn a_call_of_kubernetes_that_hangs_is_given_up_and_holds_nothing() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let path = place("pgclusters", "pgouser1");
    kubernetes.fail(format!("POST {path}"), Failure::Hangs);
    let mut request = create_request("hippo");
    request["Password"] = json!("s3cret");
    // The second one finds nothing of the first, and the name free.
    for _ in 0..2 {
        let asking = client.post("/clusters", request.clone());
        let answer = within(CALL_DEADLINE + A_LITTLE, asking).await;
        let expected = format!("no answer to POST {path} within 20 s");
        let refusal = answer.refusal();
        assert!(refusal.ends_with(&expected), "{refusal}");
        assert!(kubernetes.names("secrets", "pgouser1").is_empty());
    }
    kubernetes.heal();
    client.post("/clusters", request).await.done();
}

/// Why the process does not start while requests that begin so hang.
async fn no_start(kubernetes: &Kubernetes, begin: &str) -> String {
    kubernetes.fail(begin.to_owned(), Failure::Hangs);
    let starting = try_start(kubernetes, authority(), &[]);
    let started = within(CALL_DEADLINE + A_LITTLE, starting).await;
    kubernetes.heal();
    format!("{:#}", started.err().expect("it does not start"))
}

#[tokio::test]
async fn a_start_that_kubernetes_does_not_answer_ends_with_the_reason() {
    let kubernetes = installation();
    let certificate = "GET /api/v1/namespaces/pgo/secrets/pgo.tls";
    let why = no_start(&kubernetes, certificate).await;
    assert!(why.starts_with("Secret pgo.tls cannot be read"), "{why}");
    let labelled = PGO_YAML.replace("Cluster:", "Cluster:\n  PrimaryNodeLabel: zone=a");
    configure(&kubernetes, &labelled);
    let why = no_start(&kubernetes, "GET /api/v1/nodes").await;
    assert!(why.starts_with("cannot read the nodes"), "{why}");
    assert!(
        why.contains("no answer to GET /api/v1/nodes within 20 s"),
        "{why}"
    );
}
