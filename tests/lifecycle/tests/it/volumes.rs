//! Volumes that fill and grow, what is on them, and how far operations are.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Cluster, Watch,
    events::{fields, types},
    kubectl,
    kubernetes::{apply, condition, get, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// An agent measures every 5 seconds, and the rest takes a moment.
const TOLD: Duration = Duration::from_secs(60);

/// Waits until a condition of the cluster is so, for this reason.
fn until_condition(cluster: &Cluster, name: &str, status: &str, reason: &str) {
    until(&format!("{name}={status} {reason}"), TOLD, || {
        let object = cluster.object().ok_or("it is not there")?;
        let found = condition(&object, name).unwrap_or_default();
        let is = found["status"] == status && found["reason"] == reason;
        seen(is, || found.to_string())
    });
}

/// Runs a command beside the database.
fn beside(cluster: &Cluster, command: &str) {
    let (namespace, name) = (namespace(), cluster.name.as_str());
    let arguments = [
        "exec", "-n", &namespace, name, "-c", "database", "--", "sh", "-c", command,
    ];
    kubectl(&arguments).ok();
}

/// What `pgo df` says of the first instance.
fn percent(cluster: &Cluster) -> i64 {
    let shown = pgo(&["df", &cluster.name, "-o", "json"]).ok().json();
    let row = &shown["Results"][0];
    assert_eq!(row["Working"], true, "{shown}");
    row["Pct"].as_i64().expect("a number")
}

#[test]
fn a_volume_that_fills_is_told_with_its_level_and_has_room_again_when_it_has_grown() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("fills");
    let storage = json!({
        "storagetype": "dynamic", "storageclass": "local-memory", "accessmode": "ReadWriteOnce", "size": "512Mi",
    });
    apply(&cluster.manifest(json!({"PrimaryStorage": storage}))).ok();
    cluster.until_ready();
    until_condition(&cluster, "VolumesHaveRoom", "True", "Room");

    beside(&cluster, "head -c 320M /dev/zero > /pgdata/fills");
    let uid = cluster.uid();
    let told = watch.until(&uid, "DiskWarning");
    assert_eq!(
        fields(&told, "DiskWarning", "/volume"),
        [cluster.name.as_str()]
    );
    until_condition(&cluster, "VolumesHaveRoom", "False", "Filling");
    let full = percent(&cluster);
    assert!((70..85).contains(&full), "{full}");

    pgo(&[
        "update",
        "cluster",
        &cluster.name,
        "--pvc-size=1Gi",
        "--no-prompt",
    ])
    .ok();
    watch.until(&uid, "UpdateClusterCompleted");
    let claim = get("pvc", &cluster.name, &namespace()).expect("a claim");
    assert_eq!(text(&claim, "/status/capacity/storage"), "1Gi");
    let told = watch.until(&uid, "DiskRecovered");
    let warnings = types(&told);
    let warnings = warnings.iter().filter(|one| *one == "DiskWarning");
    assert_eq!(warnings.count(), 1);
    until_condition(&cluster, "VolumesHaveRoom", "True", "Room");
    until_condition(&cluster, "UpToDate", "True", "AsWanted");
    assert!(percent(&cluster) < 65);

    let smaller = [
        "update",
        "cluster",
        &cluster.name,
        "--pvc-size=512Mi",
        "--no-prompt",
    ];
    pgo(&smaller).failed(2, &["cannot be made smaller"]);
}

#[test]
fn a_volume_of_a_class_that_does_not_allow_it_stays_and_the_reason_is_told() {
    let _turn = together();
    let cluster = Cluster::ready("stays");
    let larger = [
        "update",
        "cluster",
        &cluster.name,
        "--pvc-size=9Gi",
        "--no-prompt",
    ];
    pgo(&larger).failed(2, &["does not allow volumes to grow"]);
    // Whoever edits the spec is told by the reconciler.
    let patch = json!({"spec": {"PrimaryStorage": {"size": "9Gi"}}}).to_string();
    let namespace = namespace();
    let of = ["pgcluster", &cluster.name, "-n", &namespace, "--type=merge"];
    kubectl(&[&["patch"], &of[..], &["-p", &patch]].concat()).ok();
    until_condition(&cluster, "UpToDate", "False", "VolumeCannotGrow");
    cluster.until_ready();
}

#[test]
fn files_of_the_primary_are_shown_and_others_are_not() {
    let _turn = together();
    let cluster = Cluster::ready("files");
    let name = cluster.name.as_str();
    let version = pgo(&["cat", name, "PG_VERSION"]).ok().out;
    assert!(version.trim().parse::<u32>().is_ok(), "{version}");
    let data = format!("/pgdata/{name}");
    let listed = pgo(&["ls", name, &data]).ok().out;
    assert!(
        listed.starts_with("total ") && listed.contains(" pg_wal\n"),
        "{listed}"
    );
    for outside in ["/etc/hostname", "/pgo/tls/tls.key", "/pgdata/../etc/passwd"] {
        pgo(&["cat", name, outside]).failed(2, &["is not below /pgdata or /pgconf"]);
    }
    pgo(&["cat", name, "global/1260"]).failed(2, &["is no text"]);
    pgo(&["ls", name, "/pgdata;ls"]).failed(2, &["contains non-allowed characters"]);
    pgo(&["cat", "nosuch", "x"]).failed(2, &["nosuch was not found, verify cluster name"]);
}

#[test]
fn a_workflow_is_shown_to_its_end() {
    let _turn = together();
    let cluster = Cluster::named("flows");
    let made = cluster.create(&["--wait"]).ok();
    let mut lines = made.out.lines();
    let id = lines.find_map(|line| line.strip_prefix("workflow id "));
    let id = id.expect("an id").trim().to_owned();
    until("the end of the workflow", TOLD, || {
        let shown = pgo(&["show", "workflow", &id]).ok().out;
        let is = shown.contains("task completed") && shown.contains("completed");
        seen(is, || shown.clone())
    });
    let shown = pgo(&["show", "workflow", &id, "-o", "json"]).ok().json();
    assert_eq!(shown["Results"]["ClusterName"], cluster.name.as_str());
    assert_eq!(shown["Results"]["State"], "completed");
    pgo(&["show", "workflow", "nosuch"]).failed(2, &["workflow id NOT found for id nosuch"]);
}
