//! A second installation beside the first, by `make install` with other settings: its images, namespaces, how its REST
//! interface is reached, and what it has beside nsqd.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Forward,
    beside::{Beside, Mirror, PREFIX},
    cluster::{GONE, READY},
    kubectl,
    kubernetes::{apply, condition, get, list, text},
    operator,
    programs::{program, run},
    shown::Shown,
    turns::together,
    until,
    until::seen,
};

/// Pods of an installation: apiserver, two of the reconciler, scheduler, two of the event service, nsqd.
const PODS: usize = 7;

/// The images of all containers of these pods.
fn images(pods: &[Value]) -> Vec<String> {
    let lists = ["/spec/initContainers", "/spec/containers"];
    pods.iter()
        .flat_map(|pod| lists.map(|list| pod.pointer(list)))
        .flatten()
        .filter_map(Value::as_array)
        .flatten()
        .map(|container| text(container, "/image"))
        .collect()
}

fn only_of(mirror: &Mirror, images: &[String]) -> bool {
    let mirrored = |image: &String| image.starts_with(PREFIX) && image.ends_with(mirror.tag);
    !images.is_empty() && images.iter().all(mirrored)
}

/// An answer without any certificate has this in it and ends with this status.
#[track_caller]
fn answers(beside: &Beside, url: &str, wanted: &str, status: &str) {
    let answer = beside.curl(url).ok();
    let said = answer.out.contains(wanted) && answer.out.ends_with(status);
    assert!(said, "{wanted:?} and {status}: {answer}");
}

/// A cluster is made and its events are watched over plain HTTP; its images come from the mirror, too.
fn clusters_are_made_over_http(beside: &Beside, mirror: &Mirror) {
    let create = ["create", "cluster", "plain", "--pgbackrest=false", "--wait"];
    beside.pgo(&create, "http").ok();
    let pods = list("pods", "pg-cluster=plain", &beside.clusters());
    let found = images(&pods);
    assert_eq!(found.len(), 2, "agent and database: {found:?}");
    assert!(only_of(mirror, &found), "{found:?}");
    let wanted = ["--for", "CreateClusterCompleted", "--timeout", "20s"];
    let watch = ["watch", "alltopic", "--since", "5m"];
    beside.pgo(&[watch, wanted].concat(), "http").ok();
}

/// Clusters get as many replicas as pgo.yaml says from its change on, those of kubectl, too, where their spec says nothing.
fn a_cluster_of_kubectl_gets_the_replicas_of_pgo_yaml(beside: &Beside) {
    let file = get("configmap", "pgo-config", beside.name).expect("its configuration");
    let changed = text(&file, "/data/pgo.yaml").replace("  Replicas: 0", "  Replicas: 2");
    let patch = json!({"data": {"pgo.yaml": changed}}).to_string();
    let configuration = ["patch", "configmap", "pgo-config", "-n", beside.name];
    let merge = ["--type=merge", "--patch", &patch];
    kubectl(&[&configuration[..], &merge].concat()).ok();
    let clusters = beside.clusters();
    for (name, spec, wanted) in [
        ("silent", json!({}), 2),
        ("single", json!({"replicas": "0"}), 0),
    ] {
        let manifest = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
            "metadata": {"name": name, "namespace": clusters}, "spec": spec,
        });
        apply(&manifest).ok();
        until(&format!("the pod and replicas of {name}"), READY, || {
            let pods = list("pods", &format!("pg-cluster={name}"), &clusters);
            let replicas = list("pgreplicas", &format!("pg-cluster={name}"), &clusters);
            let there = !pods.is_empty() && replicas.len() == wanted;
            seen(there, || {
                format!("{} pods, {} replicas", pods.len(), replicas.len())
            })
        });
    }
}

/// While its labels name another installation, nothing is done for the clusters of a namespace; then what was asked for
/// meanwhile is done.
fn a_namespace_of_another_installation_is_left_alone(beside: &Beside) {
    let clusters = beside.clusters();
    let give = |installation: &str| {
        let label = format!("pgo-installation-name={installation}");
        kubectl(&["label", "namespace", &clusters, "--overwrite", &label]).ok();
    };
    give("another");
    until("a word of whose the namespace is", GONE, || {
        let of = ["-l", "pgo-process=reconciler", "--tail=-1"];
        let logs = kubectl(&[&["logs", "-n", beside.name][..], &of].concat()).ok();
        let told = logs.out.contains("belongs to another installation");
        seen(told, || logs.out)
    });
    let refused = ["show", "cluster", "plain"];
    let refused = beside.pgo(&refused, "http");
    refused.failed(2, &["is not part of the Operator installation"]);
    let delete = ["delete", "pgcluster", "plain", "-n", &clusters];
    kubectl(&[&delete[..], &["--timeout=5s"]].concat()).failed(1, &["timed out"]);
    give(beside.name);
    until("the end of the cluster", GONE, || {
        let left = get("pgcluster", "plain", &clusters);
        seen(left.is_none(), || format!("{left:?}"))
    });
}

/// Seven days, on volumes of two GiB.
fn the_history_is_kept_as_asked_for(beside: &Beside) {
    let event = get("statefulset", "event", beside.name).expect("the event service");
    let env = event["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    let days = json!({"name": "PGO_EVENT_RETENTION_DAYS", "value": "7"});
    let is_set = env.as_array().is_some_and(|all| all.contains(&days));
    assert!(is_set, "{env}");
    let claim = get("pvc", "data-event-0", beside.name).expect("its volume");
    let size = text(&claim, "/spec/resources/requests/storage");
    assert_eq!(size, "2Gi", "{claim}");
}

#[test]
fn make_install_takes_images_from_the_prefix_given_and_the_rest_interface_as_it_is_to_be() {
    let _turn = together();
    let mirror = Mirror::made("mirrored");
    let beside = Beside::named("pgo-beside");
    let settings = |plain| {
        [
            ("PGO_IMAGE_PREFIX", PREFIX),
            ("PGO_IMAGE_TAG", mirror.tag),
            ("CCP_IMAGE_PREFIX", PREFIX),
            ("CCP_IMAGE_TAG", mirror.tag),
            ("NOAUTH_ROUTES", "/health"),
            ("DISABLE_TLS", plain),
            ("PGO_EVENT_RETENTION_DAYS", "7"),
            ("PGO_EVENT_VOLUME_SIZE", "2Gi"),
        ]
    };

    beside.install(&settings("false"));
    let found = images(&list("pods", "pgo-process", beside.name));
    assert!(found.len() == PODS && only_of(&mirror, &found), "{found:?}");
    the_history_is_kept_as_asked_for(&beside);
    let https = format!("https://{}", beside.address());
    answers(&beside, &format!("{https}/health"), "healthy", " 200");
    // Of itself, as since 4.1.2.
    answers(&beside, &format!("{https}/healthz"), "ok", " 200");
    let certificate = "Client Certificate Required";
    answers(&beside, &format!("{https}/version"), certificate, " 403");
    beside.pgo(&["version"], "https").ok();

    beside.install(&settings("true"));
    let http = format!("http://{}", beside.address());
    answers(&beside, &format!("{http}/health"), "healthy", " 200");
    answers(&beside, &format!("{http}/version"), "", " 401");
    let version = beside.pgo(&["version"], "http").ok();
    assert!(version.out.contains("pgo-apiserver version"), "{version}");
    clusters_are_made_over_http(&beside, &mirror);
    a_namespace_of_another_installation_is_left_alone(&beside);
    a_cluster_of_kubectl_gets_the_replicas_of_pgo_yaml(&beside);

    let operator = operator();
    let first = [
        "get",
        "pods",
        "-n",
        &operator,
        "-l",
        "pgo-process",
        "-o",
        "name",
    ];
    let first = kubectl(&first).ok();
    assert_eq!(
        first.out.lines().count(),
        PODS,
        "the other installation is whole: {first}"
    );
}

/// The nodes, topics or whatever a broker's page shows at a path, as JSON.
fn shown(port: u16, path: &str) -> Value {
    let url = format!("http://127.0.0.1:{port}{path}");
    let curl = [
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--max-time",
        "10",
        &url,
    ];
    run(program("curl", &curl), "").ok().json()
}

/// Ours.
fn pgo_watch(address: &str) -> Command {
    let arguments = ["watch", "alltopic", "--pgo-event-address", address];
    program("pgo", &arguments)
}

/// What 4.1's does, with its library and its settings: `tests/lifecycle/go-nsq`, a program of ours. 4.1's own binary is not run.
fn go_nsq_watch(folder: &TempDir, address: &str) -> Command {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go-nsq");
    let built = folder.path().join("go-nsq").display().to_string();
    let build = ["build", "-C", source, "-mod=readonly", "-o", &built, "."];
    run(program("go", &build), "").ok();
    program(&built, &[address, "alltopic"])
}

#[test]
fn what_an_installation_may_have_beside_nsqd_is_there_where_it_is_asked_for() {
    let _turn = together();
    let mirror = Mirror::made("with-brokers");
    let beside = Beside::named("pgo-brokers");
    let images = |wanted| {
        let own = ["PGO_IMAGE_PREFIX", "CCP_IMAGE_PREFIX"].map(|name| (name, PREFIX));
        let tags = ["PGO_IMAGE_TAG", "CCP_IMAGE_TAG"].map(|name| (name, mirror.tag));
        let names = ["PGO_NSQADMIN", "PGO_NSQLOOKUPD", "PGO_DIRECT_WATCH"];
        [&own[..], &tags[..], &names.map(|name| (name, wanted))[..]].concat()
    };
    beside.install(&images("true"));

    let direct = Forward::open("deployment/direct", beside.name, 4150);
    let address = format!("127.0.0.1:{}", direct.port);
    let built = TempDir::new().expect("a folder");
    let watches = [pgo_watch(&address), go_nsq_watch(&built, &address)].map(Shown::begin);
    // A channel that is not there yet gets nothing.
    let stats = Forward::open("deployment/direct", beside.name, 4151);
    until("a channel for each", Duration::from_secs(20), || {
        let stats = shown(stats.port, "/stats?format=json");
        let channels = stats
            .pointer("/topics/0/channels")
            .and_then(Value::as_array);
        let there = channels.is_some_and(|channels| channels.len() == watches.len());
        seen(there, || stats.to_string())
    });
    beside
        .pgo(&["create", "cluster", "seen", "--wait"], "https")
        .ok();
    for watch in watches {
        let told = watch.until("\"EventType\": \"CreateClusterCompleted\"");
        assert!(
            told.starts_with("alltopic | {\n  \"eventheader\": {\n"),
            "{told}"
        );
        assert!(told.contains("\"EventType\": \"CreateCluster\""), "{told}");
    }

    let admin = Forward::open("nsqd-0", beside.name, 4171);
    let topic = shown(admin.port, "/api/topics/alltopic");
    assert_eq!(topic["message"], "", "nsqadmin reaches nsqd: {topic}");
    assert_eq!(topic["channels"][0]["channel_name"], "history", "{topic}");
    let lookup = Forward::open("service/nsqd", beside.name, 4161);
    let found = shown(lookup.port, "/lookup?topic=alltopic");
    let producer = &found["producers"][0];
    let name = format!("nsqd.{}.svc", beside.name);
    assert_eq!(producer["broadcast_address"], name.as_str(), "{found}");

    beside.install(&images("false"));
    let pods = list("pods", "pgo-process=direct", beside.name);
    assert!(
        pods.iter()
            .all(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
    );
    let broker = get("pod", "nsqd-0", beside.name).expect("nsqd");
    assert_eq!(
        broker["spec"]["containers"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn an_installation_without_eventing_makes_clusters_without_nsqd() {
    let _turn = together();
    let mirror = Mirror::made("without-eventing");
    let beside = Beside::named("pgo-silent");
    let own = ["PGO_IMAGE_PREFIX", "CCP_IMAGE_PREFIX"].map(|name| (name, PREFIX));
    let tags = ["PGO_IMAGE_TAG", "CCP_IMAGE_TAG"].map(|name| (name, mirror.tag));
    let silent = [("DISABLE_EVENTING", "true")];
    beside.install(&[&own[..], &tags[..], &silent[..]].concat());
    let of_beside = |arguments: &[&str]| {
        let namespace = ["-n", beside.name];
        kubectl(&[arguments, &namespace[..]].concat()).ok()
    };
    of_beside(&["scale", "statefulset/nsqd", "--replicas=0"]);
    until("no nsqd", GONE, || {
        match get("pod", "nsqd-0", beside.name) {
            None => Ok(()),
            Some(pod) => Err(pod["status"]["phase"].to_string()),
        }
    });
    // Each begins anew, and has never seen nsqd then.
    for process in ["apiserver", "reconciler", "scheduler"] {
        let deployment = format!("deployment/{process}");
        of_beside(&["rollout", "restart", &deployment]);
        of_beside(&["rollout", "status", &deployment, "--timeout=120s"]);
    }
    let create = ["create", "cluster", "silent", "--wait"];
    beside.pgo(&create, "https").ok();
    let cluster = get("pgcluster", "silent", &beside.clusters()).expect("the cluster");
    assert_eq!(text(&cluster, "/status/operations/0/outcome"), "Completed");
    let entries = cluster.pointer("/status/outbox/entries");
    assert_eq!(entries, Some(&Value::Array(Vec::new())), "{cluster}");
    let reason = condition(&cluster, "EventBacklog").expect("the condition");
    assert_eq!(reason["reason"], "EventingDisabled");
    let delete = ["delete", "cluster", "silent", "--no-prompt", "--wait"];
    beside.pgo(&delete, "https").ok();
}
