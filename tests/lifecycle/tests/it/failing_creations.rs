//! Creations that cannot succeed: a failed event and a condition with the cause within seconds, and recovery by itself
//! once the cause is gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Watch,
    cluster::{READY, unique},
    containers::{tag_image, untag_image},
    events::{check_stream, fields, types},
    kubectl,
    kubernetes::{ConfigMap, apply, get, text},
    namespace, operator, pgo,
    turns::together,
    until,
};

/// "Within seconds", on a busy machine of two cores: an image is looked for, or a volume, before it is missed.
const TOLD: Duration = Duration::from_secs(20);

/// Kubernetes' own pauses between two tries grow with each failure.
const MENDED: Duration = Duration::from_secs(120);

/// Waits for the failure, holds it to what is promised, and returns its cause.
fn fails(cluster: &Cluster, watch: &Watch, reason: &str) -> String {
    let begun = Instant::now();
    let ready = cluster.until_ready_is("False", reason, TOLD);
    let cause = text(&ready, "/message");
    let events = watch.until(&cluster.uid(), "CreateClusterFailure");
    check_stream(&events);
    // 4.1's field, and ours.
    for field in ["/errormessage", "/cause"] {
        let told = fields(&events, "CreateClusterFailure", field);
        assert_eq!(told.as_slice(), std::slice::from_ref(&cause), "{field}");
    }
    eprintln!(
        "{reason} was told after {} ms: {cause}",
        begun.elapsed().as_millis()
    );
    let shown = pgo(&["show", "cluster", &cluster.name]).ok();
    assert!(shown.out.contains("not ready : "), "{shown}");
    cause
}

/// Waits for the recovery, and that it was told as an operation of its own.
fn recovers(cluster: &Cluster, watch: &Watch) {
    cluster.until_ready_is("True", "", MENDED);
    let events = watch.until(&cluster.uid(), "CreateClusterCompleted");
    check_stream(&events);
    let told = types(&events);
    let of = |wanted: &str| told.iter().filter(|t| *t == wanted).count();
    assert_eq!(
        (of("CreateClusterFailure"), of("CreateCluster")),
        (1, 2),
        "{told:?}"
    );
    assert_eq!(cluster.ask("select 1"), "1");
}

/// A storage class that is there as long as this value.
struct StorageClass(String);

impl Drop for StorageClass {
    fn drop(&mut self) {
        let mut command =
            crate::harness::programs::program("kubectl", &["delete", "storageclass", &self.0]);
        let _ = command.output();
    }
}

#[test]
fn a_volume_that_cannot_be_bound() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("unbound");
    let class = StorageClass(unique("class"));
    let storage = json!({"storagetype": "dynamic", "storageclass": class.0, "size": "100Mi", "fsgroup": "26"});
    apply(&cluster.manifest(json!({"PrimaryStorage": storage}))).ok();
    let cause = fails(&cluster, &watch, "VolumeNotBound");
    assert!(cause.contains(&class.0), "the class is not named: {cause}");

    let existing: Value = kubectl(&["get", "storageclass", "local", "-o", "json"])
        .ok()
        .json();
    let copy = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class.0},
        "provisioner": existing["provisioner"], "volumeBindingMode": existing["volumeBindingMode"],
    });
    apply(&copy).ok();
    recovers(&cluster, &watch);
}

#[test]
fn a_storage_class_that_was_named_wrongly_and_is_then_named_rightly() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("misclassed");
    let wrong = unique("class");
    let of = |class: &str| json!({"PrimaryStorage": {"storagetype": "dynamic", "storageclass": class, "size": "100Mi", "fsgroup": "26"}});
    apply(&cluster.manifest(of(&wrong))).ok();
    let cause = fails(&cluster, &watch, "VolumeNotBound");
    assert!(cause.contains(&wrong), "the class is not named: {cause}");
    apply(&cluster.manifest(of("local"))).ok();
    recovers(&cluster, &watch);
    let claim = get("pvc", &cluster.name, &namespace()).expect("its claim");
    assert_eq!(text(&claim, "/spec/storageClassName"), "local");
}

#[test]
fn a_configuration_that_is_not_there_and_then_is() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("unmounted");
    let config = ConfigMap(unique("config"));
    apply(&cluster.manifest(json!({"userlabels": {"custom-config": config.0}}))).ok();
    let cause = fails(&cluster, &watch, "PodNotStarted");
    assert!(
        cause.contains(&config.0) && cause.contains("not found"),
        "the ConfigMap is not named: {cause}"
    );
    config.with(json!({"postgresql.conf": "work_mem = '7MB'\n"}));
    recovers(&cluster, &watch);
    assert_eq!(cluster.ask("show work_mem"), "7MB");
}

#[test]
fn a_setup_sql_that_fails_and_is_then_mended() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("setup");
    let config = ConfigMap(unique("config"));
    let begin = "\\c userdb\ncreate table runs as select 1 as n;\n";
    config.with(
        json!({"setup.sql": format!("{begin}alter role testuser password 's3cret' oops;\n")}),
    );
    apply(&cluster.manifest(json!({"userlabels": {"custom-config": config.0}}))).ok();
    let cause = fails(&cluster, &watch, "PostgreSQLFailed");
    assert!(
        cause.contains("line 3 of setup.sql") && !cause.contains("s3cret"),
        "{cause}"
    );
    // The kubelet brings the change to the pod with its next look, once a minute.
    config.with(json!({"setup.sql": "\\c userdb\ninsert into runs values (2);\n"}));
    recovers(&cluster, &watch);
    let runs = cluster.psql_as_superuser("select sum(n) from runs").ok();
    assert_eq!(runs.out.trim(), "3", "what failed was run once");
}

/// Another name of the PostgreSQL image, on every node; gone with this value.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        untag_image(&self.0);
    }
}

/// The image of PostgreSQL that clusters get, as `prefix` and `tag`.
fn postgres_image() -> (String, String) {
    let pod_of = get("deployment", "reconciler", &operator()).expect("the reconciler");
    let env = pod_of["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let value = |name: &str| {
        let found = env.iter().find(|variable| variable["name"] == name);
        found
            .map(|variable| text(variable, "/value"))
            .expect("the installer sets it")
    };
    (value("CCP_IMAGE_PREFIX"), value("CCP_IMAGE_TAG"))
}

#[test]
fn an_image_that_cannot_be_pulled() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("unpulled");
    let (prefix, tag) = postgres_image();
    let missing = unique("missing");
    cluster.create(&["--ccp-image-tag", &missing]).ok();
    until("the cluster", READY, || {
        cluster
            .object()
            .map(|_| ())
            .ok_or_else(|| "none".to_owned())
    });
    let cause = fails(&cluster, &watch, "ImageNotPulled");
    assert!(cause.contains(&missing), "the image is not named: {cause}");

    let image = Tag(format!("{prefix}/crunchy-postgres:{missing}"));
    tag_image(&format!("{prefix}/crunchy-postgres:{tag}"), &image.0);
    recovers(&cluster, &watch);
}

#[test]
fn an_image_that_was_named_wrongly_and_is_then_named_rightly() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("misnamed");
    let (_, tag) = postgres_image();
    apply(&cluster.manifest(json!({"ccpimagetag": unique("typo")}))).ok();
    fails(&cluster, &watch, "ImageNotPulled");
    apply(&cluster.manifest(json!({"ccpimagetag": tag}))).ok();
    recovers(&cluster, &watch);
}

/// A pod on the cluster's volume that runs one command, and is gone afterwards.
fn on_volume(cluster: &Cluster, command: &str) {
    let name = unique("volume");
    let (prefix, tag) = postgres_image();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace()},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 26, "runAsGroup": 26, "fsGroup": 26,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "command", "image": format!("{prefix}/crunchy-postgres:{tag}"), "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", command],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "pgdata", "mountPath": "/pgdata"}],
            }],
            "volumes": [{"name": "pgdata", "persistentVolumeClaim": {"claimName": cluster.name}}],
        },
    });
    apply(&pod).ok();
    let result = until(&format!("the end of pod {name}"), READY, || {
        let pod = get("pod", &name, &namespace()).ok_or("no pod")?;
        match text(&pod, "/status/phase").as_str() {
            end @ ("Succeeded" | "Failed") => Ok(end.to_owned()),
            _ => Err(pod["status"].to_string()),
        }
    });
    let logs = kubectl(&["logs", &name, "-n", &namespace()]);
    kubectl(&[
        "delete",
        "pod",
        &name,
        "-n",
        &namespace(),
        "--grace-period=0",
        "--force",
    ])
    .ok();
    assert_eq!(result, "Succeeded", "{command}: {logs}");
}

#[test]
fn a_data_directory_that_initdb_does_not_want() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("foreign");
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": cluster.name, "namespace": namespace(),
            "labels": {"vendor": "crunchydata", "pg-cluster": cluster.name, "pgremove": "true"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}},
    });
    apply(&claim).ok();
    let folder = format!("/pgdata/{}", cluster.name);
    on_volume(
        &cluster,
        &format!("mkdir {folder} && echo mine >{folder}/letter"),
    );
    apply(&cluster.manifest(json!({}))).ok();
    let cause = fails(&cluster, &watch, "PostgreSQLFailed");
    assert!(
        cause.contains(&folder),
        "the directory is not named: {cause}"
    );
    on_volume(&cluster, &format!("cat {folder}/letter && rm -r {folder}"));
    recovers(&cluster, &watch);
}

#[test]
fn an_image_without_postgresql() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("empty");
    let nsqd = get("statefulset", "nsqd", &operator()).expect("nsqd");
    let image = text(&nsqd, "/spec/template/spec/containers/0/image");
    let (prefix, _) = postgres_image();
    let rest = image
        .strip_prefix(&format!("{prefix}/"))
        .expect("all images here have one prefix");
    let (name, tag) = rest.split_once(':').expect("a tag");
    apply(&cluster.manifest(json!({"ccpimage": name, "ccpimagetag": tag}))).ok();
    let cause = fails(&cluster, &watch, "PostgreSQLFailed");
    assert!(
        cause.contains("postgres") || cause.contains("initdb"),
        "{cause}"
    );
}

#[test]
fn create_wait_ends_with_the_cause_of_a_failure() {
    let _turn = together();
    let cluster = Cluster::named("told");
    let missing = unique("missing");
    let begun = Instant::now();
    cluster
        .create(&["--wait", "--timeout", "2m", "--ccp-image-tag", &missing])
        .failed(2, &[&missing, &cluster.name]);
    let took = begun.elapsed();
    assert!(
        took < TOLD,
        "the cause was told after {} ms, the timeout is 2 min",
        took.as_millis()
    );
}
