//! Replicas: made and removed in every way there is, followed by what a user sees of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::{GONE, READY},
    containers::{kill, process},
    events::{check_stream, fields, types},
    kubectl,
    kubernetes::{apply, condition, get, list, names, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long a replica may take to follow on a busy machine: a pod, a copy, a start.
const FOLLOWS: Duration = Duration::from_secs(120);

impl Cluster {
    /// Names of its Pgreplicas.
    fn replicas(&self) -> Vec<String> {
        let all = list("pgreplicas", "", &namespace());
        let mut names: Vec<String> = all
            .iter()
            .filter(|replica| replica["spec"]["clustername"] == self.name.as_str())
            .map(|replica| text(replica, "/metadata/name"))
            .collect();
        names.sort();
        names
    }

    /// Waits until so many replicas follow; their names.
    fn until_followed_by(&self, count: usize) -> Vec<String> {
        until(
            &format!("{count} replicas of {}", self.name),
            FOLLOWS,
            || {
                let names = self.replicas();
                let states: Vec<Value> = names.iter().filter_map(|name| ready(name)).collect();
                let follow = states
                    .iter()
                    .filter(|state| state["status"] == "True")
                    .count();
                let is = names.len() == count && follow == count;
                seen(is, || format!("{states:?}")).map(|()| names)
            },
        )
    }

    /// Asks each replica whether it has a row, until it does.
    fn until_replica_has(&self, replica: &str, query: &str, answer: &str) {
        until(&format!("{answer:?} on {replica}"), READY, || {
            let ran = psql_in(replica, query);
            seen(ran.out.trim() == answer, || ran.to_string())
        });
    }
}

/// Condition Ready of a Pgreplica.
fn ready(replica: &str) -> Option<Value> {
    condition(&get("pgreplica", replica, &namespace())?, "Ready")
}

/// Asks the instance itself, past all Services.
fn psql_in(pod: &str, query: &str) -> Ran {
    kubectl(&[
        "exec",
        "-n",
        &namespace(),
        pod,
        "-c",
        "database",
        "--",
        "psql",
        "-h",
        "/run/postgresql",
        "-U",
        "postgres",
        "-d",
        "userdb",
        "-Atc",
        query,
    ])
}

fn count_of(cluster: &Cluster) -> u64 {
    let object = cluster.object().expect("it is there");
    object["spec"]["replicaCount"].as_u64().unwrap_or_default()
}

#[test]
fn a_cluster_made_with_a_replica_has_it_and_shows_it() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("paired");
    cluster.create(&["--replica-count=1", "--wait"]).ok();
    let replica = cluster.until_followed_by(1).remove(0);
    cluster.ask("create table kept as select 1 as n");
    cluster.until_replica_has(&replica, "select n from testuser.kept", "1");
    let refused = psql_in(&replica, "insert into testuser.kept values (2)");
    assert!(refused.err.contains("read-only"), "{refused}");

    let name = &cluster.name;
    let shown = until("lines about both", READY, || {
        let ran = pgo(&["show", "cluster", name]).ok();
        let is = ran.out.matches("(1/1)").count() == 2;
        seen(is, || ran.to_string()).map(|()| ran)
    });
    for line in [
        format!("\tpod : {replica} (Running) on "),
        format!("\tpvc : {replica}"),
        format!("\tdeployment : {replica}"),
        format!("\tservice : {name}-replica - ClusterIP ("),
        format!("\treplica : {replica}"),
        format!("\tinstance : {name} (primary) timeline 1"),
        format!("\tinstance : {replica} (replica, lag under 1 MiB) timeline 1"),
    ] {
        assert!(shown.out.contains(&line), "{line:?} is not in {shown}");
    }
    let tested = pgo(&["test", name]).ok();
    assert_eq!(tested.out.matches("is Working").count(), 12, "{tested}");

    // On different nodes, where there are several.
    let nodes = kubectl(&["get", "nodes", "-o", "name"]).ok();
    if nodes.out.lines().count() > 1 {
        let node = |pod: &str| {
            text(
                &get("pod", pod, &namespace()).expect("a pod"),
                "/spec/nodeName",
            )
        };
        assert_ne!(node(name), node(&replica));
    }
    let events = watch.until(&cluster.uid(), "ScaleClusterCompleted");
    check_stream(&events);
    let told = types(&events);
    assert!(told.contains(&"ReplicaAdded".to_owned()), "{told:?}");
    assert_eq!(
        fields(&events, "ScaleClusterCompleted", "/replicaname"),
        [replica]
    );
}

/// Removes two replicas, the first with its data.
fn take_away(cluster: &Cluster, gone: &str, kept: &str) {
    let name = &cluster.name;
    let ran = pgo(&[
        "scaledown",
        name,
        "--target",
        gone,
        "--delete-data",
        "--no-prompt",
    ])
    .ok();
    assert_eq!(ran.out, format!("deleted Pgreplica {gone}\n"));
    until("the data to be gone", GONE, || {
        let claim = get("pvc", gone, &namespace());
        seen(claim.is_none() && cluster.replicas() == [kept], || {
            format!("{claim:?}")
        })
    });
    pgo(&["scaledown", name, "--target", kept, "--no-prompt"]).ok();
    until("no replica", GONE, || {
        let replicas = cluster.replicas();
        let pod = get("pod", kept, &namespace());
        let service = get("service", &format!("{name}-replica"), &namespace());
        let is = replicas.is_empty() && pod.is_none() && service.is_none();
        seen(is, || format!("{replicas:?} {service:?}"))
    });
    assert!(get("pvc", kept, &namespace()).is_some(), "its data is kept");
    until("no WAL kept for them", READY, || {
        let slots = cluster.psql_as_superuser("select count(*) from pg_replication_slots");
        seen(slots.out.trim() == "0", || slots.to_string())
    });
}

/// Whether a replica's data was copied from another replica, as PostgreSQL notes it in the copy.
fn is_copy_of_a_replica(replica: &str) -> bool {
    let label = psql_in(replica, "select pg_read_file('backup_label.old')").ok();
    assert!(label.out.contains("BACKUP FROM: "), "{label}");
    label.out.contains("BACKUP FROM: standby")
}

#[test]
fn scale_adds_and_scaledown_takes_away_as_in_4_1() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("scaled");
    let name = &cluster.name;
    pgo(&["scaledown", name, "--target", "x", "--no-prompt"])
        .failed(2, &["no replicas found for this cluster"]);
    let ran = pgo(&["scale", name, "--replica-count=2", "--no-prompt"]).ok();
    let made = cluster.until_followed_by(2);
    for replica in &made {
        assert!(
            ran.out.contains(&format!("created Pgreplica {replica}\n")),
            "{ran}"
        );
    }
    until("the number in the spec", READY, || {
        let count = count_of(&cluster);
        seen(count == 2, || count.to_string())
    });

    // The kubelet's probe of a pod comes a moment after its WAL flows.
    until("both replicas, ready", READY, || {
        let query = pgo(&["scaledown", name, "--query"]).ok();
        let told = query.out.starts_with("Replica targets include:\n")
            && query.out.contains("(receive ")
            && made
                .iter()
                .all(|replica| query.out.contains(&format!("\t{replica} (1/1) (node")));
        seen(told, || query.to_string())
    });

    take_away(&cluster, &made[0], &made[1]);
    let events = watch.until_count(&cluster.uid(), "ScaleDownClusterCompleted", 2);
    check_stream(&events);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let _turn = together();
    let cluster = Cluster::named("unscaled");
    cluster.create(&["--replica-count=1", "--wait"]).ok();
    cluster.until_followed_by(1);
    let name = &cluster.name;
    let before = cluster.replicas();
    pgo(&["scaledown", name, "--target", "nosuch", "--no-prompt"])
        .failed(2, &["nosuch replica not found"]);
    pgo(&["scaledown", name, "--target", name, "--no-prompt"])
        .failed(2, &["is the primary of cluster"]);
    pgo(&["scale", name, "--replica-count=0", "--no-prompt"])
        .failed(1, &["--replica-count is required"]);
    pgo(&["scale", name, "--replica-count=-1", "--no-prompt"])
        .failed(1, &["--replica-count is required"]);
    pgo(&["scale", name, "--replica-count=1000", "--no-prompt"])
        .failed(2, &["invalid replica-count"]);
    pgo(&["scale", name, "--storage-config=moon", "--no-prompt"])
        .failed(2, &["moon Storage config was not found"]);
    pgo(&["scale", name, "--resources-config=huge", "--no-prompt"])
        .failed(2, &["huge ContainerResource config"]);
    pgo(&["scale", name, "--node-label=abc", "--no-prompt"])
        .failed(2, &["does not follow key=value format"]);
    pgo(&["scale", name, "--service-type=Pigeon", "--no-prompt"])
        .failed(2, &["--service-type should be either"]);
    pgo(&["scale", "nosuch", "--no-prompt"]).failed(2, &["\"nosuch\" not found"]);
    pgo(&["scale", "all", "--no-prompt"]).failed(2, &["all is not allowed for the scale command"]);
    assert_eq!(cluster.replicas(), before);
}

#[test]
fn kubectl_scales_and_pgreplicas_are_made_and_removed_by_hand() {
    let _turn = together();
    let cluster = Cluster::ready("byhand");
    let name = &cluster.name;
    let scale = |count: &str| {
        kubectl(&[
            "scale",
            "pgcluster",
            name,
            "-n",
            &namespace(),
            "--replicas",
            count,
        ])
        .ok();
    };
    scale("1");
    let derived = cluster.until_followed_by(1);
    let mine = format!("{name}-mine");
    apply(&json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgreplica",
        "metadata": {"name": mine, "namespace": namespace()},
        "spec": {"clustername": name},
    }))
    .ok();
    cluster.until_followed_by(2);
    assert_eq!(count_of(&cluster), 2);
    assert!(!is_copy_of_a_replica(&derived[0]), "there was none yet");
    assert!(is_copy_of_a_replica(&mine), "the primary only writes on");
    kubectl(&["delete", "pgreplica", &derived[0], "-n", &namespace()]).ok();
    assert_eq!(cluster.until_followed_by(1), [mine.as_str()]);
    until("the number in the spec", READY, || {
        let count = count_of(&cluster);
        seen(count == 1, || count.to_string())
    });
    scale("0");
    until("no replica", GONE, || {
        let replicas = cluster.replicas();
        seen(replicas.is_empty(), || format!("{replicas:?}"))
    });
    assert_eq!(cluster.ask("select 1"), "1", "the primary serves");

    let ran = kubectl(&[
        "scale",
        "pgcluster",
        name,
        "-n",
        &namespace(),
        "--replicas",
        "1000",
    ]);
    assert!(!ran.status.success(), "{ran}");
}

#[test]
fn a_replica_whose_wal_is_gone_comes_back_by_itself() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("mended");
    cluster.create(&["--replica-count=1", "--wait"]).ok();
    let replica = cluster.until_followed_by(1).remove(0);
    let slot = format!("pgo_{}", replica.replace('-', "_"));
    // Its slot goes while nobody streams from it, and so does the WAL.
    let pod = get("pod", &replica, &namespace()).expect("its pod");
    let agent = process(&pod, "database").expect("it runs");
    for statement in [
        format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'"
        ),
        format!("select pg_drop_replication_slot('{slot}')"),
    ] {
        let _ = cluster.psql_as_superuser(&statement);
    }
    kill(agent);
    for _ in 0..12 {
        let _ = cluster.psql_as_superuser("select pg_switch_wal()");
        let _ = cluster.psql_as_superuser("checkpoint");
    }
    cluster.ask("create table kept as select 1 as n");
    cluster.until_followed_by(1);
    cluster.until_replica_has(&replica, "select n from testuser.kept", "1");
    check_stream(&watch.of(&cluster.uid()));
}

#[test]
fn a_deleted_cluster_takes_its_replicas_along() {
    let _turn = together();
    let cluster = Cluster::named("leaving");
    cluster.create(&["--replica-count=1", "--wait"]).ok();
    cluster.until_followed_by(1);
    pgo(&[
        "delete",
        "cluster",
        &cluster.name,
        "--no-prompt",
        "--delete-data",
        "--wait",
    ])
    .ok();
    cluster.until_gone();
    assert!(cluster.replicas().is_empty());
    let left = cluster.belongings();
    assert!(left.is_empty(), "{:?}", names(&left));
}
