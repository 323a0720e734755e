//! A volume that hangs under the primary: nothing written to it comes to an end, and no signal ends who waits for it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    events::fields,
    hanging::HangingVolume,
    kubernetes::{apply, get, text},
    namespace,
    turns::together,
    until,
    until::seen,
    writer::{Writer, missing},
};

/// How long its volume may hang before a primary gives up.
const DEADLINE: Duration = Duration::from_secs(5);

/// Name, role and whether it streams of each instance, by the status.
fn instances(cluster: &Cluster) -> Vec<(String, String, bool)> {
    let status = cluster.object().expect("it is there")["status"].clone();
    let all = status["instances"].as_array().cloned().unwrap_or_default();
    let all = all.iter().map(|one| {
        let streams = one["streaming"] == true;
        (text(one, "/name"), text(one, "/role"), streams)
    });
    all.collect()
}

fn primary(cluster: &Cluster) -> String {
    let object = cluster.object().expect("it is there");
    text(&object, "/status/currentPrimary")
}

/// Waits until this instance streams from another one.
fn until_streams(cluster: &Cluster, wanted: impl Fn(&str) -> bool) {
    until("a replica that streams", READY, || {
        let all = instances(cluster);
        let streams = all
            .iter()
            .any(|(name, _, streams)| *streams && wanted(name));
        let votes = cluster.recorded().1 == 1;
        seen(streams && votes, || format!("{all:?}"))
    });
}

#[test]
fn a_volume_that_hangs_under_the_primary_has_another_instance_take_over_after_the_set_time() {
    let _turn = together();
    let watch = Watch::begin();
    // It goes after the cluster.
    let volume = HangingVolume::make();
    let cluster = Cluster::named("hangs");
    let storage = json!({
        "storagetype": "dynamic", "storageclass": volume.class(), "accessmode": "ReadWriteOnce", "size": "1Gi",
    });
    let mut manifest = cluster.manifest(json!({
        "PrimaryStorage": storage, "replicaCount": 1, "volumeDeadline": DEADLINE.as_secs(),
        "ReplicaStorage": {"storagetype": "dynamic", "accessmode": "ReadWriteOnce", "size": "1Gi"},
    }));
    manifest["metadata"]["labels"]["autofail"] = "true".into();
    apply(&manifest).ok();
    cluster.until_ready();
    until_streams(&cluster, |_| true);
    let former = primary(&cluster);
    let claim = get("pvc", &former, &namespace()).expect("its claim");
    assert_eq!(text(&claim, "/spec/volumeName"), volume.class());

    let writer = Writer::begin(&cluster);
    volume.freeze();
    let frozen = Instant::now();
    until("another primary", READY, || {
        let now = primary(&cluster);
        seen(!now.is_empty() && now != former, || {
            format!("{now}: {:?}", instances(&cluster))
        })
    });
    assert!(frozen.elapsed() >= DEADLINE, "{:?}", frozen.elapsed());
    let told = watch.until(&cluster.uid(), "FailoverClusterCompleted");
    let causes = fields(&told, "FailoverCluster", "/cause").concat();
    let all = fields(&told, "FailoverClusterCompleted", "/cause").concat() + &causes;
    assert!(all.contains("its data volume hangs"), "{told:?}");
    let now = Instant::now();
    until("writes to it", READY, || {
        seen(writer.wrote_since(now), || {
            format!("{} rows", writer.notes().acknowledged.len())
        })
    });

    volume.thaw();
    until_streams(&cluster, |name| name == former);
    let notes = writer.end();
    assert_eq!(missing(&cluster, &notes), Vec::<u64>::new());
    watch.check_to_its_end(&cluster.uid());
}
