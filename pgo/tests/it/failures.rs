//! Each failure: what it says, where, and with which exit status.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use crate::fake::{Fake, Ran, Reply, Request, finish, pgo, run};
use serde_json::{Value, json};

fn ok(results: Value) -> Reply {
    Reply::Json(json!({ "Results": results, "Code": "ok", "Msg": "" }))
}

/// It failed: nothing on standard output, one line that has all the words.
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert_eq!(ran.stdout, "", "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

#[test]
fn without_a_url_the_status_is_255() {
    says(
        &run(&mut pgo(&["status"])),
        255,
        &["PGO_APISERVER_URL", "--apiserver-url"],
    );
}

#[test]
fn a_missing_certificate_names_its_flag_and_variable() {
    let mut command = pgo(&["status", "--apiserver-url", "https://127.0.0.1:1"]);
    command.env("PGOUSERNAME", "a").env("PGOUSERPASS", "b");
    says(&run(&mut command), 2, &["PGO_CA_CERT", "--pgo-ca-cert"]);
}

#[test]
fn a_certificate_file_that_is_not_there_or_holds_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.crt");
    fs::write(&empty, "nothing").unwrap();
    for (file, why) in [
        ("/nosuch/ca.crt", "No such file"),
        (empty.to_str().unwrap(), "none in PEM form"),
    ] {
        let mut command = pgo(&["status", "--apiserver-url", "https://127.0.0.1:1"]);
        command
            .env("PGOUSERNAME", "a")
            .env("PGOUSERPASS", "b")
            .env("PGO_CA_CERT", file)
            .env("PGO_CLIENT_CERT", "x")
            .env("PGO_CLIENT_KEY", "x");
        says(&run(&mut command), 2, &[file, why, "PGO_CA_CERT"]);
    }
}

#[test]
fn an_apiserver_that_is_not_there_is_named_with_what_to_look_at() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut fake = Fake::start(|_| Reply::Nothing);
    fake.port = port;
    let url = format!("http://127.0.0.1:{port}");
    for command in [&["status"][..], &["watch", "alltopic"]] {
        let ran = run(&mut fake.pgo(command));
        says(&ran, 2, &[&url, "refused", "PGO_APISERVER_URL"]);
    }
}

#[test]
fn a_connection_that_breaks_off_is_told() {
    let fake = Fake::start(|_| Reply::Nothing);
    says(
        &run(&mut fake.pgo(&["status"])),
        2,
        &["cannot reach the apiserver"],
    );
}

#[test]
fn a_refused_login_names_user_and_request_and_never_the_password() {
    let fake = Fake::start(|_| Reply::Text(401, "Not authenticated in apiserver\n"));
    for command in [&["status"][..], &["watch", "alltopic"]] {
        let ran = run(&mut fake.pgo(command));
        says(
            &ran,
            2,
            &[
                "Error: Authentication Failed: 401",
                "Not authenticated",
                "pgoadmin",
                "GET /",
            ],
        );
        assert!(!ran.stderr.contains("examplepassword"));
    }
}

#[test]
fn another_status_is_shown_with_its_text() {
    let fake = Fake::start(|_| Reply::Text(404, "404 page not found\n"));
    says(
        &run(&mut fake.pgo(&["status"])),
        2,
        &["Invalid Status Code: 404", "page not found", "GET /status"],
    );
}

#[test]
fn an_answer_that_is_no_json_says_so() {
    let fake = Fake::start(|_| Reply::Text(200, "<html>hello\x1b[2J"));
    let ran = run(&mut fake.pgo(&["status"]));
    says(
        &ran,
        2,
        &["GET /status", "<html>hello", "does http://127.0.0.1"],
    );
    assert!(!ran.stderr.contains('\x1b'));
}

#[test]
fn a_wrong_command_line_has_status_1_and_makes_no_request() {
    let fake = Fake::start(|_| ok(json!([])));
    for (wrong, words) in [
        (&["show", "cluster"][..], &["name one or more clusters"][..]),
        (&["delete", "cluster", "a", "--all"], &["not more than one"]),
        (
            &["create"],
            &[
                "You must specify the type of resource to create",
                "* cluster",
            ],
        ),
        (
            &["show"],
            &["You must specify the type of resource to show", "* cluster"],
        ),
        (&["nosuch"], &["Error: unrecognized subcommand 'nosuch'"]),
        (
            &["status", "--nosuch"],
            &["Error: unexpected argument '--nosuch'"],
        ),
        (&["create", "cluster", "a", "--series=0"], &["--series"]),
        (
            &["create", "cluster", "a", "--series=201"],
            &["--series", "201 is not in 1..=200"],
        ),
        (&["create", "cluster", "a", "--timeout=1m"], &["--wait"]),
        (
            &["create", "cluster", "a", "--wait", "--timeout=soon"],
            &["10m"],
        ),
        (
            &[
                "create",
                "cluster",
                "a",
                "--wait",
                "--timeout=9223372036854775807",
            ],
            &["--timeout", "at most a year"],
        ),
        (
            &[
                "delete",
                "cluster",
                "a",
                "--wait",
                "--timeout=18446744073709551615",
            ],
            &["--timeout", "at most a year"],
        ),
        (&["watch"], &["Error: topic is required", "alltopic"]),
        (
            &["watch", "alltopic", "--since=5m", "--last=1"],
            &["--since", "--last"],
        ),
    ] {
        says(&run(&mut fake.pgo(wrong)), 1, words);
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_form_of_output_that_there_is_not_has_4_1_s_status_2_and_makes_no_request() {
    let fake = Fake::start(|_| ok(json!([])));
    for wrong in [
        &["show", "cluster", "a", "-o", "yaml"][..],
        &["test", "a", "--output=yaml"],
        &["status", "-oyaml"],
    ] {
        says(&run(&mut fake.pgo(wrong)), 2, &["yaml", "json"]);
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn what_comes_later_says_so_and_makes_no_request() {
    let fake = Fake::start(|_| ok(json!([])));
    for (line, what) in [
        ("show user hippo --expired 7", "show user"),
        ("update user --all --password=x", "update user"),
        ("help label", "label"),
        ("help show user", "show user"),
        ("show help user", "show user"),
        ("help update user", "update user"),
        ("label --help", "label"),
        ("-n other help label", "label"),
        ("create cluster a --metrics", "--metrics"),
        ("create cluster a --pgbadger", "--pgbadger"),
        ("create cluster a --pgbouncer", "--pgbouncer"),
        ("create cluster a --pgbouncer-pass=x", "--pgbouncer-pass"),
        ("create cluster a --pgpool", "--pgpool"),
        ("create cluster a --pgpool-secret=x", "--pgpool-secret"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        let text = format!("Error: '{what}' is not available in this version yet\n");
        assert_eq!((ran.code, ran.stderr), (Some(1), text), "{line}");
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn every_flag_that_works_reaches_the_apiserver() {
    let fake = Fake::start(|_| {
        ok(json!([
            "created Pgcluster a0",
            "created Pgcluster a1",
            "created Pgcluster a2"
        ]))
    });
    let line = "create cluster a --ccp-image i -c t --custom-config cc -l k=v --node-label n=1 -w -pw --pgbackrest=true \
                --pgbackrest-storage-type=local -r small -s other -e 3 --service-type NodePort --storage-config fast --autofail=false --replica-count -1 \
                -n elsewhere";
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let ran = run(&mut fake.pgo(&arguments));
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            Some(0),
            "created Pgcluster a0\ncreated Pgcluster a1\ncreated Pgcluster a2\n"
        ),
        "{ran:?}"
    );
    let body = &fake.requests()[0].body;
    for (field, value) in [
        ("Name", json!("a")),
        ("Namespace", json!("elsewhere")),
        ("CCPImage", json!("i")),
        ("CCPImageTag", json!("t")),
        ("CustomConfig", json!("cc")),
        ("UserLabels", json!("k=v")),
        ("NodeLabel", json!("n=1")),
        ("Password", json!("-pw")),
        ("BackrestFlag", json!("true")),
        ("BackrestStorageType", json!("local")),
        ("ContainerResources", json!("small")),
        ("SecretFrom", json!("other")),
        ("Series", json!(3)),
        ("ServiceType", json!("NodePort")),
        ("StorageConfig", json!("fast")),
        ("AutofailFlag", json!(false)),
        ("ReplicaCount", json!(-1)),
    ] {
        assert_eq!(body[field], value, "{field}");
    }
}

#[test]
fn a_deletion_is_confirmed_or_not_done() {
    let fake = Fake::start(|_| ok(json!(["deleted pgcluster hippo"])));
    let answered = |answer: &str| {
        let mut child = fake
            .pgo(&["delete", "cluster", "hippo"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(answer.as_bytes())
            .unwrap();
        finish(child)
    };
    let ran = answered("");
    says(
        &ran,
        2,
        &["WARNING: Are you sure? (yes/no): ", "--no-prompt"],
    );
    let ran = answered("no\n");
    says(&ran, 0, &["Aborting..."]);
    assert_eq!(fake.requests().len(), 0);
    let ran = answered("what\nyes\n");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "deleted pgcluster hippo\n")
    );
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn deleting_by_selector_alone_makes_one_request() {
    let fake = Fake::start(|_| ok(json!(["deleted pgcluster a", "deleted pgcluster b"])));
    let ran = run(&mut fake.pgo(&[
        "delete",
        "cluster",
        "-s",
        "env=dev",
        "--no-prompt",
        "-d",
        "-b",
    ]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, "deleted pgcluster a\ndeleted pgcluster b\n");
    let requests = fake.requests();
    assert_eq!(requests.len(), 1);
    let body = &requests[0].body;
    assert_eq!(
        (&body["Selector"], &body["Clustername"]),
        (&json!("env=dev"), &json!(""))
    );
    assert_eq!(
        (&body["DeleteData"], &body["DeleteBackups"]),
        (&json!(true), &json!(true))
    );
}

#[test]
fn a_refused_deletion_does_not_keep_the_others_from_being_done() {
    let fake = Fake::start(|request| match request.body["Clustername"].as_str() {
        Some("nosuch") => {
            Reply::Json(json!({ "Results": [], "Code": "error", "Msg": "no clusters found" }))
        }
        name => ok(json!([format!("deleted pgcluster {}", name.unwrap())])),
    });
    let ran = run(&mut fake.pgo(&[
        "delete",
        "cluster",
        "a",
        "nosuch",
        "b",
        "--no-prompt",
        "-o",
        "json",
    ]));
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("no clusters found (cluster nosuch)"),
        "{}",
        ran.stderr
    );
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        printed["Results"],
        json!(["deleted pgcluster a", "deleted pgcluster b"])
    );
}

#[test]
fn a_connection_that_does_not_work_fails_the_test() {
    let fake = Fake::start(|_| {
        ok(json!([{ "ClusterName": "hippo", "Items": [
            { "PsqlString": "psql one", "Working": true }, { "PsqlString": "psql two", "Working": false } ] }]))
    });
    let ran = run(&mut fake.pgo(&["test", "--all"]));
    assert_eq!(
        ran.stdout,
        "\ncluster : hippo \n\tpsql one is Working\n\tpsql two is NOT working\n"
    );
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("1 of 2 connections to cluster hippo"),
        "{}",
        ran.stderr
    );
    let body = &fake.requests()[0].body;
    assert_eq!(
        (&body["Clustername"], &body["AllFlag"]),
        (&json!("all"), &json!(true))
    );
}

#[test]
fn json_is_all_there_is_on_standard_output() {
    let fake = Fake::start(|request| match request.route() {
        "/version" => {
            Reply::Json(json!({ "Version": "4.1.0", "Code": "ok", "Msg": "apiserver version" }))
        }
        "/testclusters" => {
            ok(json!([{ "ClusterName": "a", "Items": [{ "PsqlString": "p", "Working": true }] }]))
        }
        "/showclusters" => ok(json!([{ "Cluster": { "kind": "Pgcluster" } }])),
        "/status" => Reply::Json(json!({ "Result": {}, "Code": "ok", "Msg": "" })),
        "/clustersdelete" => ok(json!(["deleted pgcluster a"])),
        _ => ok(json!(["created Pgcluster a"])),
    });
    for line in [
        "version",
        "status",
        "show cluster a b",
        "test a",
        "create cluster a",
        "delete cluster a b --no-prompt",
    ] {
        let arguments: Vec<&str> = line.split(' ').chain(["-o", "json"]).collect();
        let ran = run(&mut fake.pgo(&arguments));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{line}");
        let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(printed["Code"], "ok", "{line}");
    }
}

#[test]
fn a_cluster_that_is_not_ready_shows_why() {
    let fake = Fake::start(|_| {
        ok(json!([{ "Cluster": {
            "metadata": { "name": "hippo" },
            "status": { "conditions": [
                { "type": "Ready", "status": "False", "reason": "ImageNotPulled", "message": "no\nsuch image" } ] } } }]))
    });
    let ran = run(&mut fake.pgo(&["show", "cluster", "hippo"]));
    assert!(
        ran.stdout
            .contains("\n\tnot ready : ImageNotPulled: no such image\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_ready_cluster_shows_what_of_its_spec_is_not_in_force() {
    let shown = |ready: &'static str| {
        let fake = Fake::start(move |_| {
            ok(json!([{ "Cluster": {
                "metadata": { "name": "hippo" },
                "status": { "conditions": [
                    { "type": "Ready", "status": ready, "reason": "R", "message": "r" },
                    { "type": "UpToDate", "status": "False", "reason": "Invalid", "message": "spec.port: no\nport" },
                ] } } }]))
        });
        run(&mut fake.pgo(&["show", "cluster", "hippo"])).stdout
    };
    let (ready, not_ready) = (shown("True"), shown("False"));
    assert!(
        ready.contains("\n\tnot in force : Invalid: spec.port: no port\n")
            && !ready.contains("not ready"),
        "{ready}"
    );
    // The reason for that goes first.
    assert!(
        not_ready.contains("not ready : R: r") && !not_ready.contains("not in force"),
        "{not_ready}"
    );
}

#[test]
fn help_and_completion_need_no_apiserver() {
    for (line, words) in [
        ("--help", &["watch", "Exit status"][..]),
        ("", &["Usage: pgo", "watch"]),
        ("help create cluster", &["--storage-config"]),
        ("create cluster -h", &["--storage-config"]),
        ("completion bash", &["complete -F _pgo", "alltopic"]),
        ("completion zsh", &["#compdef pgo", "alltopic"]),
        ("completion fish", &["complete -c pgo", "alltopic"]),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let ran = run(&mut pgo(&arguments));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{line}");
        for word in words {
            assert!(ran.stdout.contains(word), "{line}: {word}");
        }
        assert!(!ran.stdout.contains("pgorole"), "{line}");
    }
}

#[test]
fn debug_tells_what_is_asked_and_no_password() {
    let fake = Fake::start(|_| ok(json!([])));
    let ran = run(&mut fake.pgo(&["show", "cluster", "--all", "--debug"]));
    assert_eq!(ran.code, Some(0));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let asked = format!(
        "debug: POST /showclusters to http://127.0.0.1:{}",
        fake.port
    );
    assert_eq!((lines.len(), lines[0]), (2, asked.as_str()), "{ran:?}");
    assert!(
        lines[1].starts_with("debug: POST /showclusters: 200 after "),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("examplepassword"));
}

#[test]
fn debug_tells_also_what_is_not_answered_or_refused_and_of_a_stream() {
    for (reply, told) in [
        ((|| Reply::Nothing) as fn() -> Reply, ": no answer after "),
        (|| Reply::Text(401, "no\n"), ": 401 after "),
    ] {
        let fake = Fake::start(move |_| reply());
        for (command, request) in [
            (&["status", "--debug"][..], "GET /status"),
            (&["watch", "alltopic", "--debug"], "GET /events"),
        ] {
            let ran = run(&mut fake.pgo(command));
            assert_eq!(ran.code, Some(2), "{ran:?}");
            for line in [
                format!("debug: {request} to http://127.0.0.1:{}\n", fake.port),
                format!("debug: {request}{told}"),
            ] {
                assert!(ran.stderr.contains(&line), "{line}: {}", ran.stderr);
            }
        }
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let fake = Fake::start(|_| ok(json!([])));
    let mut command: Command = fake.pgo(&["show", "cluster", "--all"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = finish(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn an_advice_names_the_namespace_of_the_installation_that_is_asked() {
    let refuse = |request: &Request| {
        assert_eq!(request.route(), "/clusters");
        let why = "moon Storage config was not found ";
        Reply::Json(json!({ "Results": null, "Code": "error", "Msg": why }))
    };
    let fake = Fake::start(refuse);
    let line = ["create", "cluster", "hippo", "--storage-config=moon"];
    let told = "kubectl get configmap pgo-config -n other -o yaml shows it\n";
    let mut command = fake.pgo(&line);
    let known = run(command.env("PGO_OPERATOR_NAMESPACE", "other"));
    assert!(known.stderr.ends_with(told), "{}", known.stderr);
    let unknown = run(&mut fake.pgo(&line));
    let told = "pgo-config -n pgo -o yaml shows it (pgo: the namespace of PGO)\n";
    assert!(unknown.stderr.ends_with(told), "{}", unknown.stderr);
}
