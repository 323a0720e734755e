//! The program itself, as process 1 runs it, against an API server that knows two objects.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use k8s_openapi::api::{coordination::v1::Lease, discovery::v1::EndpointSlice};
use kube::{Client, Config};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pgo_agent::{
    cli::Settings,
    processes,
    store::{Kubernetes, Store as _, Written},
};
use pgo_proto::agent::Phase;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    fake::Fake,
    lost_lease::record,
    rig::{DEADLINE, PROGRAMS, Rig, eventually, program},
    unprivileged::unprivileged,
};

/// An API server that has the objects of `fake`; its address.
async fn serve(fake: Fake) -> String {
    async fn read_lease(State(fake): State<Fake>) -> Json<Lease> {
        Json(fake.lease_now())
    }
    async fn write_lease(
        State(fake): State<Fake>,
        Json(lease): Json<Lease>,
    ) -> Result<Json<Lease>, (StatusCode, Json<Value>)> {
        answer(fake.swap_lease(&lease))
    }
    async fn read_slice(State(fake): State<Fake>) -> Json<EndpointSlice> {
        Json(fake.slice_now())
    }
    async fn write_slice(
        State(fake): State<Fake>,
        Json(slice): Json<EndpointSlice>,
    ) -> Result<Json<EndpointSlice>, (StatusCode, Json<Value>)> {
        answer(fake.swap_slice(&slice))
    }
    let router = Router::new()
        .route(
            "/apis/coordination.k8s.io/v1/namespaces/pgouser1/leases/hippo",
            get(read_lease).put(write_lease),
        )
        .route(
            "/apis/discovery.k8s.io/v1/namespaces/pgouser1/endpointslices/hippo-primary",
            get(read_slice).put(write_slice),
        )
        .fallback(async || failure(StatusCode::NOT_FOUND, "NotFound"))
        .with_state(fake);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
    format!("http://{address}")
}

fn answer<T>(written: Written<T>) -> Result<Json<T>, (StatusCode, Json<Value>)> {
    match written {
        Written::Done(object) => Ok(Json(object)),
        Written::Conflict => Err(failure(StatusCode::CONFLICT, "Conflict")),
    }
}

/// A refusal as Kubernetes words it.
fn failure(code: StatusCode, reason: &str) -> (StatusCode, Json<Value>) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": reason, "code": code.as_u16(),
    });
    (code, Json(status))
}

/// What a pod sets besides where WAL is archived, or it is made from a backup.
fn of_backups(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if let Some(host) = &settings.archiving.host {
        variables.extend([
            ("PGO_BACKREST_HOST", host.clone()),
            (
                "PGO_BACKREST_PATH",
                settings.archiving.path.display().to_string(),
            ),
            (
                "PGO_BACKREST_CONF",
                settings.archiving.conf.display().to_string(),
            ),
            ("PGO_BACKREST_PORT", settings.archiving.port.to_string()),
        ]);
    }
    if let Some(order) = &settings.restore {
        let order = json!({"operation": order.operation, "options": order.options});
        variables.push(("PGO_RESTORE", order.to_string()));
    }
    variables
}

/// Starts process 1 with the settings of `rig`.
pub async fn start(rig: &Rig) -> Child {
    let server = serve(rig.store.clone()).await;
    let kubeconfig = rig.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "pgouser1"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("written");

    let settings = &rig.settings;
    // What a pod sets by its environment is set so here, too; the rest are folders of the image.
    let arguments = [
        ("PGO_CLUSTER", settings.cluster.to_string()),
        ("PGO_NAMESPACE", settings.namespace.to_string()),
        ("PGO_INSTANCE", settings.instance.to_string()),
        ("POD_NAME", settings.pod_name.clone()),
        ("POD_UID", settings.pod_uid.clone()),
        ("POD_IP", settings.pod_ip.to_string()),
        ("PGDATA", settings.data.display().to_string()),
        ("PGO_DATABASE", settings.database.clone()),
        ("PGPORT", settings.port.to_string()),
        ("LOG_STATEMENT", "none".to_owned()),
        ("LOG_MIN_DURATION_STATEMENT", "-1".to_owned()),
        ("PGO_TLS_DIR", settings.tls.display().to_string()),
        ("PGO_SECRETS_DIR", settings.secrets.display().to_string()),
        ("PGO_CUSTOM_DIR", settings.custom.display().to_string()),
        ("PGO_SOCKET_DIRS", settings.sockets[0].display().to_string()),
        ("PGO_AGENT_ADDR", settings.listen.to_string()),
        ("PGO_ADMIN_ADDR", settings.admin.to_string()),
    ];
    Command::new(program())
        .envs(arguments)
        .envs(of_backups(settings))
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(rig.path().join("log")).expect("a log"))
        .kill_on_drop(true)
        .spawn()
        .expect("started")
}

/// Its number.
pub fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().expect("it lives").cast_signed())
}

#[test]
fn process_1_stops_a_server_that_nobody_watches_and_brings_it_back() {
    let name = "process::process_1_stops_a_server_that_nobody_watches_and_brings_it_back";
    unprivileged(name, &PROGRAMS, async || {
        let rig = Rig::new("hippo");
        let mut init = start(&rig).await;
        eventually("the agent listens", async || {
            rig.watch("reconciler.pgo", 0).await.is_ok()
        })
        .await;
        rig.until_running().await;
        let first = rig.postmaster();

        // The agent dies, PostgreSQL does not.
        let children = processes::children_of(pid(&init));
        assert_eq!(children.len(), 1, "{children:?}");
        kill(children[0], Signal::SIGKILL).expect("it lives");
        eventually("the server that nobody watches is gone", async || {
            !processes::working_in(&rig.settings.data).contains(&first)
        })
        .await;
        eventually("the agent listens again", async || {
            rig.watch("reconciler.pgo", 0).await.is_ok()
        })
        .await;
        let state = rig.until_running().await;
        assert_eq!(state.phase(), Phase::Running);
        assert_ne!(rig.postmaster(), first);
        rig.connect().await.expect("the application gets in");

        // Asked to end, everything ends in order.
        kill(pid(&init), Signal::SIGTERM).expect("it lives");
        let status = tokio::time::timeout(DEADLINE, init.wait())
            .await
            .expect("ended in time")
            .expect("a status");
        assert_eq!(status.code(), Some(0));
        assert!(rig.store.addresses().is_empty());
        assert!(processes::working_in(&rig.settings.data).is_empty());
        let log = std::fs::read_to_string(rig.path().join("log")).expect("a log");
        for (_, _, password) in crate::rig::PASSWORDS {
            assert!(!log.contains(password), "a password is in the log");
        }
        assert!(log.contains("the agent died"), "{log}");
    });
}

#[test]
fn the_server_of_an_agent_that_is_stopped_is_dead_before_another_instance_is_primary() {
    let name = "process::the_server_of_an_agent_that_is_stopped_is_dead_before_another_instance_is_primary";
    unprivileged(name, &PROGRAMS, async || {
        let primary = Rig::new("hippo");
        let mut replica = primary.beside("hippo-abcd");
        let mut init = start(&primary).await;
        replica.start().await;
        replica.until_streaming_from("hippo").await;
        primary.until_voters(1).await;
        let record = record(&primary);
        let agent = processes::children_of(pid(&init));
        assert_eq!(agent.len(), 1, "{agent:?}");

        // Neither process 1 nor the guard.
        kill(agent[0], Signal::SIGSTOP).expect("it lives");
        let begin = Instant::now();
        let mut dead = None;
        while self::record(&primary) == record {
            // Whoever is killed has no folder any more, also before somebody has waited for it.
            if dead.is_none() && processes::working_in(&primary.settings.data).is_empty() {
                dead = Some(begin.elapsed());
            }
            assert!(begin.elapsed() < DEADLINE, "nobody was elected");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let elected = begin.elapsed();
        println!("dead after {dead:?}, another one elected after {elected:?}");
        assert!(dead.is_some(), "two serve");
        replica.until_primary().await;

        kill(agent[0], Signal::SIGCONT).expect("it lives");
        eventually("the agent listens again", async || {
            primary.watch("reconciler.pgo", 0).await.is_ok()
        })
        .await;
        primary.until_streaming_from("hippo-abcd").await;
        kill(pid(&init), Signal::SIGTERM).expect("it lives");
        let ended = tokio::time::timeout(DEADLINE, init.wait()).await;
        ended.expect("ended in time").expect("a status");
        replica.stop().await;
    });
}

#[test]
fn process_1_reaps_what_a_dead_server_leaves_while_the_agent_lives_on() {
    let name = "process::process_1_reaps_what_a_dead_server_leaves_while_the_agent_lives_on";
    unprivileged(name, &PROGRAMS, async || {
        let rig = Rig::new("hippo");
        let mut init = start(&rig).await;
        eventually("the agent listens", async || {
            rig.watch("reconciler.pgo", 0).await.is_ok()
        })
        .await;
        rig.until_running().await;
        let agent = processes::children_of(pid(&init));
        let first = rig.postmaster();
        let session = rig.connect().await.expect("the application gets in");
        let orphans = processes::children_of(first);
        assert!(orphans.len() > 1, "a server has backends: {orphans:?}");
        kill(first, Signal::SIGKILL).expect("it lives");
        eventually("a new server", async || {
            let running = processes::working_in(&rig.settings.data);
            !running.is_empty() && !running.contains(&first)
        })
        .await;
        // One that is dead and was not waited for still has its folder in /proc.
        eventually("no orphan is left, not even as a zombie", async || {
            let is_there = |pid: &Pid| Path::new(&format!("/proc/{pid}")).exists();
            !orphans.iter().any(is_there)
        })
        .await;
        assert_eq!(processes::children_of(pid(&init)), agent, "the same agent");
        drop(session);
        // Killed instead, it would leave the agent and its server behind.
        kill(pid(&init), Signal::SIGTERM).expect("it lives");
        let ended = tokio::time::timeout(DEADLINE, init.wait()).await;
        ended.expect("ended in time").expect("a status");
    });
}

#[tokio::test]
async fn a_write_over_somebody_elses_is_a_conflict_and_a_missing_object_is_told() {
    pgo_tls::provider();
    let fake = Fake::new("hippo");
    let address = serve(fake.clone()).await.parse().expect("an address");
    let client = Client::try_from(Config::new(address)).expect("a client");
    let namespace = "pgouser1".parse().expect("a name");
    let store = Kubernetes::new(
        client.clone(),
        &namespace,
        &"hippo".parse().expect("a name"),
    );
    let lease = store.lease().await.expect("read").expect("there");
    let slice = store.slice().await.expect("read").expect("there");
    fake.set_holder("hippo-abcd");
    let written = store.write_lease(&lease).await.expect("an answer");
    assert_eq!(written, Written::Conflict);
    let written = store.write_slice(&slice).await.expect("an answer");
    assert!(matches!(written, Written::Done(_)));

    let none = Kubernetes::new(client, &namespace, &"rhino".parse().expect("a name"));
    assert_eq!(none.lease().await.expect("an answer"), None);
    assert_eq!(none.slice().await.expect("an answer"), None);
}

#[test]
fn process_1_ends_with_the_code_of_an_agent_that_cannot_begin() {
    let name = "process::process_1_ends_with_the_code_of_an_agent_that_cannot_begin";
    unprivileged(name, &PROGRAMS, async || {
        let rig = Rig::new("hippo");
        std::fs::remove_file(rig.settings.tls.join("tls.key")).expect("removed");
        let mut init = start(&rig).await;
        let status = tokio::time::timeout(DEADLINE, init.wait())
            .await
            .expect("ended in time")
            .expect("a status");
        assert_eq!(status.code(), Some(1));
    });
}
