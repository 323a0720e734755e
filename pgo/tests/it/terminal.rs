//! What comes from the apiserver moves no cursor: no control character of it reaches the terminal.

use crate::fake::{Fake, Ran, Reply, run};
use serde_json::{Value, json};

/// Clears the screen in two ways and begins a line that looks like ours.
const EVIL: &str = "x\u{1b}[2J\u{9b}2J\u{7f}\r\nError: forged";

/// What ends up in the place of it, where nothing of it is cut off.
const SHOWN: &str = "x\u{fffd}[2J\u{fffd}2J\u{fffd}  Error: forged";

fn is_clean(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!text.contains(bad), "{text:?}");
        let forged = text.lines().any(|line| line.trim() == "Error: forged");
        assert!(!forged, "{text:?}");
    }
}

/// An answer with that text in every place where there is one.
fn evil(route: &str) -> Value {
    let of_show = json!({
        "Cluster": {
            "metadata": { "name": EVIL, "labels": { EVIL: EVIL } },
            "spec": {
                "ccpimage": EVIL, "ccpimagetag": EVIL,
                "ContainerResources": { "limitscpu": EVIL, "limitsmemory": EVIL, "requestscpu": EVIL,
                                        "requestsmemory": EVIL },
                "PrimaryStorage": { "size": EVIL }, "ReplicaStorage": { "size": EVIL },
            },
            "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": EVIL, "message": EVIL }] },
        },
        "Deployments": [{ "Name": EVIL, "PolicyLabels": [EVIL] }],
        "Pods": [{ "Name": EVIL, "Phase": EVIL, "NodeName": EVIL, "PVCName": { EVIL: EVIL }, "ReadyStatus": EVIL,
                   "Type": EVIL }],
        "Services": [{ "Name": EVIL, "ClusterIP": EVIL, "ExternalIP": EVIL }],
        "Replicas": [{ "Name": EVIL }],
    });
    let of_status = json!({
        "OperatorStartTime": EVIL, "VolumeCap": EVIL, "DbTags": { EVIL: 1 }, "NotReady": [EVIL], "ClustersNotReady": [EVIL], "SettingsNotAvailable": [EVIL],
        "Nodes": [{ "Name": EVIL, "Status": EVIL, "Labels": { EVIL: EVIL } }],
        "Labels": [{ "Key": EVIL, "Value": 2 }],
    });
    match route {
        "/showclusters" => json!({ "Results": [of_show], "Code": "ok" }),
        "/testclusters" => {
            let items = json!([{ "PsqlString": EVIL, "Working": false }]);
            json!({ "Results": [{ "ClusterName": EVIL, "Items": items }, { "ClusterName": EVIL }], "Code": "ok" })
        }
        "/status" => json!({ "Result": of_status, "Code": "ok", "Msg": EVIL }),
        "/version" => json!({ "Version": EVIL, "Code": "ok", "Msg": EVIL }),
        "/clusters" => {
            json!({ "Results": [format!("created Pgcluster {EVIL}"), EVIL], "Code": "ok" })
        }
        "/clustersdelete" => {
            json!({ "Results": [format!("deleted pgcluster {EVIL}"), EVIL], "Code": "ok" })
        }
        other => panic!("unexpected {other}"),
    }
}

const COMMANDS: [&str; 6] = [
    "show cluster a",
    "test a",
    "status",
    "version",
    "create cluster a",
    "delete cluster a --no-prompt",
];

#[test]
fn no_command_prints_a_control_character_of_an_answer() {
    let fake = Fake::start(|request| Reply::Json(evil(request.route())));
    for line in COMMANDS {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        is_clean(&ran);
        assert!(ran.stdout.contains(SHOWN), "{line}: {}", ran.stdout);
    }
}

#[test]
fn in_json_they_are_escaped_and_stay_what_they_are() {
    let fake = Fake::start(|request| Reply::Json(evil(request.route())));
    for line in COMMANDS {
        let arguments: Vec<&str> = line.split(' ').chain(["-o", "json"]).collect();
        let ran = run(&mut fake.pgo(&arguments));
        is_clean(&ran);
        let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(has(&printed, EVIL), "{line}: {}", ran.stdout);
    }
}

/// Whether a text is somewhere in a value, alone or behind something else.
fn has(value: &Value, text: &str) -> bool {
    match value {
        Value::String(have) => have.ends_with(text),
        Value::Array(items) => items.iter().any(|item| has(item, text)),
        Value::Object(items) => items.values().any(|item| has(item, text)),
        _ => false,
    }
}

#[test]
fn no_command_prints_a_control_character_of_a_refusal() {
    let fake = Fake::start(|_| Reply::Json(json!({ "Code": "error", "Msg": EVIL })));
    for line in COMMANDS.iter().chain(&["watch alltopic"]) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        assert_eq!(ran.code, Some(2), "{line}: {ran:?}");
        is_clean(&ran);
        assert!(ran.stderr.contains(SHOWN), "{line}: {}", ran.stderr);
    }
}
