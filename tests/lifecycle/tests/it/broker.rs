//! nsqd as it is installed: who does not get to it, and what it keeps.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::harness::{
    Forward,
    cluster::READY,
    containers::until_whole,
    kubectl,
    kubernetes::{get, text},
    operator,
    turns::{alone, together},
    until,
    until::seen,
};

/// How long a connection may take that is refused or answered at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// The address of nsqd's pod, which every pod can reach.
fn pod(port: u16) -> SocketAddr {
    let pod = get("pod", "nsqd-0", &operator()).expect("nsqd's pod");
    let ip: IpAddr = text(&pod, "/status/podIP").parse().expect("its address");
    (ip, port).into()
}

#[test]
fn from_outside_of_its_pod_there_is_no_http_port_and_nothing_without_a_certificate() {
    let _turn = together();
    let error = TcpStream::connect_timeout(&pod(4151), AT_ONCE).expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);

    let mut plain = TcpStream::connect_timeout(&pod(4150), AT_ONCE).expect("a connection");
    plain.set_read_timeout(Some(AT_ONCE)).expect("a deadline");
    plain
        .write_all(b"  V2SUB alltopic lifecycle#ephemeral\n")
        .expect("written");
    let mut answer = Vec::new();
    // It answers and ends the connection.
    let _ = plain.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.contains("E_INVALID") && answer.contains("TLS"),
        "{answer:?}"
    );
}

/// Messages that wait in a channel.
fn waiting(nsqd: &Forward, topic: &str) -> Option<u64> {
    let stats = nsqd.curl(&format!("/stats?format=json&topic={topic}"), &[]);
    let stats = stats.ok().json();
    stats.pointer("/topics/0/channels/0/depth")?.as_u64()
}

#[test]
fn what_waits_in_a_channel_outlives_a_stop() {
    let _turn = alone();
    until_whole();
    let (topic, count) = ("lifecycle.kept", 50);
    let nsqd = Forward::to("nsqd-0", &operator(), 4151, "/ping");
    let post = |nsqd: &Forward, path: &str, body: &str| {
        let path = format!("{path}topic={topic}");
        nsqd.curl(&path, &["--data", body]).ok();
    };
    post(&nsqd, "/topic/create?", "");
    post(&nsqd, "/channel/create?channel=kept&", "");
    let body = vec!["message"; count].join("\n");
    post(&nsqd, "/mpub?", &body);
    until("all wait", READY, || {
        let waiting = waiting(&nsqd, topic);
        seen(waiting == Some(count as u64), || format!("{waiting:?}"))
    });
    drop(nsqd);

    kubectl(&["delete", "pod", "nsqd-0", "-n", &operator()]).ok();
    until("another pod of nsqd", READY, || {
        let pod = get("pod", "nsqd-0", &operator());
        pod.map(|_| ()).ok_or_else(|| "none".to_owned())
    });
    until_whole();
    let nsqd = Forward::to("nsqd-0", &operator(), 4151, "/ping");
    let kept = waiting(&nsqd, topic);
    post(&nsqd, "/topic/delete?", "");
    assert_eq!(kept, Some(count as u64));
}
