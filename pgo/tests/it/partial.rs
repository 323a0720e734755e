//! What was done only in part, and what nobody reads: it is done to its end, told, and the exit status is right.

use std::{
    fs::OpenOptions,
    io::Write as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::fake::{Fake, Ran, Reply, Request, finish, run, unread};
use serde_json::{Value, json};

fn answer(results: Value, refusal: &str) -> Reply {
    let code = if refusal.is_empty() { "ok" } else { "error" };
    Reply::Json(json!({ "Results": results, "Code": code, "Msg": refusal }))
}

fn name(request: &Request) -> String {
    request.body["Clustername"].as_str().unwrap().to_owned()
}

/// The clusters that were asked about on a route, in order.
fn asked(fake: &Fake, route: &str) -> Vec<String> {
    let requests = fake.requests();
    let ours = requests.iter().filter(|request| request.route() == route);
    ours.map(name).collect()
}

/// Runs it while nobody reads its standard output.
fn run_unread(command: &mut Command) -> Ran {
    let child = command.stdout(unread()).stderr(Stdio::piped()).spawn();
    finish(child.unwrap())
}

fn cluster(phase: &str, ready: &str) -> Value {
    json!([{ "Cluster": { "metadata": { "name": "x" }, "status": {
        "phase": phase,
        "conditions": [{ "type": "Ready", "status": ready, "reason": phase, "message": "" }] } } }])
}

/// Creates or deletes the first of what was asked for and refuses the rest; what is looked at is soon gone.
fn breaking_off() -> Fake {
    let looks = AtomicUsize::new(0);
    Fake::start(move |request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/clusters" => answer(
            json!(["created Pgcluster hippo0", "workflow id op-1"]),
            "no room for hippo1",
        ),
        "/clustersdelete" => answer(
            json!(["deleted pgcluster hippo0"]),
            "hippo1 is deleted already",
        ),
        _ => match looks.fetch_add(1, Ordering::SeqCst) {
            0 => answer(cluster("Deleting", "False"), ""),
            _ => answer(json!([]), ""),
        },
    })
}

#[test]
fn a_series_that_breaks_off_tells_what_was_created_and_fails() {
    let line = ["create", "cluster", "hippo", "--series=2"];
    let ran = run(&mut breaking_off().pgo(&line));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.stdout, "created Pgcluster hippo0\nworkflow id op-1\n");
    assert_eq!(ran.stderr, "Error: no room for hippo1\n");

    let ran = run(breaking_off().pgo(&line).args(["-o", "json"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["Results"][0], "created Pgcluster hippo0");
    assert_eq!(
        (&printed["Code"], &printed["Msg"]),
        (&json!("error"), &json!("no room for hippo1"))
    );
}

#[test]
fn what_was_created_before_a_series_broke_off_is_waited_for() {
    let fake = Fake::start(|request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/clusters" => answer(
            json!(["created Pgcluster hippo0", "workflow id op-1"]),
            "no room for hippo1",
        ),
        _ => answer(cluster("Ready", "True"), ""),
    });
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--series=2", "--wait"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.ends_with("hippo0  ready\n"), "{}", ran.stdout);
    assert!(
        ran.stderr.ends_with("Error: no room for hippo1\n"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("no room for hippo1; waiting"),
        "it is told before the wait: {}",
        ran.stderr
    );
    assert_eq!(asked(&fake, "/showclusters"), ["hippo0"]);
}

#[test]
fn of_a_deletion_of_all_what_was_deleted_is_told_and_waited_for() {
    let line = ["delete", "cluster", "--all", "--no-prompt"];
    let ran = run(&mut breaking_off().pgo(&line));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(ran.stdout, "deleted pgcluster hippo0\n");
    assert_eq!(ran.stderr, "Error: hippo1 is deleted already\n");

    let ran = run(breaking_off().pgo(&line).arg("--wait"));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.ends_with("hippo0  gone\n"), "{}", ran.stdout);
    assert!(
        ran.stderr.ends_with("Error: hippo1 is deleted already\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_wait_that_fails_after_a_refusal_tells_both() {
    let fake = Fake::start(|request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/clusters" => answer(json!(["created Pgcluster hippo0"]), "no room for hippo1"),
        _ => answer(cluster("Failed", "False"), ""),
    });
    let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--series=2", "--wait"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let last = ran.stderr.lines().last().unwrap();
    for word in ["Error: ", "no room for hippo1", "cluster hippo0 failed"] {
        assert!(last.contains(word), "{word}: {last}");
    }
}

#[test]
fn a_refusal_of_one_does_not_keep_the_others_from_being_shown_or_tested() {
    let fake = Fake::start(|request| match (request.route(), name(request).as_str()) {
        (_, "a") => answer(json!([]), "cluster not ready yet, try later"),
        ("/showclusters", name) => {
            answer(json!([{ "Cluster": { "metadata": { "name": name } } }]), "")
        }
        (_, name) => answer(
            json!([{ "ClusterName": name, "Items": [{ "PsqlString": "p", "Working": true }] }]),
            "",
        ),
    });
    for (line, route, place) in [
        (
            "show cluster a b",
            "/showclusters",
            "/Results/0/Cluster/metadata/name",
        ),
        ("test a b", "/testclusters", "/Results/0/ClusterName"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(&mut fake.pgo(&arguments));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stdout.starts_with("\ncluster : b "), "{}", ran.stdout);
        assert_eq!(
            ran.stderr,
            "Error: cluster not ready yet, try later (cluster a)\n"
        );

        let ran = run(fake.pgo(&arguments).args(["-o", "json"]));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(printed.pointer(place), Some(&json!("b")), "{printed}");
        assert_eq!(printed["Code"], "error");
        assert_eq!(asked(&fake, route), ["a", "b", "a", "b"]);
    }
}

#[test]
fn an_apiserver_that_goes_away_in_between_leaves_told_what_was_done_and_what_was_not() {
    let fake = Fake::start(|request| match name(request).as_str() {
        "b" => Reply::Nothing,
        name => answer(json!([format!("deleted pgcluster {name}")]), ""),
    });
    let line = ["delete", "cluster", "a", "b", "c", "d", "--no-prompt"];
    let ran = run(fake.pgo(&line).args(["-o", "json"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["Results"], json!(["deleted pgcluster a"]));
    for word in [
        "cannot reach",
        "(cluster b)",
        "not asked for any more: c, d",
    ] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    assert_eq!(asked(&fake, "/clustersdelete"), ["a", "b"]);
}

#[test]
fn what_nobody_reads_is_deleted_all_the_same() {
    let fake = Fake::start(|request| match name(request).as_str() {
        "nosuch" => answer(json!([]), "no clusters found"),
        name => answer(json!([format!("deleted pgcluster {name}")]), ""),
    });
    let ran = run_unread(&mut fake.pgo(&["delete", "cluster", "a", "b", "c", "--no-prompt"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(asked(&fake, "/clustersdelete"), ["a", "b", "c"]);

    let ran = run_unread(&mut fake.pgo(&["delete", "cluster", "a", "nosuch", "c", "--no-prompt"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("no clusters found"), "{}", ran.stderr);
}

#[test]
fn a_full_disk_keeps_nothing_from_being_deleted_and_is_a_failure() {
    let fake =
        Fake::start(|request| answer(json!([format!("deleted pgcluster {}", name(request))]), ""));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = fake.pgo(&["delete", "cluster", "a", "b", "--no-prompt"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn();
    let ran = finish(child.unwrap());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("cannot write the output"),
        "{}",
        ran.stderr
    );
    assert_eq!(asked(&fake, "/clustersdelete"), ["a", "b"]);
}

#[test]
fn a_creation_that_nobody_reads_of_is_waited_for() {
    for (end, code) in [
        (cluster("Ready", "True"), 0),
        (cluster("Failed", "False"), 2),
    ] {
        let looks = AtomicUsize::new(0);
        let fake = Fake::start(move |request| match request.route() {
            "/events" => Reply::Text(401, "no\n"),
            "/clusters" => answer(json!(["created Pgcluster hippo"]), ""),
            _ => match looks.fetch_add(1, Ordering::SeqCst) {
                0 => answer(cluster("Creating", "False"), ""),
                _ => answer(end.clone(), ""),
            },
        });
        let ran = run_unread(&mut fake.pgo(&["create", "cluster", "hippo", "--wait"]));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_eq!(asked(&fake, "/showclusters").len(), 2);
    }
}

#[test]
fn a_failure_that_nobody_reads_of_is_a_failure() {
    let fake = Fake::start(|request| match request.route() {
        "/testclusters" => answer(
            json!([{ "ClusterName": "a", "Items": [{ "PsqlString": "p", "Working": false }] }]),
            "",
        ),
        "/version" => Reply::Text(401, "no\n"),
        _ => answer(json!([]), ""),
    });
    for (line, why) in [
        ("test a", "1 of 1 connections"),
        ("show cluster a", "not found"),
        ("version", "401"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run_unread(&mut fake.pgo(&arguments));
        assert_eq!(ran.code, Some(2), "{line}: {ran:?}");
        assert!(ran.stderr.contains(why), "{line}: {}", ran.stderr);
    }
}

#[test]
fn a_question_that_nobody_can_see_is_not_answered() {
    let fake = Fake::start(|_| answer(json!(["deleted pgcluster a"]), ""));
    let mut child = fake
        .pgo(&["delete", "cluster", "a"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(unread())
        .spawn()
        .unwrap();
    // The client may be gone before it reads this.
    let _ = child.stdin.take().unwrap().write_all(b"yes\n");
    let ran = finish(child);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn an_answer_that_tells_of_no_creation_is_a_failure() {
    let taken = "pgtasks.crunchydata.com \"hippo-createcluster\" already exists";
    for (reply, series, printed, why) in [
        // So 4.1's apiserver answers where the task of a former cluster is left over.
        (
            json!({ "Results": [taken, "workflow id op-1"], "Code": "ok", "Msg": "" }),
            "1",
            format!("{taken}\nworkflow id op-1\n"),
            format!("nothing was created: {taken}"),
        ),
        (
            json!({ "Results": ["created Pgcluster hippo0", "workflow id op-1", taken], "Code": "ok" }),
            "3",
            format!("created Pgcluster hippo0\nworkflow id op-1\n{taken}\n"),
            format!("1 of 3 clusters were created: {taken}"),
        ),
        (
            json!({}),
            "1",
            String::new(),
            "nothing was created, and the apiserver does not say why".to_owned(),
        ),
    ] {
        let fake = Fake::start(move |_| Reply::Json(reply.clone()));
        let ran = run(&mut fake.pgo(&["create", "cluster", "hippo", "--series", series]));
        assert_eq!((ran.code, &ran.stdout), (Some(2), &printed), "{ran:?}");
        assert!(
            ran.stderr.starts_with(&format!("Error: {why}")),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn an_answer_that_tells_of_no_deletion_is_a_failure() {
    for reply in [
        json!({}),
        json!({ "Results": [], "Code": "ok", "Msg": "" }),
        json!({ "Results": ["something else"], "Code": "ok", "Msg": "" }),
    ] {
        let fake = Fake::start(move |request| match name(request).as_str() {
            "b" => Reply::Json(reply.clone()),
            name => answer(json!([format!("deleted pgcluster {name}")]), ""),
        });
        let ran = run(&mut fake.pgo(&["delete", "cluster", "a", "b", "--no-prompt"]));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(
            ran.stderr.contains("does not say") && ran.stderr.contains("(cluster b)"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_status_with_figures_missing_names_them_and_is_a_failure() {
    let missing = "claims, nodes: Kubernetes cannot be reached";
    let fake = Fake::start(move |_| {
        Reply::Json(json!({ "Result": { "NumDatabases": 3 }, "Code": "ok", "Msg": missing }))
    });
    let ran = run(&mut fake.pgo(&["status"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stdout.contains("\nDatabases:               3\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains(missing), "{}", ran.stderr);

    let ran = run(&mut fake.pgo(&["status", "-o", "json"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["Msg"], missing);
    assert!(ran.stderr.contains(missing), "{}", ran.stderr);
}

#[test]
fn a_test_that_is_told_nowhere_says_so_and_is_as_good_as_another_one() {
    let fake = Fake::start(|_| {
        let results =
            json!([{"ClusterName": "a", "Items": [{"PsqlString": "p", "Working": true}]}]);
        let remark = "the test is not told as an event: a: the cluster is being deleted";
        Reply::Json(json!({"Results": results, "Code": "ok", "Msg": remark}))
    });
    let ran = run(&mut fake.pgo(&["test", "a"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, "\ncluster : a \n\tp is Working\n");
    let said = "pgo: the test is not told as an event: a: the cluster is being deleted\n";
    assert_eq!(ran.stderr, said);
}
