//! Restores by pgBackRest as a user meets them: to a point in time while the cluster serves, what is refused and changes nothing,
//! and replicas that come by themselves afterwards.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::BACKED_UP,
    events::{fields, types},
    kubectl,
    kubernetes::{get, list, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long a restore, or a replica that is copied anew, may take on a busy machine of two cores.
pub const RESTORED: Duration = Duration::from_secs(300);

/// A cluster with a full backup.
pub fn backed_up(prefix: &str, flags: &[&str]) -> Cluster {
    let cluster = Cluster::with_repository(prefix, flags);
    let full = [
        "backup",
        &cluster.name,
        "--backup-opts=--type=full",
        "--wait",
    ];
    pgo(&full).ok();
    cluster
}

/// Writes a row, and says what time it is in the database some moments later.
fn write(cluster: &Cluster, row: u32) -> String {
    cluster
        .psql(&format!("INSERT INTO kept VALUES ({row});"))
        .ok();
    // Targets have no finer grain than the moment that this says.
    cluster.ask("SELECT pg_sleep(1); SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00';")
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

/// A table, and one row that a restore to the time it gives has, and one that it has not.
pub fn before_and_after(cluster: &Cluster) -> String {
    cluster.psql("CREATE TABLE kept (n int);").ok();
    let between = write(cluster, 1);
    cluster.ask("SELECT pg_sleep(1);");
    write(cluster, 2);
    between
}

pub fn rows(cluster: &Cluster) -> String {
    cluster.ask("SELECT string_agg(n::text, ',' ORDER BY n) FROM kept;")
}

pub fn restore(cluster: &Cluster, flags: &[&str]) -> Ran {
    let mut all = vec!["restore", cluster.name.as_str(), "--no-prompt"];
    all.extend(flags);
    pgo(&all)
}

/// The new instance that an answer names.
fn named(cluster: &Cluster, answer: &Ran) -> String {
    let behind = format!("restore performed on {} to ", cluster.name);
    let rest = answer.out.split(&behind).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("{answer}"));
    rest.split(' ').next().unwrap_or_default().to_owned()
}

pub fn status(cluster: &Cluster) -> Value {
    cluster.object().expect("it is there")["status"].clone()
}

#[test]
fn a_cluster_goes_back_to_a_point_in_time_and_serves_until_it_can() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = backed_up("restore", &[]);
    let name = cluster.name.as_str();
    let between = before_and_after(&cluster);
    assert_eq!(rows(&cluster), "1,2");
    let begun = Instant::now();
    let target = format!("--pitr-target={between}");
    let restored = restore(&cluster, &[&target, "--wait", "--timeout=5m"]).ok();
    eprintln!("restored after {:?}", begun.elapsed());
    assert!(
        restored.out.starts_with("Warning:") && restored.out.contains(&format!("{name}  restored")),
        "{restored}"
    );
    let new = named(&cluster, &restored);
    assert_eq!(rows(&cluster), "1");
    cluster.psql("INSERT INTO kept VALUES (3);").ok();
    assert_eq!(rows(&cluster), "1,3");

    let status = status(&cluster);
    assert_eq!(text(&status, "/currentPrimary"), new);
    assert_eq!(text(&status, "/restored/instance"), new);
    assert_eq!(text(&status, "/restored/former"), name);
    // The data as it was stays, and nothing runs on it.
    assert!(get("persistentvolumeclaim", name, &namespace()).is_some());
    assert!(get("pod", name, &namespace()).is_none());
    let events = watch.until(&cluster.uid(), "RestoreClusterCompleted");
    assert_eq!(
        fields(&events, "RestoreClusterCompleted", "/volume"),
        [name]
    );
    let [id] = fields(&events, "RestoreClusterCompleted", "/operationid")
        .try_into()
        .expect("one end");
    assert!(
        restored.out.contains(&format!("workflow id {id}")),
        "{restored}"
    );
    let shown = pgo(&["show", "workflow", &id]).ok();
    assert!(shown.out.contains("completed"), "{shown}");

    // It archives on its new timeline, and can be backed up and restored again.
    pgo(&["backup", name, "--backup-opts=--type=full", "--wait"]).ok();
    let again = restore(
        &cluster,
        &["--backup-opts=--type=immediate", "--wait", "--timeout=5m"],
    )
    .ok();
    assert_ne!(named(&cluster, &again), new);
    assert_eq!(rows(&cluster), "1,3");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_target_that_the_backups_do_not_reach_is_refused_and_nothing_changes() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = backed_up("refuse", &[]);
    let name = cluster.name.as_str();
    cluster
        .psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1);")
        .ok();
    let before = cluster.pod();
    // Known at once.
    for (flags, words) in [
        (vec!["--pitr-target=yesterday"], "is no time"),
        (vec!["--backup-opts=--type=xid"], "needs a target"),
        (
            vec!["--backup-opts=--stanza=x"],
            "Flag --stanza is not supported for use with PGO",
        ),
        (vec!["--node-label=nosuch=x"], "nosuch"),
    ] {
        restore(&cluster, &flags).failed(2, &[words]);
    }
    // Known by the repository.
    for target in ["2001-01-01 00:00:00+00", "2101-01-01 00:00:00+00"] {
        let target = format!("--pitr-target={target}");
        restore(&cluster, &[&target, "--wait"]).failed(
            2,
            &[
                &format!("cluster {name} failed to be restored"),
                "any point between",
                "nothing was changed",
            ],
        );
    }
    let events = watch.until_count(&cluster.uid(), "RestoreClusterFailure", 2);
    assert!(
        !types(&events).contains(&"RestoreClusterCompleted".to_owned()),
        "{:?}",
        types(&events)
    );
    assert_eq!(
        text(&cluster.pod(), "/metadata/uid"),
        text(&before, "/metadata/uid")
    );
    assert_eq!(rows(&cluster), "1");
    let claims = list(
        "persistentvolumeclaims",
        &format!("pg-cluster={name}"),
        &namespace(),
    );
    assert_eq!(claims.len(), 2, "its data and its backups");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn replicas_follow_a_restored_primary_by_themselves() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = backed_up("follow", &["--replica-count=1"]);
    let between = before_and_after(&cluster);
    let target = format!("--pitr-target={between}");
    restore(&cluster, &[&target, "--wait", "--timeout=5m"]).ok();
    assert_eq!(rows(&cluster), "1");
    until("a replica that streams from it", RESTORED, || {
        let status = status(&cluster);
        let instances = status["instances"].as_array().cloned().unwrap_or_default();
        let timeline = |one: &&Value| one["timeline"].as_u64() >= Some(2);
        let streams = instances
            .iter()
            .filter(timeline)
            .any(|one| one["streaming"] == true);
        seen(streams && instances.len() == 2, || status.to_string())
    });
    cluster.psql("INSERT INTO kept VALUES (3);").ok();
    assert_eq!(rows(&cluster), "1,3");
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_cluster_made_again_goes_on_with_what_it_was_restored_to() {
    let _turn = together();
    let cluster = backed_up("again", &[]);
    let name = cluster.name.as_str();
    let between = before_and_after(&cluster);
    let target = format!("--pitr-target={between}");
    let restored = restore(&cluster, &[&target, "--wait", "--timeout=5m"]).ok();
    let new = named(&cluster, &restored);
    cluster.psql("INSERT INTO kept VALUES (3);").ok();
    pgo(&["delete", "cluster", name, "--no-prompt", "--wait"]).ok();
    for claim in [name, &new] {
        assert!(get("persistentvolumeclaim", claim, &namespace()).is_some());
    }
    cluster.create(&["--pgbackrest=true", "--wait"]).ok();
    assert_eq!(rows(&cluster), "1,3", "the data of after the restore");
    let status = status(&cluster);
    assert_eq!(text(&status, "/adopted"), new);
    assert_eq!(text(&status, "/currentPrimary"), new);
    // It archives and can be backed up, in the repository that was kept.
    pgo(&["backup", name, "--backup-opts=--type=full", "--wait"]).ok();
}

#[test]
fn a_cluster_that_lost_all_its_volumes_comes_back_from_its_backups() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = backed_up("lost", &["--replica-count=1"]);
    cluster.psql("CREATE TABLE kept (n int);").ok();
    write(&cluster, 1);
    cluster.psql_as_superuser("SELECT pg_switch_wal()").ok();
    until("all WAL archived", BACKED_UP, || {
        let waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
        let answer = cluster.psql_as_superuser(waiting).ok();
        seen(answer.out.trim() == "0", || answer.to_string())
    });
    let before = volumes(&cluster);
    assert_eq!(before.len(), 2, "{before:?}");
    for (kind, flags) in [
        ("persistentvolumeclaim", ["--wait=false", ""]),
        ("pod", ["--force", "--grace-period=0"]),
    ] {
        let here = namespace();
        let mut line = vec!["delete", kind, "-n", &here];
        line.extend(before.iter().map(|(name, _)| name.as_str()));
        line.extend(flags.iter().filter(|flag| !flag.is_empty()));
        kubectl(&line).ok();
    }
    until("new volumes, and instances on them", RESTORED, || {
        let now = volumes(&cluster);
        let is_new = |one: &(String, String)| !one.1.is_empty() && !before.contains(one);
        let instances = status(&cluster)["instances"].clone();
        let all = instances.as_array().cloned().unwrap_or_default();
        let run = all.iter().filter(|one| one["role"] == "").count();
        let are_new = now.len() == 2 && now.iter().all(is_new);
        seen(are_new && run == 2, || format!("{now:?}: {instances}"))
    });
    // Nobody begins another history on an empty volume.
    let shown = pgo(&["show", "cluster", &cluster.name]).ok();
    assert!(shown.out.contains("not ready"), "{shown}");
    cluster.psql("SELECT 1").failed(2, &["refused"]);

    restore(&cluster, &["--wait", "--timeout=5m"]).ok();
    assert_eq!(rows(&cluster), "1");
    cluster.psql("INSERT INTO kept VALUES (2);").ok();
    until("a replica that streams from it", RESTORED, || {
        let status = status(&cluster);
        let all = status["instances"].as_array().cloned();
        let streams = all
            .unwrap_or_default()
            .iter()
            .any(|one| one["streaming"] == true);
        seen(streams, || status.to_string())
    });
    assert_eq!(rows(&cluster), "1,2");
    watch.check_to_its_end(&cluster.uid());
}

/// Instances and the uids of their volumes.
fn volumes(cluster: &Cluster) -> Vec<(String, String)> {
    let status = status(cluster);
    let instances = status["instances"].as_array().cloned().unwrap_or_default();
    let names = instances.iter().map(|one| text(one, "/name"));
    let uid = |name: &String| get("persistentvolumeclaim", name, &namespace());
    names
        .map(|name| {
            let uid = uid(&name).map(|claim| text(&claim, "/metadata/uid"));
            (name, uid.unwrap_or_default())
        })
        .collect()
}
