//! The history as others see it than by `pgo watch`: kubectl, a program with a certificate; and messages that nobody could
//! handle.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Cluster, Forward, Ran,
    containers::{kill_all_of, until_whole},
    kubectl, namespace, operator, pgo,
    programs::{program, run},
    turns::{alone, together},
    until,
    until::seen,
};

const SOON: Duration = Duration::from_secs(30);

/// How long kubelet may take to bring a ConfigMap into a pod.
const WITHDRAWN: Duration = Duration::from_secs(120);

/// Reason and type of the Kubernetes Events about a cluster.
fn told(cluster: &str) -> Vec<(String, String)> {
    let selector = format!("involvedObject.kind=Pgcluster,involvedObject.name={cluster}");
    let ran = kubectl(&[
        "get",
        "events",
        "-n",
        &namespace(),
        "--field-selector",
        &selector,
        "-o",
        "json",
    ])
    .ok();
    let json = ran.json();
    let events = json["items"].as_array().cloned().unwrap_or_default();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| (text(event, "reason"), text(event, "type")))
        .collect()
}

#[test]
fn kubectl_shows_what_happened_to_a_cluster_once_each() {
    let _turn = together();
    let cluster = Cluster::ready("mirrored");
    let name = &cluster.name;
    let normal = |reason: &str| (reason.to_owned(), "Normal".to_owned());
    until("the Events of a creation", SOON, || {
        let mut told = told(name);
        told.sort();
        let expected = [normal("CreateCluster"), normal("CreateClusterCompleted")];
        seen(told == expected, || format!("{told:?}"))
    });
    let described = kubectl(&["describe", "pgcluster", name, "-n", &namespace()]).ok();
    assert!(
        described.out.contains("CreateClusterCompleted"),
        "{described}"
    );
    assert!(described.out.contains("crunchydata.com/pgo"), "{described}");
}

#[test]
fn kubectl_shows_what_happened_to_pgo_itself() {
    let _turn = alone();
    // A process that ends and begins is told, and Kubernetes keeps it long enough.
    kill_all_of("scheduler");
    until_whole();
    until("the Events of PGO in kubectl describe", SOON, || {
        let line = ["describe", "pginstallation", "pgo", "-n", &operator()];
        let described = kubectl(&line).ok();
        seen(described.out.contains("ServiceStarted"), || {
            described.to_string()
        })
    });
}

/// `deploy/install/consumer.sh`.
fn consumer(arguments: &[&str]) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/install/consumer.sh");
    let script = script.display().to_string();
    run(program("bash", &[&[&*script], arguments].concat()), "")
}

/// Asks the event service with the files of a folder.
fn ask(forward: &Forward, folder: &Path, query: &str) -> Ran {
    let file = |name: &str| folder.join(name).display().to_string();
    let connect = format!("event.pgo:8446:127.0.0.1:{}", forward.port);
    let url = format!("https://event.pgo:8446/v1/events{query}");
    let (ca, certificate, key) = (file("ca.crt"), file("tls.crt"), file("tls.key"));
    let arguments = [
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--cacert",
        &ca,
        "--cert",
        &certificate,
        "--key",
        &key,
        "--connect-to",
        &connect,
        &url,
    ];
    run(program("curl", &arguments), "")
}

#[test]
fn a_program_reads_the_history_with_a_certificate_of_its_own() {
    let _turn = together();
    let cluster = Cluster::ready("consumed");
    let folder = TempDir::new().expect("a folder");
    // A name can be withdrawn once.
    let name = format!("lifecycle-{}", std::process::id());
    consumer(&[&name, &folder.path().display().to_string()]).ok();
    let forward = Forward::begin("service/event", &operator(), 8446);
    let query = format!("?cluster={}&form=cloudevents", cluster.name);
    let ran = until("an answer", SOON, || {
        let ran = ask(&forward, folder.path(), &query);
        seen(ran.status.success(), || ran.to_string()).map(|()| ran)
    });
    let types: Vec<String> = ran
        .out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| line["event"]["type"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(
        types.first().map(String::as_str),
        Some("com.crunchydata.pgo.CreateCluster"),
        "{ran}"
    );
    assert_eq!(
        types.last().map(String::as_str),
        Some("com.crunchydata.pgo.CreateClusterCompleted"),
        "{ran}"
    );
    let wrong = ask(&forward, folder.path(), "?since=yesterday").ok().json();
    assert!(
        wrong["help"]
            .as_str()
            .is_some_and(|help| help.contains("stream/seq")),
        "{wrong}"
    );

    consumer(&["--withdraw", &name]).ok();
    until("it to be refused", WITHDRAWN, || {
        let ran = ask(&forward, folder.path(), "?last=1");
        seen(ran.out.contains("was not withdrawn"), || ran.to_string())
    });
    consumer(&[&name]).failed(1, &["give another name"]);
    let names = ["configmap", "pgo-withdrawn-consumers", "-n", &operator()];
    let keep_others = format!("{{\"data\":{{\"{name}\":null}}}}");
    let removal = ["--type=merge", "--patch", &keep_others];
    kubectl(&[&["patch"], &names[..], &removal[..]].concat()).ok();
}

#[test]
fn a_message_that_is_no_event_is_kept_requeued_and_deleted() {
    let _turn = together();
    // By the port that is in the pod only.
    let nsqd = Forward::to("nsqd-0", &operator(), 4151, "/ping");
    let body = "lifecycle: neither JSON nor an event";
    nsqd.curl("/pub?topic=alltopic", &["--data", body]).ok();
    let ids = |seen: &Ran| -> Vec<String> {
        let json = seen.json();
        let letters = json["Results"].as_array().cloned().unwrap_or_default();
        let ours = letters.iter().filter(|letter| letter["Body"] == body);
        ours.filter_map(|letter| letter["ID"].as_str().map(str::to_owned))
            .collect()
    };
    let listed = || pgo(&["show", "deadletter", "-o", "json"]).ok();
    let first = until("a dead letter", SOON, || {
        let ran = listed();
        ids(&ran).into_iter().next().ok_or_else(|| ran.to_string())
    });
    let shown = pgo(&["show", "deadletter", &first]).ok();
    assert!(
        shown.out.contains("alltopic") && shown.out.contains(body),
        "{shown}"
    );
    let requeued = pgo(&["requeue", "deadletter", &first]).ok();
    assert!(requeued.out.contains("requeued dead letter"), "{requeued}");
    // There it is no event again.
    let second = until("it comes back", SOON, || {
        let ran = listed();
        ids(&ran)
            .into_iter()
            .find(|id| *id != first)
            .ok_or_else(|| ran.to_string())
    });
    pgo(&["delete", "deadletter", &second, "--no-prompt"]).ok();
    assert_eq!(ids(&listed()), Vec::<String>::new());
    pgo(&["delete", "deadletter", &second, "--no-prompt"]).failed(2, &["no such dead letter"]);
}
