//! Operations go on while the processes of PGO are killed at random: each has one end, and `pgo watch`, which runs all the
//! time, shows each event once.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    chance::{Chance, seed},
    cluster::READY,
    containers::{kill_all_of, until_whole},
    events::{check_stream, types},
    kubectl,
    kubernetes::{get, list, text},
    namespace, pgo,
    turns::alone,
    until,
};

/// What is killed.
const PROCESSES: [&str; 4] = ["nsqd", "event", "reconciler", "apiserver"];

/// Between two kills, in milliseconds: sometimes nothing has come back yet.
const PAUSES: (u64, u64) = (1500, 7000);

/// How many clusters come and go.
const CLUSTERS: usize = 4;

/// An operation may have to wait for several processes to come back; Kubernetes waits longer each time.
const WITHIN: Duration = Duration::from_secs(300);

/// The event that ends the last operation of a cluster.
const LAST: &str = "DeleteClusterCompleted";

/// The events up to that one, where it is among them: that they waited may be told behind it.
fn up_to_the_end(events: &[Value]) -> Option<Vec<Value>> {
    let end = types(events).iter().position(|found| found == LAST)?;
    Some(events[..=end].to_vec())
}

/// Kills one after the other until it is told to end, each as often as the others; how many of each it killed.
fn kill_at_random(seed: u64, over: &AtomicBool) -> BTreeMap<&'static str, usize> {
    let mut chance = Chance::new(seed);
    let mut killed = BTreeMap::new();
    let mut left = Vec::new();
    while !over.load(Ordering::Relaxed) {
        if left.is_empty() {
            left = PROCESSES.to_vec();
        }
        let at = chance.below(u64::try_from(left.len()).expect("small"));
        let process = left.remove(usize::try_from(at).expect("small"));
        *killed.entry(process).or_default() += kill_all_of(process);
        let pause = PAUSES.0 + chance.below(PAUSES.1 - PAUSES.0);
        thread::sleep(Duration::from_millis(pause));
    }
    killed
}

/// Asks until somebody accepts, and returns the answer. What was accepted without one is there the next time.
fn ask(arguments: &[&str], is_accepted: impl Fn() -> bool) -> Option<Ran> {
    let what = format!("pgo {}", arguments.join(" "));
    until(&what, WITHIN, || {
        if is_accepted() {
            return Ok(None);
        }
        let ran = pgo(arguments);
        if ran.status.success() {
            Ok(Some(ran))
        } else {
            Err(ran.to_string())
        }
    })
}

/// What was asked for, and accepted, besides a cluster's creation and deletion.
#[derive(Default)]
struct Accepted {
    /// Ids of operations.
    operations: Vec<String>,
    /// Replicas that were to be added.
    replicas: Vec<String>,
    /// Whether the connections were tested, and that is told.
    test: bool,
}

impl Accepted {
    /// Holds the events of the cluster to it: each operation is told, to its one end.
    fn check(&self, events: &[Value], seed: u64) {
        let ends: Vec<&Value> = events
            .iter()
            .filter(|event| event["stage"] == "completed" || event["stage"] == "failed")
            .collect();
        for id in &self.operations {
            let of_it = ends.iter().filter(|event| event["operationid"] == **id);
            assert_eq!(
                of_it.count(),
                1,
                "STORM_SEED={seed}: ends of {id}: {events:#?}"
            );
        }
        let of_type =
            |event: &Value, begin: &str| text(event, "/eventheader/EventType").starts_with(begin);
        for replica in &self.replicas {
            let added = ends.iter().filter(|event| of_type(event, "ScaleCluster"));
            let of_it = added.filter(|event| event["replicaname"] == **replica);
            assert_eq!(
                of_it.count(),
                1,
                "STORM_SEED={seed}: ends of adding {replica}: {events:#?}"
            );
        }
        // One that was cut off without an answer is told, too.
        let is_test = ends.iter().any(|event| of_type(event, "TestCluster"));
        assert!(
            is_test || !self.test,
            "STORM_SEED={seed}: a test is not told: {events:#?}"
        );
    }
}

/// Asks for a replica, a restart and a test. Nobody waits for their ends: they have one also where the cluster goes before.
fn change(cluster: &Cluster) -> Accepted {
    let (name, namespace) = (cluster.name.as_str(), namespace());
    let of_it = format!("pg-cluster={name}");
    ask(&["scale", name, "--no-prompt"], || {
        !list("pgreplicas", &of_it, &namespace).is_empty()
    });
    let replicas = list("pgreplicas", &of_it, &namespace);
    let replicas = replicas.iter().map(|it| text(it, "/metadata/name"));
    let task = format!("{name}-restart");
    ask(&["restart", name, "--no-prompt"], || {
        get("pgtask", &task, &namespace).is_some()
    });
    let restart = get("pgtask", &task, &namespace).expect("the Pgtask of the restart");
    let test = ask(&["test", name], || false);
    Accepted {
        operations: vec![text(&restart, "/metadata/labels/workflowid")],
        replicas: replicas.collect(),
        test: test.is_some_and(|ran| !ran.to_string().contains("not told as an event")),
    }
}

/// A cluster comes, and goes by `pgo` or by `kubectl`; its stream, and what was accepted meanwhile.
fn come_and_go(number: usize) -> (String, Accepted) {
    let cluster = Cluster::named("storm");
    let name = cluster.name.clone();
    let create = ["create", "cluster", &name, "--pgbackrest=false"];
    ask(&create, || cluster.object().is_some());
    let stream = until("the cluster", READY, || {
        let object = cluster.object().ok_or("it is not there")?;
        Ok(text(&object, "/metadata/uid"))
    });
    let mut accepted = Accepted::default();
    // Every second one goes before it is ready.
    if number.is_multiple_of(2) {
        cluster.until_ready_is("True", "", WITHIN);
        accepted = change(&cluster);
    }
    if number < 2 {
        let task = format!("{name}-rmdata");
        ask(&["delete", "cluster", &name, "--no-prompt"], || {
            cluster.object().is_none() || get("pgtask", &task, &namespace()).is_some()
        });
    } else {
        let namespace = namespace();
        let line = [
            "delete",
            "pgcluster",
            &name,
            "-n",
            &namespace,
            "--wait=false",
        ];
        kubectl(&line).ok();
    }
    until(&format!("{name} gone"), WITHIN, || match cluster.object() {
        None => Ok(()),
        Some(object) => Err(object["status"].to_string()),
    });
    (stream, accepted)
}

#[test]
fn each_operation_has_one_end_and_is_shown_once_whatever_is_killed() {
    let _turn = alone();
    until_whole();
    let seed = seed("STORM_SEED");
    println!("the kills again, in the same order: STORM_SEED={seed}");
    let watch = Watch::begin();
    let over = AtomicBool::new(false);
    let (streams, killed) = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            // A watch that never reached anybody ends, as it should; this one is to live through what comes.
            watch.until_any();
            kill_at_random(seed, &over)
        });
        let clusters: Vec<_> = (0..CLUSTERS)
            .map(|number| scope.spawn(move || come_and_go(number)))
            .collect();
        let ended: Vec<_> = clusters
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        over.store(true, Ordering::Relaxed);
        let killed = killer.join().expect("the killer");
        let streams: BTreeMap<String, Accepted> = ended
            .into_iter()
            .map(|stream| {
                stream
                    .unwrap_or_else(|_| panic!("STORM_SEED={seed}: a cluster did not come and go"))
            })
            .collect();
        (streams, killed)
    });
    until_whole();
    println!("killed: {killed:?}");
    for process in PROCESSES {
        let times = killed.get(process).copied().unwrap_or_default();
        assert!(times > 0, "STORM_SEED={seed}: {process} was never killed");
    }
    assert_eq!(streams.len(), CLUSTERS);
    for (stream, accepted) in &streams {
        // Who comes now is told all of it: it is in the log. Then it is the watch's turn.
        let told = told_later(stream, seed);
        let shown = until("the end of a deletion in pgo watch", WITHIN, || {
            let events = watch.of(stream);
            let seen = || format!("STORM_SEED={seed}: {:?}; {}", types(&events), watch.said());
            up_to_the_end(&events).ok_or_else(seen)
        });
        check_stream(&shown);
        accepted.check(&shown, seed);
        assert_eq!(told, shown, "STORM_SEED={seed}");
    }
}

/// What who begins to watch now is told of a stream, once its end is there.
fn told_later(stream: &str, seed: u64) -> Vec<Value> {
    let later = Watch::begin_since("30m");
    until("the end of a deletion in the log", WITHIN, || {
        let events = later.of(stream);
        let seen = || format!("STORM_SEED={seed}: {:?}; {}", types(&events), later.said());
        up_to_the_end(&events).ok_or_else(seen)
    })
}
