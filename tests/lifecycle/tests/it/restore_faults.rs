//! A restore that is interrupted at each of its steps comes to its target all the same, and tells one end.

use serde_json::{Value, json};

use crate::{
    harness::{
        Cluster, Watch,
        containers::{kill, pods_of, process, until_whole},
        events::types,
        kubectl,
        kubernetes::{get, list, text},
        namespace, operator, pgo,
        turns::alone,
        until,
        until::seen,
    },
    restores::{RESTORED, backed_up, before_and_after, restore, rows, status},
};

/// A pod that stays known until this value goes, also when its processes have ended.
struct Held(String);

impl Held {
    fn begin(pod: &str) -> Self {
        finalizers(pod, &json!(["pgo.test/held"]));
        Self(pod.to_owned())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        finalizers(&self.0, &Value::Null);
    }
}

fn finalizers(pod: &str, which: &Value) {
    let patch = json!({"metadata": {"finalizers": which}}).to_string();
    let here = namespace();
    let line = [
        "patch",
        "pod",
        pod,
        "-n",
        &here,
        "--type=merge",
        "-p",
        &patch,
    ];
    kubectl(&line);
}

/// Waits until the restore is at this step; whether it is still.
fn until_stage(cluster: &Cluster, stage: &str) {
    until(&format!("stage {stage}"), RESTORED, || {
        let restore = status(cluster)["restore"].clone();
        seen(restore["stage"] == stage, || restore.to_string())
    });
}

/// The pod of the new instance, once its process 1 runs.
fn until_new_runs(cluster: &Cluster) -> u32 {
    until("the new instance", RESTORED, || {
        let selector = format!("pg-cluster={}", cluster.name);
        let pods = list("pods", &selector, &namespace());
        let is_new = |pod: &&Value| {
            let name = &pod["metadata"]["labels"]["deployment-name"];
            name.is_string() && *name != cluster.name.as_str()
        };
        let found = pods.iter().find(is_new);
        let runs = found.and_then(|pod| process(pod, "database"));
        runs.ok_or_else(|| format!("{:?}", found.map(|pod| &pod["status"])))
    })
}

/// Ends every reconciler the hard way. Others take their place at once, while one that is killed again and again is started
/// later each time.
fn end_reconcilers() {
    let all: Vec<String> = pods_of("reconciler")
        .iter()
        .map(|pod| text(pod, "/metadata/name"))
        .collect();
    assert!(!all.is_empty(), "no reconciler is there");
    let here = operator();
    let mut line = vec!["delete", "pod", "-n", &here, "--force", "--grace-period=0"];
    line.extend(all.iter().map(String::as_str));
    kubectl(&line).ok();
}

fn kill_repository(cluster: &Cluster) {
    let selector = format!("pg-cluster={},pgo-backrest-repo=true", cluster.name);
    for pod in list("pods", &selector, &namespace()) {
        if let Some(first) = process(&pod, "database") {
            kill(first);
        }
    }
}

#[test]
fn a_restore_that_is_interrupted_at_each_step_comes_to_its_target() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let cluster = backed_up("interrupted", &[]);
    let name = cluster.name.as_str();
    let between = before_and_after(&cluster);
    let held = Held::begin(name);

    let target = format!("--pitr-target={between}");
    restore(&cluster, &[&target]).ok();
    // Nobody may have begun yet to ask the repository for the way.
    end_reconcilers();
    kill_repository(&cluster);

    until_stage(&cluster, "replaying");
    let first = until_new_runs(&cluster);
    kill(first);
    end_reconcilers();
    kill_repository(&cluster);
    until("the new instance once more", RESTORED, || {
        let now = until_new_runs(&cluster);
        seen(now != first, || format!("process {now}"))
    });

    // The former primary has stopped, and stays known: nothing goes on meanwhile.
    until_stage(&cluster, "stopping");
    kill(until_new_runs(&cluster));
    end_reconcilers();
    until_whole();
    assert_eq!(status(&cluster)["restore"]["stage"], "stopping");
    drop(held);

    until_stage(&cluster, "giving");
    end_reconcilers();
    let events = watch.until(&cluster.uid(), "RestoreClusterCompleted");
    assert!(!types(&events).contains(&"RestoreClusterFailure".to_owned()));
    cluster.until_ready();
    until_whole();
    assert_eq!(rows(&cluster), "1");
    cluster.psql("INSERT INTO kept VALUES (3);").ok();
    assert_eq!(text(&status(&cluster), "/restored/former"), name);
    assert!(get("persistentvolumeclaim", name, &namespace()).is_some());
    let full = ["backup", name, "--backup-opts=--type=full", "--wait"];
    pgo(&full).ok();
    watch.check_to_its_end(&cluster.uid());
}
