//! Backups and restores while what they need is killed or full: each has one end that is true, no row is lost, and the next one
//! is complete.

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Watch,
    cluster::BACKED_UP,
    containers::{kill, kill_all_of, process, until_whole},
    events::{fields, types},
    kubectl,
    kubernetes::{apply, condition, get, text},
    namespace, pgo,
    turns::{alone, together},
    until,
    until::seen,
};

/// The services of the operator but the one that tells of events.
const OPERATOR: [&str; 3] = ["reconciler", "scheduler", "apiserver"];

/// The ends of a backup.
const ENDS: [&str; 2] = ["CreateBackupCompleted", "CreateBackupFailure"];

fn filled(cluster: &Cluster) {
    cluster
        .psql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n;")
        .ok();
}

fn rows(cluster: &Cluster) -> String {
    cluster.ask("SELECT count(*) FROM kept;")
}

/// Asks for a full backup that waits for a checkpoint, which PostgreSQL spreads over some minutes, and waits until it does.
fn slow_backup(cluster: &Cluster, watch: &Watch) -> String {
    let options = "--backup-opts=--type=full --no-start-fast";
    let asked = pgo(&["backup", &cluster.name, options, "-o", "json"]);
    let asked = asked.ok().json();
    watch.until(&cluster.uid(), "CreateBackupProgress");
    let id = asked["Backups"][0]["OperationID"].as_str();
    id.expect("its operation").to_owned()
}

/// How the backup with this id ended, once it has: the type of its one event.
fn ended(cluster: &Cluster, watch: &Watch, id: &str) -> String {
    until("the end of the backup", BACKED_UP, || {
        let events = watch.of(&cluster.uid());
        let of = |kind: &&&str| {
            fields(&events, kind, "/operationid")
                .iter()
                .any(|one| one == id)
        };
        let found = ENDS.iter().find(of);
        found.map(|kind| (*kind).to_owned()).ok_or_else(|| {
            let status = cluster.object().map(|one| one["status"]["backup"].clone());
            format!("{:?}; {status:?}", types(&events))
        })
    })
}

/// How many full backups are shown.
fn sets(cluster: &Cluster) -> usize {
    let shown = pgo(&["show", "backup", &cluster.name]).ok();
    shown.out.matches("full backup: ").count()
}

/// A full backup, once nothing of a former one is at work any more.
fn backs_up(cluster: &Cluster) {
    let before = sets(cluster);
    let full = ["backup", &cluster.name, "--backup-opts=--type=full"];
    until("another backup", BACKED_UP, || {
        let again = pgo(&[&full[..], &["--wait", "--timeout=3m"]].concat());
        seen(again.status.success(), || again.to_string())
    });
    assert_eq!(sets(cluster), before + 1);
}

fn kill_database(instance: &str) {
    let pod = get("pod", instance, &namespace()).expect("a pod");
    kill(process(&pod, "database").expect("its process 1"));
}

#[test]
fn a_backup_survives_the_operator() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let cluster = Cluster::with_repository("backupkill", &[]);
    filled(&cluster);
    let id = slow_backup(&cluster, &watch);
    for name in OPERATOR {
        assert!(kill_all_of(name) > 0, "no process of {name} was there");
    }
    // It goes on by itself, and ends while nobody is there to see it, or somebody new is.
    cluster.psql_as_superuser("CHECKPOINT").ok();
    assert_eq!(ended(&cluster, &watch, &id), "CreateBackupCompleted");
    until_whole();
    assert_eq!(sets(&cluster), 1);
    watch.check_to_its_end(&cluster.uid());
}

/// A full backup while `replica` streams: what is told of its source, and what pgBackRest says itself, which waits for a replica
/// where it copies from one.
fn copied_from_the_replica(cluster: &Cluster, watch: &Watch, replica: &str) {
    backs_up(cluster);
    let events = watch.until(&cluster.uid(), "CreateBackupCompleted");
    for (kind, field, words) in [
        ("CreateBackupProgress", "/step", "copied from replica"),
        ("CreateBackupCompleted", "/cause", "copied from"),
    ] {
        let (told, words) = (fields(&events, kind, field), format!("{words} {replica}"));
        assert!(
            told.iter().any(|one| one.contains(&words)),
            "{words}: {told:?}"
        );
    }
    let repository = format!("deployment/{}-backrest-shared-repo", cluster.name);
    let log = kubectl(&["logs", "-n", &namespace(), &repository, "-c", "database"]).ok();
    assert!(
        log.out.contains("replay on the standby reached"),
        "{}",
        log.out
    );
}

#[test]
fn a_backup_whose_source_is_killed_has_one_end_and_the_next_one_is_complete() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::with_repository("sourcekill", &["--replica-count=1"]);
    filled(&cluster);
    let instances = || {
        let status = cluster.object().expect("it is there")["status"].clone();
        let all = status["instances"].as_array().cloned().unwrap_or_default();
        let named = |one: &Value| (text(one, "/name"), one["streaming"] == true);
        all.iter().map(named).collect::<Vec<_>>()
    };
    let replica = until("a replica that streams", BACKED_UP, || {
        let all = instances();
        let found = all.iter().find(|(_, streams)| *streams);
        found
            .map(|(name, _)| name.clone())
            .ok_or_else(|| format!("{all:?}"))
    });
    let primary = instances()
        .into_iter()
        .map(|(name, _)| name)
        .find(|name| *name != replica)
        .expect("a primary");
    copied_from_the_replica(&cluster, &watch, &replica);
    for source in [&replica, &primary] {
        let before = sets(&cluster);
        let id = slow_backup(&cluster, &watch);
        kill_database(source);
        // Nobody waits any more for a checkpoint that went with its server.
        until("the cluster writable", BACKED_UP, || {
            let wrote = cluster.psql_as_superuser("CHECKPOINT");
            seen(wrote.status.success(), || wrote.to_string())
        });
        let end = ended(&cluster, &watch, &id);
        let complete = usize::from(end == "CreateBackupCompleted");
        assert_eq!(sets(&cluster), before + complete, "{end}");
        backs_up(&cluster);
    }
    assert_eq!(rows(&cluster), "1000");
    watch.check_to_its_end(&cluster.uid());
}

/// Runs a command in the repository's pod.
fn in_repository(cluster: &Cluster, command: &str) {
    let repository = format!("deployment/{}-backrest-shared-repo", cluster.name);
    let (here, words) = (namespace(), ["--", "sh", "-c", command]);
    let exec = ["exec", "-n", &here, &repository, "-c", "database"];
    kubectl(&[&exec[..], &words[..]].concat()).ok();
}

/// Waits until a condition of the cluster is so, with these words.
fn until_condition(cluster: &Cluster, name: &str, status: &str, words: &str) {
    until(&format!("{name}={status} {words}"), BACKED_UP, || {
        let object = cluster.object().ok_or("it is not there")?;
        let found = condition(&object, name).unwrap_or_default();
        let is = found["status"] == status && found.to_string().contains(words);
        seen(is, || found.to_string())
    });
}

/// `pgo df` has a line for the repository.
fn is_shown_full(cluster: &Cluster, volume: &str) {
    let shown = pgo(&["df", &cluster.name, "-o", "json"]).ok().json();
    let row = &shown["Results"][1];
    assert_eq!(
        (&row["Role"], &row["Claim"]),
        (&json!("repository"), &json!(volume))
    );
    assert!(row["Pct"].as_i64() >= Some(95), "{shown}");
}

#[test]
fn a_repository_whose_volume_is_full_loses_no_wal_and_goes_on_when_there_is_room() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("fullrepo");
    let storage = json!({
        "storagetype": "dynamic", "storageclass": "local-memory", "accessmode": "ReadWriteOnce", "size": "256Mi",
    });
    let mut manifest = cluster.manifest(json!({"BackrestStorage": storage}));
    manifest["metadata"]["labels"]["pgo-backrest"] = "true".into();
    apply(&manifest).ok();
    cluster.until_ready();
    cluster.until_repository();
    filled(&cluster);
    backs_up(&cluster);
    until_condition(&cluster, "VolumesHaveRoom", "True", "Room");

    // As much as there is.
    in_repository(
        &cluster,
        "cat /dev/zero > /backrestrepo/fills 2>/dev/null || true",
    );
    let uid = cluster.uid();
    let told = watch.until(&uid, "DiskWarning");
    let volume = format!("{}-pgbr-repo", cluster.name);
    assert_eq!(fields(&told, "DiskWarning", "/volume")[0], volume);
    until_condition(&cluster, "VolumesHaveRoom", "False", &volume);
    is_shown_full(&cluster, &volume);
    cluster
        .psql("INSERT INTO kept SELECT generate_series(1001, 2000);")
        .ok();
    cluster
        .psql_as_superuser("CHECKPOINT; SELECT pg_switch_wal();")
        .ok();
    until_condition(
        &cluster,
        "Archiving",
        "False",
        &format!("volume {volume} of the repository is full"),
    );
    let full = [
        "backup",
        &cluster.name,
        "--backup-opts=--type=full",
        "--wait",
    ];
    let why = format!("volume {volume} of the repository is full");
    pgo(&[&full[..], &["--timeout=3m"]].concat()).failed(2, &[&why]);
    assert_eq!(sets(&cluster), 1);
    let told = watch.until(&uid, "CreateBackupFailure");
    let causes = fields(&told, "CreateBackupFailure", "/cause");
    assert!(causes[0].contains(&why), "{causes:?}");
    // The cluster serves all the time, and keeps the WAL that is not archived.
    assert_eq!(rows(&cluster), "2000");

    in_repository(&cluster, "rm /backrestrepo/fills");
    until_condition(&cluster, "Archiving", "True", "");
    until_condition(&cluster, "VolumesHaveRoom", "True", "Room");
    backs_up(&cluster);
    let restored = ["restore", &cluster.name, "--no-prompt", "--wait"];
    pgo(&[&restored[..], &["--timeout=5m"]].concat()).ok();
    assert_eq!(rows(&cluster), "2000");
    watch.check_to_its_end(&uid);
}
