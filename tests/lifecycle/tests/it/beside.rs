//! A second installation beside the first, by `make install` with other settings: its images, namespaces, how its REST
//! interface is reached, and what it has beside nsqd.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::harness::{
    Forward,
    beside::{Beside, Mirror, PREFIX},
    kubectl,
    kubernetes::{get, list, text},
    operator,
    programs::{program, run},
    turns::together,
    until,
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
    let create = ["create", "cluster", "plain", "--wait"];
    beside.pgo(&create, "http").ok();
    let pods = list("pods", "pg-cluster=plain", &beside.clusters());
    let found = images(&pods);
    assert_eq!(found.len(), 2, "agent and database: {found:?}");
    assert!(only_of(mirror, &found), "{found:?}");
    let wanted = ["--for", "CreateClusterCompleted", "--timeout", "20s"];
    let watch = ["watch", "alltopic", "--since", "5m"];
    beside.pgo(&[watch, wanted].concat(), "http").ok();
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
        ]
    };

    beside.install(&settings("false"));
    let found = images(&list("pods", "pgo-process", beside.name));
    assert!(found.len() == PODS && only_of(&mirror, &found), "{found:?}");
    let https = format!("https://{}", beside.address());
    answers(&beside, &format!("{https}/health"), "healthy", " 200");
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

/// `pgo watch` in 4.1's way, until it has shown `wanted` of a topic.
fn watched_directly(port: u16, wanted: &str, meanwhile: impl FnOnce()) -> String {
    let address = format!("127.0.0.1:{port}");
    let mut child = program(
        "pgo",
        &["watch", "alltopic", "--pgo-event-address", &address],
    )
    .stdin(Stdio::null())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("pgo watch");
    let out = child.stdout.take().expect("its standard output");
    let shown = Arc::<Mutex<String>>::default();
    let lines = shown.clone();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_str(&line);
            lines.push('\n');
        }
    });
    meanwhile();
    let all = || shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let found = until(&format!("{wanted} shown"), Duration::from_secs(20), || {
        Some(all())
            .filter(|all| all.contains(wanted))
            .ok_or_else(all)
    });
    let _ = child.kill();
    let _ = child.wait();
    found
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
    let told = watched_directly(direct.port, "CreateClusterCompleted", || {
        // A channel that is not there yet gets nothing.
        let stats = Forward::open("deployment/direct", beside.name, 4151);
        until("the channel of pgo watch", Duration::from_secs(20), || {
            let stats = shown(stats.port, "/stats?format=json");
            let channel = stats.pointer("/topics/0/channels/0/channel_name");
            channel.map(|_| ()).ok_or_else(|| stats.to_string())
        });
        beside
            .pgo(&["create", "cluster", "seen", "--wait"], "https")
            .ok();
    });
    assert!(told.contains("\"EventType\": \"CreateCluster\""), "{told}");

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
