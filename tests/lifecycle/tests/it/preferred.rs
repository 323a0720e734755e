//! Of replicas that are as far, the one on a node that `PreferredFailoverNode` of `pgo.yaml` selects becomes the primary.

use std::{collections::BTreeSet, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Cluster,
    faults::delete,
    kubectl,
    kubernetes::{get, text},
    namespace, operator, pgo,
    programs::program,
    turns::alone,
    until,
    until::seen,
};

/// How long it may take until every agent knows: the primary's looks each 5 s.
const KNOWN: Duration = Duration::from_secs(60);

/// How long a takeover may take on a machine that does much else.
const TAKEOVER: Duration = Duration::from_secs(60);

/// Key of the label that a preferred node has.
const LABEL: &str = "preferred-by-test";

/// A node that is preferred until this value goes.
struct Preferred {
    node: String,
    operator: String,
    /// `pgo.yaml` as it was.
    file: String,
}

impl Preferred {
    fn begin(node: &str) -> Self {
        let operator = operator();
        let map = get("configmap", "pgo-config", &operator).expect("its configuration");
        let preferred = Self {
            node: node.to_owned(),
            operator,
            file: text(&map, "/data/pgo.yaml"),
        };
        kubectl(&["label", "node", node, &format!("{LABEL}=yes")]).ok();
        let selected = format!("Pgo:\n  PreferredFailoverNode: {LABEL}=yes\n");
        let changed = preferred.file.replace("Pgo:\n", &selected);
        assert_ne!(changed, preferred.file);
        let ran = preferred.configuring(&changed).output().expect("kubectl");
        assert!(ran.status.success(), "{ran:?}");
        preferred
    }

    /// What has `pgo.yaml` be this.
    fn configuring(&self, file: &str) -> Command {
        let patch = json!({"data": {"pgo.yaml": file}}).to_string();
        let map = ["patch", "configmap", "pgo-config", "-n", &self.operator];
        let mut command = program("kubectl", &map);
        command.args(["--type=merge", "--patch", &patch]);
        command
    }
}

impl Drop for Preferred {
    fn drop(&mut self) {
        let _ = self.configuring(&self.file).output();
        let label = format!("{LABEL}-");
        let _ = program("kubectl", &["label", "node", &self.node, &label]).output();
    }
}

/// The node of an instance.
fn node(instance: &str) -> String {
    let pod = get("pod", instance, &namespace());
    text(&pod.expect("it is there"), "/spec/nodeName")
}

/// A replica on whose node there is no other one.
fn alone_on_its_node(replicas: &[String]) -> Option<&String> {
    let nodes: Vec<String> = replicas.iter().map(|replica| node(replica)).collect();
    let is_alone = |of: &String| nodes.iter().filter(|node| *node == of).count() == 1;
    let at = nodes.iter().position(is_alone)?;
    replicas.get(at)
}

/// Waits until each agent says that these are preferred.
fn until_known(cluster: &Cluster, preferred: &BTreeSet<String>) {
    let knows = |one: &Value| {
        let said = one["preferred"].as_array().into_iter().flatten();
        said.filter_map(Value::as_str).eq(preferred)
    };
    until("every agent to know who is preferred", KNOWN, || {
        let object = cluster.object().ok_or("it is not there")?;
        let instances = &object["status"]["instances"];
        let all = instances.as_array().map_or(&[][..], Vec::as_slice);
        seen(all.len() == 3 && all.iter().all(knows), || {
            format!("{preferred:?} are to be preferred: {instances}")
        })
    });
}

/// The primary is lost; the replica on the node that is preferred follows.
fn round(cluster: &Cluster) {
    until_known(cluster, &BTreeSet::new());
    let (mut primary, mut replicas) = cluster.roles();
    if alone_on_its_node(&replicas).is_none() {
        // Two nodes: the other replica becomes one that is alone on its node.
        let target = format!("--target={}", replicas[0]);
        let asked = ["failover", &cluster.name, &target, "--planned", "--wait"];
        pgo(&[&asked[..], &["--no-prompt"]].concat()).ok();
        cluster.until_all_stream("a change of the primary");
        (primary, replicas) = cluster.roles();
    }
    let wanted = alone_on_its_node(&replicas).expect("one is alone on its node");
    let preferred = node(wanted);
    let all = [&primary].into_iter().chain(&replicas);
    let on_it = all.filter(|one| node(one) == preferred).cloned().collect();
    let _preferred = Preferred::begin(&preferred);
    until_known(cluster, &on_it);

    let pod = get("pod", &primary, &namespace()).expect("it is there");
    delete(&pod, &["--force", "--grace-period=0"]);
    until("another instance takes writes", TAKEOVER, || {
        let ran = cluster.psql("INSERT INTO kept VALUES (1)");
        let (holder, _) = cluster.recorded();
        let takes = ran.status.success() && holder != primary;
        seen(takes, || format!("{holder} has the Lease: {ran}"))
    });
    let (holder, _) = cluster.recorded();
    assert_eq!(&holder, wanted, "{primary} was lost, {replicas:?} followed");
    cluster.until_all_stream("the loss of its primary");
}

#[test]
fn of_two_replicas_the_one_on_a_preferred_node_follows() {
    // pgo.yaml is that of all clusters.
    let _turn = alone();
    let cluster = Cluster::of_three("preferred", &json!({}));
    cluster.ask("CREATE TABLE kept (n int)");
    // By chance it would be so once in eight times.
    for _ in 0..3 {
        round(&cluster);
    }
}
