//! `PreferredFailoverNode` of `pgo.yaml`: of replicas that are as far, the one on such a node takes over.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Cluster,
    cluster::unique,
    faults::delete,
    kubectl,
    kubernetes::{get, text},
    namespace, operator,
    programs::program,
    turns::alone,
    until,
    until::seen,
};

/// How long a changed `pgo.yaml` may take to be in the Leases, and a takeover to be in the status.
const SOON: Duration = Duration::from_secs(30);

/// A label of nodes that `pgo.yaml` prefers; both are as before when this goes.
struct Preference {
    label: String,
    before: String,
}

impl Preference {
    fn begin() -> Self {
        let file = get("configmap", "pgo-config", &operator()).expect("its configuration");
        let preference = Self {
            label: unique("preferred"),
            before: text(&file, "/data/pgo.yaml"),
        };
        let key = format!(
            "\nPgo:\n  PreferredFailoverNode: {}=yes\n",
            preference.label
        );
        let after = preference.before.replace("\nPgo:\n", &key);
        assert_ne!(after, preference.before, "pgo.yaml has a section Pgo");
        kubectl(&patch(&after).iter().map(String::as_str).collect::<Vec<_>>()).ok();
        preference
    }

    /// Of all nodes only this one has the label.
    fn prefer(&self, node: &str) {
        let gone = format!("{}-", self.label);
        kubectl(&["label", "nodes", "--all", &gone]).ok();
        let label = format!("{}=yes", self.label);
        kubectl(&["label", "node", node, &label]).ok();
    }
}

/// The words that have `kubectl` replace `pgo.yaml`.
fn patch(file: &str) -> Vec<String> {
    let patch = json!({"data": {"pgo.yaml": file}}).to_string();
    let operator = operator();
    let words = ["patch", "configmap", "pgo-config", "-n", &operator];
    let words = words.into_iter().chain(["--type=merge", "--patch", &patch]);
    words.map(str::to_owned).collect()
}

impl Drop for Preference {
    fn drop(&mut self) {
        let gone = format!("{}-", self.label);
        let _ = program("kubectl", &["label", "nodes", "--all", &gone]).output();
        let back = patch(&self.before);
        let back: Vec<&str> = back.iter().map(String::as_str).collect();
        let _ = program("kubectl", &back).output();
    }
}

/// Whom the Lease prefers.
fn preferred(cluster: &Cluster) -> String {
    let lease = get("lease", &cluster.name, &namespace()).unwrap_or_default();
    let annotation = "/metadata/annotations/pgo.crunchydata.com~1preferred";
    text(&lease, annotation)
}

#[test]
fn of_two_replicas_the_one_on_a_preferred_node_takes_over() {
    let _turn = alone();
    let preference = Preference::begin();
    let cluster = Cluster::of_three("preferred", &json!({}));
    // By chance it would be so once in four times.
    for round in 0..2 {
        let (primary, replicas) = cluster.roles();
        // Not by their order in any list.
        let wanted = &replicas[round];
        let pod = get("pod", wanted, &namespace()).expect("its pod");
        preference.prefer(&text(&pod, "/spec/nodeName"));
        // Each look at the nodes is a minute after the one before.
        until("the Lease to prefer it", SOON * 3, || {
            let said = preferred(&cluster);
            seen(said.split(',').any(|one| one == wanted), || said)
        });
        let pod = get("pod", &primary, &namespace()).expect("the primary's pod");
        // In order: one that is deleted with force may be back, and go on, before another one is elected.
        delete(&pod, &[]);
        until("another primary", SOON, || {
            let (now, _) = cluster.recorded();
            seen(now != primary, || now)
        });
        assert_eq!(cluster.recorded().0, *wanted, "round {round}");
        cluster.until_all_stream("the takeover");
    }
}
