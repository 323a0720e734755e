//! nsqd as it is installed: who gets to it and who does not, and what it keeps.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use pgo_examples::{javascript, python, rust};
use tempfile::TempDir;

use crate::harness::{
    Cluster, Forward,
    cluster::READY,
    containers::until_whole,
    kubectl,
    kubernetes::{get, text},
    operator,
    programs::run,
    shown::Shown,
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

/// host:port of a Service of PGO, as pods see it.
fn service(name: &str, port: u16) -> String {
    let service = get("service", name, &operator()).expect("a Service of PGO");
    match text(&service, "/spec/clusterIP").as_str() {
        "None" => pod(port).to_string(),
        ip => format!("{ip}:{port}"),
    }
}

/// The numbers of a cluster's events as a consumer has printed them.
fn seqs(printed: &str, cluster: &Cluster) -> Vec<u64> {
    let key = format!(" {}/", cluster.uid());
    let own = printed.lines().filter_map(|line| line.split_once(&key));
    own.filter_map(|(_, seq)| seq.parse().ok()).collect()
}

#[test]
fn programs_of_somebody_in_three_languages_read_events_with_a_certificate_made_for_them() {
    let _turn = together();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = TempDir::new().expect("a folder");
    let certificate = folder.path().join("billing").display().to_string();
    let mut make = Command::new(root.join("deploy/install/consumer.sh"));
    make.args(["billing", &certificate]);
    run(make, "").ok();

    let (address, history) = (service("nsqd", 4150), service("event", 8446));
    let programs = [
        ("billing-rust#ephemeral", rust("installed-consumer")),
        ("billing-python#ephemeral", python()),
        ("billing-javascript#ephemeral", javascript()),
    ];
    let channels = programs.each_ref().map(|(channel, _)| *channel);
    let read = programs.map(|(channel, mut program)| {
        program.args([&address, &history, &certificate, channel]);
        Shown::begin(program)
    });
    let nsqd = Forward::to("nsqd-0", &operator(), 4151, "/ping");
    until("their channels", READY, || {
        let stats = nsqd.curl("/stats?format=json&topic=alltopic", &[]).ok();
        let there = channels.iter().all(|channel| stats.out.contains(channel));
        seen(there, || stats.out)
    });
    let cluster = Cluster::ready("billed");
    for (read, channel) in read.iter().zip(channels) {
        let all = read.until(&format!("/{} CreateClusterCompleted ", cluster.name));
        let seqs = seqs(&all, &cluster);
        let wanted: Vec<u64> = (1..=seqs.len() as u64).collect();
        assert!(seqs.len() > 1 && seqs == wanted, "{channel}: {all}");
    }
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
