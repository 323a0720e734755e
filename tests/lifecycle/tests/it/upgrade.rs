//! Minor upgrades: what users of a cluster see of one, and what is refused.

use std::{sync::LazyLock, thread, time::Instant};

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    cluster::{READY, unique},
    containers::{kill_all_of, until_whole},
    events::{check_stream, fields, types},
    kubernetes::{get, text},
    minors::{Minors, image},
    namespace, pgo,
    turns::{alone, together},
    until,
    until::seen,
    writer::{Writer, missing},
};

/// Images that are made once for all tests of this file.
struct Images {
    minors: Minors,
    /// Tag of one with another major version.
    major: String,
}

static IMAGES: LazyLock<Images> = LazyLock::new(|| Images {
    minors: Minors::make(),
    major: image("major", "other-major.sh", None),
});

/// Version of each instance, by the status, and whether it serves or follows.
fn instances(cluster: &Cluster) -> Vec<(String, String, bool)> {
    let object = cluster.object().expect("it is there");
    let instances = object["status"]["instances"].as_array().cloned();
    let instances = instances.unwrap_or_default();
    let works = |one: &Value| {
        one["ready"] == true && (one["role"] == "primary" || one["streaming"] == true)
    };
    instances
        .iter()
        .map(|one| {
            (
                text(one, "/name"),
                text(one, "/postgresVersion"),
                works(one),
            )
        })
        .collect()
}

fn until_all_run(cluster: &Cluster, count: usize, version: &str) {
    until("all instances", READY, || {
        let found = instances(cluster);
        let all = found
            .iter()
            .all(|(_, runs, works)| runs == version && *works);
        let outcome = cluster
            .object()
            .map(|object| object["status"]["operations"].clone());
        let begun = outcome.and_then(|operations| operations.as_array().cloned());
        let goes = begun
            .into_iter()
            .flatten()
            .any(|one| one["outcome"].is_null());
        seen(all && found.len() == count && !goes, || {
            format!("{found:?}")
        })
    });
}

/// Tags of the images that the pods of a cluster run.
fn tags(cluster: &Cluster) -> Vec<String> {
    let names = instances(cluster);
    let pods = names
        .iter()
        .filter_map(|(name, ..)| get("pod", name, &namespace()));
    pods.map(|pod| {
        let image = text(&pod, "/spec/containers/0/image");
        image.rsplit(':').next().unwrap_or_default().to_owned()
    })
    .collect()
}

/// The uids of its pods.
fn pods(cluster: &Cluster) -> Vec<String> {
    let names = instances(cluster);
    let pods = names
        .iter()
        .filter_map(|(name, ..)| get("pod", name, &namespace()));
    pods.map(|pod| text(&pod, "/metadata/uid")).collect()
}

/// `pgo upgrade` to the image with this tag, and its end.
fn upgrade(cluster: &Cluster, tag: &str) -> Ran {
    let namespace = namespace();
    let line = [
        "upgrade",
        &cluster.name,
        "--ccp-image-tag",
        tag,
        "--wait",
        "--timeout",
        "5m",
        "-n",
        &namespace,
    ];
    pgo(&line)
}

/// Images that it cannot be upgraded to are refused, and nothing is changed.
fn refuses_wrong_images(cluster: &Cluster, images: &Images) {
    let before = pods(cluster);
    upgrade(cluster, &images.major).failed(2, &["another major version", "nothing was changed"]);
    let absent = unique("missing");
    upgrade(cluster, &absent).failed(2, &[&absent, "cannot be used"]);
    upgrade(cluster, &images.minors.older).failed(2, &["can not upgrade to the same image tag"]);
    assert_eq!(pods(cluster), before);
}

/// What is told of three refusals and one upgrade.
fn is_told(told: &[Value], (from, to): &(String, String)) {
    check_stream(told);
    assert_eq!(
        fields(told, "UpgradeClusterCompleted", "/formerversion"),
        std::slice::from_ref(from)
    );
    assert_eq!(
        fields(told, "UpgradeClusterCompleted", "/version"),
        std::slice::from_ref(to)
    );
    assert_eq!(
        fields(told, "UpgradeInstanceCompleted", "/instance").len(),
        2
    );
}

#[test]
fn two_instances_get_a_later_minor_under_a_writer_and_wrong_images_change_nothing() {
    let _turn = together();
    let images = &*IMAGES;
    let (from, to) = &images.minors.versions;
    let watch = Watch::begin();
    let cluster = Cluster::named("upgraded");
    let flags = [
        "--replica-count",
        "1",
        "--autofail",
        "--ccp-image-tag",
        &images.minors.older,
    ];
    cluster.create(&flags).ok();
    cluster.until_ready();
    until_all_run(&cluster, 2, from);
    refuses_wrong_images(&cluster, images);

    let writer = Writer::begin(&cluster);
    let begun = Instant::now();
    let ran = upgrade(&cluster, &images.minors.newer).ok();
    assert!(ran.out.contains("created minor upgrade task for"), "{ran}");
    until_all_run(&cluster, 2, to);
    let notes = writer.end();
    println!(
        "minor upgrade of 2 instances from {from} to {to}: {} rows, longest write pause {:?}",
        notes.acknowledged.len(),
        notes.longest_pause(begun)
    );
    assert_eq!(missing(&cluster, &notes), Vec::<u64>::new());
    assert_eq!(
        tags(&cluster),
        [images.minors.newer.clone(), images.minors.newer.clone()]
    );
    let object = cluster.object().expect("it is there");
    assert_eq!(text(&object, "/spec/ccpimagetag"), images.minors.newer);
    assert_eq!(
        text(&object, "/metadata/labels/minor-upgrade"),
        "upgrade-complete"
    );

    upgrade(&cluster, &images.minors.older).failed(2, &["older"]);
    is_told(
        &watch.until_count(&cluster.uid(), "UpgradeClusterFailure", 3),
        &images.minors.versions,
    );
}

#[test]
fn without_autofail_the_primary_is_upgraded_where_it_is() {
    let _turn = together();
    let images = &*IMAGES;
    let (from, to) = &images.minors.versions;
    let watch = Watch::begin();
    let cluster = Cluster::named("stays");
    let flags = [
        "--replica-count",
        "1",
        "--ccp-image-tag",
        &images.minors.older,
    ];
    cluster.create(&flags).ok();
    cluster.until_ready();
    until_all_run(&cluster, 2, from);
    let leads = || {
        text(
            &cluster.object().expect("it is there"),
            "/status/currentPrimary",
        )
    };
    let primary = leads();
    let writer = Writer::begin(&cluster);
    let begun = Instant::now();
    upgrade(&cluster, &images.minors.newer).ok();
    until_all_run(&cluster, 2, to);
    let notes = writer.end();
    println!(
        "minor upgrade of 2 instances without autofail: {} rows, longest write pause {:?}",
        notes.acknowledged.len(),
        notes.longest_pause(begun)
    );
    assert_eq!(missing(&cluster, &notes), Vec::<u64>::new());
    assert_eq!(leads(), primary);
    let told = watch.until(&cluster.uid(), "UpgradeClusterCompleted");
    check_stream(&told);
    let turns = fields(&told, "UpgradeInstanceCompleted", "/instance");
    assert_eq!((turns.len(), turns.last()), (2, Some(&primary)));
    let changes = types(&told)
        .into_iter()
        .filter(|one| one.starts_with("SwitchoverCluster") || one.starts_with("FailoverCluster"));
    assert_eq!(changes.collect::<Vec<_>>(), [""; 0]);
}

/// Three clusters with these labels, and how many instances each has: the first one has a replica, to which it hands over.
fn fleet(labels: &str, images: &Images) -> (Vec<Cluster>, [usize; 3]) {
    let clusters: Vec<Cluster> = (0..3).map(|_| Cluster::named("fleet")).collect();
    let counts = [2, 1, 1];
    for (cluster, count) in clusters.iter().zip(counts) {
        let replicas = format!("--replica-count={}", count - 1);
        let flags = ["--labels", labels, "--ccp-image-tag", &images.minors.older];
        let pair: &[&str] = &[&replicas, "--autofail"];
        let further = if count == 2 { pair } else { &[] };
        cluster.create(&[&flags[..], further].concat()).ok();
    }
    for (cluster, count) in clusters.iter().zip(counts) {
        cluster.until_ready();
        until_all_run(cluster, count, &images.minors.versions.0);
    }
    (clusters, counts)
}

#[test]
fn an_upgrade_of_several_clusters_goes_on_when_the_reconciler_was_killed_in_the_middle() {
    let _turn = alone();
    let images = &*IMAGES;
    let (_, to) = &images.minors.versions;
    until_whole();
    let watch = Watch::begin();
    let label = unique("fleet");
    let labels = format!("fleet={label}");
    let (clusters, counts) = fleet(&labels, images);
    let namespace = namespace();
    let line = [
        "upgrade",
        "--selector",
        &labels,
        "--ccp-image-tag",
        &images.minors.newer,
        "--wait",
        "--timeout",
        "5m",
        "-n",
        &namespace,
    ];
    let ran = thread::scope(|scope| {
        let upgrade = scope.spawn(|| pgo(&line));
        until("the first instance's turn", READY, || {
            let told = |cluster: &Cluster| types(&watch.of(&cluster.uid()));
            let all: Vec<String> = clusters.iter().flat_map(told).collect();
            seen(all.contains(&"UpgradeInstance".to_owned()), || {
                format!("{all:?}")
            })
        });
        assert!(kill_all_of("reconciler") > 0);
        until("the primary that hands over", READY, || {
            let told = types(&watch.of(&clusters[0].uid()));
            seen(told.contains(&"SwitchoverCluster".to_owned()), || {
                format!("{told:?}")
            })
        });
        assert!(kill_all_of("reconciler") > 0);
        upgrade.join().expect("pgo upgrade")
    });
    let ran = ran.ok();
    assert!(
        ran.out.contains("3 upgraded") || ran.err.contains("3 upgraded"),
        "{ran}"
    );
    for (cluster, count) in clusters.iter().zip(counts) {
        until_all_run(cluster, count, to);
        assert_eq!(tags(cluster), vec![images.minors.newer.clone(); count]);
        let told = watch.until(&cluster.uid(), "UpgradeClusterCompleted");
        check_stream(&told);
        assert_eq!(
            fields(&told, "UpgradeInstanceCompleted", "/version"),
            vec![to.clone(); count]
        );
    }
    until_whole();
}

#[test]
fn an_upgrade_of_a_cluster_that_is_not_there_is_refused() {
    let line = ["upgrade", "nosuch", "-n", &namespace()];
    pgo(&line).failed(2, &["nosuch is not a valid pgcluster"]);
    pgo(&["upgrade", "-n", &namespace()]).failed(1, &["--selector or --all"]);
}
