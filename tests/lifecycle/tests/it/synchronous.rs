//! Commits wait for replicas: what a writer was told is written survives its primary.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Ran,
    cluster::READY,
    containers::{kill, process},
    kubectl,
    kubernetes::{condition, get, text},
    namespace,
    turns::alone,
    until,
    until::seen,
};

/// How long writes may be away on a machine that does much else.
const TAKEOVER: Duration = Duration::from_secs(60);

/// What the Lease records: who is primary, of how many commits wait for how many.
fn recorded(cluster: &Cluster) -> (String, u64, usize) {
    let lease = get("lease", &cluster.name, &namespace()).expect("it is there");
    let record = &lease["metadata"]["annotations"]["pgo.crunchydata.com/record"];
    let record: Value = serde_json::from_str(record.as_str().unwrap_or("{}")).expect("JSON");
    let rule = &record["synchronous"];
    (
        text(&lease, "/spec/holderIdentity"),
        rule["k"].as_u64().unwrap_or_default(),
        rule["set"].as_array().map_or(0, Vec::len),
    )
}

/// Waits until commits wait for any `k` of so many.
pub fn until_rule(cluster: &Cluster, k: u64, of: usize) {
    until(&format!("any {k} of {of}"), READY, || {
        let (primary, is, among) = recorded(cluster);
        seen((is, among) == (k, of), || {
            format!("{primary} waits for {is} of {among}")
        })
    });
}

/// Writes row `n`; whether that was acknowledged.
fn row(cluster: &Cluster, n: i32) -> Ran {
    cluster.psql(&format!("INSERT INTO kept VALUES ({n})"))
}

/// The mode of a cluster that lives becomes another one; what cannot be is refused.
fn changes_its_mode(cluster: &Cluster) {
    let namespace = namespace();
    let change = |spec: Value| {
        let patch = json!({ "spec": spec }).to_string();
        let arguments = [
            "patch",
            "pgcluster",
            &cluster.name,
            "-n",
            &namespace,
            "--type=merge",
            "-p",
            &patch,
        ];
        kubectl(&arguments).ok();
    };
    change(json!({"synchronousStandbys": 2}));
    until_rule(cluster, 2, 2);
    change(json!({"synchronousStandbys": 3}));
    // The database goes on with the mode that is in force.
    until("the refusal of a third answer", READY, || {
        let object = cluster.object().ok_or("it is not there")?;
        let told = condition(&object, "UpToDate").unwrap_or_default();
        let refused = told["status"] == "False" && told.to_string().contains("synchronousStandbys");
        seen(refused, || told.to_string())
    });
    assert_eq!(recorded(cluster).1, 2);
    change(json!({"synchronousStandbys": 0}));
    until_rule(cluster, 0, 0);
    cluster.until_ready();
}

#[test]
fn a_synchronous_cluster_loses_no_acknowledged_row_with_its_primary_and_changes_its_mode() {
    let _turn = alone();
    let cluster = Cluster::named("synchronous");
    let alone = cluster.create(&["--sync-replication"]);
    alone.failed(2, &["spec.syncReplication", "ask for more replicas"]);
    let flags = ["--replica-count", "2", "--sync-replication", "--autofail"];
    cluster.create(&flags).ok();
    cluster.until_ready();
    until_rule(&cluster, 1, 2);
    cluster.ask("CREATE TABLE kept (n int)");
    let mut acknowledged = BTreeSet::new();
    for n in 0..10 {
        if row(&cluster, n).status.success() {
            acknowledged.insert(n);
        }
    }
    let (former, ..) = recorded(&cluster);
    let namespace = namespace();
    let pod = get("pod", &former, &namespace).expect("it is there");
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
    let mut n = 10;
    until("writes go on", TAKEOVER, || {
        n += 1;
        let ran = row(&cluster, n);
        if ran.status.success() {
            acknowledged.insert(n);
        }
        let (primary, ..) = recorded(&cluster);
        seen(ran.status.success() && acknowledged.len() >= 13, || {
            format!("{primary}: {ran}")
        })
    });
    let rows = cluster.ask("SELECT string_agg(n::text, ',') FROM kept");
    let rows: BTreeSet<i32> = rows
        .split(',')
        .map(|n| n.parse().expect("a number"))
        .collect();
    let missing: Vec<_> = acknowledged.difference(&rows).collect();
    assert!(missing.is_empty(), "acknowledged and missing: {missing:?}");
    changes_its_mode(&cluster);
}
