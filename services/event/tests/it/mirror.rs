//! Kubernetes Events as they come from the log, with an API server in memory that takes what the rights allow.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event as Told;
use kube::{Client, client::Body};
use pgo_event::{
    RIGHTS,
    log::{Entry, Limits, Log},
    metrics::Metrics,
    mirror::Mirror,
};
use pgo_events::EventType;
use pgo_k8s::rights;
use pgo_telemetry::{CancellationToken, Telemetry};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::{events::of_type, installation::eventually};

#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    told: Vec<Told>,
    requests: Vec<rights::Request>,
    away: bool,
    /// Answers nothing.
    silent: bool,
    /// The reason of an Event on which it fails.
    fails_on: Option<&'static str>,
    namespace_is_gone: bool,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "pgouser1")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let asked = rights::Request::read(parts.method.as_str(), parts.uri.path(), "").unwrap();
        assert!(RIGHTS.allows("pgo", &asked), "no right to {asked:?}");
        let told: Told = serde_json::from_slice(&body).unwrap();
        let is_silent = {
            let mut state = self.0.lock().unwrap();
            state.requests.push(asked);
            state.silent
        };
        if is_silent {
            std::future::pending::<()>().await;
        }
        let mut state = self.0.lock().unwrap();
        let reason = told.reason.as_deref();
        if reason.is_some() && reason == state.fails_on {
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        if state.away {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        }
        if state.namespace_is_gone {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        }
        if state
            .told
            .iter()
            .any(|before| before.metadata.name == told.metadata.name)
        {
            return failure(StatusCode::CONFLICT, "AlreadyExists");
        }
        state.told.push(told.clone());
        answer(StatusCode::CREATED, &json!(told))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    fn reasons(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state
            .told
            .iter()
            .map(|told| told.reason.clone().unwrap())
            .collect()
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests.len()
    }
}

fn answer(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(value.to_string()));
    Response::builder().status(status).body(body).unwrap()
}

fn failure(code: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason,
        "code": code.as_u16(),
    });
    answer(code, &status)
}

/// A log, and who mirrors it.
struct World {
    log: Arc<Log>,
    folder: TempDir,
    metrics: Metrics,
    server: Server,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let limits = Limits {
            segment_bytes: u64::MAX,
            most_bytes: u64::MAX,
            longest: Duration::from_secs(86_400),
        };
        let log = Log::open(folder.path(), limits, Timestamp::now()).unwrap();
        Self {
            log: Arc::new(log),
            folder,
            metrics: Metrics::register(&Telemetry::without_logs("event", "test")),
            server: Server::default(),
        }
    }

    fn append(&self, event_type: EventType, seq: u64) {
        append(&self.log, event_type, seq, Timestamp::now());
    }

    /// One whose log is a copy that was made a moment ago, of a log with a file for each event; `told` are those events, and
    /// how many minutes ago each came.
    fn copied(told: &[(EventType, i64)]) -> Self {
        let world = Self::new();
        let now = Timestamp::now();
        let limits = Limits {
            segment_bytes: 1,
            most_bytes: u64::MAX,
            longest: Duration::from_secs(86_400),
        };
        let folder = TempDir::new().unwrap();
        let begun = now - SignedDuration::from_hours(12);
        let other = Log::open(folder.path(), limits.clone(), begun).unwrap();
        for (seq, (of, minutes)) in (1..).zip(told) {
            append(&other, *of, seq, now - SignedDuration::from_mins(*minutes));
        }
        let folder = TempDir::new().unwrap();
        let log = Log::open(folder.path(), limits, now).unwrap();
        log.start_over(other.lineage(), 1, Vec::new(), now).unwrap();
        while log.end() < other.end() {
            log.write_copies(other.read(log.end(), 1).unwrap()).unwrap();
        }
        log.commit(log.end());
        Self {
            log: Arc::new(log),
            folder,
            ..world
        }
    }

    /// A process that mirrors, until the token is cancelled.
    fn mirror(&self) -> CancellationToken {
        let shutdown = CancellationToken::new();
        tokio::spawn(self.mirrors(shutdown.clone()).run());
        shutdown
    }

    fn mirrors(&self, shutdown: CancellationToken) -> Mirror {
        Mirror {
            log: self.log.clone(),
            metrics: self.metrics.clone(),
            shutdown,
            client: self.server.client(),
            folder: self.folder.path().to_owned(),
            instance: "event-0".to_owned(),
        }
    }

    /// Waits until the place is behind the newest record.
    async fn all_is_told(&self) {
        let newest = *self.log.head().borrow() - 1;
        let newest = self.log.cursor(newest).to_string();
        let place = self.folder.path().join("mirrored");
        eventually("all is told", || {
            std::fs::read_to_string(&place).is_ok_and(|place| place == newest)
        })
        .await;
    }
}

fn append(log: &Log, event_type: EventType, seq: u64, at: Timestamp) {
    let event = of_type(event_type, "hippo", seq);
    let entry = Entry {
        key: event.key(),
        event: Bytes::from(event.to_wire().unwrap()),
    };
    log.append(vec![entry], at).unwrap();
}

const CREATION: [EventType; 3] = [
    EventType::CreateCluster,
    EventType::CreateClusterProgress,
    EventType::CreateClusterCompleted,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_told_once_though_the_process_begins_anew() {
    let world = World::new();
    (1..)
        .zip(CREATION)
        .for_each(|(seq, of)| world.append(of, seq));
    let first = world.mirror();
    world.all_is_told().await;
    assert_eq!(
        world.server.reasons(),
        ["CreateCluster", "CreateClusterCompleted"],
        "progress is not told"
    );
    first.cancel();

    let second = world.mirror();
    world.append(EventType::DeleteCluster, 4);
    world.all_is_told().await;
    assert_eq!(world.server.requests(), 3, "nothing is asked twice");
    second.cancel();

    // Another replica has led meanwhile. Without the place, the names tell.
    world.mirrors(CancellationToken::new()).forget();
    world.mirror();
    world.all_is_told().await;
    assert_eq!(world.server.requests(), 6);
    assert_eq!(
        world.server.reasons(),
        ["CreateCluster", "CreateClusterCompleted", "DeleteCluster"]
    );
    let mut unused = RIGHTS.unused("pgo", &world.server.0.lock().unwrap().requests);
    unused.retain(|right| right.contains("events.k8s.io"));
    // Those to the operator's namespace are for events of no cluster.
    assert!(unused.len() <= 1, "{unused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_tells_the_last_hour_and_not_what_it_has_copied_in_that() {
    let world = World::copied(&[
        (EventType::CreateCluster, 600),
        (EventType::CreateClusterCompleted, 590),
        (EventType::DeleteCluster, 300),
        (EventType::DeleteClusterFailure, 20),
    ]);
    world.mirror();
    world.all_is_told().await;
    assert_eq!(world.server.reasons(), ["DeleteClusterFailure"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_api_server_is_away_the_log_goes_on_and_all_is_told_later() {
    let world = World::new();
    world.server.change(|state| state.away = true);
    world.mirror();
    world.append(EventType::CreateCluster, 1);
    eventually("it was tried", || world.server.requests() > 0).await;
    world.append(EventType::CreateClusterFailure, 2);
    assert!(world.server.reasons().is_empty());
    world.server.change(|state| state.away = false);
    world.all_is_told().await;
    assert_eq!(
        world.server.reasons(),
        ["CreateCluster", "CreateClusterFailure"]
    );
    let state = world.server.0.lock().unwrap();
    let kinds: Vec<_> = state
        .told
        .iter()
        .map(|told| told.type_.as_deref())
        .collect();
    assert_eq!(kinds, [Some("Normal"), Some("Warning")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_gone_holds_up_nothing() {
    let world = World::new();
    world.server.change(|state| state.namespace_is_gone = true);
    world.append(EventType::DeleteClusterCompleted, 1);
    world.mirror();
    world.all_is_told().await;
    assert!(world.server.reasons().is_empty());
    world.server.change(|state| state.namespace_is_gone = false);
    world.append(EventType::CreateCluster, 2);
    world.all_is_told().await;
    assert_eq!(world.server.reasons(), ["CreateCluster"]);
}

/// Lets minutes pass until all is told, and tells how many.
async fn minutes_until_all_is_told(world: &World) -> u64 {
    let begun = Instant::now();
    let head = *world.log.head().borrow();
    let newest = world.log.cursor(head - 1).to_string();
    let place = world.folder.path().join("mirrored");
    let told = async {
        while !std::fs::read_to_string(&place).is_ok_and(|place| place == newest) {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let told = timeout(Duration::from_secs(7200), told).await;
    assert!(told.is_ok(), "told: {:?}", world.server.reasons());
    begun.elapsed().as_secs() / 60
}

#[tokio::test(start_paused = true)]
async fn an_event_on_which_kubernetes_always_fails_holds_up_the_others_for_minutes() {
    let world = World::new();
    world
        .server
        .change(|state| state.fails_on = Some("CreateCluster"));
    world.append(EventType::CreateCluster, 1);
    world.append(EventType::CreateClusterFailure, 2);
    world.mirror();
    let minutes = minutes_until_all_is_told(&world).await;
    assert!((5..=6).contains(&minutes), "{minutes} minutes");
    assert_eq!(world.server.reasons(), ["CreateClusterFailure"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_however_long_kubernetes_does_not_answer() {
    let world = World::new();
    world.server.change(|state| state.silent = true);
    world.append(EventType::CreateCluster, 1);
    world.mirror();
    sleep(Duration::from_secs(3600)).await;
    // First of all it fails, as it does while it begins.
    world.server.change(|state| {
        state.silent = false;
        state.away = true;
    });
    sleep(Duration::from_secs(60)).await;
    assert!(world.server.requests() > 10);
    world.server.change(|state| state.away = false);
    assert!(minutes_until_all_is_told(&world).await < 2);
    assert_eq!(world.server.reasons(), ["CreateCluster"]);
}
