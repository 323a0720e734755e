//! Elections against an API server in memory, which holds one Lease and knows compare-and-swap.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, client::Body};
use pgo_k8s::{
    lease::{self, Election, Leadership, LeaseSettings},
    rights::{self, Rights},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

/// What a candidate for the Lease of these tests may do.
const RIGHTS: Rights = Rights {
    process: "test",
    targets: &[],
    operator: &lease::rights(&["pgo-test"]),
    cluster: &[],
};

/// Nothing here takes as long unless it fails.
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Lease>>>,
    version: Arc<Mutex<u64>>,
    hangs: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<rights::Request>>>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(
            tower::service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            }),
            "pgo",
        )
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let method = request.method().clone();
        let query = request.uri().query().unwrap_or_default();
        let asked = rights::Request::read(method.as_str(), request.uri().path(), query);
        let asked = asked.expect("a request for a resource");
        assert!(RIGHTS.allows("pgo", &asked), "no right to {asked:?}");
        self.requests.lock().expect("the requests").push(asked);
        let body = request
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let mut stored = self.lease.lock().expect("the lease");
        match (method, stored.as_ref()) {
            (Method::GET, Some(lease)) => json(StatusCode::OK, lease),
            (Method::POST, Some(_)) => failure(StatusCode::CONFLICT, "AlreadyExists"),
            (_, None) if body.is_empty() => failure(StatusCode::NOT_FOUND, "NotFound"),
            (_, before) => {
                let mut lease: Lease = serde_json::from_slice(&body).expect("a Lease");
                let current = before.and_then(|lease| lease.metadata.resource_version.clone());
                if lease.metadata.resource_version != current {
                    return failure(StatusCode::CONFLICT, "Conflict");
                }
                let mut version = self.version.lock().expect("the version");
                *version += 1;
                lease.metadata.resource_version = Some(version.to_string());
                *stored = Some(lease.clone());
                json(StatusCode::OK, &lease)
            }
        }
    }

    fn holder(&self) -> Option<String> {
        let lease = self.lease.lock().expect("the lease");
        lease.as_ref()?.spec.as_ref()?.holder_identity.clone()
    }
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("JSON");
    let response = Response::builder().status(status);
    response.body(Full::new(body.into())).expect("a response")
}

fn failure(code: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16(),
        "message": reason,
    });
    json(code, &status)
}

struct Process {
    leadership: watch::Receiver<Leadership>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn start(server: &Server, identity: &str) -> Process {
    let settings = LeaseSettings {
        duration: Duration::from_secs(1),
        renew: Duration::from_millis(200),
        ..LeaseSettings::new("pgo", "pgo-test", identity)
    };
    let election = Election::new(server.client(), settings);
    let leadership = election.leadership();
    let (end, ended) = oneshot::channel::<()>();
    let task = tokio::spawn(election.run(async {
        let _ = ended.await;
    }));
    Process {
        leadership,
        end,
        task,
    }
}

impl Process {
    async fn leads(&mut self) {
        self.until(Leadership::is_leading).await;
    }

    async fn until(&mut self, wanted: impl Fn(&Leadership) -> bool) {
        let found = timeout(DEADLINE, self.leadership.wait_for(|now| wanted(now))).await;
        found.expect("in time").expect("the election runs");
    }
}

fn follows(identity: &str) -> impl Fn(&Leadership) -> bool + use<> {
    let wanted = Leadership::Following {
        holder: Some(identity.to_owned()),
    };
    move |now| *now == wanted
}

#[tokio::test]
async fn one_leads_and_the_other_knows_who() {
    let server = Server::default();
    let mut one = start(&server, "one");
    one.leads().await;
    let mut two = start(&server, "two");
    two.until(follows("one")).await;
    assert!(one.leadership.borrow().is_leading());
    assert_eq!(server.holder().as_deref(), Some("one"));
}

#[tokio::test]
async fn who_ends_gives_the_lease_back_so_that_the_next_need_not_wait() {
    let server = Server::default();
    let mut one = start(&server, "one");
    one.leads().await;
    let mut two = start(&server, "two");
    two.until(follows("one")).await;
    one.end.send(()).expect("it runs");
    timeout(DEADLINE, one.task)
        .await
        .expect("in time")
        .expect("no panic");
    let released = Instant::now();
    two.leads().await;
    assert!(
        released.elapsed() < Duration::from_millis(900),
        "{:?}",
        released.elapsed()
    );
}

#[tokio::test]
async fn who_is_killed_is_succeeded_after_the_leases_duration() {
    let server = Server::default();
    let mut one = start(&server, "one");
    one.leads().await;
    let mut two = start(&server, "two");
    two.until(follows("one")).await;
    one.task.abort();
    let killed = Instant::now();
    two.leads().await;
    // The last renewal may have been one renewal's time before the kill.
    assert!(
        killed.elapsed() > Duration::from_millis(700),
        "{:?}",
        killed.elapsed()
    );
}

#[tokio::test]
async fn a_leader_without_its_api_server_steps_down_before_another_may_lead() {
    let server = Server::default();
    let mut one = start(&server, "one");
    one.leads().await;
    let cut = Instant::now();
    server.hangs.store(true, Ordering::SeqCst);
    one.until(|now| !now.is_leading()).await;
    assert!(
        cut.elapsed() < Duration::from_secs(1),
        "{:?}",
        cut.elapsed()
    );
    server.hangs.store(false, Ordering::SeqCst);
    one.leads().await;
}

#[tokio::test]
async fn a_lease_that_was_deleted_is_made_again() {
    let server = Server::default();
    let mut one = start(&server, "one");
    one.leads().await;
    *server.lease.lock().expect("the lease") = None;
    let remade = async {
        while server.holder().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, remade).await.expect("in time");
}

#[tokio::test]
async fn a_restarted_process_leads_again_at_once() {
    let server = Server::default();
    let mut one = start(&server, "one");
    one.leads().await;
    one.task.abort();
    let mut again = start(&server, "one");
    let restarted = Instant::now();
    again.leads().await;
    assert!(restarted.elapsed() < Duration::from_millis(500));
}

#[tokio::test]
async fn an_election_needs_each_of_its_rights() {
    let server = Server::default();
    let mut one = start(&server, "one");
    one.leads().await;
    one.end.send(()).expect("the election runs");
    one.task.await.expect("no panic");
    let requests = server.requests.lock().expect("the requests");
    assert_eq!(RIGHTS.unused("pgo", &requests), [""; 0]);
}
