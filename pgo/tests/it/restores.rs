//! `pgo restore`: what is asked, what is said before, and how `--wait` ends.

use crate::fake::{Fake, Reply, run};
use serde_json::{Value, json};

const WARNING: &str = "Warning:  If currently running, the primary database in this cluster will be stopped and recreated as part of \
     this workflow!\n";

fn asked(request: &Value) -> Value {
    let to = request["ToPVC"].as_str().unwrap_or_default();
    json!({
        "Results": [format!("restore performed on hippo to {to} opts= pitr-target="), "workflow id op-1"],
        "OperationID": "op-1", "Code": "ok", "Msg": "",
    })
}

#[test]
fn a_restore_is_asked_for_as_in_4_1() {
    let fake = Fake::start(|request| Reply::Json(asked(&request.body)));
    let ran = run(&mut fake.pgo(&[
        "restore",
        "hippo",
        "--no-prompt",
        "--pitr-target=2019-01-01 00:00:00",
        "--backup-opts=--type=time",
        "--node-label=zone=a",
    ]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let requests = fake.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(request.route(), "/restore");
    let to = request.body["ToPVC"].as_str().unwrap().to_owned();
    let letters = to.strip_prefix("hippo-").unwrap();
    assert!(
        letters.len() == 4 && letters.bytes().all(|b| b.is_ascii_lowercase()),
        "{to}"
    );
    assert_eq!(
        request.body,
        json!({
            "Namespace": request.body["Namespace"], "FromCluster": "hippo", "ToPVC": to, "RestoreOpts": "--type=time",
            "PITRTarget": "2019-01-01 00:00:00", "NodeLabel": "zone=a", "BackrestStorageType": "",
        })
    );
    assert_eq!(
        ran.stdout,
        format!(
            "{WARNING}restore performed on hippo to {to} opts= pitr-target=\nworkflow id op-1\n"
        )
    );
}

#[test]
fn nothing_is_asked_for_without_a_yes_or_of_what_comes_later() {
    let fake = Fake::start(|request| Reply::Json(asked(&request.body)));
    let ran = run(&mut fake.pgo(&["restore", "hippo"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stdout.starts_with("Warning:") && ran.stderr.contains("--no-prompt"),
        "{ran:?}"
    );
    for (flag, word) in [
        ("--backup-type=tape", "there are pgbackrest, pgbasebackup"),
        (
            "--backup-pvc=x",
            "goes with --backup-type=pgdump or pgbasebackup only",
        ),
        (
            "--restore-to-pvc=x",
            "goes with --backup-type=pgbasebackup only",
        ),
    ] {
        let ran = run(&mut fake.pgo(&["restore", "hippo", flag, "--no-prompt"]));
        assert!(ran.stderr.contains(word), "{ran:?}");
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_dump_is_restored_without_a_word_of_a_primary_that_stops() {
    let fake = Fake::start(|_| {
        Reply::Json(json!({
            "Results": ["restore performed on hippo to c opts=--clean pitr-target=2026-10-15-10-11-12"],
            "OperationID": "op-1", "Code": "ok", "Msg": "",
        }))
    });
    let ran = run(&mut fake.pgo(&[
        "restore",
        "hippo",
        "--backup-type=pgdump",
        "--backup-pvc=c",
        "--backup-opts=--clean",
        "--pitr-target=2026-10-15-10-11-12",
        "--node-label=zone=a",
        "--no-prompt",
    ]));
    assert_eq!(
        ran.stdout,
        "restore performed on hippo to c opts=--clean pitr-target=2026-10-15-10-11-12\n",
        "{ran:?}"
    );
    let request = fake.requests()[0].clone();
    assert_eq!(request.route(), "/pgdumprestore");
    assert_eq!(
        request.body,
        json!({
            "Namespace": request.body["Namespace"], "FromCluster": "hippo", "FromPVC": "c", "RestoreOpts": "--clean",
            "PITRTarget": "2026-10-15-10-11-12", "NodeLabel": "zone=a",
        })
    );
}

#[test]
fn a_copy_is_restored_to_a_claim_of_its_own() {
    let fake = Fake::start(|_| {
        Reply::Json(json!({
            "Results": ["pgbasebackup restore performed", "workflow id op-1"],
            "OperationID": "op-1", "Code": "ok", "Msg": "",
        }))
    });
    let base = [
        "restore",
        "hippo",
        "--backup-type=pgbasebackup",
        "--no-prompt",
    ];
    let further = [
        "--backup-pvc=c",
        "--backup-path=hippo-backups/2026-10-15-10-11-12",
        "--restore-to-pvc=hippo2",
        "--node-label=zone=a",
    ];
    let ran = run(&mut fake.pgo(&[&base[..], &further].concat()));
    assert_eq!(
        ran.stdout, "pgbasebackup restore performed\nworkflow id op-1\n",
        "{ran:?}"
    );
    let request = fake.requests()[0].clone();
    assert_eq!(request.route(), "/pgbasebackuprestore");
    assert_eq!(
        request.body,
        json!({
            "Namespace": request.body["Namespace"], "FromCluster": "hippo", "ToPVC": "hippo2", "FromPVC": "c",
            "BackupPath": "hippo-backups/2026-10-15-10-11-12", "NodeLabel": "zone=a",
        })
    );
    run(&mut fake.pgo(&base));
    let to = fake.requests()[1].body["ToPVC"].clone();
    let letters = to.as_str().and_then(|to| to.strip_prefix("hippo-"));
    assert_eq!(letters.map(str::len), Some(4), "{to}");
}

#[test]
fn a_wait_ends_with_the_cause_of_a_failure() {
    let fake = Fake::start(move |request| match request.route() {
        "/events" => Reply::Text(401, "no\n"),
        "/restore" => Reply::Json(asked(&request.body)),
        _ => Reply::Json(json!({"Code": "ok", "Msg": "", "Results": [{"Cluster": {
            "metadata": {"name": "hippo"}, "status": {"phase": "Ready", "operations": [
                {"id": "op-1", "outcome": "Failed", "cause": "the target is in the future; nothing was changed"}]},
        }}]})),
    });
    let ran = run(&mut fake.pgo(&["restore", "hippo", "--no-prompt", "--wait", "--timeout=30s"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("cluster hippo failed to be restored")
            && ran
                .stderr
                .contains("the target is in the future; nothing was changed"),
        "{ran:?}"
    );
}
