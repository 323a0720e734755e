//! Operations that a user cancels: a backup that waits or runs, and a restore while its cluster still serves.

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::BACKED_UP,
    events::{fields, types},
    kubectl,
    kubernetes::{get, list},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// A cluster with a repository that answers, and so much in its table that copying it takes a while.
fn with_rows(prefix: &str) -> Cluster {
    let cluster = Cluster::with_repository(prefix, &[]);
    cluster
        .psql(
            "CREATE TABLE kept AS SELECT g AS n, repeat(md5(g::text), 20) AS filling FROM generate_series(1, 200000) g;",
        )
        .ok();
    cluster
}

/// Asks for a full backup that waits for a checkpoint, which PostgreSQL spreads over some minutes; the id of its operation.
fn slow_backup(cluster: &Cluster) -> String {
    let options = "--backup-opts=--type=full --no-start-fast";
    let asked = pgo(&["backup", &cluster.name, options, "-o", "json"])
        .ok()
        .json();
    let id = asked["Backups"][0]["OperationID"].as_str();
    id.expect("its operation").to_owned()
}

fn cancel(id: &str) -> Ran {
    pgo(&["cancel", id, "--wait", "--timeout=3m"])
}

fn stopped(cluster: &Cluster, watch: &Watch, id: &str) -> String {
    let events = watch.until(&cluster.uid(), "CreateBackupFailure");
    let ids = fields(&events, "CreateBackupFailure", "/operationid");
    let causes = fields(&events, "CreateBackupFailure", "/cause");
    let mut both = ids.into_iter().zip(causes);
    let found = both.find(|(one, _)| one == id);
    found.expect("its end").1
}

fn rows(cluster: &Cluster) -> String {
    cluster.ask("SELECT count(*) FROM kept;")
}

#[test]
fn a_backup_that_runs_is_cancelled_and_the_next_one_is_complete() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_rows("cancel");
    let name = cluster.name.as_str();
    let id = slow_backup(&cluster);
    watch.until(&cluster.uid(), "CreateBackupProgress");
    let cancelled = cancel(&id).ok();
    assert!(
        cancelled.out.contains(&format!(
            "operation {id} of cluster {name} is being cancelled"
        )),
        "{cancelled}"
    );
    assert!(
        cancelled.out.contains("is over: cancelled by "),
        "{cancelled}"
    );
    assert!(stopped(&cluster, &watch, &id).starts_with("cancelled by "));
    let shown = pgo(&["show", "backup", name]).ok();
    assert!(!shown.out.contains("full backup: "), "{shown}");

    // It is over; of another id nobody knows.
    cancel(&id).failed(2, &["it is over already: it failed"]);
    cancel("25927091-b343-4017-be4b-71575f0b3eb5").failed(2, &["workflow id NOT found"]);
    let full = [
        "backup",
        name,
        "--backup-opts=--type=full",
        "--wait",
        "--timeout=5m",
    ];
    pgo(&full).ok();
    let shown = pgo(&["show", "backup", name]).ok();
    assert!(shown.out.contains("full backup: "), "{shown}");
    let told = types(&watch.until(&cluster.uid(), "CreateBackupCompleted"));
    let count = |wanted: &str| told.iter().filter(|one| *one == wanted).count();
    assert_eq!(
        (
            count("CreateBackup"),
            count("CreateBackupFailure"),
            count("CreateBackupCompleted")
        ),
        (2, 1, 1),
        "{told:?}"
    );
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_backup_whose_repository_goes_is_cancelled_by_kubectl() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_rows("cancelwait");
    let (name, namespace) = (cluster.name.as_str(), namespace());
    let repository = format!("deployment/{name}-backrest-shared-repo");
    let selector = format!("pg-cluster={name},pgo-backrest-repo=true");
    let id = slow_backup(&cluster);
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
    let task = format!("backrest-backup-{name}");
    kubectl(&[
        "annotate",
        "pgtask",
        &task,
        "pgo.crunchydata.com/cancel=",
        "-n",
        &namespace,
    ])
    .ok();
    let cause = stopped(&cluster, &watch, &id);
    assert!(cause.starts_with("cancelled by somebody"), "{cause}");
    // Until its checkpoint is over, the instance's side of that backup has pgBackRest's lock: nobody told it.
    cluster.psql_as_superuser("CHECKPOINT").ok();
    kubectl(&[
        "rollout",
        "status",
        &repository,
        "-n",
        &namespace,
        "--timeout=180s",
    ])
    .ok();
    let next = [
        "backup",
        name,
        "--backup-opts=--type=full",
        "--wait",
        "--timeout=5m",
    ];
    until("another backup", BACKED_UP, || {
        let again = pgo(&next);
        seen(again.status.success(), || again.to_string())
    });
    watch.check_to_its_end(&cluster.uid());
}

#[test]
fn a_restore_that_copies_is_cancelled_and_the_cluster_goes_on_as_it_was() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = with_rows("cancelrestore");
    let name = cluster.name.as_str();
    let full = [
        "backup",
        name,
        "--backup-opts=--type=full",
        "--wait",
        "--timeout=5m",
    ];
    pgo(&full).ok();
    let pod = cluster.pod();
    let asked = pgo(&["restore", name, "--no-prompt"]).ok();
    let id = asked
        .out
        .lines()
        .find_map(|line| line.strip_prefix("workflow id "));
    let id = id.expect("its operation").trim().to_owned();
    let copies = || {
        let status = cluster.object().expect("it is there")["status"].clone();
        let stage = status["restore"]["stage"].clone();
        seen(stage == "replaying", || status["restore"].to_string())
    };
    until("a copy that is under way", BACKED_UP, copies);
    // It may be at its target already: then it is refused, and nothing is shown here.
    let cancelled = cancel(&id).ok();
    assert!(
        cancelled.out.contains("is over: cancelled by "),
        "{cancelled}"
    );
    let events = watch.until(&cluster.uid(), "RestoreClusterFailure");
    let causes = fields(&events, "RestoreClusterFailure", "/cause");
    assert!(causes[0].starts_with("cancelled by "), "{causes:?}");
    // The very same pod served all the time.
    let uid = |pod: &Value| pod["metadata"]["uid"].clone();
    assert_eq!(uid(&cluster.pod()), uid(&pod));
    assert_eq!(rows(&cluster), "200000");
    until("the new instance to go", BACKED_UP, || {
        let selector = format!("pg-cluster={name}");
        let pods = list("pods", &selector, &namespace());
        let others = pods.iter().filter(|one| {
            let label = &one["metadata"]["labels"]["deployment-name"];
            label.is_string() && label != name
        });
        seen(others.count() == 0, || format!("{} pods", pods.len()))
    });
    assert!(get("persistentvolumeclaim", name, &namespace()).is_some());
    pgo(&["cancel", &id]).failed(2, &["it is over already"]);
    watch.check_to_its_end(&cluster.uid());
}
