//! Backups by pgBackRest as a user meets them: a repository beside the cluster, backups on request and on a schedule, what is
//! refused, and a repository that ends in the middle.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::{BACKED_UP, READY},
    events::{fields, types},
    kubectl,
    kubernetes::{condition, get, list, names, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// A minute until the next run of a schedule that is due each minute, and a backup.
const DUE: Duration = Duration::from_secs(60 + 180);

/// A cluster as users make one, which has backups, ready, with a repository that answers.
fn with_repository(prefix: &str) -> Cluster {
    let cluster = Cluster::named(prefix);
    pgo(&["create", "cluster", &cluster.name, "--wait"]).ok();
    cluster.until_repository();
    cluster
}

/// What belongs to the repository of a cluster.
fn repository(cluster: &Cluster, kinds: &str) -> Vec<Value> {
    let selector = format!("pg-cluster={},pgo-backrest-repo=true", cluster.name);
    list(kinds, &selector, &namespace())
}

/// The sets that pgBackRest knows, as labels.
fn sets(cluster: &Cluster) -> Vec<String> {
    let shown = pgo(&["show", "backup", &cluster.name, "-o", "json"])
        .ok()
        .json();
    let sets = shown["Items"][0]["Stanzas"][0]["backup"]
        .as_array()
        .cloned();
    let sets = sets.unwrap_or_default();
    sets.iter().map(|set| text(set, "/label")).collect()
}

#[test]
fn a_backup_is_complete_is_shown_and_told_once() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_repository("backup");
    let name = cluster.name.as_str();
    let there = names(&repository(&cluster, "deployments,services"));
    let expected =
        ["Deployment", "Service"].map(|kind| format!("{kind}/{name}-backrest-shared-repo"));
    assert_eq!(there, expected);
    let claim = get(
        "persistentvolumeclaim",
        &format!("{name}-pgbr-repo"),
        &namespace(),
    );
    assert!(claim.is_some(), "the repository has a volume of its own");

    refuses(&cluster);
    let full = [
        "backup",
        name,
        "--backup-opts=--type=full",
        "--wait",
        "--timeout=3m",
    ];
    let backed_up = pgo(&full).ok();
    assert!(
        backed_up.out.contains(&format!("{name}  backed up")),
        "{backed_up}"
    );
    let shown = pgo(&["show", "backup", name]).ok();
    assert!(
        shown.out.contains("full backup: ") && shown.out.contains("status: ok"),
        "{shown}"
    );
    let [set] = sets(&cluster).try_into().expect("one set");
    assert!(shown.out.contains(&set), "{shown}");

    let events = watch.until(&cluster.uid(), "CreateBackupCompleted");
    assert_eq!(fields(&events, "CreateBackupCompleted", "/path"), [set]);
    assert_eq!(
        fields(&events, "CreateBackupCompleted", "/backuptype"),
        ["pgbackrest"]
    );
    assert!(
        !types(&events).contains(&"CreateBackupFailure".to_owned()),
        "{:?}",
        types(&events)
    );
    watch.check_to_its_end(&cluster.uid());
    // What changed since, by itself.
    pgo(&["backup", name, "--wait", "--timeout=3m"]).ok();
    assert_eq!(sets(&cluster).len(), 2);
}

/// What makes no task.
fn refuses(cluster: &Cluster) {
    let name = cluster.name.as_str();
    for (options, words) in [
        ("--type=nope", "Invalid type provided for pgBackRest backup"),
        ("nonsense", "Backup options must start with '-' or '--'"),
        (
            "--stanza=x",
            "Flag --stanza is not supported for use with PGO",
        ),
        ("--repo1-retention-full=1", "unknown flag"),
    ] {
        pgo(&["backup", name, "--backup-opts", options]).failed(2, &[words]);
    }
    pgo(&["backup", "nosuch"]).failed(2, &["nosuch was not found, verify cluster name"]);
    let task = get("pgtask", &format!("backrest-backup-{name}"), &namespace());
    assert_eq!(task, None);
}

#[test]
fn a_cluster_without_pgbackrest_has_no_repository_and_says_so() {
    let _turn = together();
    let cluster = Cluster::named("without");
    cluster.create(&["--pgbackrest=false", "--wait"]).ok();
    let words = format!("{} does not have pgbackrest enabled", cluster.name);
    pgo(&["backup", &cluster.name]).failed(2, &[&words]);
    pgo(&["show", "backup", &cluster.name]).failed(2, &[&words]);
    assert_eq!(
        names(&repository(&cluster, "deployments,services,pods")),
        [""; 0]
    );
}

#[test]
fn a_repository_that_ends_in_the_middle_leaves_one_end_and_the_next_backup_is_complete() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_repository("cut");
    let name = cluster.name.as_str();
    pgo(&["backup", name, "--backup-opts=--type=full"]).ok();
    watch.until(&cluster.uid(), "CreateBackup");
    let selector = format!("pg-cluster={name},pgo-backrest-repo=true");
    let namespace = namespace();
    kubectl(&[
        "delete",
        "pod",
        "-l",
        &selector,
        "-n",
        &namespace,
        "--force",
        "--grace-period=0",
    ])
    .ok();
    let ended = until("the end of the backup", BACKED_UP, || {
        let ends = types(&watch.of(&cluster.uid())).into_iter();
        let ends: Vec<String> = ends
            .filter(|one| one == "CreateBackupCompleted" || one == "CreateBackupFailure")
            .collect();
        if ends.is_empty() {
            Err(watch.said())
        } else {
            Ok(ends)
        }
    });
    // The kill may have come too late.
    assert_eq!(ended.len(), 1, "{ended:?}");
    until("another backup", BACKED_UP, || {
        let again = pgo(&["backup", name, "--wait", "--timeout=3m"]);
        seen(again.status.success(), || again.to_string())
    });
    watch.check_to_its_end(&cluster.uid());
}

/// `pgo create schedule` for backups of a type.
fn make(cluster: &str, schedule: &str, backup_type: &str) -> Ran {
    pgo(&[
        "create",
        "schedule",
        cluster,
        &format!("--schedule={schedule}"),
        "--schedule-type=pgbackrest",
        &format!("--pgbackrest-backup-type={backup_type}"),
    ])
}

#[test]
fn a_schedule_makes_backups_and_goes_with_its_cluster() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_repository("nightly");
    let name = cluster.name.as_str();
    make(name, "every minute", "full").failed(2, &["schedule: ", "give five fields"]);
    let created = make(name, "* * * * *", "full").ok();
    let schedule = format!("{name}-pgbackrest-full");
    assert_eq!(
        created.out,
        format!("created schedule {schedule} for cluster {name}\n")
    );
    make(name, "@daily", "full").failed(2, &[&format!("Schedule {schedule} already exists")]);

    let events = watch.until(&cluster.uid(), "CreateSchedule");
    let told = fields(&events, "CreateSchedule", "/schedule");
    assert_eq!(told.join(" "), schedule);
    until("a backup by the schedule", DUE, || {
        let sets = sets(&cluster);
        seen(!sets.is_empty(), || {
            format!("{sets:?}, {}", pgo(&["show", "schedule", name]))
        })
    });
    watch.until(&cluster.uid(), "CreateBackupCompleted");
    let shown = until("its run in the schedule", READY, || {
        let shown = pgo(&["show", "schedule", name]).ok().out;
        match shown.contains("\tlast-run: ") && shown.contains("\tnext-run: ") {
            true => Ok(shown),
            false => Err(shown),
        }
    });
    assert!(
        shown.starts_with(&format!("{schedule}:\n\tschedule: * * * * *\n")),
        "{shown}"
    );

    goes(&watch, &cluster, &schedule);
}

/// A schedule is deleted by its name, and another one goes with the cluster.
fn goes(watch: &Watch, cluster: &Cluster, schedule: &str) {
    let name = cluster.name.as_str();
    make(name, "@weekly", "incr").ok();
    let deleted = pgo(&[
        "delete",
        "schedule",
        "--schedule-name",
        schedule,
        "--no-prompt",
    ])
    .ok();
    assert_eq!(deleted.out, format!("deleted schedule {schedule}\n"));
    watch.until(&cluster.uid(), "DeleteSchedule");
    pgo(&["delete", "cluster", name, "--no-prompt", "--wait"]).ok();
    let other = format!("{name}-pgbackrest-incr");
    until("the other one gone with its cluster", READY, || {
        let left = get("configmap", &other, &namespace());
        seen(left.is_none(), || "it is there".to_owned())
    });
}

#[test]
fn a_new_cluster_of_the_name_goes_on_in_the_repository_that_was_kept() {
    let _turn = together();
    let former = with_repository("again");
    let name = former.name.as_str();
    let backup = ["backup", name, "--backup-opts=--type=full", "--wait"];
    pgo(&backup).ok();
    let kept = sets(&former);
    pgo(&[
        "delete",
        "cluster",
        name,
        "--delete-data",
        "--no-prompt",
        "--wait",
    ])
    .ok();

    // Its database is another one, and the backups of the former one are still there.
    pgo(&["create", "cluster", name, "--wait"]).ok();
    // Of its Services only those of PostgreSQL are tried.
    pgo(&["test", name]).ok();
    pgo(&backup).ok();
    let shown = pgo(&["show", "backup", name]).ok();
    for label in &kept {
        assert!(shown.out.contains(label.as_str()), "{label}: {shown}");
    }
    until("it archives", BACKED_UP, || {
        let object = former.object().ok_or("it is not there")?;
        let archiving = condition(&object, "Archiving").unwrap_or_default();
        seen(archiving["status"] == "True", || archiving.to_string())
    });
}
