//! The scheduler as it is installed: who of it leads, its sign of life, and what it does with schedules in the namespace of
//! clusters.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::harness::{
    cluster::unique,
    containers::{pods_of, process},
    kubernetes::{ConfigMap, apply, get, text},
    namespace, operator,
    turns::together,
    until,
};

/// The probe of 4.1 wants the file to be younger.
const FRESH: Duration = Duration::from_secs(61);

/// It is written every 30 s.
const BEATEN: Duration = Duration::from_secs(60);

/// How long a schedule that has changed may wait for the scheduler.
const LOOKED_AT: Duration = Duration::from_secs(20);

/// A minute until the next run of one that is due each minute, and a little.
const DUE: Duration = Duration::from_secs(90);

#[test]
fn the_scheduler_leads_under_the_name_of_its_pod_and_gives_signs_of_life() {
    let _turn = together();
    let leader = until("a pod that holds Lease pgo-scheduler", LOOKED_AT, || {
        let lease = get("lease", "pgo-scheduler", &operator()).ok_or("no Lease")?;
        let holder = text(&lease, "/spec/holderIdentity");
        let mut pods = pods_of("scheduler").into_iter();
        pods.find(|pod| text(pod, "/metadata/name") == holder)
            .ok_or(format!("{holder:?} is no pod of the scheduler"))
    });
    let running = process(&leader, "scheduler").expect("it runs on this machine");
    let beat = PathBuf::from(format!("/proc/{running}/root/tmp/scheduler.hb"));
    let modified = || fs::metadata(&beat).and_then(|file| file.modified());
    let first = modified().expect("it has given a sign of life");
    let age = SystemTime::now().duration_since(first).unwrap_or_default();
    assert!(age < FRESH, "the heartbeat is {} s old", age.as_secs());
    until("another heartbeat", BEATEN, || match modified() {
        Ok(now) if now > first => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}

/// A cluster that there is not.
const NO_CLUSTER: &str = "nowhere";

/// Puts a schedule, as 4.1's `pgo create schedule` does, into the namespace of clusters.
fn put(map: &ConfigMap, schedule: &str) {
    let value = json!({
        "version": "v1", "name": map.0, "cluster": NO_CLUSTER, "created": "2026-11-26T10:11:12Z",
        "schedule": schedule, "namespace": namespace(), "type": "pgbackrest",
        "pgbackrest": {"label": format!("pg-cluster={NO_CLUSTER}"), "container": "database", "type": "full"},
    });
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": map.0, "namespace": namespace(), "labels": {"crunchy-scheduler": "true"}},
        "data": {"schedule": value.to_string()},
    });
    apply(&manifest).ok();
}

/// What the scheduler has written of a schedule.
fn written(map: &ConfigMap, annotation: &str) -> Option<String> {
    let object = get("configmap", &map.0, &namespace())?;
    let pointer = format!("/metadata/annotations/pgo.crunchydata.com~1{annotation}");
    object
        .pointer(&pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

#[test]
fn a_schedule_says_why_it_cannot_be_kept_and_what_was_skipped() {
    let _turn = together();
    let map = ConfigMap(unique("schedule"));
    put(&map, "every minute");
    let wrong = until("a complaint about the schedule", LOOKED_AT, || {
        written(&map, "schedule-error").ok_or_else(|| "none".to_owned())
    });
    assert!(wrong.starts_with("schedule: "), "{wrong}");
    assert_eq!(written(&map, "last-skipped"), None, "it cannot be due");

    put(&map, "* * * * *");
    until("the end of the complaint", LOOKED_AT, || {
        written(&map, "schedule-error").map_or(Ok(()), Err)
    });
    let skipped = until("a run that was due", DUE, || {
        written(&map, "last-skipped").ok_or_else(|| "none".to_owned())
    });
    let (_, reason) = skipped.split_once(' ').expect("a time and a reason");
    let namespace = namespace();
    assert_eq!(
        reason,
        format!("there is no cluster {NO_CLUSTER} in namespace {namespace}")
    );
}
