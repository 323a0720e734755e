//! The agent of a repository of backups, and the pod that Kubernetes would make of its Deployment.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::{Stream, StreamExt as _};
use pgo_objects::{AGENT_PORT, agent_identity};
use pgo_proto::agent::{
    BackupSet, BeginRequest, BeginResponse, CancelRequest, CancelResponse, Done, InfoRequest,
    InfoResponse, RepositoryState, WatchRepositoryRequest, Work,
    begin_request::Work as Asked,
    repository_server::{Repository, RepositoryServer},
};
use pgo_tls::{TlsFiles, grpc};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::{
    agent::own_address,
    harness::{Certificates, NS, eventually},
    kubernetes::Kubernetes,
};

/// The repository of a cluster.
pub struct FakeRepository {
    /// What it says.
    pub state: watch::Sender<RepositoryState>,
    asked: Arc<Mutex<Vec<BeginRequest>>>,
    cancelled: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl FakeRepository {
    /// Kubernetes makes the pod of the Deployment, whose agent answers.
    pub async fn bring_up(
        cluster: &str,
        kubernetes: &Kubernetes,
        certificates: &Certificates,
    ) -> Self {
        let name = format!("{cluster}-backrest-shared-repo");
        eventually("a Deployment", || {
            kubernetes.get("deployments", NS, &name).is_some()
        })
        .await;
        let deployment = kubernetes.get("deployments", NS, &name).unwrap();
        let ip = own_address();
        let pod = format!("{name}-5d4f");
        let template = &deployment["spec"]["template"];
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "labels": template["metadata"]["labels"]},
            "spec": template["spec"],
            "status": {"phase": "Running", "podIP": ip.to_string()},
        });
        let identity = agent_identity(&cluster.parse().unwrap(), &NS.parse().unwrap());
        let files = Arc::new(TlsFiles::open(certificates.of(&identity)).unwrap());
        let address = SocketAddr::new(IpAddr::V4(ip), AGENT_PORT);
        let listener = grpc::listen(address, files).await.unwrap();
        kubernetes.put("pods", NS, object);
        let uid = kubernetes.get("pods", NS, &pod).unwrap()["metadata"]["uid"].clone();
        let state = watch::Sender::new(RepositoryState {
            cluster: cluster.to_owned(),
            pod_uid: uid.as_str().unwrap().to_owned(),
            pgbackrest_version: "2.45".to_owned(),
            ready: true,
            ..RepositoryState::default()
        });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let cancelled = Arc::new(Mutex::new(Vec::new()));
        let told = Told {
            state: state.clone(),
            asked: asked.clone(),
            cancelled: cancelled.clone(),
        };
        let serving = grpc::server().serve_with_incoming(RepositoryServer::new(told), listener);
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            state,
            asked,
            cancelled,
            serving,
        }
    }

    /// What it was asked to begin, each time.
    pub fn asked(&self) -> Vec<BeginRequest> {
        self.asked.lock().unwrap().clone()
    }

    /// The operations that it was asked to stop, each time.
    pub fn cancelled(&self) -> Vec<String> {
        self.cancelled.lock().unwrap().clone()
    }

    /// What runs has ended: with a backup of this label, or with an error.
    pub fn end(&self, how: Result<&str, &str>) {
        self.state.send_modify(|state| {
            let work = state.running.take().unwrap();
            let backup = how.ok().filter(|label| !label.is_empty());
            let backup = backup.map(|label| BackupSet {
                label: label.to_owned(),
                r#type: "full".to_owned(),
                size: 23,
                ..BackupSet::default()
            });
            state.backups.extend(backup.clone());
            state.done.push(Done {
                operation: work.operation,
                ok: how.is_ok(),
                error: how.err().unwrap_or_default().to_owned(),
                backup,
                ..Done::default()
            });
        });
    }
}

impl Drop for FakeRepository {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Told {
    state: watch::Sender<RepositoryState>,
    asked: Arc<Mutex<Vec<BeginRequest>>>,
    cancelled: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Repository for Told {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<RepositoryState, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRepositoryRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        let states = WatchStream::new(self.state.subscribe()).map(Ok);
        Ok(Response::new(Box::pin(states)))
    }

    async fn begin(
        &self,
        request: Request<BeginRequest>,
    ) -> Result<Response<BeginResponse>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        let request = request.into_inner();
        let what = match &request.work {
            Some(Asked::Backup(_)) => "backup",
            Some(Asked::CreateStanza(_)) => "create-stanza",
            Some(Asked::CheckRestore(_)) => "check-restore",
            None => return Err(Status::invalid_argument("nothing to do")),
        };
        let operation = request.operation.clone();
        self.asked.lock().unwrap().push(request);
        self.state.send_modify(|state| {
            let is_done = state.done.iter().any(|done| done.operation == operation);
            if state.running.is_none() && !is_done {
                state.running = Some(Work {
                    operation,
                    what: what.to_owned(),
                    ..Work::default()
                });
            }
        });
        Ok(Response::new(BeginResponse {}))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        let operation = request.into_inner().operation;
        self.cancelled.lock().unwrap().push(operation);
        Ok(Response::new(CancelResponse {}))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }
}
