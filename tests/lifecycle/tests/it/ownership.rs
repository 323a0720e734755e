//! Names that are taken: nothing of anybody else is used, changed or removed, and whose it is is told.

use serde_json::json;

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    events::{check_stream, fields},
    kubectl,
    kubernetes::{apply, condition, get, secret, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

#[test]
fn a_service_of_somebody_else_is_left_alone_and_its_name_is_told() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("taken-service");
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": cluster.name, "namespace": namespace(), "labels": {"app": "another"}},
        "spec": {"selector": {"app": "another"}, "ports": [{"port": 80}]},
    });
    apply(&service).ok();
    let before = get("service", &cluster.name, &namespace()).expect("the Service");
    apply(&cluster.manifest(json!({}))).ok();
    let ready = cluster.until_ready_is("False", "Refused", READY);
    let message = text(&ready, "/message");
    assert!(
        message.contains(&format!("Service {}", cluster.name)),
        "{message}"
    );
    let events = watch.until(&cluster.uid(), "CreateClusterFailure");
    check_stream(&events);
    assert_eq!(fields(&events, "CreateClusterFailure", "/cause"), [message]);
    let after = get("service", &cluster.name, &namespace()).expect("the Service");
    assert_eq!(before, after);

    kubectl(&["delete", "service", &cluster.name, "-n", &namespace()]).ok();
    cluster.until_ready();
    check_stream(&watch.until(&cluster.uid(), "CreateClusterCompleted"));
}

#[test]
fn a_volume_of_somebody_else_is_not_used_and_stays_when_the_cluster_goes() {
    let _turn = together();
    let cluster = Cluster::named("taken-volume");
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": cluster.name, "namespace": namespace(), "labels": {"app": "another"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}},
    });
    apply(&claim).ok();
    apply(&cluster.manifest(json!({}))).ok();
    let ready = cluster.until_ready_is("False", "Refused", READY);
    let message = text(&ready, "/message");
    assert!(
        message.contains("PersistentVolumeClaim") && message.contains("pg-cluster="),
        "{message}"
    );
    assert!(
        get("pod", &cluster.name, &namespace()).is_none(),
        "a pod uses it"
    );
    pgo(&[
        "delete",
        "cluster",
        &cluster.name,
        "--no-prompt",
        "--delete-data",
        "--wait",
    ])
    .ok();
    assert!(get("pvc", &cluster.name, &namespace()).is_some());
    kubectl(&["delete", "pvc", &cluster.name, "-n", &namespace()]).ok();
}

#[test]
fn a_password_of_another_cluster_is_neither_used_nor_removed() {
    let _turn = together();
    let first = Cluster::named("first");
    apply(&first.manifest(json!({"user": "b-postgres"}))).ok();
    first.until_ready();
    // Its application's Secret has the name of the superuser's of this one.
    let second = Cluster {
        name: format!("{}-b", first.name),
    };
    let shared = format!("{}-postgres-secret", second.name);
    let password = secret(&shared, "password");
    apply(&second.manifest(json!({}))).ok();
    let ready = second.until_ready_is("False", "Refused", READY);
    let message = text(&ready, "/message");
    assert!(
        message.contains(&shared) && message.contains(&format!("cluster {};", first.name)),
        "{message}"
    );
    pgo(&[
        "delete",
        "cluster",
        &second.name,
        "--no-prompt",
        "--delete-data",
        "--wait",
    ])
    .ok();
    assert_eq!(secret(&shared, "password"), password);
    assert!(first.object().is_some());
}

#[test]
fn a_cluster_that_nobody_understands_any_more_leaves_no_password_behind() {
    let _turn = together();
    let cluster = Cluster::named("senseless");
    apply(&cluster.manifest(json!({}))).ok();
    cluster.until_ready();
    apply(&cluster.manifest(json!({"userlabels": {"service-type": "Pigeon"}}))).ok();
    until("word that the spec is not understood", READY, || {
        let object = cluster.object().ok_or("it is not there")?;
        let told = condition(&object, "UpToDate").unwrap_or_default();
        seen(told["reason"] == "Invalid", || told.to_string())
    });
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
        let left = crate::harness::kubernetes::names(&cluster.belongings());
        seen(left.is_empty(), || format!("{left:?}"))
    });
}

#[test]
fn a_secret_of_another_cluster_is_refused_where_pgo_is_asked_and_nothing_is_made() {
    let _turn = together();
    let cluster = Cluster::named("taken-secret");
    let taken = format!("{}-postgres-secret", cluster.name);
    let found = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": taken, "namespace": namespace(),
            "labels": {"vendor": "crunchydata", "pg-cluster": "another"}},
        "stringData": {"username": "postgres", "password": "theirs"},
    });
    apply(&found).ok();
    let words = [taken.as_str(), "belongs to cluster another", "remove it"];
    cluster.create(&[]).failed(2, &words);
    cluster.create(&["--password", "s3cret"]).failed(2, &words);
    assert!(cluster.object().is_none() && cluster.belongings().is_empty());
    assert_eq!(secret(&taken, "password"), "theirs");
    kubectl(&["delete", "secret", &taken, "-n", &namespace()]).ok();
    cluster.create(&["--wait"]).ok();
}
