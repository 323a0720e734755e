//! The replica of the event service that leads is lost while clusters are made: the other one has every event, and
//! `pgo watch`, running all the time, shows each once.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Cluster, Watch,
    containers::until_whole,
    events::check_stream,
    kubectl,
    kubernetes::{apply, get, text},
    operator,
    turns::alone,
    until,
};

/// The Lease of the one that is gone runs out in 9 s, and is looked at every 1.5 s.
const TAKEOVER: Duration = Duration::from_secs(20);

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
