//! Anything is killed at any moment: the creation completes, and `pgo watch` shows each of its events once, in order.

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Watch,
    cluster::{GONE, READY},
    containers::{kill_all_of, until_whole},
    events::{check_stream, types},
    kubectl,
    kubernetes::{apply, text},
    namespace, pgo,
    turns::alone,
    until,
};

/// Holds what is shown of a stream to be these events still, when something that happened later has been shown, too.
#[track_caller]
fn nothing_follows(watches: &[&Watch], stream: &str, events: &[Value]) {
    let marker = Cluster::ready("marker").uid();
    for watch in watches {
        watch.until(&marker, "CreateClusterCompleted");
        assert_eq!(
            watch.of(stream),
            events,
            "an event was shown again, or more"
        );
    }
}

/// Makes a cluster, kills all instances of a process when its creation has begun, and holds what follows to the promise.
fn survives(process: &str) {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let cluster = Cluster::named("survivor");
    apply(&cluster.manifest(json!({}))).ok();
    let phase = until("the begin of the creation", READY, || {
        let object = cluster.object().ok_or("no cluster")?;
        match text(&object, "/status/phase").as_str() {
            "" | "Pending" => Err("not begun".to_owned()),
            phase => Ok(phase.to_owned()),
        }
    });
    assert_eq!(phase, "Creating", "it is over before anything was killed");
    assert!(
        kill_all_of(process) > 0,
        "no process of {process} was there to be killed"
    );
    let stream = cluster.uid();
    cluster.until_ready();
    until_whole();
    let events = watch.until(&stream, "CreateClusterCompleted");
    check_stream(&events);
    assert_eq!(types(&events).len(), 6, "{:?}", types(&events));
    assert_eq!(cluster.ask("select 1"), "1");

    // The history says the same to one who comes later.
    let later = Watch::begin_since("10m");
    let told = later.until(&stream, "CreateClusterCompleted");
    assert_eq!(told, events);
    nothing_follows(&[&watch, &later], &stream, &events);
}

#[test]
fn a_creation_survives_the_reconcilers() {
    survives("reconciler");
}

#[test]
fn a_creation_survives_the_apiserver() {
    survives("apiserver");
}

#[test]
fn a_creation_survives_the_event_service() {
    survives("event");
}

#[test]
fn a_creation_survives_nsqd() {
    survives("nsqd");
}

#[test]
fn a_creation_survives_the_scheduler() {
    survives("scheduler");
}

#[test]
fn a_creation_survives_all_of_them_at_once() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let cluster = Cluster::named("survivor");
    apply(&cluster.manifest(json!({}))).ok();
    for process in ["nsqd", "event", "reconciler", "apiserver", "scheduler"] {
        assert!(
            kill_all_of(process) > 0,
            "no process of {process} was there"
        );
    }
    let phase = text(&cluster.object().expect("a cluster"), "/status/phase");
    assert_ne!(phase, "Ready", "it is over before all were killed");
    cluster.until_ready();
    until_whole();
    let stream = cluster.uid();
    let events = watch.until(&stream, "CreateClusterCompleted");
    check_stream(&events);
    assert_eq!(types(&events).len(), 6, "{:?}", types(&events));
    nothing_follows(&[&watch], &stream, &events);
}

#[test]
fn a_wait_survives_the_apiserver() {
    let _turn = alone();
    until_whole();
    let cluster = Cluster::named("waiting");
    let name = cluster.name.clone();
    let waiting =
        std::thread::spawn(move || pgo(&["create", "cluster", &name, "--wait", "--timeout", "2m"]));
    until("the cluster", READY, || {
        cluster
            .object()
            .map(|_| ())
            .ok_or_else(|| "none".to_owned())
    });
    kill_all_of("apiserver");
    let ran = waiting.join().expect("pgo create").ok();
    assert!(ran.out.trim_end().ends_with("ready"), "{ran}");
    until_whole();
}

#[test]
fn a_deletion_survives_event_service_and_nsqd() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    let cluster = Cluster::ready("leaving");
    let stream = cluster.uid();
    for process in ["nsqd", "event"] {
        kill_all_of(process);
    }
    kubectl(&[
        "delete",
        "pgcluster",
        &cluster.name,
        "-n",
        &namespace(),
        "--wait=false",
    ])
    .ok();
    cluster.until_gone();
    until_whole();
    let events = until("the end of the deletion in pgo watch", GONE, || {
        let events = watch.of(&stream);
        match types(&events).last().map(String::as_str) {
            Some("DeleteClusterCompleted") => Ok(events),
            _ => Err(format!("{:?}", types(&events))),
        }
    });
    check_stream(&events);
    nothing_follows(&[&watch], &stream, &events);
}

#[test]
fn a_database_answers_while_nothing_of_pgo_is_there() {
    let _turn = alone();
    until_whole();
    let cluster = Cluster::ready("alone");
    for process in ["nsqd", "event", "reconciler", "apiserver", "scheduler"] {
        kill_all_of(process);
        assert_eq!(cluster.ask("select 1"), "1", "without {process}");
    }
    until_whole();
}
