//! Conversations recorded from 4.1, with our client in the place of 4.1's: the same requests, the same text.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code; helpers are not seen as such"
)]

mod fake;

use std::{fs, path::Path};

use fake::{Fake, Ran, Reply, run};
use serde_json::Value;

/// Runs our client with the recorded arguments against the recorded answers; holds its requests against the recorded
/// ones. The recording, and how ours ended.
fn replay(number: &str) -> (Value, Ran) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/api/tests/recorded");
    let file = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(number)
        })
        .unwrap();
    let recording: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let exchanges = recording["http"].as_array().unwrap().clone();

    let answers: Vec<Value> = exchanges
        .iter()
        .map(|exchange| exchange["response"]["body"].clone())
        .collect();
    let fake = Fake::start(move |_| Reply::Json(answers[0].clone()));
    let argv: Vec<&str> = recording["argv"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let mut command = fake.pgo(&argv);
    if number == "203" {
        command.env("PGO_NAMESPACE", "");
    }
    let ran = run(&mut command);

    let requests = fake.requests();
    assert_eq!(requests.len(), exchanges.len(), "{number}: {requests:?}");
    for (ours, exchange) in requests.iter().zip(&exchanges) {
        let recorded = &exchange["request"];
        assert_eq!(ours.method, recorded["method"], "{number}");
        assert_eq!(ours.path, recorded["path"], "{number}");
        assert_eq!(ours.body, recorded["body"], "{number}");
        assert_eq!(ours.credentials, "pgoadmin:examplepassword", "{number}");
    }
    (recording, ran)
}

#[test]
fn what_4_1_did_and_printed_ours_does_and_prints() {
    for number in ["001", "005", "030", "031", "033", "183", "206"] {
        let (recording, ran) = replay(number);
        let printed = recording["stdout"].as_str().unwrap();
        match printed.starts_with('{') {
            true => assert_eq!(
                serde_json::from_str::<Value>(&ran.stdout).unwrap(),
                serde_json::from_str::<Value>(printed).unwrap(),
                "{number}"
            ),
            false => assert_eq!(ran.stdout, printed, "{number}"),
        }
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{number}");
    }
}

#[test]
fn status_has_4_1_s_layout() {
    let (recording, ran) = replay("200");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // 4.1 prints a node's labels in random order.
    assert_eq!(
        sorted(&ran.stdout),
        sorted(recording["stdout"].as_str().unwrap())
    );
    assert_eq!(ran.code, Some(0));

    let (recording, ran) = replay("201");
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let recorded: Value = serde_json::from_str(recording["stdout"].as_str().unwrap()).unwrap();
    assert_eq!(printed, recorded);
}

#[test]
fn an_error_has_4_1_s_words_on_standard_error_and_exit_status_2() {
    for number in ["010", "013", "185", "203", "205", "208"] {
        let (recording, ran) = replay(number);
        let recorded = recording["stdout"].as_str().unwrap().trim();
        assert!(recorded.starts_with("Error: "), "{number}");
        assert!(ran.stderr.starts_with(recorded), "{number}: {}", ran.stderr);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{number}");
    }
}

#[test]
fn what_was_named_and_not_found_is_a_failure_with_4_1_s_text() {
    for number in ["003", "035", "036"] {
        let (recording, ran) = replay(number);
        assert_eq!(
            ran.stdout,
            recording["stdout"].as_str().unwrap(),
            "{number}"
        );
        assert_eq!(ran.code, Some(2), "{number}");
        assert!(
            ran.stderr.starts_with("Error: "),
            "{number}: {}",
            ran.stderr
        );
    }
}

#[test]
fn a_name_that_is_none_makes_no_request() {
    let (recording, ran) = replay("011");
    let recorded = recording["stdout"].as_str().unwrap();
    let words = recorded.trim().strip_prefix("Error: ").unwrap();
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert_eq!(ran.code, Some(1));
}
