//! Damaged records are got back from the replica that leads, over TLS, while this one follows it.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use kube::{Client, client::Body};
use pgo_event::{
    dead::Shelf,
    log::{Limits, Log},
    metrics::Metrics,
    replication::{
        Replica, ReplicaService, Turn, Way,
        following::Other,
        leading::{Leading, Reach},
        register::InKubernetes,
    },
};
use pgo_proto::event::event_replica_server::EventReplicaServer;
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::grpc;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast;

use crate::{
    installation::{Installation, eventually, soon},
    reading::entry,
};

/// An API server that has one ConfigMap, and knows of no Lease: nobody takes over.
#[derive(Clone, Default)]
struct Kubernetes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    roster: Option<Value>,
    away: bool,
}

impl Kubernetes {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "pgo")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut state = self.0.lock().unwrap();
        let (code, answer) = if state.away || !parts.uri.path().contains("/configmaps") {
            (StatusCode::SERVICE_UNAVAILABLE, None)
        } else {
            if let Ok(mut written) = serde_json::from_slice::<Value>(&body) {
                written["metadata"]["resourceVersion"] = json!("1");
                state.roster = Some(written);
            }
            match &state.roster {
                Some(roster) => (StatusCode::OK, Some(roster.clone())),
                None => (StatusCode::NOT_FOUND, None),
            }
        };
        let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
        let failure = json!({
            "kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16(),
        });
        let body = answer.unwrap_or(failure).to_string();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = code;
        response
    }

    fn set_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }
}

fn log(folder: &TempDir) -> Arc<Log> {
    let limits = Limits {
        segment_bytes: u64::MAX,
        most_bytes: u64::MAX,
        longest: Duration::from_secs(86_400),
    };
    Arc::new(Log::open_replica(folder.path(), limits, Timestamp::now()).unwrap())
}

fn shelf(folder: &TempDir, turn: &Turn) -> Arc<Shelf> {
    Arc::new(Shelf::new(folder.path(), turn.subscribe()))
}

struct Nobody;

impl Reach for Nobody {
    fn at(&self, _: &str) -> Option<Box<dyn Other>> {
        None
    }
}

/// A replica that leads, and answers the one that follows.
async fn lead(log: Arc<Log>, folder: &TempDir, files: &Installation, kubernetes: &Kubernetes) {
    let none = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = grpc::listen(none, files.files("event")).await.unwrap();
    let me = ("event-1".to_owned(), listener.addr().to_string());
    let register = Arc::new(InKubernetes::new(kubernetes.client(), "pgo"));
    let patience = Duration::from_secs(1);
    let leading = Leading::take_over(log.clone(), register, me, false, patience);
    let leading = Arc::new(leading.await.unwrap());
    leading.gather(&Nobody).await.unwrap();
    let turn = Turn::new(Some(leading));
    let service = EventReplicaServer::new(ReplicaService {
        log,
        shelf: shelf(folder, &turn),
        turn: turn.subscribe(),
    });
    tokio::spawn(async move {
        let server = grpc::server().serve_with_incoming(service, listener);
        let _turn = turn;
        server.await.unwrap();
    });
}

/// Changes a byte in the middle of these, in whichever file of the log they are.
fn damage(folder: &Path, event: &[u8]) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|end| end != "log") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes.windows(event.len()).position(|part| part == event);
        if let Some(found) = found {
            bytes[found + event.len() / 2] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gets_damaged_records_back_knows_the_way_to_the_leader_all_the_time() {
    let (certificates, kubernetes) = (Installation::prepare(&[]), Kubernetes::default());
    let (there, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let other = log(&there);
    let events = (1..=3).map(|seq| entry("hippo", seq)).collect();
    other.append(events, Timestamp::now()).unwrap();
    lead(other.clone(), &there, &certificates, &kubernetes).await;

    let telemetry = Telemetry::without_logs("event", "test");
    let turn = Turn::new(None);
    let replica = Replica {
        log: log(&here),
        shelf: shelf(&here, &turn),
        me: "event-0".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        namespace: "pgo".to_owned(),
        client: kubernetes.client(),
        turn,
        way: Way::new(None),
        confirmations: broadcast::Sender::new(16),
        files: certificates.files("event"),
        condition: telemetry.readiness().condition("replica"),
        metrics: Metrics::register(&telemetry),
        gone_after: Duration::from_secs(3600),
    };
    let (log, way) = (replica.log.clone(), replica.way.clone());
    let shutdown = CancellationToken::new();
    let life = replica.run(|_, _| std::future::ready(Ok(())), shutdown.clone());
    let story = async {
        eventually("a copy", || *log.head().borrow() == 4 && !log.is_stale()).await;
        assert!(way.borrow().is_some());

        damage(here.path(), &other.read(2, 1).unwrap()[0].event);
        log.look_for_damage().unwrap();
        assert_eq!(log.damaged(), 1);
        // Whom to ask cannot be known now. Who is followed is known all the same.
        kubernetes.set_away(true);
        assert!(soon("an attempt", log.ask_to_mend()).await);
        assert!(way.borrow().is_some(), "the way is lost");
        assert_eq!(log.damaged(), 1);

        kubernetes.set_away(false);
        assert!(soon("an attempt", log.ask_to_mend()).await);
        assert_eq!(log.damaged(), 0);
        assert!(way.borrow().is_some());
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(life, story);
    ended.unwrap();
}
