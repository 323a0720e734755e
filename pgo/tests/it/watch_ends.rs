//! What `pgo watch` asks for by its flags, how it shows events, and when it ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::fake::{Fake, Ran, Reply, hold, run, until};
use serde_json::{Value, json};

fn event(event_type: &str, seq: u64, time: &str) -> Value {
    let stage = match event_type {
        t if t.ends_with("Failure") => "failed",
        t if t.ends_with("Completed") => "completed",
        _ => "started",
    };
    json!({
        "eventheader": { "EventType": event_type, "namespace": "pgouser1", "username": "pgoadmin",
                         "timestamp": time, "topic": ["clustertopic"] },
        "clustername": "hippo", "stream": "uid-1", "seq": seq, "operationid": "op-1", "stage": stage,
        "severity": "INFO", "cause": "no disk",
    })
}

/// An apiserver that sends these events, says that they were all, and stays there.
fn sends(events: Vec<Value>) -> Fake {
    Fake::start(move |_| {
        let events = events.clone();
        Reply::lines(move |out| {
            let mut lines: Vec<Value> = (1..)
                .zip(&events)
                .map(|(at, event)| json!({ "cursor": format!("e:{at}"), "event": event }))
                .collect();
            lines.push(json!({ "cursor": format!("e:{}", events.len()) }));
            for line in lines {
                let _ = out.write_all(format!("{line}\n").as_bytes());
            }
            let _ = out.flush();
            hold(out);
        })
    })
}

fn some() -> Vec<Value> {
    vec![
        event("CreateCluster", 1, "2026-11-22T14:00:00Z"),
        event("CreateClusterFailure", 2, "2026-11-22T14:00:05Z"),
        event("CreateCluster", 3, "2026-11-22T15:00:00Z"),
        event("CreateClusterCompleted", 4, "2026-11-22T15:00:05Z"),
    ]
}

fn watch(fake: &Fake, arguments: &[&str]) -> Ran {
    let arguments: Vec<&str> = ["watch", "alltopic"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    run(&mut fake.pgo(&arguments))
}

#[test]
fn the_apiserver_is_asked_for_what_the_flags_say() {
    let fake = sends(some());
    let ran = watch(
        &fake,
        &[
            "hippo",
            "rhino",
            "--selector",
            "env=dev",
            "--type",
            "Create*,*Failure",
            "--severity",
            "warn",
            "--filter",
            "cause = 'b c'",
            "--since",
            "ab12:7",
            "--count",
            "1",
        ],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let request = &fake.requests()[0];
    let query = |name| request.query(name).unwrap_or_default();
    assert_eq!(query("clusters"), "hippo%2Crhino");
    assert_eq!(query("selector"), "env%3Ddev");
    assert_eq!(query("types"), "Create%2A%2C%2AFailure");
    assert_eq!(query("severity"), "WARN");
    assert_eq!(query("filter"), "cause%20%3D%20%27b%20c%27");
    assert_eq!(query("cursor"), "ab12%3A7");
}

#[test]
fn a_further_topic_is_left_out_with_a_word() {
    let fake = sends(some());
    let ran = watch(&fake, &["backuptopic", "hippo", "--count", "1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("backuptopic is left out"), "{ran:?}");
    assert_eq!(
        fake.requests()[0].query("clusters").as_deref(),
        Some("hippo")
    );
}

#[test]
fn it_ends_after_as_many_events_as_were_asked_for() {
    let ran = watch(&sends(some()), &["--count", "2"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(0), 2),
        "{ran:?}"
    );
}

#[test]
fn until_a_time_that_has_been_shows_what_was_before_and_ends() {
    let ran = watch(
        &sends(some()),
        &[
            "--since",
            "2026-11-22T13:00:00Z",
            "--until",
            "2026-11-22T14:30:00Z",
        ],
    );
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(0), 2),
        "{ran:?}"
    );
    let ran = watch(&sends(some()), &["--last", "10", "--until", "now"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(0), 4),
        "{ran:?}"
    );
}

#[test]
fn until_a_time_that_comes_ends_then() {
    let begun = Instant::now();
    let ran = watch(&sends(some()), &["--until", "1s"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(0), 4),
        "{ran:?}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[test]
fn what_is_waited_for_ends_it_well() {
    let ran = watch(
        &sends(some()),
        &["--for", "createcluster*completed", "--timeout", "20s"],
    );
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(0), 4),
        "{ran:?}"
    );
}

#[test]
fn what_does_not_come_in_time_is_exit_status_3() {
    let ran = watch(
        &sends(some()),
        &["--for", "DeleteClusterCompleted", "--timeout", "1s"],
    );
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(
        ran.stderr,
        "Error: DeleteClusterCompleted was not seen within 1.0s\n"
    );
    let ran = watch(
        &sends(some()),
        &[
            "--for",
            "DeleteClusterCompleted",
            "--last",
            "9",
            "--until",
            "now",
        ],
    );
    assert_eq!(ran.code, Some(3), "{ran:?}");
}

#[test]
fn an_operation_that_ends_otherwise_is_exit_status_4() {
    let ran = watch(&sends(some()), &["--for", "CreateClusterCompleted"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert_eq!(
        ran.stderr,
        "Error: CreateClusterFailure came instead of CreateClusterCompleted: no disk\n"
    );
}

#[test]
fn what_is_waited_for_is_seen_though_it_is_not_shown() {
    let fake = sends(some());
    let hidden = ["--severity", "warn", "--type", "*Failure", "--for"];
    let ran = watch(
        &fake,
        &[&hidden[..], &["DeleteClusterCompleted", "--timeout", "1s"]].concat(),
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran:?}");
    let request = &fake.requests()[0];
    let types = "%2AFailure%2CDeleteClusterCompleted%2CDeleteClusterFailure";
    assert_eq!(request.query("types").as_deref(), Some(types));
    assert_eq!(request.query("severity").as_deref(), Some("INFO"));
    let ran = watch(
        &sends(some()),
        &[&hidden[..], &["CreateClusterCompleted"]].concat(),
    );
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let ran = watch(
        &sends(some()),
        &["--type", "*Failure", "--for", "*Completed"],
    );
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(0), 1),
        "{ran:?}"
    );
}

#[test]
fn a_type_that_there_is_not_is_refused() {
    for flags in [["--for", "CreateClusterComplet"], ["--type", "Nosuch"]] {
        let ran = watch(&sends(some()), &flags);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("there is no event"), "{ran:?}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_refused_before_anything_is_asked() {
    for (arguments, words) in [
        (
            &["nosuch"][..],
            ["there is no topic \"nosuch\"", "clustertopic"],
        ),
        (
            &["alltopic", "--severity", "bad"],
            [
                "there is no severity \"bad\"",
                "debug, info, warn and error",
            ],
        ),
        (&["alltopic", "--filter", "("], ["--filter", "column"]),
        (
            &["alltopic", "--filter", "clustername = hippo"],
            ["--filter", "write 'hippo' in quotes"],
        ),
        (
            &["alltopic", "--filter", "durationms"],
            ["--filter", "durationms > 0"],
        ),
        (&["alltopic", "HIPPO"], ["no cluster can be named", "HIPPO"]),
    ] {
        // Not even an apiserver is known.
        let ran = run(&mut crate::fake::pgo(&[&["watch"], arguments].concat()));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for word in words {
            assert!(ran.stderr.contains(word), "{word}: {ran:?}");
        }
    }
}

#[test]
fn a_timeout_without_something_to_wait_for_is_refused() {
    let ran = watch(&sends(some()), &["--timeout", "1s"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn each_form_shows_the_event_in_its_way() {
    let shown = |form| {
        let ran = watch(&sends(some()), &["-o", form, "--count", "1"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    let json: Value = serde_json::from_str(&shown("json")).unwrap();
    assert_eq!(json["cursor"], "e:1");
    assert_eq!(json["event"]["eventheader"]["EventType"], "CreateCluster");
    let cloud_event: Value = serde_json::from_str(&shown("cloudevents")).unwrap();
    assert_eq!(cloud_event["type"], "com.crunchydata.pgo.CreateCluster");
    assert_eq!(cloud_event["data"]["seq"], 1);
    let yaml = shown("yaml");
    assert!(
        yaml.starts_with("---\n") && yaml.contains("EventType: CreateCluster"),
        "{yaml}"
    );
    let wide = shown("wide");
    assert!(
        wide.contains("INFO") && wide.contains("op-1") && wide.contains("uid-1/1"),
        "{wide}"
    );
}

/// An nsqd, as far as 4.1's way to watch needs one: it sends one message and says what the client said.
fn nsqd(body: &'static [u8]) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        greet(&mut tcp, &mut said);
        hear(&mut tcp, &mut said, |said| {
            said.windows(4).any(|w| w == b"RDY ")
        });
        let message = [&[0; 8][..], &[0, 1], b"0123456789abcdef", body].concat();
        frame(&mut tcp, 2, &message);
        hear(&mut tcp, &mut said, |said| {
            said.windows(4).any(|w| w == b"FIN ")
        });
        let _ = tcp.shutdown(Shutdown::Both);
        String::from_utf8_lossy(&said).into_owned()
    });
    (port, served)
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    until("the client to connect", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (tcp, _) = accepted.unwrap();
    tcp.set_nonblocking(false).unwrap();
    tcp
}

/// Takes a client in, up to its subscription.
fn greet(tcp: &mut TcpStream, said: &mut Vec<u8>) {
    hear(tcp, said, |said| {
        said.windows(9).any(|w| w == b"IDENTIFY\n") && said.ends_with(b"}")
    });
    frame(
        tcp,
        0,
        b"{\"max_rdy_count\":2500,\"msg_timeout\":60000,\"tls_v1\":false,\"version\":\"1.3.0\"}",
    );
    hear(tcp, said, |said| {
        said.windows(4).any(|w| w == b"SUB ") && said.ends_with(b"\n")
    });
    frame(tcp, 0, b"OK");
}

fn hear(tcp: &mut TcpStream, said: &mut Vec<u8>, enough: impl Fn(&[u8]) -> bool) {
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = [0; 4096];
    while !enough(said) {
        match tcp.read(&mut buffer).unwrap() {
            0 => return,
            count => said.extend_from_slice(&buffer[..count]),
        }
    }
}

fn frame(tcp: &mut TcpStream, kind: u32, data: &[u8]) {
    let size = u32::try_from(data.len() + 4).unwrap();
    tcp.write_all(&[&size.to_be_bytes()[..], &kind.to_be_bytes(), data].concat())
        .unwrap();
}

#[test]
fn with_an_address_it_reads_nsqd_as_4_1_does() {
    let (port, served) = nsqd(b"{\n  \"eventheader\": {}\n}");
    let address = format!("127.0.0.1:{port}");
    let mut child = crate::fake::pgo(&["watch", "alltopic", "-n", "pgouser1", "-a", &address])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let said = served.join().unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("--namespace has no effect"), "{note}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "alltopic | {\n  \"eventheader\": {}\n}\n"
    );
    let subscribed = said.lines().find(|line| line.contains("SUB ")).unwrap();
    let channel = subscribed.rsplit(' ').next().unwrap();
    let digits = channel
        .strip_prefix("tail")
        .and_then(|c| c.strip_suffix("#ephemeral"))
        .unwrap();
    assert!(
        digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()),
        "{channel}"
    );
    assert!(said.contains("RDY 200"), "{said}");
}

#[test]
fn what_nsqd_cannot_do_is_refused_with_an_address() {
    for more in [["--since", "1h"], ["--type", "x*"], ["-o", "json"]] {
        let arguments = [&["watch", "alltopic", "-a", "127.0.0.1:1"][..], &more].concat();
        let ran = run(&mut crate::fake::pgo(&arguments));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("--pgo-event-address"), "{ran:?}");
    }
}

#[test]
fn an_address_of_nsqd_that_is_none_is_refused_at_once() {
    for wrong in ["nohost", "127.0.0.1:1:2"] {
        let ran = run(&mut crate::fake::pgo(&["watch", "alltopic", "-a", wrong]));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("write it as HOST:PORT"), "{ran:?}");
    }
}

#[test]
fn an_nsqd_that_is_not_there_is_told_once_with_what_is_needed() {
    // Bound and given back: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut child = crate::fake::pgo(&["watch", "alltopic", "-a", &address])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let errors = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        errors
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let mut said = String::new();
    let mut says = |what: &str| {
        while !said.contains(what) {
            match lines.recv_timeout(Duration::from_secs(20)) {
                Ok(line) => said.push_str(&line),
                Err(_) => panic!("waited 20 s for {what:?}: {said}"),
            }
        }
        said.clone()
    };
    says("trying again");
    // It hangs up twice more, which is nothing new, and stays then.
    let listener = TcpListener::bind(&address).unwrap();
    for _ in 0..2 {
        drop(accept(&listener));
    }
    let mut stays = accept(&listener);
    greet(&mut stays, &mut Vec::new());
    let said = says(&format!("pgo: connected to nsqd at {address}"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said.matches("trying again").count(), 1, "{said}");
    for needed in [
        "PGO_DIRECT_WATCH=true",
        "kubectl port-forward -n pgo deployment/direct 14150:4150",
    ] {
        assert!(said.contains(needed), "{said}");
    }
}
