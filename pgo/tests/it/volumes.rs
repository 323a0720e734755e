//! `pgo df`, `pgo ls`, `pgo cat` and `pgo show workflow`: what is asked, what is shown, and how it ends.

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn volumes() -> Value {
    json!({"Code": "ok", "Msg": "", "Results": [
        {"Name": "hippo", "PGSize": "30 MB", "ClaimSize": "1Gi", "Pct": 71, "Working": true, "Role": "primary",
            "Claim": "hippo", "VolumeBytes": 1_u64 << 30, "VolumeUsed": 762_u64 << 20},
        {"Name": "hippo-abcd", "PGSize": "", "ClaimSize": "1Gi", "Pct": 0, "Working": false, "Claim": "hippo-abcd",
            "Problem": "the agent of hippo-abcd does not answer"},
    ]})
}

#[test]
fn volumes_are_shown_in_4_1_s_table_and_one_that_is_down_is_told_why() {
    let fake = Fake::start(|_| Reply::Json(volumes()));
    let ran = run(&mut fake.pgo(&words("df hippo")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.stdout,
        "POD        STATUS    PGSIZE    CAPACITY  PCTUSED\n\n\
         hippo      up        30 MB     1Gi       71\n\
         hippo-abcd down                1Gi       -\n"
    );
    assert_eq!(
        ran.stderr,
        "pgo: hippo-abcd: the agent of hippo-abcd does not answer\n"
    );
    let wide = run(&mut fake.pgo(&words("df --all -o wide")));
    assert!(
        wide.stdout
            .contains("71        primary   762 MiB   1024 MiB  hippo\n"),
        "{wide:?}"
    );
    let json = run(&mut fake.pgo(&words("df --selector=env=dev -o json")));
    let printed: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(printed["Results"][0]["Pct"], 71);
    let form = run(&mut fake.pgo(&words("df hippo -o yaml")));
    assert_eq!(form.code, Some(2), "{form:?}");
    let paths: Vec<String> = fake.requests().into_iter().map(|one| one.path).collect();
    assert_eq!(
        paths,
        [
            "/df/hippo?selector=&version=4.1.0&namespace=pgouser1",
            "/df/all?selector=&version=4.1.0&namespace=pgouser1",
            "/df/all?selector=env%3Ddev&version=4.1.0&namespace=pgouser1",
        ]
    );
}

#[test]
fn a_cluster_without_instances_is_a_failure_with_4_1_s_text() {
    let fake = Fake::start(|_| Reply::Json(json!({"Code": "ok", "Msg": "", "Results": []})));
    let ran = run(&mut fake.pgo(&words("df nosuch")));
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(2), "Nothing found.\n")
    );
    assert!(
        ran.stderr.contains("no instance of cluster nosuch"),
        "{ran:?}"
    );
}

#[test]
fn files_are_asked_for_in_4_1_s_fields_and_printed_as_they_are() {
    let text = json!({"Code": "ok", "Msg": "", "Results": ["a\u{1b}[2J\n", "b"]});
    let fake = Fake::start(move |_| Reply::Json(text.clone()));
    let ran = run(&mut fake.pgo(&words("cat hippo x y")));
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "a\u{1b}[2J\n\nb\n")
    );
    let asked = fake.requests().remove(0);
    assert_eq!(asked.route(), "/cat");
    assert_eq!(
        asked.body,
        json!({"Namespace": "pgouser1", "Args": ["hippo", "x", "y"]})
    );
    let ran = run(&mut fake.pgo(&words("ls hippo")));
    assert_eq!(ran.code, Some(1), "a path is needed: {ran:?}");
}

#[test]
fn a_workflow_is_shown_by_its_id() {
    let shown = json!({"Code": "ok", "Msg": "", "Results": {"ClusterName": "hippo", "Parameters": {"pg-cluster": "hippo"},
        "State": "running"}});
    let fake = Fake::start(move |_| Reply::Json(shown.clone()));
    let ran = run(&mut fake.pgo(&words("show workflow 17")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout
            .ends_with("pg-cluster          hippo\nstate               running\n")
    );
    let path = fake.requests().remove(0).path;
    assert_eq!(path, "/workflow/17?version=4.1.0&namespace=pgouser1");
}
