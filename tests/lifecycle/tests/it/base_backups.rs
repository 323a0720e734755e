//! Copies by pg_basebackup as a user meets them: made, shown, refused, and a cluster of another name made of one.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Cluster, Watch,
    events::{fields, types},
    kubernetes::get,
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long what is shown may take to be what the status says.
const NOTED: Duration = Duration::from_secs(30);

const TYPE: &str = "--backup-type=pgbasebackup";

fn rows(cluster: &Cluster) -> String {
    cluster.ask("SELECT string_agg(n::text, ',' ORDER BY n) FROM kept;")
}

#[test]
fn a_cluster_made_of_a_copy_has_what_was_there_and_the_first_one_stays() {
    let _turn = together();
    let watch = Watch::begin();
    let (first, second) = (Cluster::named("copy"), Cluster::named("copied"));
    first.create(&["--replica-count=1", "--wait"]).ok();
    first
        .psql("CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 3);")
        .ok();
    let name = first.name.as_str();
    let made = pgo(&["backup", name, TYPE, "--wait", "--timeout=240s"]).ok();
    assert!(
        made.out
            .contains(&format!("created backup Job for {name}\nworkflow id ")),
        "{made}"
    );
    let events = watch.until(&first.uid(), "CreateBackupCompleted");
    assert_eq!(
        fields(&events, "CreateBackupCompleted", "/backuptype"),
        ["pgbasebackup"]
    );
    for field in ["/startwal", "/stopwal"] {
        let wal = fields(&events, "CreateBackupCompleted", field);
        assert_eq!(wal.first().map(String::len), Some(24), "{wal:?}");
    }
    let [path] = fields(&events, "CreateBackupCompleted", "/path")
        .try_into()
        .expect("one end");
    let wanted = [
        format!("\npgbackup : {name}\n"),
        format!("\tPVC Name:\t{name}-backup\n"),
        "\tBackup Status:\tjob completed\n".to_owned(),
        format!("\tBackup Path:\t{path}\n"),
    ];
    until("what is shown of it", NOTED, || {
        let shown = pgo(&["show", "backup", name, TYPE]);
        let all = wanted.iter().all(|part| shown.out.contains(part));
        seen(all, || shown.to_string())
    });
    first.psql("INSERT INTO kept VALUES (4);").ok();

    let to = format!("--restore-to-pvc={}", second.name);
    let at = format!("--backup-path={path}");
    let words = ["restore", name, TYPE, "--no-prompt", "--wait"];
    let restored = pgo(&[&words[..], &[&at, &to, "--timeout=240s"]].concat()).ok();
    assert!(!restored.out.contains("Warning"), "{restored}");
    let claim = get("persistentvolumeclaim", second.name.as_str(), &namespace());
    let claim = claim.expect("a claim");
    assert_eq!(claim["metadata"]["ownerReferences"], Value::Null);
    second.create(&["--wait"]).ok();
    assert_eq!(rows(&second), "1,2,3");
    second.psql("INSERT INTO kept VALUES (5);").ok();
    assert_eq!(rows(&first), "1,2,3,4", "it was not touched");
    // What is there is not restored to.
    pgo(&[&words[..], &[to.as_str()]].concat()).failed(2, &["is there; restore to a claim"]);

    copies_go(&first, &watch);
    watch.check_to_its_end(&first.uid());
}

/// They are removed with their claim.
fn copies_go(cluster: &Cluster, watch: &Watch) {
    let name = cluster.name.as_str();
    let deleted = pgo(&["delete", "backup", name, "--no-prompt"]).ok();
    assert_eq!(deleted.out, format!("Deleted backup {name}\n"));
    let events = watch.until(&cluster.uid(), "DeleteBackupCompleted");
    assert_eq!(
        fields(&events, "DeleteBackupCompleted", "/backuptype"),
        ["pgbasebackup"]
    );
    assert_eq!(
        get(
            "persistentvolumeclaim",
            &format!("{name}-backup"),
            &namespace()
        ),
        None
    );
    pgo(&["show", "backup", name, TYPE]).failed(2, &["backup not found for"]);
}

#[test]
fn what_cannot_be_copied_or_restored_makes_nothing() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("nocopy");
    cluster.create(&["--wait"]).ok();
    let name = cluster.name.as_str();
    pgo(&["show", "backup", name, TYPE]).failed(2, &["backup not found for"]);
    for (flag, words) in [
        (
            "--backup-opts=--pgdata=/x",
            "Flag --pgdata is not supported for use with PGO",
        ),
        (
            "--backup-opts=--format=tar",
            "--format=tar is not available",
        ),
    ] {
        pgo(&["backup", name, TYPE, flag]).failed(2, &[words]);
    }
    let data = format!("--pvc-name={name}");
    pgo(&["backup", name, TYPE, &data, "--wait", "--timeout=60s"])
        .failed(2, &["holds the data of an instance"]);
    pgo(&["restore", name, TYPE, "--no-prompt", "--backup-pvc=nosuch"]).failed(
        2,
        &[
            "Invalid pgbasebackup restore request:",
            "persistentvolumeclaims \"nosuch\" not found",
        ],
    );
    let events = watch.until(&cluster.uid(), "CreateBackupFailure");
    assert!(!types(&events).contains(&"CreateBackupCompleted".to_owned()));
    watch.check_to_its_end(&cluster.uid());
}
