//! An agent of one instance, and the part of Kubernetes that its pod needs to run.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use futures::{Stream, StreamExt as _};
use pgo_objects::{AGENT_PORT, agent_identity};
use pgo_proto::agent::{
    ApplyPolicyRequest, ApplyPolicyResponse, DropSlotRequest, DropSlotResponse, FailoverRequest,
    FailoverResponse, InstanceState, Phase, ReloadRequest, ReloadResponse, RestartRequest,
    RestartResponse, Role, StayRequest, StayResponse, SwitchoverRequest, SwitchoverResponse,
    WatchRequest,
    agent_server::{Agent, AgentServer},
    policies_server::{Policies, PoliciesServer},
};
use pgo_telemetry::CancellationToken;
use pgo_tls::{TlsFiles, grpc};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::{
    harness::{Certificates, NS, eventually},
    kubernetes::Kubernetes,
};

/// Agents always have the same port, so each has an address of its own on the loopback device.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The agent of an instance.
pub struct FakeAgent {
    cluster: String,
    name: String,
    pub ip: Ipv4Addr,
    /// What it says.
    pub state: watch::Sender<InstanceState>,
    /// For whom it was asked to give up.
    asked: Arc<Mutex<Vec<String>>>,
    /// The SQL that it was asked to run.
    applied: Applied,
    files: Arc<TlsFiles>,
    watched: Arc<AtomicUsize>,
    serving: Option<(JoinHandle<()>, CancellationToken)>,
}

impl FakeAgent {
    /// The agent of the first instance of a cluster, which is primary.
    pub fn new(name: &str, certificates: &Certificates) -> Self {
        Self::of(name, (name, Role::Primary), certificates)
    }

    /// The agent of an instance of a cluster.
    pub fn of(cluster: &str, (name, role): (&str, Role), certificates: &Certificates) -> Self {
        let identity = agent_identity(&cluster.parse().unwrap(), &NS.parse().unwrap());
        let state = InstanceState {
            cluster: cluster.to_owned(),
            instance: name.to_owned(),
            phase: Phase::Running.into(),
            role: role.into(),
            term: 1,
            timeline: 1,
            postgres_version: "15.18".to_owned(),
            streaming: role == Role::Replica,
            ..InstanceState::default()
        };
        Self {
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            ip: own_address(),
            state: watch::Sender::new(state),
            asked: Arc::default(),
            applied: Arc::default(),
            files: Arc::new(TlsFiles::open(certificates.of(&identity)).unwrap()),
            watched: Arc::default(),
            serving: None,
        }
    }

    /// The pod gets a node, a volume and an address, the agent brings PostgreSQL up and leads the Service to it.
    pub async fn bring_up(&mut self, kubernetes: &Kubernetes) {
        eventually("a pod and its claim", || {
            let there = |kind| kubernetes.get(kind, NS, &self.name).is_some();
            there("pods") && there("persistentvolumeclaims")
        })
        .await;
        kubernetes.edit("persistentvolumeclaims", NS, &self.name, |claim| {
            claim["status"] = json!({"phase": "Bound"});
        });
        let ip = self.ip.to_string();
        kubernetes.edit("pods", NS, &self.name, |pod| {
            pod["spec"]["nodeName"] = json!("node1");
            pod["status"] = json!({"phase": "Running", "podIP": ip});
        });
        if self.name == self.cluster {
            self.is_led_to(kubernetes).await;
        }
        self.speak(kubernetes).await;
    }

    /// Leads the Service to itself.
    pub async fn is_led_to(&self, kubernetes: &Kubernetes) {
        let ip = self.ip.to_string();
        // Made when the pod's address says of which family it is to be.
        let name = format!("{}-primary", self.cluster);
        let is_there = || kubernetes.get("endpointslices", NS, &name).is_some();
        eventually("an EndpointSlice", is_there).await;
        kubernetes.edit("endpointslices", NS, &name, |slice| {
            slice["endpoints"] = json!([{"addresses": [ip]}]);
        });
    }

    /// For whom it was asked to give up, each time.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The SQL that it was asked to run, each time.
    pub fn applied(&self) -> Vec<String> {
        self.applied.lock().unwrap().clone()
    }

    /// Answers from now on: PostgreSQL runs.
    pub async fn speak(&mut self, kubernetes: &Kubernetes) {
        let pod = kubernetes.get("pods", NS, &self.name).unwrap();
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        self.state.send_modify(|state| state.pod_uid = uid);
        let addr = SocketAddr::new(IpAddr::V4(self.ip), AGENT_PORT);
        let listener = grpc::listen(addr, self.files.clone()).await.unwrap();
        let silent = CancellationToken::new();
        let told = Told {
            state: self.state.clone(),
            asked: self.asked.clone(),
            watched: self.watched.clone(),
            silent: silent.clone(),
        };
        let policies = PoliciesServer::new(Runs(self.applied.clone()));
        let serving = grpc::server()
            .add_service(AgentServer::new(told))
            .add_service(policies)
            .serve_with_incoming(listener);
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        self.serving = Some((serving, silent));
    }

    /// Ends every stream and refuses new ones.
    pub async fn fall_silent(&mut self) {
        let (serving, silent) = self.serving.take().unwrap();
        serving.abort();
        let _ = serving.await;
        silent.cancel();
    }

    /// How often somebody began to watch it.
    pub fn watched(&self) -> usize {
        self.watched.load(Ordering::SeqCst)
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        if let Some((serving, _)) = &self.serving {
            serving.abort();
        }
    }
}

type Applied = Arc<Mutex<Vec<String>>>;

/// Notes the SQL that it is asked to run; what has a fault fails.
struct Runs(Applied);

#[tonic::async_trait]
impl Policies for Runs {
    async fn apply(
        &self,
        request: Request<ApplyPolicyRequest>,
    ) -> Result<Response<ApplyPolicyResponse>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        let ApplyPolicyRequest {
            sql,
            database,
            role,
            ..
        } = request.into_inner();
        let said = match (database.as_str(), role.as_str()) {
            ("postgres", "") => sql.clone(),
            _ => format!("{sql} in {database} as {role}"),
        };
        self.0.lock().unwrap().push(said);
        match sql.contains("fault") {
            true => Err(Status::failed_precondition("line 1, column 1: a fault")),
            false => Ok(Response::new(ApplyPolicyResponse { notices: 1 })),
        }
    }
}

struct Told {
    state: watch::Sender<InstanceState>,
    asked: Arc<Mutex<Vec<String>>>,
    watched: Arc<AtomicUsize>,
    silent: CancellationToken,
}

#[tonic::async_trait]
impl Agent for Told {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<InstanceState, Status>> + Send>>;

    async fn switchover(
        &self,
        request: Request<SwitchoverRequest>,
    ) -> Result<Response<SwitchoverResponse>, Status> {
        self.asked.lock().unwrap().push(request.into_inner().to);
        Ok(Response::new(SwitchoverResponse::default()))
    }

    async fn stay(&self, _: Request<StayRequest>) -> Result<Response<StayResponse>, Status> {
        self.asked.lock().unwrap().push("stay".to_owned());
        Ok(Response::new(StayResponse {}))
    }

    async fn failover(
        &self,
        _: Request<FailoverRequest>,
    ) -> Result<Response<FailoverResponse>, Status> {
        Ok(Response::new(FailoverResponse {}))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        let pending_restart = self.state.borrow().pending_restart.clone();
        Ok(Response::new(ReloadResponse { pending_restart }))
    }

    /// Its next server serves at once.
    async fn restart(
        &self,
        request: Request<RestartRequest>,
    ) -> Result<Response<RestartResponse>, Status> {
        self.state.send_modify(|state| {
            if state.started == request.get_ref().started
                && let Some(started) = &mut state.started
            {
                started.seconds += 1;
                state.pending_restart.clear();
            }
        });
        Ok(Response::new(RestartResponse {}))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        self.watched.fetch_add(1, Ordering::SeqCst);
        let states = WatchStream::new(self.state.subscribe()).map(Ok);
        let silent = self.silent.clone().cancelled_owned();
        Ok(Response::new(Box::pin(states.take_until(silent))))
    }

    async fn drop_slot(
        &self,
        request: Request<DropSlotRequest>,
    ) -> Result<Response<DropSlotResponse>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        let slot = request.into_inner().slot;
        self.state
            .send_modify(|state| state.followers.retain(|one| one.slot != slot));
        Ok(Response::new(DropSlotResponse {}))
    }
}
