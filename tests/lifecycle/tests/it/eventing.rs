//! Events when eventing itself is disturbed or switched off, and events of PGO's own services.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    containers::{kill_all_of, pods_of, until_whole},
    events::{check_stream, of_operations, types},
    kubectl,
    kubernetes::{condition, get, text},
    namespace, operator,
    turns::{alone, together},
    until,
};

/// How long a backlog of one event may take to be one, and to be told.
const BACKLOG: Duration = Duration::from_secs(120);

fn stream_of_pgo() -> String {
    let pgo = get("pginstallation", "pgo", &operator()).expect("PgInstallation pgo");
    text(&pgo, "/metadata/uid")
}

/// Restarts the reconcilers with this setting, and waits until one leads.
fn set_disable_eventing(value: &str) {
    let (namespace, setting) = (operator(), format!("DISABLE_EVENTING={value}"));
    kubectl(&[
        "set",
        "env",
        "deployment/reconciler",
        &setting,
        "-n",
        &namespace,
    ])
    .ok();
    let wait = "--timeout=120s";
    kubectl(&[
        "rollout",
        "status",
        "deployment/reconciler",
        wait,
        "-n",
        &namespace,
    ])
    .ok();
    until_whole();
}

/// Switches eventing on again, however the test ends.
struct Again;

impl Drop for Again {
    fn drop(&mut self) {
        let (namespace, setting) = (operator(), "DISABLE_EVENTING=false");
        kubectl(&[
            "set",
            "env",
            "deployment/reconciler",
            setting,
            "-n",
            &namespace,
        ]);
    }
}

fn outbox(cluster: &Cluster) -> Value {
    let object = cluster.object().unwrap_or_default();
    object
        .pointer("/status/outbox")
        .cloned()
        .unwrap_or_default()
}

#[test]
fn without_eventing_clusters_are_made_and_the_history_says_afterwards_that_it_was_cut() {
    let _turn = alone();
    until_whole();
    let watch = Watch::begin();
    set_disable_eventing("true");
    let again = Again;
    let cluster = Cluster::named("unpublished");
    let made = cluster.create(&["--wait"]).ok();
    let line = format!("  {}  ", cluster.name);
    let steps: Vec<&str> = made
        .out
        .lines()
        .filter_map(|shown| Some(shown.split_once(&line)?.1))
        .collect();
    assert_eq!(steps.last(), Some(&"ready"), "{made}");
    assert!(steps.len() > 1, "no step but the last is shown: {made}");
    let stream = cluster.uid();
    let object = cluster.object().expect("the cluster");
    assert_eq!(text(&object, "/status/operations/0/outcome"), "Completed");
    let unpublished = outbox(&cluster);
    assert_eq!(unpublished["entries"], json!([]), "{unpublished}");
    let reason = condition(&object, "EventBacklog").expect("the condition");
    assert_eq!(reason["reason"], "EventingDisabled");
    assert_eq!(types(&watch.of(&stream)), Vec::<String>::new());

    set_disable_eventing("false");
    std::mem::forget(again);
    let events = watch.until(&stream, "HistoryCut");
    assert_eq!(types(&events), ["HistoryCut"]);
    assert_eq!(events[0]["unpublished"], unpublished["last"]);
    assert_eq!(
        events[0]["seq"].as_u64(),
        unpublished["last"].as_u64().map(|last| last + 1)
    );
    kubectl(&["delete", "pgcluster", &cluster.name, "-n", &namespace()]).ok();
    let events = watch.until(&stream, "DeleteClusterCompleted");
    assert_eq!(of_operations(&events)[0], "DeleteCluster");
    // One who comes later is told of the cut, too.
    let later = Watch::begin_since("10m");
    assert_eq!(later.until(&stream, "DeleteClusterCompleted"), events);
}

#[test]
fn work_goes_on_while_nobody_stores_events_and_the_backlog_is_told_when_it_is_over() {
    let _turn = alone();
    until_whole();
    let namespace = operator();
    let event = get("statefulset", "event", &namespace).expect("the event service");
    let replicas = event["spec"]["replicas"].to_string();
    let scale = |count: &str| {
        kubectl(&[
            "scale",
            "statefulset/event",
            &format!("--replicas={count}"),
            "-n",
            &namespace,
        ])
        .ok()
    };
    scale("0");
    until("no event service", READY, || match pods_of("event").len() {
        0 => Ok(()),
        count => Err(format!("{count} pods")),
    });
    let cluster = Cluster::ready("backlog");
    until("the condition EventBacklog", BACKLOG, || {
        let object = cluster.object().ok_or("no cluster")?;
        let backlog = condition(&object, "EventBacklog").unwrap_or_default();
        match backlog["status"].as_str() {
            Some("True") => Ok(()),
            _ => Err(backlog.to_string()),
        }
    });
    // All of them: one alone may not have everything.
    scale(&replicas);
    until_whole();
    let watch = Watch::begin_since("10m");
    let events = watch.until(&cluster.uid(), "EventBacklogCleared");
    check_stream(&events);
    let told = types(&events);
    assert!(told.contains(&"EventBacklog".to_owned()), "{told:?}");
    let cleared = events.last().expect("an event");
    assert!(cleared["durationms"].as_u64() >= Some(60_000), "{cleared}");
    let object = cluster.object().expect("the cluster");
    let backlog = condition(&object, "EventBacklog").expect("the condition");
    assert_eq!(backlog["status"], "False", "{backlog}");
}

#[test]
fn a_killed_service_is_told_as_stopped_with_its_cause_and_as_started() {
    let _turn = alone();
    until_whole();
    let (watch, stream) = (Watch::begin(), stream_of_pgo());
    for service in ["scheduler", "event", "reconciler"] {
        assert!(
            kill_all_of(service) > 0,
            "no process of {service} was there"
        );
        until_whole();
        until("both in pgo watch", BACKLOG, || {
            let events = watch.of(&stream);
            let of = |wanted: &str| {
                let all = events.iter().filter(|event| event["service"] == service);
                let all = all.filter(|event| text(event, "/eventheader/EventType") == wanted);
                all.map(|event| text(event, "/cause")).collect::<Vec<_>>()
            };
            let (stopped, started) = (of("ServiceStopped"), of("ServiceStarted"));
            let killed = stopped.iter().any(|cause| cause.contains("signal 9"));
            if killed && !started.is_empty() {
                Ok(())
            } else {
                Err(format!("stopped {stopped:?}, started {started:?}"))
            }
        });
    }
}

#[test]
fn a_leader_that_goes_is_told_and_so_is_the_next() {
    let _turn = alone();
    until_whole();
    let (watch, stream) = (Watch::begin(), stream_of_pgo());
    let lease = get("lease", "pgo-reconciler", &operator()).expect("the Lease");
    let leader = text(&lease, "/spec/holderIdentity");
    kubectl(&["delete", "pod", &leader, "-n", &operator()]).ok();
    until("the change in pgo watch", BACKLOG, || {
        let events = watch.of(&stream);
        let said = |wanted: &str, who: &dyn Fn(&str) -> bool| {
            events.iter().any(|event| {
                text(event, "/eventheader/EventType") == wanted
                    && event["service"] == "reconciler"
                    && who(&text(event, "/leader"))
            })
        };
        let lost = said("LeaderLost", &|who| who == leader);
        let elected = said("LeaderElected", &|who| who != leader);
        if lost && elected {
            Ok(())
        } else {
            Err(format!("{:?}", types(&events)))
        }
    });
    until_whole();
}

#[test]
fn a_database_that_does_not_answer_is_told_and_so_is_when_it_answers_again() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::ready("interrupted");
    let stream = cluster.uid();
    kubectl(&["delete", "pod", &cluster.name, "-n", &namespace()]).ok();
    let events = watch.until(&stream, "PrimaryNotReady");
    let lost = events.last().expect("an event").clone();
    assert_eq!(text(&lost, "/clustername"), cluster.name);
    cluster.until_ready();
    let events = watch.until(&stream, "PrimaryReady");
    check_stream(&events);
    let back = events.last().expect("an event");
    assert_eq!(back["operationid"], lost["operationid"]);
    assert!(back["durationms"].as_u64() > Some(0), "{back}");
}
