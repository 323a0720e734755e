//! Deletion, with and without data.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    events::{check_stream, fields, types},
    kubectl,
    kubernetes::{apply, get, names, secret, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

fn set(names: &[String]) -> BTreeSet<String> {
    names.iter().cloned().collect()
}

#[test]
fn a_deleted_cluster_keeps_its_data_and_a_new_one_of_its_name_takes_it_up() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("kept");
    let name = &cluster.name;
    let stream = cluster.uid();
    cluster
        .psql("create table notes (note text); insert into notes values ('still here')")
        .ok();
    let password = secret(&format!("{name}-testuser-secret"), "password");

    let ran = pgo(&["delete", "cluster", name, "--no-prompt", "--wait"]).ok();
    assert!(
        ran.out.starts_with(&format!("deleted pgcluster {name}\n")),
        "{ran}"
    );
    assert!(cluster.object().is_none());
    let kept: BTreeSet<String> = [
        format!("PersistentVolumeClaim/{name}"),
        format!("Secret/{name}-postgres-secret"),
        format!("Secret/{name}-primaryuser-secret"),
        format!("Secret/{name}-testuser-secret"),
    ]
    .into();
    until("only data and passwords left", READY, || {
        let left = set(&names(&cluster.belongings()));
        seen(left == kept, || format!("{left:?}"))
    });
    let what = format!("persistentvolumeclaim/{name} secret/{name}-postgres-secret ");
    pgo(&["delete", "cluster", name, "--no-prompt", "--delete-data"]).failed(2, &[&what]);
    let events = watch.until(&stream, "DeleteClusterCompleted");
    check_stream(&events);
    assert_eq!(
        fields(&events, "DeleteClusterProgress", "/step"),
        ["database stopped", "data kept"]
    );
    assert_eq!(
        fields(&events, "DeleteCluster", "/eventheader/username"),
        ["pgoadmin"]
    );

    cluster.create(&["--wait"]).ok();
    assert_ne!(
        cluster.uid(),
        stream,
        "a new cluster has a stream of its own"
    );
    assert_eq!(
        secret(&format!("{name}-testuser-secret"), "password"),
        password
    );
    assert_eq!(cluster.ask("select note from notes"), "still here");
    let events = watch.until(&cluster.uid(), "CreateClusterCompleted");
    let steps = fields(&events, "CreateClusterProgress", "/step");
    let last = steps.last().map(String::as_str);
    assert_eq!(last, Some("data directory taken over"), "{steps:?}");
}

#[test]
fn a_cluster_deleted_with_its_data_leaves_nothing() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("gone");
    let stream = cluster.uid();
    pgo(&[
        "delete",
        "cluster",
        &cluster.name,
        "--no-prompt",
        "--delete-data",
        "--wait",
    ])
    .ok();
    until("nothing left", READY, || {
        let mut left = names(&cluster.belongings());
        let tasks = crate::harness::kubernetes::list(
            "pgtasks",
            &format!("pg-cluster={}", cluster.name),
            &namespace(),
        );
        left.extend(names(&tasks));
        seen(left.is_empty(), || format!("{left:?}"))
    });
    let events = watch.until(&stream, "DeleteClusterCompleted");
    check_stream(&events);
    assert_eq!(
        fields(&events, "DeleteClusterProgress", "/step"),
        ["database stopped", "data removed"]
    );
    pgo(&["show", "cluster", &cluster.name]).failed(2, &[&cluster.name]);
}

/// A claim as 4.1 makes it for a cluster's repository of backups; nobody mounts it.
fn repository(cluster: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": format!("{cluster}-pgbr-repo"), "namespace": namespace(),
            "labels": {"vendor": "crunchydata", "pg-cluster": cluster, "pgremove": "true"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    })
}

#[test]
fn backups_stay_with_delete_data_and_go_with_delete_backups() {
    let _turn = together();
    for (flag, data, backups) in [
        ("--delete-data", false, true),
        ("--delete-backups", true, false),
    ] {
        let cluster = Cluster::ready("backups");
        let name = cluster.name.as_str();
        apply(&repository(name)).ok();
        pgo(&["delete", "cluster", name, "--no-prompt", flag, "--wait"]).ok();
        let is_there = |claim: &str| {
            let claim = get("pvc", claim, &namespace());
            claim.is_some_and(|claim| claim.pointer("/metadata/deletionTimestamp").is_none())
        };
        let repository = format!("{name}-pgbr-repo");
        assert_eq!(
            (is_there(name), is_there(&repository)),
            (data, backups),
            "{flag}"
        );
        let left = ["delete", "pvc", "--ignore-not-found", "--wait=false", "-n"];
        kubectl(&[&left[..], &[&namespace(), name, &repository]].concat()).ok();
    }
}

#[test]
fn a_cluster_deleted_by_kubectl_keeps_its_data() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("kubectl");
    let stream = cluster.uid();
    kubectl(&[
        "delete",
        "pgcluster",
        &cluster.name,
        "-n",
        &namespace(),
        "--timeout=90s",
    ])
    .ok();
    assert!(get("pvc", &cluster.name, &namespace()).is_some());
    check_stream(&watch.until(&stream, "DeleteClusterCompleted"));
}

#[test]
fn data_goes_where_that_is_asked_for_while_a_deletion_without_it_goes_on() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("more");
    let stream = cluster.uid();
    let name = cluster.name.as_str();
    kubectl(&[
        "delete",
        "pgcluster",
        name,
        "-n",
        &namespace(),
        "--wait=false",
    ])
    .ok();
    let more = ["delete", "cluster", name, "--no-prompt", "--delete-data"];
    pgo(&[&more[..], &["--wait"]].concat()).ok();
    until("nothing left", READY, || {
        let left = names(&cluster.belongings());
        seen(left.is_empty(), || format!("{left:?}"))
    });
    let events = watch.until(&stream, "DeleteClusterCompleted");
    check_stream(&events);
    let steps = fields(&events, "DeleteClusterProgress", "/step");
    assert_eq!(steps.last().map(String::as_str), Some("data removed"));
}

#[test]
fn a_cluster_deleted_while_it_is_made_ends_both_operations() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("early");
    cluster.create(&[]).ok();
    let stream = until("the cluster", READY, || {
        cluster
            .object()
            .map(|object| text(&object, "/metadata/uid"))
            .ok_or_else(|| "not there".to_owned())
    });
    watch.until(&stream, "CreateCluster");
    pgo(&[
        "delete",
        "cluster",
        &cluster.name,
        "--no-prompt",
        "--delete-data",
        "--wait",
    ])
    .ok();
    let events = watch.until(&stream, "DeleteClusterCompleted");
    check_stream(&events);
    let told = types(&events);
    assert!(
        told.contains(&"CreateClusterFailure".to_owned()),
        "{told:?}"
    );
}

#[test]
fn a_deleted_cluster_frees_its_name_at_once() {
    let _turn = together();
    let cluster = Cluster::named("again");
    for round in 0..2 {
        apply(&cluster.manifest(json!({}))).ok();
        cluster.until_ready();
        assert_eq!(cluster.ask("select 1"), "1", "round {round}");
        pgo(&[
            "delete",
            "cluster",
            &cluster.name,
            "--no-prompt",
            "--delete-data",
            "--wait",
        ])
        .ok();
    }
}

#[test]
fn a_deletion_asks_before_and_takes_no_for_an_answer() {
    let _turn = together();
    let cluster = Cluster::named("asked");
    cluster.create(&[]).ok();
    let ran = crate::harness::programs::run(
        crate::harness::programs::program("pgo", &["delete", "cluster", &cluster.name]),
        "no\n",
    )
    .ok();
    assert!(
        ran.out.contains("Are you sure?") || ran.err.contains("Are you sure?"),
        "{ran}"
    );
    assert!(
        cluster
            .object()
            .is_some_and(|object| object.pointer("/metadata/deletionTimestamp").is_none())
    );
}
