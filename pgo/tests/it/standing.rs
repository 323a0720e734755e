//! How the instances of a cluster stand to each other: `pgo show cluster`, `pgo test` and `pgo status` say the same.

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

fn status() -> Value {
    json!({
        "currentPrimary": "hippo-abcd", "replicaCount": {"asked": 2, "wanted": 2, "made": 2},
        "instances": [
            {"name": "hippo", "role": "replica", "ready": true, "timeline": 2, "streaming": true, "lagBytes": 4_194_304,
                "lagSeconds": 2, "sync": "quorum"},
            {"name": "hippo-abcd", "role": "primary", "ready": true, "timeline": 2, "pendingRestart": ["max_connections"]},
        ],
        "synchronous": {"asked": 1, "rule": 1, "of": 2, "waitFor": 1},
        "lastTakeover": {"planned": false, "from": "hippo", "to": "hippo-abcd", "cause": "hippo is\nsilent", "timeline": 2,
            "lsn": "0/3000148", "at": "2020-10-15T10:11:12Z", "durationMs": 2300},
        "lastProvenRestore": {"backup": "20201015-101112F", "at": "2020-10-15T11:00:00Z", "durationMs": 12_300,
            "sizeBytes": 30_000_000, "lsn": "0/5000148", "checksums": true, "structure": true},
    })
}

/// The answer of `/status` about a cluster with that status, and one that nobody has looked at yet.
fn figures() -> Value {
    let of = |name: &str, status: &Value| {
        json!(pgo_api::StatusCluster::read(name, &Value::Null, status))
    };
    let clusters = [of("fresh", &Value::Null), of("hippo", &status())];
    json!({"Result": {"NumDatabases": 2, "Labels": [{"Key": "a=b", "Value": 2}], "Clusters": clusters}, "Code": "ok", "Msg": ""})
}

/// What stands between "hippo-abcd took over from hippo " and " ago", which grows.
fn without_age(text: &str) -> String {
    let (before, rest) = text.split_once("from hippo ").unwrap();
    let (_, behind) = rest.split_once(" ago").unwrap();
    format!("{before}from hippo (days) ago{behind}")
}

#[test]
fn the_status_has_a_table_of_clusters_below_what_4_1_prints() {
    let fake = Fake::start(|_| Reply::Json(figures()));
    let ran = run(&mut fake.pgo(&["status"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (_, below) = ran.stdout.split_once("\t[2]\t[a=b]\n").unwrap();
    assert_eq!(
        without_age(below),
        "\nClusters:\n\
         \tNAME   PRIMARY     READY  TIMELINE  LAG                  PENDING RESTART  SYNCHRONOUS\n\
         \tfresh  -           0/1    -         -                    -                -\n\
         \thippo  hippo-abcd  2/3    2         up to 4 MiB and 2 s  max_connections  commits wait for 1 of 2 replicas\n\
         \nLast Change Of The Primary:\n\
         \thippo  failover : hippo-abcd took over from hippo (days) ago, within 2.3 s, timeline 2 at 0/3000148: hippo is silent\n\
         \nLast Proven Restore:\n\
         \thippo  20201015-101112F at 2020-10-15T11:00:00Z, within 12.3 s, up to 0/5000148\n"
    );
    let json = run(&mut fake.pgo(&["status", "-o", "json"]));
    let printed: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        printed["Result"]["Clusters"],
        figures()["Result"]["Clusters"]
    );
}

#[test]
fn a_status_without_clusters_ends_as_in_4_1() {
    let fake = Fake::start(|_| Reply::Json(json!({"Result": {}, "Code": "ok", "Msg": ""})));
    let ran = run(&mut fake.pgo(&["status"]));
    let end = "\nLabels (count > 1): [count] [label]\n";
    assert!(ran.stdout.ends_with(end), "{ran:?}");
}

#[test]
fn a_cluster_that_is_shown_has_the_same_in_the_same_words() {
    let cluster = json!({"metadata": {"name": "hippo"}, "spec": {}, "status": status()});
    let answer = json!({"Results": [{"Cluster": cluster}], "Code": "ok", "Msg": ""});
    let fake = Fake::start(move |_| Reply::Json(answer.clone()));
    let ran = run(&mut fake.pgo(&["show", "cluster", "hippo"]));
    let shown = without_age(&ran.stdout);
    for line in [
        "instances : 2/3 ready",
        "instance : hippo (replica, lag up to 4 MiB and 2 s, quorum) timeline 2",
        "instance : hippo-abcd (primary) timeline 2, pending restart: max_connections",
        "synchronous : commits wait for 1 of 2 replicas",
        "last failover : hippo-abcd took over from hippo (days) ago, within 2.3 s, timeline 2 at 0/3000148: hippo is silent",
        "last proven restore : 20201015-101112F at 2020-10-15T11:00:00Z, within 12.3 s, up to 0/5000148",
    ] {
        assert!(shown.contains(&format!("\n\t{line}\n")), "{line}: {shown}");
    }
}

#[test]
fn a_test_has_the_same_in_the_same_words_behind_what_4_1_prints() {
    let works = |working| json!({"PsqlString": "psql -p 5432 -h 10.0.0.1 -U postgres postgres", "Working": working});
    let standing = json!(pgo_api::StatusCluster::read(
        "hippo",
        &Value::Null,
        &status()
    ));
    let result =
        json!({"ClusterName": "hippo", "Items": [works(true), works(false)], "Standing": standing});
    let answer = json!({"Results": [result], "Code": "ok", "Msg": ""});
    let fake = Fake::start(move |_| Reply::Json(answer.clone()));
    let ran = run(&mut fake.pgo(&["test", "hippo"]));
    assert_eq!(ran.code, Some(2), "one does not work: {ran:?}");
    assert_eq!(
        without_age(&ran.stdout),
        "\ncluster : hippo \n\
         \tpsql -p 5432 -h 10.0.0.1 -U postgres postgres is Working\n\
         \tpsql -p 5432 -h 10.0.0.1 -U postgres postgres is NOT working\n\
         \tinstances : 2/3 ready\n\
         \tinstance : hippo (replica, lag up to 4 MiB and 2 s, quorum) timeline 2\n\
         \tinstance : hippo-abcd (primary) timeline 2, pending restart: max_connections\n\
         \tsynchronous : commits wait for 1 of 2 replicas\n\
         \tlast failover : hippo-abcd took over from hippo (days) ago, within 2.3 s, timeline 2 at 0/3000148: hippo is silent\n\
         \tlast proven restore : 20201015-101112F at 2020-10-15T11:00:00Z, within 12.3 s, up to 0/5000148\n"
    );
    let json = run(&mut fake.pgo(&["test", "hippo", "-o", "json"]));
    let printed: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(printed["Results"][0]["Standing"], standing);
}

#[test]
fn an_instance_that_is_alone_is_told_of_too() {
    let instance = json!({"name": "hippo", "role": "primary", "ready": true, "timeline": 3});
    let status = json!({"currentPrimary": "hippo", "instances": [instance]});
    let cluster = json!({"metadata": {"name": "hippo"}, "spec": {}, "status": status});
    let answer = json!({"Results": [{"Cluster": cluster}], "Code": "ok", "Msg": ""});
    let fake = Fake::start(move |_| Reply::Json(answer.clone()));
    let ran = run(&mut fake.pgo(&["show", "cluster", "hippo"]));
    let lines = "\tinstances : 1/1 ready\n\tinstance : hippo (primary) timeline 3\n";
    assert!(ran.stdout.contains(lines), "{ran:?}");
}
