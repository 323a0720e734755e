//! The log over HTTP, as programs read it: with TLS, a certificate, and a few lines of HTTP/1.1.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    events::{events, stream},
    installation::{Installation, eventually, soon},
};

/// A request that is being answered.
pub struct Answer {
    pub status: u16,
    pub headers: String,
    body: BufReader<TlsStream<TcpStream>>,
}

/// Asks as `process`. HTTP/1.0, so that the body comes as it is and ends with the connection.
pub async fn get(
    installation: &Installation,
    process: &str,
    target: &str,
    headers: &str,
) -> Answer {
    let request = format!("GET {target} HTTP/1.0\r\n{headers}\r\n");
    let socket = TcpSocket::new_v4().unwrap();
    ask(installation, process, &request, socket).await
}

/// Asks by a connection whose window is small, so that it is felt at once when nobody reads from it.
async fn get_by_a_small_window(installation: &Installation, process: &str, target: &str) -> Answer {
    let request = format!("GET {target} HTTP/1.0\r\n\r\n");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    ask(installation, process, &request, socket).await
}

async fn ask(
    installation: &Installation,
    process: &str,
    request: &str,
    socket: TcpSocket,
) -> Answer {
    let asking = async {
        let stream = socket.connect(installation.http).await.unwrap();
        let connector = TlsConnector::from(installation.files(process).client_config());
        let name = "event.pgo".try_into().unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut body = BufReader::new(stream);
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            assert_ne!(
                body.read_line(&mut headers).await.unwrap(),
                0,
                "the head ends: {headers}"
            );
        }
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            headers,
            body,
        }
    };
    soon("an answer", asking).await
}

impl Answer {
    /// The next line without its end; none after the last.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match soon("a line", self.body.read_line(&mut line)).await {
            // A server that ends a TLS connection need not say so.
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    pub async fn json(&mut self) -> Value {
        let line = self.line().await.expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// All lines that are left.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        lines
    }
}

fn seqs(lines: &[String]) -> Vec<u64> {
    let events = lines.iter().filter(|line| !line.is_empty());
    let events = events.filter_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["event"]["seq"].as_u64()
    });
    events.collect()
}

/// An installation whose log has the events 1 to 5 of `a` and 1 of `b`.
async fn with_events(settings: &[(&'static str, &str)]) -> Installation {
    let installation = Installation::start(settings);
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 1..=5));
    let mut unconfirmed = relay.unconfirmed();
    soon(
        "all is confirmed",
        unconfirmed.wait_for(|count| *count == 0),
    )
    .await
    .unwrap();
    relay.offer(&stream("b"), events("b", 1..=1));
    soon(
        "all is confirmed",
        unconfirmed.wait_for(|count| *count == 0),
    )
    .await
    .unwrap();
    installation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_lines_give_what_was_chosen_and_end() {
    let installation = with_events(&[]).await;
    let cases: [(&str, &[u64]); 8] = [
        ("", &[1, 2, 3, 4, 5, 1]),
        ("?cluster=a", &[1, 2, 3, 4, 5]),
        ("?cluster=b&topic=clustertopic", &[1]),
        ("?last=2", &[5, 1]),
        ("?since=a/3&cluster=a", &[4, 5]),
        ("?since=1h", &[1, 2, 3, 4, 5, 1]),
        ("?type=Nosuch*", &[]),
        ("?filter=stream%20%3D%20'a'%20AND%20seq%20%3E%203", &[4, 5]),
    ];
    for (query, expected) in cases {
        let mut answer = get(
            &installation,
            "billing.consumer",
            &format!("/v1/events{query}"),
            "",
        )
        .await;
        assert_eq!(answer.status, 200, "{query}");
        assert!(
            answer.headers.contains("application/x-ndjson"),
            "{}",
            answer.headers
        );
        assert_eq!(seqs(&answer.rest().await), expected, "{query}");
    }
    let mut cloud = get(
        &installation,
        "billing.consumer",
        "/v1/events?last=1&form=cloudevents",
        "",
    )
    .await;
    let cloud = cloud.json().await;
    assert_eq!(cloud["event"]["specversion"], "1.0");
    assert_eq!(cloud["event"]["id"], "b/1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_sent_events_go_on_and_are_resumed_by_their_id() {
    let installation = with_events(&[]).await;
    let accept = "Accept: text/event-stream\r\n";
    let target = "/v1/events?since=beginning&cluster=a";
    let mut answer = get(&installation, "billing.consumer", target, accept).await;
    assert!(
        answer.headers.contains("text/event-stream"),
        "{}",
        answer.headers
    );
    let mut ids = Vec::new();
    while ids.len() < 3 {
        let line = answer.line().await.expect("it goes on");
        ids.extend(line.strip_prefix("id: ").map(str::to_owned));
    }
    drop(answer);

    let resume = format!("{accept}Last-Event-ID: {}\r\n", ids[1]);
    let mut answer = get(&installation, "billing.consumer", target, &resume).await;
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 6..=6));
    let mut seqs = Vec::new();
    while seqs.len() < 4 {
        let line = answer.line().await.expect("it goes on");
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let data: Value = serde_json::from_str(data).unwrap();
        seqs.extend(data["seq"].as_u64());
    }
    assert_eq!(seqs, [3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_what_would_be_right() {
    let installation = Installation::start(&[]);
    let cases = [
        (
            "/v1/events?since=yesterday",
            "",
            400,
            "2026-10-15T10:11:12Z",
        ),
        ("/v1/events?topic=nosuch", "", 400, "clustertopic"),
        ("/v1/events?filter=a+%3D", "", 400, "column"),
        ("/v1/events?filter=seq", "", 400, "seq > 0"),
        ("/v1/events?severity=loud", "", 400, "warn"),
        ("/v1/events?colour=red", "", 400, "severity"),
        (
            "/v1/events",
            "Accept: text/html\r\n",
            406,
            "text/event-stream",
        ),
        ("/v1/events", "Last-Event-ID: x\r\n", 400, "Last-Event-ID"),
        ("/events", "", 404, "/v1/events"),
    ];
    for (target, headers, status, says) in cases {
        let mut answer = get(&installation, "apiserver", target, headers).await;
        assert_eq!(answer.status, status, "{target}");
        assert!(
            answer.headers.contains("application/json"),
            "{}",
            answer.headers
        );
        let body = answer.json().await;
        assert!(
            body["error"].is_string() && body["help"].is_string(),
            "{body}"
        );
        assert!(body.to_string().contains(says), "{target}: {body}");
    }
    for stranger in ["scheduler", "hippo.pgouser1.agent", "nsqd"] {
        let mut refused = get(&installation, stranger, "/v1/events", "").await;
        assert_eq!(refused.status, 403, "{stranger}");
        let body = refused.json().await;
        assert!(
            body["help"].as_str().unwrap().contains(".consumer.pgo"),
            "{body}"
        );
    }
    let post = "POST /v1/events HTTP/1.0\r\nContent-Length: 0\r\n\r\n";
    let socket = TcpSocket::new_v4().unwrap();
    let written = ask(&installation, "apiserver", post, socket).await;
    assert_eq!(written.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_withdrawn_reads_no_further_and_is_refused() {
    let installation = with_events(&[]).await;
    let target = "/v1/events?follow=true&since=beginning";
    let mut billing = get(&installation, "billing.consumer", target, "").await;
    let mut audit = get(&installation, "audit.consumer", target, "").await;
    for reader in [&mut billing, &mut audit] {
        assert_eq!(reader.json().await["event"]["seq"], 1);
    }
    installation.withdraw("billing");
    // It ends, though nothing happens.
    billing.rest().await;
    for path in ["/v1/events", "/v1/events/a/1"] {
        let mut refused = get(&installation, "billing.consumer", path, "").await;
        assert_eq!(refused.status, 403, "{path}");
        let help = refused.json().await["help"].to_string();
        assert!(help.contains("withdrawn"), "{help}");
    }
    installation.relay().offer(&stream("z"), events("z", 1..=1));
    let of_z = async { while audit.json().await["event"]["stream"] != "z" {} };
    soon("another one reads on", of_z).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_of_the_history_is_told_in_the_stream() {
    let installation = with_events(&[]).await;
    let target = "/v1/events?since=0123456789abcdef:7";
    let mut answer = get(&installation, "apiserver", target, "").await;
    let cut = answer.json().await;
    assert!(
        cut["cut"].as_str().unwrap().contains("another log"),
        "{cut}"
    );
    assert_eq!(seqs(&answer.rest().await).len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_a_place_for_so_many_readers_and_one_more_is_told_so() {
    let installation = Installation::start(&[("PGO_EVENT_HTTP_READERS", "2")]);
    let follow = "/v1/events?follow=true";
    let first = get(&installation, "apiserver", follow, "").await;
    let second = get(&installation, "apiserver", follow, "").await;
    assert_eq!((first.status, second.status), (200, 200));
    let mut third = get(&installation, "apiserver", follow, "").await;
    assert_eq!(third.status, 503);
    assert!(
        third.headers.to_lowercase().contains("retry-after: 5"),
        "{}",
        third.headers
    );
    let body = third.json().await;
    assert!(
        body["error"].as_str().unwrap().contains("all 2 places"),
        "{body}"
    );
    assert_eq!(installation.metric("pgo_event_readers_refused_total"), 1);
    drop(first);
    let until = Instant::now() + Duration::from_secs(30);
    while get(&installation, "apiserver", follow, "").await.status != 200 {
        assert!(Instant::now() < until, "the place is given back");
    }
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_over_http_that_does_not_read_slows_no_other_and_misses_nothing() {
    let installation = Installation::start(&[("PGO_EVENT_SEGMENT_BYTES", "200000")]);
    let relay = installation.relay();
    let follow = "/v1/events?follow=true&since=beginning";
    let mut slow = get_by_a_small_window(&installation, "apiserver", follow).await;
    let mut fast = get(&installation, "apiserver", follow, "").await;
    // More than the buffers of two sockets hold: some 800 kB.
    let expected: Vec<u64> = (1..=1_200).collect();
    let read = async |answer: &mut Answer, count: usize| {
        let mut lines = Vec::new();
        while lines.len() < count {
            let line = answer.line().await.expect("it goes on");
            if line.contains("\"event\"") {
                lines.push(line);
            }
        }
        seqs(&lines)
    };
    // A relay holds no more of a stream than this, twice.
    for part in expected.chunks(60) {
        relay.offer(&stream("a"), events("a", part.iter().copied()));
        assert_eq!(read(&mut fast, part.len()).await, part);
    }
    assert_eq!(read(&mut slow, expected.len()).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_end_with_the_process_and_go_on_where_they_were() {
    let mut installation = with_events(&[]).await;
    let mut answer = get(
        &installation,
        "apiserver",
        "/v1/events?last=1&follow=true",
        "",
    )
    .await;
    let cursor = answer.json().await["cursor"].as_str().unwrap().to_owned();
    assert!(installation.terminate_event(), "it ends well");
    let rest = answer.rest().await;
    assert!(rest.iter().any(|line| line.contains("ends")), "{rest:?}");
    installation.start_event();
    let target = format!("/v1/events?since={cursor}&follow=true");
    let mut answer = get(&installation, "apiserver", &target, "").await;
    let relay = installation.relay();
    relay.offer(&stream("a"), events("a", 6..=6));
    loop {
        let line = answer.json().await;
        if line["event"].is_object() {
            assert_eq!(line["event"]["seq"], 6);
            break;
        }
    }
    eventually("one reader", || {
        installation.metric("pgo_event_readers") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_is_a_cloud_event_in_binary_mode_or_in_structured_mode() {
    let installation = with_events(&[]).await;
    let mut binary = get(&installation, "audit.consumer", "/v1/events/a/3", "").await;
    assert_eq!(binary.status, 200);
    let headers = binary.headers.to_lowercase();
    for header in [
        "content-type: application/json\r\n",
        "ce-specversion: 1.0\r\n",
        "ce-id: a/3\r\n",
        "ce-type: com.crunchydata.pgo.createclusterprogress\r\n",
        "ce-source: /namespaces/pgouser1\r\n",
    ] {
        assert!(headers.contains(header), "{header:?} in {headers}");
    }
    let data = binary.json().await;
    assert_eq!((&data["stream"], &data["seq"]), (&"a".into(), &3.into()));

    let accept = "Accept: application/cloudevents+json\r\n";
    let mut structured = get(&installation, "audit.consumer", "/v1/events/a/3", accept).await;
    assert!(
        structured.headers.contains("application/cloudevents+json"),
        "{}",
        structured.headers
    );
    let event = structured.json().await;
    assert_eq!((&event["id"], &event["data"]), (&"a/3".into(), &data));

    for (target, headers, status) in [
        ("/v1/events/a/6", "", 404),
        ("/v1/events/nosuch/1", "", 404),
        ("/v1/events/a/none", "", 400),
        ("/v1/events/a/0", "", 400),
        ("/v1/events/a/3", "Accept: text/html\r\n", 406),
    ] {
        let mut refused = get(&installation, "audit.consumer", target, headers).await;
        assert_eq!(refused.status, status, "{target}");
        assert!(refused.json().await["help"].is_string(), "{target}");
    }
}
