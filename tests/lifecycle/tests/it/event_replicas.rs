//! Replicas of the event service go while clusters are made, the one that leads is lost or there shall be one only: what
//! stays has every event, and `pgo watch`, running all the time, shows each once.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Cluster, Installer, Watch,
    containers::{pods_of, until_whole},
    events::check_stream,
    kubectl,
    kubernetes::{apply, get, text},
    operator,
    turns::alone,
    until,
};

/// The Lease of the one that is gone runs out in 3 s, and is looked at twice in 0.75 s.
const TAKEOVER: Duration = Duration::from_secs(10);

/// How long a replica may take to come back and to have everything.
const BOTH: Duration = Duration::from_secs(90);

fn roster(field: &str) -> String {
    let register = get("configmap", "pgo-event-log", &operator()).expect("the register");
    text(&register, &format!("/data/{field}"))
}

fn until_both() {
    until("both replicas have everything", BOTH, || {
        let in_sync = roster("in-sync");
        match in_sync.split(',').count() {
            2 => Ok(()),
            _ => Err(format!("in sync: {in_sync}")),
        }
    });
}

#[test]
fn the_leading_replica_of_the_event_service_is_lost_and_each_event_is_shown_once() {
    let _turn = alone();
    until_whole();
    until_both();
    let watch = Watch::begin();
    let clusters: Vec<_> = (0..3).map(|_| Cluster::named("followed")).collect();
    for cluster in &clusters {
        apply(&cluster.manifest(json!({}))).ok();
    }
    let (leader, term) = (roster("leader"), roster("term"));
    let lost = [
        "delete",
        "pod",
        &leader,
        "-n",
        &operator(),
        "--grace-period=0",
        "--force",
        "--wait=false",
    ];
    kubectl(&lost).ok();
    until("a takeover", TAKEOVER, || match roster("term") {
        now if now == term => Err(format!("{leader} leads in term {term}")),
        _ => Ok(()),
    });
    for cluster in &clusters {
        cluster.until_ready();
        let events = watch.until(&cluster.uid(), "CreateClusterCompleted");
        check_stream(&events);
        let later = Watch::begin_since("10m");
        assert_eq!(
            later.until(&cluster.uid(), "CreateClusterCompleted"),
            events
        );
    }
    until_whole();
    until_both();
}

/// Waits until this replica leads and both have everything.
fn until_leads(replica: &str) {
    until("the leader that is wanted", BOTH, || {
        match roster("leader") {
            now if now == replica => Ok(()),
            now => Err(format!("{now} leads")),
        }
    });
    until_whole();
    until_both();
}

#[test]
fn from_two_replicas_of_the_event_service_to_one_and_back_each_event_is_shown_once() {
    let _turn = alone();
    until_whole();
    until_both();
    // The one that goes leads.
    if roster("leader") == "event-0" {
        kubectl(&["delete", "pod", "event-0", "-n", &operator()]).ok();
    }
    until_leads("event-1");
    let (watch, installer) = (Watch::begin(), Installer::of_what_is_there());
    let mut clusters = Vec::new();
    for replicas in ["2", "1", "2"] {
        // Made just before the number changes, and while it does.
        let cluster = Cluster::named("scaled");
        apply(&cluster.manifest(json!({}))).ok();
        let settings = [("EVENT_REPLICAS", replicas)];
        installer.run("install.sh", &settings).ok();
        until("as many pods", BOTH, || match pods_of("event").len() {
            now if now.to_string() == replicas => Ok(()),
            now => Err(format!("{now} pods")),
        });
        until_whole();
        cluster.until_ready();
        clusters.push(cluster);
    }
    until_both();
    for cluster in &clusters {
        let events = watch.until(&cluster.uid(), "CreateClusterCompleted");
        check_stream(&events);
        let later = Watch::begin_since("10m");
        assert_eq!(
            later.until(&cluster.uid(), "CreateClusterCompleted"),
            events
        );
    }
}
