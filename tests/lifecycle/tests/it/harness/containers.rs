//! Processes in containers of the local Kubernetes, whose nodes run on this machine: so one can kill them for real.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    kubectl,
    kubernetes::{list, text},
    operator,
    programs::{program, run},
    until,
};

/// How long PGO may take to be whole again after something in it was killed.
const WHOLE: Duration = Duration::from_secs(120);

/// Where the local Kubernetes keeps its state.
pub fn local_folder() -> PathBuf {
    std::env::var("PGO_LOCAL_DIR")
        .unwrap_or_else(|_| "/var/lib/pgo-local".to_owned())
        .into()
}

/// `ctr` of a node.
fn ctr(node: &str, arguments: &[&str]) -> String {
    let socket = local_folder().join(node).join("containerd.sock");
    let socket = socket.to_string_lossy().into_owned();
    let mut all = vec!["--address", &socket, "--namespace", "k8s.io"];
    all.extend(arguments);
    run(program("ctr", &all), "").ok().out
}

/// Names of the nodes.
pub fn nodes() -> Vec<String> {
    let nodes = kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]).ok();
    nodes.out.split_whitespace().map(str::to_owned).collect()
}

/// Gives an image that every node has another name there too.
pub fn tag_image(from: &str, to: &str) {
    tag_image_on(&nodes(), from, to);
}

/// The same on these nodes: the others do not have it under that name.
pub fn tag_image_on(nodes: &[String], from: &str, to: &str) {
    for node in nodes {
        ctr(node, &["images", "tag", "--force", from, to]);
    }
}

/// Gives an image, an OCI archive, to every node.
pub fn import_image(archive: &str) {
    for node in nodes() {
        ctr(&node, &["images", "import", archive]);
    }
}

/// Takes a name that [`tag_image`] gave.
pub fn untag_image(name: &str) {
    for node in nodes() {
        ctr(&node, &["images", "remove", name]);
    }
}

/// A node that gets no new pods; it does again when this goes.
pub struct Cordoned(String);

impl Cordoned {
    /// From now on.
    pub fn node(name: &str) -> Self {
        kubectl(&["cordon", name]).ok();
        Self(name.to_owned())
    }
}

impl Drop for Cordoned {
    fn drop(&mut self) {
        let _ = program("kubectl", &["uncordon", &self.0]).output();
    }
}

/// Process 1 of a container of a pod, as a process of this machine.
pub fn process(pod: &Value, container: &str) -> Option<u32> {
    let statuses = pod.pointer("/status/containerStatuses")?.as_array()?;
    let status = statuses.iter().find(|status| status["name"] == container)?;
    let id = text(status, "/containerID");
    let id = id.strip_prefix("containerd://")?;
    ctr(&text(pod, "/spec/nodeName"), &["tasks", "list"])
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| columns.first() == Some(&id) && columns.get(2) == Some(&"RUNNING"))
        .and_then(|columns| columns.get(1)?.parse().ok())
}

/// Kills a process of this machine the hard way, or finds that it has ended by itself meanwhile.
pub fn kill(process: u32) {
    let killed = run(program("kill", &["-KILL", &process.to_string()]), "");
    if !killed.err.contains("No such process") {
        killed.ok();
    }
}

/// The pods of a process of PGO.
pub fn pods_of(process: &str) -> Vec<Value> {
    list("pods", &format!("pgo-process={process}"), &operator())
}

/// Kills every instance of a process of PGO the hard way; how many there were.
pub fn kill_all_of(name: &str) -> usize {
    let running: Vec<u32> = pods_of(name)
        .iter()
        .filter_map(|pod| process(pod, name))
        .collect();
    for process in &running {
        kill(*process);
    }
    running.len()
}

/// Waits until every pod of PGO is ready, and none that ends is left: it may lead still.
pub fn until_whole() {
    until("every pod of PGO ready", WHOLE, || {
        let pods = list("pods", "pgo-process", &operator());
        let waiting: Vec<String> = pods
            .iter()
            .filter(|pod| {
                let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
                let ends = pod.pointer("/metadata/deletionTimestamp").is_some();
                ends || !conditions.is_some_and(|all| {
                    all.iter()
                        .any(|c| c["type"] == "Ready" && c["status"] == "True")
                })
            })
            .map(|pod| text(pod, "/metadata/name"))
            .collect();
        if waiting.is_empty() && !pods.is_empty() {
            Ok(())
        } else {
            Err(format!("waiting for {waiting:?}"))
        }
    });
}
