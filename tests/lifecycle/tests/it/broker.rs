//! nsqd as it is installed: who gets to it and who does not, and what it keeps.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

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

/// Cargo builds it with these tests.
fn consumer() -> PathBuf {
    let tests = std::env::current_exe().expect("this program");
    let built = tests.parent().expect("a folder");
    built.with_file_name("examples").join("installed-consumer")
}

#[test]
fn a_program_of_somebody_reads_events_with_a_certificate_made_for_it() {
    let _turn = together();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = TempDir::new().expect("a folder");
    let certificate = folder.path().join("billing").display().to_string();
    let mut make = Command::new(root.join("deploy/install/consumer.sh"));
    make.args(["billing", &certificate]);
    run(make, "").ok();

    let mut read = Command::new(consumer());
    read.args([service("nsqd", 4150), service("event", 8446)])
        .args([&certificate, "billing#ephemeral"]);
    let read = Shown::begin(read);
    let nsqd = Forward::to("nsqd-0", &operator(), 4151, "/ping");
    until("its channel", READY, || {
        let stats = nsqd.curl("/stats?format=json&topic=alltopic", &[]).ok();
        seen(stats.out.contains("billing#ephemeral"), || stats.out)
    });
    let cluster = Cluster::ready("billed");
    let all = read.until(&format!("/{} CreateClusterCompleted ", cluster.name));
    let key = format!(" {}/", cluster.uid());
    let own = all.lines().filter_map(|line| line.split_once(&key));
    let seqs: Vec<u64> = own.filter_map(|(_, seq)| seq.parse().ok()).collect();
    let wanted: Vec<u64> = (1..=seqs.len() as u64).collect();
    assert!(seqs.len() > 1 && seqs == wanted, "{all}");
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
