//! Faults below the reconciler: agent, PostgreSQL, pod.

use std::time::Duration;

use crate::harness::{
    Cluster, Watch,
    containers::{kill, process},
    events::{check_stream, of_operations, types},
    kubectl,
    kubernetes::text,
    namespace,
    programs::{program, run},
    turns::together,
    until,
    until::seen,
};

/// How long until a database answers again.
const BACK: Duration = Duration::from_secs(60);

/// Waits until what was written before is read again.
fn answers_again(cluster: &Cluster) {
    until("the row of before", BACK, || {
        let ran = cluster.psql("select note from notes");
        seen(ran.out.trim() == "before", || ran.err)
    });
    cluster.until_ready();
}

fn written(prefix: &str) -> Cluster {
    let cluster = Cluster::ready(prefix);
    cluster
        .psql("create table notes (note text); insert into notes values ('before')")
        .ok();
    cluster
}

/// Processes of this machine below a process.
fn children(parent: u32) -> Vec<u32> {
    let ran = run(
        program(
            "ps",
            &["--no-headers", "-o", "pid", "--ppid", &parent.to_string()],
        ),
        "",
    );
    ran.out
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

#[test]
fn a_killed_postmaster_comes_back_under_the_same_agent() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = written("postmaster");
    let stream = cluster.uid();
    let agent = process(&cluster.pod(), "database").expect("the agent runs");
    let postmaster = children(agent)
        .into_iter()
        .find(|child| !children(*child).is_empty())
        .expect("the agent has a postmaster below it");
    kill(postmaster);
    answers_again(&cluster);
    assert_eq!(
        process(&cluster.pod(), "database"),
        Some(agent),
        "the agent was not restarted"
    );
    let events = watch.of(&stream);
    check_stream(&events);
    assert_eq!(
        of_operations(&events).len(),
        6,
        "a crash is no creation: {:?}",
        types(&events)
    );
}

#[test]
fn a_killed_agent_is_started_again_by_kubernetes() {
    let _turn = together();
    let cluster = written("agent");
    let agent = process(&cluster.pod(), "database").expect("the agent runs");
    kill(agent);
    until("another agent", BACK, || {
        let now = process(&cluster.pod(), "database");
        seen(now.is_some_and(|now| now != agent), || format!("{now:?}"))
    });
    answers_again(&cluster);
}

#[test]
fn a_deleted_pod_is_made_again_with_its_data() {
    let _turn = together();
    let cluster = written("pod");
    let before = text(&cluster.pod(), "/metadata/uid");
    kubectl(&[
        "delete",
        "pod",
        &cluster.name,
        "-n",
        &namespace(),
        "--wait=false",
    ])
    .ok();
    until("another pod", BACK, || {
        let pods = crate::harness::kubernetes::get("pod", &cluster.name, &namespace());
        let uid = pods
            .map(|pod| text(&pod, "/metadata/uid"))
            .unwrap_or_default();
        seen(!uid.is_empty() && uid != before, || uid)
    });
    answers_again(&cluster);
}

#[test]
fn a_pod_that_ends_stops_postgresql_cleanly() {
    let _turn = together();
    let cluster = written("clean");
    kubectl(&[
        "delete",
        "pod",
        &cluster.name,
        "-n",
        &namespace(),
        "--timeout=60s",
    ])
    .ok();
    answers_again(&cluster);
    // PostgreSQL answers before the kubelet has told the API server that its container runs.
    let log = until("PostgreSQL's words at its start", BACK, || {
        let ran = kubectl(&["logs", &cluster.name, "-n", &namespace(), "-c", "database"]);
        let started = ran.out.contains("database system is ready");
        seen(started, || ran.to_string()).map(|()| ran.out)
    });
    assert!(
        !log.contains("was not properly shut down"),
        "PostgreSQL had to recover: {log}"
    );
}

#[test]
fn a_service_that_is_removed_by_hand_is_made_again() {
    let _turn = together();
    let cluster = written("fixtures");
    let (name, namespace) = (cluster.name.as_str(), namespace());
    for object in [
        format!("service/{name}"),
        format!("endpointslice/{name}-primary"),
    ] {
        kubectl(&["delete", &object, "-n", &namespace]).ok();
    }
    answers_again(&cluster);
}
