//! Restore drills as a user meets them: a backup is proven without anybody asking, and nothing of it stays.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Cluster, Watch,
    cluster::BACKED_UP,
    events::fields,
    kubectl,
    kubernetes::{condition, get, list, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long all that is done with a backup that is tried may take on a busy machine of two cores, where those of two other clusters have to
/// end first.
const TRIED: Duration = Duration::from_secs(700);

/// Neither its pod nor its volume is left, and the cluster is what it was.
fn nothing_is_left(cluster: &Cluster) {
    let name = cluster.name.as_str();
    until("nothing of it", TRIED, || {
        let pod = get("pod", &format!("{name}-restore-drill"), &namespace());
        let claims = list("persistentvolumeclaims", "", &namespace());
        let of_drill = |claim: &&serde_json::Value| {
            text(claim, "/metadata/name").starts_with(&format!("{name}-restore-drill"))
        };
        let left = claims.iter().filter(of_drill).count();
        seen(pod.is_none() && left == 0, || format!("{pod:?} {left}"))
    });
}

#[test]
fn each_backup_is_tried_and_shown_as_proven() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::with_repository("drill", &["--restore-drills=each"]);
    let name = cluster.name.as_str();
    cluster
        .psql("CREATE TABLE kept (n int PRIMARY KEY); INSERT INTO kept SELECT generate_series(1, 1000);")
        .ok();
    pgo(&["backup", name, "--backup-opts=--type=full", "--wait"]).ok();
    let shown = pgo(&["show", "backup", name]).ok();
    assert!(
        shown.out.contains("not yet")
            || shown.out.contains("running")
            || shown.out.contains("proven"),
        "{shown}"
    );
    until("a proven backup", TRIED, || {
        let shown = pgo(&["show", "backup", name]);
        let pod = get("pod", &format!("{name}-restore-drill"), &namespace());
        seen(shown.out.contains("  proven  "), || {
            format!("{shown}\n{pod:?}")
        })
    });
    let events = watch.until(&cluster.uid(), "VerifyRestoreCompleted");
    let [label] = fields(&events, "VerifyRestoreCompleted", "/path")
        .try_into()
        .expect("one");
    let object = cluster.object().expect("it is there");
    assert_eq!(text(&object, "/status/lastProvenRestore/backup"), label);
    assert!(text(&object, "/status/lastProvenRestore/lsn").starts_with("0/"));
    assert_eq!(object["status"]["lastProvenRestore"]["checksums"], true);
    assert_eq!(object["status"]["lastProvenRestore"]["structure"], true);
    let proven = condition(&object, "BackupsProven").expect("a condition");
    assert_eq!(proven["status"], "True", "{proven}");
    nothing_is_left(&cluster);
    assert_eq!(cluster.ask("SELECT count(*) FROM kept;"), "1000");

    // Another backup is tried, too; one more is not, by another policy.
    pgo(&["backup", name, "--backup-opts=--type=incr", "--wait"]).ok();
    watch.until_count(&cluster.uid(), "VerifyRestoreCompleted", 2);
    pgo(&[
        "update",
        "cluster",
        name,
        "--restore-drills=never",
        "--no-prompt",
    ])
    .ok();
    pgo(&["backup", name, "--backup-opts=--type=incr", "--wait"]).ok();
    let shown = pgo(&["show", "backup", name]).ok();
    assert_eq!(shown.out.matches("  proven  ").count(), 2, "{shown}");
    assert_eq!(shown.out.matches("  not yet").count(), 1, "{shown}");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_backup_is_proven_when_somebody_asks_for_it() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("prove");
    let name = cluster.name.as_str();
    cluster
        .create(&["--pgbackrest=true", "--restore-drills=never", "--wait"])
        .ok();
    until("a repository with its stanza", BACKED_UP, || {
        let shown = pgo(&["show", "backup", name]);
        seen(shown.out.contains("stanza: db"), || shown.to_string())
    });
    pgo(&["backup", name, "--backup-opts=--type=full", "--wait"]).ok();
    pgo(&["drill", name, "--backup=20200101-000000F", "--wait"])
        .failed(2, &["there is no backup 20200101-000000F; there are "]);
    pgo(&["drill", name, "--wait", "--timeout=12m"]).ok();
    let shown = pgo(&["show", "backup", name]).ok();
    assert!(shown.out.contains("  proven  "), "{shown}");
    let object = cluster.object().expect("it is there");
    assert!(text(&object, "/status/lastProvenRestore/lsn").starts_with("0/"));
    nothing_is_left(&cluster);
    watch.check_to_its_end(&cluster.uid());
}

/// Writes over part of a page of a table of its own, where the disk keeps it.
fn damage_a_page(cluster: &Cluster) {
    // Nobody writes the page again, which PostgreSQL has whole, once a backup has had it written.
    cluster
        .psql("CREATE TABLE torn WITH (autovacuum_enabled = false) AS SELECT generate_series(1, 5000) AS n;")
        .ok();
    pgo(&[
        "backup",
        &cluster.name,
        "--backup-opts=--type=full",
        "--wait",
    ])
    .ok();
    let file = cluster.ask("SELECT pg_relation_filepath('torn');");
    let (name, here) = (cluster.name.as_str(), namespace());
    let command = format!(
        "printf 'something else' | dd of=/pgdata/{name}/{file} bs=1 seek=28672 conv=notrunc && sync"
    );
    let exec = ["exec", "-n", &here, name, "-c", "database"];
    kubectl(&[&exec[..], &["--", "sh", "-c", &command]].concat()).ok();
}

#[test]
fn a_backup_with_a_damaged_page_is_never_told_as_a_good_one() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::with_repository("torn", &["--restore-drills=never"]);
    let name = cluster.name.as_str();
    damage_a_page(&cluster);
    pgo(&["backup", name, "--backup-opts=--type=full", "--wait"])
        .failed(2, &["it is not to be relied on", "at page 3"]);
    let events = watch.until(&cluster.uid(), "CreateBackupFailure");
    let is_failure =
        |event: &&Value| text(event, "/eventheader/EventType") == "CreateBackupFailure";
    let failed = events.iter().find(is_failure).expect("told");
    assert_eq!(failed["damaged"], true, "{failed}");
    let label = text(failed, "/path");
    let shown = pgo(&["show", "backup", name]).ok();
    assert!(shown.out.contains("DAMAGED"), "{shown}");
    let shown = pgo(&["show", "backup", name, "-o", "json"]).ok().json();
    let trials = &shown["Items"][0]["Trials"];
    assert_eq!(trials[0].get("Damaged"), None, "{shown}");
    assert_eq!(trials[1]["Backup"], label, "{shown}");
    assert_eq!(trials[1]["Damaged"], true, "{shown}");
    let object = cluster.object().expect("it is there");
    let whole = condition(&object, "BackupsWhole").expect("a condition");
    assert_eq!(whole["status"], "False", "{whole}");
    assert_eq!(object["status"]["lastBackup"]["damaged"], true);
    pgo(&["drill", name, "--wait", "--timeout=12m"])
        .failed(2, &["pages in it have wrong checksums"]);
    // Without the table the next backup is whole.
    cluster.psql("DROP TABLE torn;").ok();
    pgo(&["backup", name, "--backup-opts=--type=full", "--wait"]).ok();
    until("a whole backup", BACKED_UP, || {
        let object = cluster.object().ok_or("it is not there")?;
        let whole = condition(&object, "BackupsWhole").unwrap_or_default();
        seen(whole["status"] == "True", || whole.to_string())
    });
    nothing_is_left(&cluster);
    watch.check_to_its_end(&cluster.uid());
}
