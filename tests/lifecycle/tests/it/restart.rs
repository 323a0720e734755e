//! A change of PostgreSQL's configuration: what a reload brings into force, what waits for a restart, and the restart itself.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    containers::process,
    events::{of_operations, types},
    kubectl,
    kubernetes::{ConfigMap, condition, get, text},
    namespace, pgo,
    turns::together,
    until,
    until::seen,
};

/// How long PostgreSQL's clients may go on waiting for a server that was stopped.
const ENDED: Duration = Duration::from_secs(60);

/// What the instances of a cluster wait for a restart with, by name.
fn pending(cluster: &Cluster) -> Vec<(String, Value)> {
    let object = cluster.object().expect("it is there");
    let instances = object["status"]["instances"].as_array().cloned();
    let instances = instances.unwrap_or_default().into_iter();
    instances
        .map(|one| (text(&one, "/name"), one["pendingRestart"].clone()))
        .collect()
}

/// Waits until kubelet has brought a file into the pods of all instances.
fn until_mounted(cluster: &Cluster, line: &str) {
    for (instance, _) in pending(cluster) {
        // Whatever changes in a pod has kubelet look at its volumes at once.
        let note = format!("pgo.crunchydata.com/test={}", line.len());
        let namespace = namespace();
        kubectl(&["annotate", "pod", &instance, &note, "-n", &namespace]).ok();
        let pod = get("pod", &instance, &namespace).expect("it is there");
        let database = process(&pod, "database").expect("it runs");
        let path = format!("/proc/{database}/root/pgconf/postgresql.conf");
        until(&format!("{line} in {instance}"), READY, || {
            let file = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            seen(file.contains(line), || file.clone())
        });
    }
}

/// The term and the holder of a cluster's Lease.
fn authority(cluster: &Cluster) -> (String, String) {
    let lease = get("lease", &cluster.name, &namespace()).expect("it is there");
    let term = &lease["metadata"]["annotations"]["pgo.crunchydata.com/term"];
    (text(&lease, "/spec/holderIdentity"), term.to_string())
}

#[test]
fn a_reload_names_what_waits_for_a_restart_and_the_restart_brings_it_into_force_in_place() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("restart");
    let name = cluster.name.as_str();
    let config = ConfigMap(format!("{name}-config"));
    config.with(json!({"postgresql.conf": "work_mem = '5MB'\n"}));
    let flags = [
        "--replica-count=1",
        "--autofail",
        "--custom-config",
        &config.0,
    ];
    cluster.create(&flags).ok();
    cluster.until_ready();
    until("a replica that votes", READY, || {
        let (_, voters) = cluster.recorded();
        seen(voters == 1, || format!("{voters} voters"))
    });
    assert_eq!(cluster.ask("SHOW work_mem"), "5MB");
    pgo(&["reload", "nosuch", "--no-prompt"]).failed(2, &["nosuch was not found"]);
    pgo(&["restart", name, "--target=nosuch", "--no-prompt"]).failed(2, &["no target found"]);

    config.with(json!({"postgresql.conf": "work_mem = '6MB'\nmax_connections = 120\n"}));
    reloads(&cluster);
    restarts(&cluster);
    tells(&watch, &cluster);
}

/// What can be changed at once is in force, and the rest is named.
fn reloads(cluster: &Cluster) {
    let name = cluster.name.as_str();
    until_mounted(cluster, "max_connections");
    let reloaded = pgo(&["reload", name, "--no-prompt"]).ok();
    assert!(
        reloaded
            .out
            .contains(&format!("reload performed on {name}\n")),
        "{reloaded}"
    );
    assert!(reloaded.out.contains("max_connections"), "{reloaded}");
    assert_eq!(cluster.ask("SHOW work_mem"), "6MB");
    assert_eq!(cluster.ask("SHOW max_connections"), "100");
    until("what waits is in the status", READY, || {
        let pending = pending(cluster);
        let all = pending
            .iter()
            .all(|(_, names)| *names == json!(["max_connections"]));
        seen(all && pending.len() == 2, || format!("{pending:?}"))
    });
    let shown = pgo(&["show", "cluster", name]).ok();
    assert!(
        shown.out.contains("pending restart: max_connections"),
        "{shown}"
    );
    let query = pgo(&["restart", name, "--query"]).ok();
    assert!(query.out.contains("yes: max_connections"), "{query}");
}

/// The rest is in force in the same term, and connections have ended.
fn restarts(cluster: &Cluster) {
    let name = cluster.name.as_str();
    let before = authority(cluster);
    let database = cluster.database();
    let asleep = thread::spawn(move || database.psql("SELECT pg_sleep(600)"));
    until("a statement runs", READY, || {
        let count = cluster
            .ask("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'");
        seen(count == "1", || count.clone())
    });
    let ran = pgo(&["restart", name, "--no-prompt", "--wait", "--timeout=3m"]).ok();
    assert!(ran.out.contains(&format!("{name}  restarted")), "{ran}");
    until("the connection has ended", ENDED, || {
        seen(asleep.is_finished(), || "it hangs".to_owned())
    });
    let ended = asleep.join().expect("psql ran");
    assert!(
        ended.to_string().contains("terminating connection"),
        "{ended}"
    );
    assert_eq!(authority(cluster), before, "in place, in the same term");
    assert_eq!(cluster.ask("SHOW max_connections"), "120");
    until("nothing waits any more", READY, || {
        let pending = pending(cluster);
        seen(pending.iter().all(|(_, names)| names.is_null()), || {
            format!("{pending:?}")
        })
    });
    let task = get("pgtask", &format!("{name}-restart"), &namespace()).expect("its task");
    assert_eq!(
        condition(&task, "Complete").unwrap_or_default()["status"],
        "True"
    );
}

/// Each of both is begun once and ended once, the restart with a step for each instance.
fn tells(watch: &Watch, cluster: &Cluster) {
    let told = watch.until(&cluster.uid(), "RestartClusterCompleted");
    let of = |prefix: &str| {
        let mut found = types(&told);
        found.retain(|one| one.starts_with(prefix));
        found
    };
    assert_eq!(
        of("ReloadCluster"),
        ["ReloadClusterStarted", "ReloadCluster"]
    );
    assert_eq!(
        of("RestartCluster"),
        [
            "RestartCluster",
            "RestartClusterProgress",
            "RestartClusterProgress",
            "RestartClusterCompleted"
        ]
    );
    let operations = of_operations(&told);
    for other in ["FailoverCluster", "SwitchoverCluster"] {
        assert!(!operations.iter().any(|one| one == other), "{operations:?}");
    }
    watch.check_to_its_end(&cluster.uid());
}
