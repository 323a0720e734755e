//! PGO itself: probes, metrics, logs, installing again, stopping.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Cluster, Forward, Installer, Watch,
    cluster::unique,
    containers::{pods_of, tag_image, until_whole},
    events::{check_stream, fields, of_operations},
    kubectl,
    kubernetes::{condition, get, text},
    namespace, operator,
    programs::{program, run},
    turns::{alone, together},
    until,
    until::seen,
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

/// The same with their namespace, and the agent of a cluster.
fn with_an_agent(cluster: &Cluster) -> Vec<(&'static str, String, String)> {
    let of_pgo = processes().into_iter();
    let mut all: Vec<_> = of_pgo
        .map(|(process, pod)| (process, pod, operator()))
        .collect();
    all.push(("agent", cluster.name.clone(), namespace()));
    all
}

#[test]
fn every_process_serves_probes_metrics_and_its_log_level() {
    let _turn = together();
    let cluster = Cluster::ready("ports");
    for (process, pod, namespace) in with_an_agent(&cluster) {
        let forward = Forward::to(&pod, &namespace, 9090, "/livez");
        assert_eq!(forward.curl("/livez", &[]).ok().out, "ok", "{process}");
        assert_eq!(forward.curl("/readyz", &[]).ok().out, "ok", "{process}");
        let metrics = forward.curl("/metrics", &[]).ok().out;
        assert!(
            metrics.contains("# TYPE") && metrics.trim_end().ends_with("# EOF"),
            "{process}: {metrics}"
        );
        let wrong = forward.curl("/log-level", &["--request", "PUT", "--data", "loud!!=x"]);
        assert!(!wrong.status.success(), "{process}: {wrong}");
        forward
            .curl("/log-level", &["--request", "PUT", "--data", "debug"])
            .ok();
        forward
            .curl("/log-level", &["--request", "PUT", "--data", "info"])
            .ok();
    }
}

#[test]
fn every_log_record_says_where_it_comes_from() {
    let _turn = together();
    let cluster = Cluster::ready("logs");
    for (process, pod, namespace) in with_an_agent(&cluster) {
        let logs = kubectl(&["logs", &pod, "-n", &namespace]).ok();
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

/// Gives a Secret of PGO a certificate that ends in five days, with a key of its own.
fn let_end_soon(secret: &str) {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (key, certificate) = (file("tls.key"), file("tls.crt"));
    let new = [
        "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "5",
    ];
    let named = [
        "-subj",
        "/CN=direct.pgo",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    run(program("openssl", &[&new[..], &named].concat()), "").ok();
    let pem = std::fs::read(certificate).expect("a certificate");
    let pem = STANDARD.encode(pem);
    let patch = json!({"data": {"tls.crt": pem}}).to_string();
    let of_pgo = ["patch", "secret", secret, "-n", &operator()];
    kubectl(&[&of_pgo[..], &["--type=merge", "--patch", &patch]].concat()).ok();
}

/// Waits until this was told of the certificate in a Secret of PGO.
fn until_told(watch: &Watch, event_type: &str, secret: &str) {
    let installation = get("pginstallation", "pgo", &operator()).expect("PgInstallation pgo");
    let stream = text(&installation, "/metadata/uid");
    let what = format!("{event_type} of {secret}");
    until(&what, Duration::from_secs(30), || {
        let told = fields(&watch.of(&stream), event_type, "/certificate");
        seen(told.iter().any(|told| told == secret), || {
            format!("{told:?}")
        })
    });
}

#[test]
fn installing_again_renews_a_certificate_that_ends_soon_and_changes_nothing_else() {
    let _turn = alone();
    until_whole();
    // Nobody uses it where there is no direct watch.
    let ending = "pgo-direct-tls";
    let watch = Watch::begin();
    let_end_soon(ending);
    until_told(&watch, "CertificateWarning", ending);
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
    let ran = Installer::of_what_is_there().run("install.sh", &[]).ok();
    assert!(ran.out.contains("PGO is ready"), "{ran}");
    assert!(ran.out.contains("made certificates for direct"), "{ran}");
    assert_eq!(before, seen());
    until_told(&watch, "CertificateRenewed", ending);
    let installation = get("pginstallation", "pgo", &operator()).expect("PgInstallation pgo");
    let now = condition(&installation, "CertificateWarning").expect("the condition");
    assert_eq!(now["status"], "False", "{now}");
}

/// Pod and process of a cluster's instance: whoever replaced or restarted it would change one of them.
fn identity(cluster: &Cluster) -> (String, String) {
    let uid = text(&cluster.pod(), "/metadata/uid");
    let started = "select pg_postmaster_start_time()";
    (uid, cluster.ask(started))
}

#[test]
fn another_version_of_pgo_restarts_no_database_and_is_in_what_is_made_later() {
    let _turn = alone();
    until_whole();
    let cluster = Cluster::ready("untouched");
    let before = identity(&cluster);
    let installer = Installer::of_what_is_there();
    let (prefix, tag) = (
        installer.setting("PGO_IMAGE_PREFIX"),
        installer.setting("PGO_IMAGE_TAG"),
    );
    let other = unique("later");
    let images = [
        "agent",
        "apiserver",
        "event",
        "nsqd",
        "reconciler",
        "scheduler",
    ];
    for image in images {
        let name = |tag: &str| format!("{prefix}/pgo-{image}:{tag}");
        tag_image(&name(&tag), &name(&other));
    }
    let agent = |cluster: &Cluster| text(&cluster.pod(), "/spec/initContainers/0/image");
    installer
        .run("install.sh", &[("PGO_IMAGE_TAG", &other)])
        .ok();
    until_whole();
    let made_later = Cluster::ready("later");
    assert!(agent(&made_later).ends_with(&other));
    // The later one shows that the new version has looked at what there is.
    assert_eq!(identity(&cluster), before);
    assert!(agent(&cluster).ends_with(&tag));

    installer.run("install.sh", &[]).ok();
    until_whole();
    assert_eq!(identity(&cluster), before, "and back");
}

#[test]
fn pgo_can_be_stopped_and_started_while_databases_go_on() {
    let _turn = alone();
    until_whole();
    let cluster = Cluster::ready("staying");
    let installation = get("pginstallation", "pgo", &operator()).expect("PgInstallation pgo");
    let stream = text(&installation, "/metadata/uid");
    let installer = Installer::of_what_is_there();
    let stopped = installer.run("uninstall.sh", &[]).ok();
    assert!(
        stopped.out.contains("its last event is stored"),
        "{stopped}"
    );
    assert!(get("deployment", "apiserver", &operator()).is_none());
    assert_eq!(cluster.ask("select 1"), "1", "without PGO");

    installer.run("install.sh", &[]).ok();
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
    let events = watch.of(&stream);
    let last = |event_type: &str, service: &str| {
        let found = events.iter().rposition(|event| {
            let of = service.is_empty() || event["service"] == service;
            of && text(event, "/eventheader/EventType") == event_type
        });
        found.unwrap_or_else(|| panic!("no {event_type} {service}"))
    };
    let (begun, ended) = (last("PGOStop", ""), last("PGOStopCompleted", ""));
    for service in ["apiserver", "scheduler"] {
        let stopped = last("ServiceStopped", service);
        assert!(begun < stopped && stopped < ended, "{service}: {events:?}");
    }
    let again = Cluster::ready("again");
    check_stream(&watch.until(&again.uid(), "CreateClusterCompleted"));
    assert_eq!(cluster.ask("select 1"), "1", "with PGO again");
}
