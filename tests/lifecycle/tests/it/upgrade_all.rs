//! `pgo upgrade --all` over the namespaces of an installation: one cluster cannot be upgraded, the others are. In an
//! installation of its own, as all clusters of the others' are theirs.

use serde_json::Value;

use crate::harness::{
    beside::{Beside, installed},
    cluster::{READY, unique},
    containers::{Cordoned, nodes, tag_image_on},
    kubernetes::{condition, get, list, text},
    minors::{Minors, reference},
    turns::alone,
    until,
    until::seen,
};

/// A cluster in a namespace of that installation.
#[derive(Debug)]
struct One {
    namespace: String,
    name: &'static str,
    instances: usize,
}

impl One {
    fn named(namespace: &str, name: &'static str, instances: usize) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name,
            instances,
        }
    }

    fn create(&self, beside: &Beside, tag: &str) {
        let replicas = (self.instances - 1).to_string();
        let line = ["create", "cluster", self.name, "-n", &self.namespace];
        let flags = ["--replica-count", &replicas, "--ccp-image-tag", tag];
        let plain = ["--pgbackrest=false"];
        beside
            .pgo(&[&line[..], &flags[..], &plain[..]].concat(), "https")
            .ok();
    }

    fn object(&self) -> Value {
        get("pgcluster", self.name, &self.namespace).expect("it is there")
    }

    fn pods(&self) -> Vec<Value> {
        list(
            "pods",
            &format!("pg-cluster={}", self.name),
            &self.namespace,
        )
    }

    /// Waits until all instances serve or stream with this version, and nothing goes on.
    fn until_all_run(&self, version: &str) {
        until(&format!("all of {self:?} with {version}"), READY, || {
            let status = self.object()["status"].clone();
            let all = |name: &str| status[name].as_array().cloned().unwrap_or_default();
            let instances = all("instances");
            let run = instances.iter().all(|instance| {
                let works = instance["role"] == "primary" || instance["streaming"] == true;
                instance["postgresVersion"] == version && instance["ready"] == true && works
            });
            let goes = all("operations")
                .iter()
                .any(|operation| operation["outcome"].is_null());
            seen(run && instances.len() == self.instances && !goes, || {
                status.to_string()
            })
        });
        let ready = condition(&self.object(), "Ready").expect("the condition");
        assert_eq!(ready["status"], "True", "{self:?}: {ready}");
    }

    /// How its upgrade ended, and why.
    fn ended(&self) -> (String, String) {
        let operations = self.object()["status"]["operations"].as_array().cloned();
        let operations = operations.unwrap_or_default();
        let mut upgrades = operations
            .iter()
            .filter(|operation| operation["kind"] == "UpgradeCluster");
        let newest = upgrades.next_back().expect("an upgrade");
        (text(newest, "/outcome"), text(newest, "/cause"))
    }

    /// The tags of the images of its databases.
    fn tags(&self) -> Vec<String> {
        let pods = self.pods();
        let images = pods.iter().map(|pod| text(pod, "/spec/containers/0/image"));
        let tag = |image: String| image.rsplit(':').next().unwrap_or_default().to_owned();
        images.map(tag).collect()
    }

    fn primary(&self) -> String {
        text(&self.object(), "/status/currentPrimary")
    }

    /// The node of its only replica.
    fn node_of_replica(&self) -> String {
        let primary = self.primary();
        let node = |pod: &Value| text(pod, "/spec/nodeName");
        let (of_primary, of_replica): (Vec<Value>, Vec<Value>) = self
            .pods()
            .into_iter()
            .partition(|pod| text(pod, "/metadata/name") == primary);
        let (of_primary, of_replica) = (node(&of_primary[0]), node(&of_replica[0]));
        assert_ne!(of_primary, of_replica, "pods are spread over nodes");
        of_replica
    }
}

/// Installs it with the images of the installation of the other tests.
fn install(beside: &Beside) {
    let images = [
        "PGO_IMAGE_PREFIX",
        "PGO_IMAGE_TAG",
        "CCP_IMAGE_PREFIX",
        "CCP_IMAGE_TAG",
    ]
    .map(|name| (name, installed(name)));
    let images = images
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    beside.install(&images);
}

#[test]
fn all_clusters_of_two_namespaces_are_upgraded_and_one_that_cannot_be_serves_as_before() {
    let _turn = alone();
    let minors = Minors::make();
    let (from, to) = &minors.versions;
    let beside = Beside::named("pgo-fleet").with_another_namespace();
    install(&beside);
    let [here, there] = [0, 1].map(|place| beside.namespaces[place].as_str());
    let stuck = One::named(here, "stuck", 2);
    let others = [One::named(here, "free", 1), One::named(there, "apart", 1)];
    stuck.create(&beside, &minors.older);
    stuck.until_all_run(from);
    let without = stuck.node_of_replica();
    {
        let _elsewhere = Cordoned::node(&without);
        for other in &others {
            other.create(&beside, &minors.older);
        }
        for other in &others {
            other.until_all_run(from);
        }
    }
    // One node has no image under this name, and no registry has it: a replica is found not to come up there.
    let tag = unique("partial");
    let mut with = nodes();
    with.retain(|node| *node != without);
    tag_image_on(&with, &reference(&minors.newer), &reference(&tag));

    let line = ["upgrade", "--all", "--ccp-image-tag", &tag];
    let wait = ["--wait", "--timeout", "3m"];
    let ran = beside.pgo(&[&line[..], &wait[..]].concat(), "https");
    assert_eq!(ran.code(), 2, "{ran}");
    let said = format!("{}{}", ran.out, ran.err);
    for words in [
        "2 upgraded, 1 failed",
        &format!("{here}/stuck"),
        &format!("{here}/free"),
        &format!("{there}/apart"),
    ] {
        assert!(said.contains(words), "{words:?} is not said by {ran}");
    }
    for other in &others {
        other.until_all_run(to);
        assert_eq!(other.ended(), ("Completed".to_owned(), String::new()));
        assert_eq!(other.tags(), std::slice::from_ref(&tag));
    }
    stuck.until_all_run(from);
    let (outcome, cause) = stuck.ended();
    assert_eq!(outcome, "Failed");
    assert!(cause.contains("instance stuck-"), "{cause}");
    assert_eq!(stuck.tags(), [minors.older.clone(), minors.older.clone()]);
    assert_eq!(stuck.primary(), "stuck");
}
