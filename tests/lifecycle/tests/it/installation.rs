//! PGO itself: probes, metrics, logs, installing again, stopping.

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::Value;

use crate::harness::{
    Cluster, Ran, Watch,
    containers::{pods_of, until_whole},
    events::{check_stream, of_operations},
    forward::Forward,
    kubectl,
    kubernetes::{get, text},
    namespace, operator,
    programs::{program, run, setting},
    turns::{alone, together},
    until,
};

/// Every process with an administration port, and a pod of it.
fn processes() -> Vec<(&'static str, String)> {
    ["apiserver", "reconciler", "scheduler", "event"]
        .into_iter()
        .map(|process| {
            let pods = pods_of(process);
            (process, text(&pods[0], "/metadata/name"))
        })
        .collect()
}

/// An answer of a forwarded administration port.
fn curl(forward: &Forward, path: &str, arguments: &[&str]) -> Ran {
    let url = format!("http://127.0.0.1:{}{path}", forward.port);
    let mut all = vec![
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--max-time",
        "10",
        &url,
    ];
    all.extend(arguments);
    run(program("curl", &all), "")
}

#[test]
fn every_process_serves_probes_metrics_and_its_log_level() {
    let _turn = together();
    let cluster = Cluster::ready("ports");
    let mut all: Vec<(&str, String, String)> = processes()
        .into_iter()
        .map(|(process, pod)| (process, pod, operator()))
        .collect();
    all.push(("agent", cluster.name.clone(), namespace()));
    for (process, pod, namespace) in all {
        let forward = Forward::to(&pod, &namespace, 9090);
        assert_eq!(curl(&forward, "/livez", &[]).ok().out, "ok", "{process}");
        assert_eq!(curl(&forward, "/readyz", &[]).ok().out, "ok", "{process}");
        let metrics = curl(&forward, "/metrics", &[]).ok().out;
        assert!(
            metrics.contains("# TYPE") && metrics.trim_end().ends_with("# EOF"),
            "{process}: {metrics}"
        );
        let wrong = curl(
            &forward,
            "/log-level",
            &["--request", "PUT", "--data", "loud!!=x"],
        );
        assert!(!wrong.status.success(), "{process}: {wrong}");
        curl(
            &forward,
            "/log-level",
            &["--request", "PUT", "--data", "debug"],
        )
        .ok();
        curl(
            &forward,
            "/log-level",
            &["--request", "PUT", "--data", "info"],
        )
        .ok();
    }
}

#[test]
fn every_log_record_says_where_it_comes_from() {
    let _turn = together();
    for (process, pod) in processes() {
        let logs = kubectl(&["logs", &pod, "-n", &operator()]).ok();
        let lines: Vec<&str> = logs.out.lines().collect();
        assert!(!lines.is_empty(), "{process} has logged nothing");
        for line in lines {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| {
                panic!("{process} logged what is no JSON ({error}): {line}")
            });
            let has = |names: &[&str]| {
                names.iter().any(|name| {
                    record
                        .get(name)
                        .or_else(|| record["fields"].get(name))
                        .is_some()
                })
            };
            assert!(
                has(&["file", "filename"]) && has(&["line", "line_number"]),
                "{process}: {line}"
            );
            assert!(
                has(&["level"]) && has(&["timestamp", "time"]),
                "{process}: {line}"
            );
        }
    }
}

/// The settings that PGO was installed with, for the project's installer and its opposite. PGO is there again after this
/// value, also when a test failed.
struct Installer {
    settings: Vec<(String, String)>,
}

impl Installer {
    fn of_what_is_there() -> Self {
        let apiserver = get("deployment", "apiserver", &operator()).expect("the apiserver");
        let container = &apiserver["spec"]["template"]["spec"]["containers"][0];
        let variables = container["env"].as_array().cloned().unwrap_or_default();
        let client = PathBuf::from(setting("PGO_CLIENT_CERT"));
        let folder = client
            .parent()
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        let mut settings = vec![
            ("PGO_OPERATOR_NAMESPACE".to_owned(), operator()),
            ("PGO_CLIENT_DIR".to_owned(), folder),
            ("PGO_STORAGE_CLASS".to_owned(), "local".to_owned()),
        ];
        for variable in variables {
            let value = text(&variable, "/value");
            if !value.is_empty() {
                settings.push((text(&variable, "/name"), value));
            }
        }
        Self { settings }
    }

    fn run(&self, script: &str) -> Ran {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new(root.join("deploy/install").join(script));
        command.envs(self.settings.iter().cloned());
        run(command, "")
    }
}

impl Drop for Installer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ran = self.run("install.sh");
            eprintln!("PGO was installed again after a failed test: {ran}");
        }
    }
}

#[test]
fn installing_again_changes_nothing() {
    let _turn = alone();
    until_whole();
    let uids = || -> Vec<String> {
        let path = "jsonpath={.items[*].metadata.uid}";
        let pods = kubectl(&["get", "pods", "-n", &operator(), "-o", path]).ok();
        let mut uids: Vec<String> = pods.out.split_whitespace().map(str::to_owned).collect();
        uids.sort();
        uids
    };
    let version = |name: &str| {
        let secret = get("secret", name, &operator()).expect("a Secret");
        text(&secret, "/metadata/resourceVersion")
    };
    let seen = || (uids(), version("pgo-ca"), version("pgouser-pgoadmin"));
    let before = seen();
    let ran = Installer::of_what_is_there().run("install.sh").ok();
    assert!(ran.out.contains("PGO is ready"), "{ran}");
    assert_eq!(before, seen());
}

#[test]
fn pgo_can_be_stopped_and_started_while_databases_go_on() {
    let _turn = alone();
    until_whole();
    let cluster = Cluster::ready("staying");
    let installation = get("pginstallation", "pgo", &operator()).expect("PgInstallation pgo");
    let stream = text(&installation, "/metadata/uid");
    let installer = Installer::of_what_is_there();
    let stopped = installer.run("uninstall.sh").ok();
    assert!(
        stopped.out.contains("its last event is stored"),
        "{stopped}"
    );
    assert!(get("deployment", "apiserver", &operator()).is_none());
    assert_eq!(cluster.ask("select 1"), "1", "without PGO");

    installer.run("install.sh").ok();
    until_whole();
    let watch = Watch::begin_since("10m");
    let told = until(
        "the stop and the start in the history",
        Duration::from_secs(30),
        || {
            let told = of_operations(&watch.of(&stream));
            let stop = told.iter().rposition(|t| t == "PGOStop");
            stop.map(|stop| told[stop..].to_vec())
                .filter(|told| told.len() >= 4)
                .ok_or_else(|| format!("{told:?}"))
        },
    );
    assert_eq!(
        told,
        [
            "PGOStop",
            "PGOStopCompleted",
            "PGOStart",
            "PGOStartCompleted"
        ]
    );
    let again = Cluster::ready("again");
    check_stream(&watch.until(&again.uid(), "CreateClusterCompleted"));
    assert_eq!(cluster.ask("select 1"), "1", "with PGO again");
}
