//! The administration port as its users see it: over a socket.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use pgo_telemetry::{CancellationToken, Format, HEAD_DEADLINE, Settings, Telemetry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// No request here needs more.
const DEADLINE: Duration = Duration::from_secs(5);

/// Long enough to see that nothing happens.
const SHORT: Duration = Duration::from_millis(50);

struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(telemetry: &Telemetry) -> Server {
    let bound = telemetry
        .bind((Ipv4Addr::UNSPECIFIED, 0).into())
        .await
        .expect("a free port");
    let stop = CancellationToken::new();
    Server {
        addr: bound.addr(),
        stop: stop.clone(),
        task: tokio::spawn(bound.run(stop.cancelled_owned())),
    }
}

impl Server {
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.ask_from(Ipv4Addr::LOCALHOST, method, path, body).await
    }

    async fn ask_from(
        &self,
        host: Ipv4Addr,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, String) {
        let exchange = async {
            let mut stream = TcpStream::connect((host, self.addr.port())).await?;
            let length = body.len();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(DEADLINE, exchange)
            .await
            .expect("an answer in time")
            .expect("an answer");
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .expect("a status line");
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .expect("a head");
        (status, body)
    }
}

/// An address of this machine that is not its loopback address, if it has one.
fn outer_address() -> Option<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Sends nothing: a connected datagram socket only chooses its source address.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(addr) if !addr.ip().is_loopback() => Some(*addr.ip()),
        _ => None,
    }
}

#[tokio::test]
async fn readiness_follows_the_conditions() {
    let telemetry = Telemetry::without_logs("event", "4.1.0");
    let condition = telemetry.readiness().condition("nsqd");
    let server = start(&telemetry).await;

    assert_eq!(
        server.ask("GET", "/livez", "").await,
        (200, "ok".to_owned())
    );
    condition.not_met("connection refused");
    assert_eq!(
        server.ask("GET", "/readyz", "").await,
        (503, "nsqd: connection refused".to_owned())
    );
    condition.met();
    assert_eq!(
        server.ask("GET", "/readyz", "").await,
        (200, "ok".to_owned())
    );
}

#[tokio::test]
async fn a_process_that_hangs_says_so() {
    let telemetry = Telemetry::without_logs("scheduler", "4.1.0");
    let rounds = telemetry.readiness().vital("rounds", Duration::ZERO);
    let server = start(&telemetry).await;
    let (status, text) = server.ask("GET", "/livez", "").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.starts_with("rounds: overdue"), "{text}");
    rounds.met();
    assert_eq!(server.ask("GET", "/livez", "").await.0, 200);
}

#[tokio::test]
async fn metrics_of_the_process_are_served() {
    let telemetry = Telemetry::without_logs("event", "4.1.0");
    let server = start(&telemetry).await;
    let (status, text) = server.ask("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(text.contains(r#"pgo_build_info{process="event",version="4.1.0"} 1"#));
}

#[tokio::test]
async fn the_log_level_is_changed_from_the_loopback_address_only() {
    let settings = Settings {
        process: "event",
        version: "4.1.0",
        format: Format::Text,
        filter: "error".to_owned(),
    };
    let telemetry = pgo_telemetry::init(&settings).expect("the first in this process");
    let server = start(&telemetry).await;

    assert!(!tracing::enabled!(tracing::Level::WARN));
    let answer = server.ask("PUT", "/log-level", "warn").await;
    assert_eq!(answer, (200, "ok".to_owned()));
    assert!(tracing::enabled!(tracing::Level::WARN));

    let (status, reason) = server.ask("PUT", "/log-level", "loud").await;
    assert_eq!(status, 400);
    assert!(reason.contains("\"loud\" is no level"), "{reason}");

    if let Some(host) = outer_address() {
        let (status, _) = server.ask_from(host, "PUT", "/log-level", "trace").await;
        assert_eq!(status, 403);
        assert!(!tracing::enabled!(tracing::Level::TRACE));
    }
}

#[tokio::test]
async fn an_open_connection_does_not_delay_the_end() {
    let server = start(&Telemetry::without_logs("event", "4.1.0")).await;
    let mut half = TcpStream::connect((Ipv4Addr::LOCALHOST, server.addr.port()))
        .await
        .expect("a connection");
    half.write_all(b"PUT /log-level HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        .await
        .expect("half a request is written");
    // Another full exchange: the server has accepted the first connection by then.
    server.ask("GET", "/livez", "").await;
    server.stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, server.task).await;
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_is_let_go() {
    let server = start(&Telemetry::without_logs("event", "4.1.0")).await;
    for said in ["", "GET /livez HTTP/1.1\r\nHost"] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.addr.port()))
            .await
            .expect("a connection");
        stream
            .write_all(said.as_bytes())
            .await
            .expect("it is written");
        // Another full exchange: the server has accepted the first connection by then.
        server.ask("GET", "/livez", "").await;
        let mut answer = Vec::new();
        let early = tokio::time::timeout(SHORT, stream.read_to_end(&mut answer));
        assert!(early.await.is_err(), "it was let go at once");
        tokio::time::pause();
        tokio::time::advance(HEAD_DEADLINE).await;
        tokio::time::resume();
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it is still connected");
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_address() {
    let telemetry = Telemetry::without_logs("event", "4.1.0");
    let server = start(&telemetry).await;
    let error = telemetry
        .serve(server.addr, async {})
        .await
        .expect_err("the port is taken");
    assert!(
        error.to_string().contains(&server.addr.to_string()),
        "{error}"
    );
}
