//! The primary goes, and a replica takes over: what users of the Service see, and what is told of it.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    containers::{kill, process},
    events::{fields, types},
    kubectl,
    kubernetes::{get, text},
    namespace,
    turns::{alone, together},
    until,
    until::seen,
};

/// How long a takeover may take on a machine that does much else: with all the waits of the protocol it is under 10 s.
const TAKEOVER: Duration = Duration::from_secs(60);

/// The instance that is primary, as the status says.
fn primary(cluster: &Cluster) -> String {
    let object = cluster.object().expect("it is there");
    text(&object, "/status/currentPrimary")
}

/// Instances that are replicas and ready, as the status says.
fn replicas(cluster: &Cluster) -> Vec<String> {
    let object = cluster.object().expect("it is there");
    let instances = object["status"]["instances"].as_array().cloned();
    let is_replica = |one: &Value| one["role"] == "replica" && one["ready"] == true;
    let instances = instances.unwrap_or_default();
    let replicas = instances.iter().filter(|one| is_replica(one));
    replicas.map(|one| text(one, "/name")).collect()
}

/// How many vote, by the Lease.
fn voters(cluster: &Cluster) -> usize {
    let lease = get("lease", &cluster.name, &namespace()).expect("it is there");
    let record = &lease["metadata"]["annotations"]["pgo.crunchydata.com/record"];
    let record: Value = serde_json::from_str(record.as_str().unwrap_or("{}")).expect("JSON");
    record["voters"].as_array().map_or(0, Vec::len)
}

/// A cluster with a replica that may take over.
fn pair(flags: &[&str]) -> Cluster {
    let cluster = Cluster::named("failover");
    let flags: Vec<&str> = ["--replica-count", "1"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    cluster.create(&flags).ok();
    cluster.until_ready();
    until("a replica that votes", READY, || {
        let (replicas, voters) = (replicas(&cluster), voters(&cluster));
        seen(replicas.len() == 1 && voters == 1, || {
            format!("{replicas:?}, {voters} voters")
        })
    });
    cluster
}

/// A node that takes no pods, until this value goes.
struct Cordoned(String);

impl Cordoned {
    fn begin(node: &str) -> Self {
        kubectl(&["cordon", node]).ok();
        Self(node.to_owned())
    }
}

impl Drop for Cordoned {
    fn drop(&mut self) {
        // A failed test may be on its way.
        let _ = kubectl(&["uncordon", &self.0]);
    }
}

#[test]
fn a_primary_that_is_killed_with_its_pod_is_replaced_and_comes_back_as_replica() {
    // Nothing else finds its node closed.
    let _turn = alone();
    let watch = Watch::begin();
    let cluster = pair(&["--autofail"]);
    cluster.ask("CREATE TABLE kept (n int)");
    cluster.ask("INSERT INTO kept VALUES (1)");
    let replica = replicas(&cluster).remove(0);
    let former = primary(&cluster);

    // As when its node is gone: nothing of it ends in order, and it cannot come back before the other takes over.
    let namespace = namespace();
    let pod = get("pod", &former, &namespace).expect("it is there");
    let node = Cordoned::begin(&text(&pod, "/spec/nodeName"));
    kill(process(&pod, "database").expect("it runs"));
    let line = [
        "delete",
        "pod",
        &former,
        "-n",
        &namespace,
        "--force",
        "--grace-period=0",
    ];
    kubectl(&line).ok();
    until("the replica takes writes", TAKEOVER, || {
        let ran = cluster.psql("INSERT INTO kept VALUES (2) RETURNING n");
        seen(ran.status.success(), || ran.to_string())
    });
    assert_eq!(
        cluster.ask("SELECT string_agg(n::text, ',' ORDER BY n) FROM kept"),
        "1,2"
    );
    let told = watch.until(&cluster.uid(), "FailoverClusterCompleted");
    assert_eq!(
        fields(&told, "FailoverClusterCompleted", "/target"),
        std::slice::from_ref(&replica)
    );
    assert_eq!(
        fields(&told, "FailoverClusterCompleted", "/formerprimary"),
        std::slice::from_ref(&former)
    );
    let found = types(&told);
    assert!(found.contains(&"FailoverCluster".to_owned()), "{found:?}");

    drop(node);
    until("the former primary follows", READY, || {
        let (primary, replicas) = (primary(&cluster), replicas(&cluster));
        seen(
            primary == replica && replicas == std::slice::from_ref(&former),
            || format!("primary {primary}, replicas {replicas:?}"),
        )
    });
    cluster.until_ready();
}

#[test]
fn a_pod_that_ends_in_order_hands_over_and_nothing_is_lost() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = pair(&[]);
    cluster.ask("CREATE TABLE kept (n int)");
    let replica = replicas(&cluster).remove(0);
    let former = primary(&cluster);
    cluster.ask("INSERT INTO kept VALUES (1)");
    kubectl(&["delete", "pod", &former, "-n", &namespace(), "--wait=false"]).ok();
    until("the replica takes writes", TAKEOVER, || {
        let ran = cluster.psql("INSERT INTO kept VALUES (2) RETURNING n");
        seen(ran.status.success() && primary(&cluster) == replica, || {
            ran.to_string()
        })
    });
    assert_eq!(cluster.ask("SELECT count(*) FROM kept WHERE n = 1"), "1");
    let told = watch.until(&cluster.uid(), "SwitchoverClusterCompleted");
    assert_eq!(
        fields(&told, "SwitchoverClusterCompleted", "/target"),
        std::slice::from_ref(&replica)
    );
    until("the former primary follows", READY, || {
        let replicas = replicas(&cluster);
        seen(replicas == std::slice::from_ref(&former), || {
            format!("replicas {replicas:?}")
        })
    });
}
