//! The agent of a repository of backups, which says what a test has it say.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use futures::Stream;
use pgo_proto::agent::{
    BeginRequest, BeginResponse, CancelRequest, CancelResponse, InfoRequest, InfoResponse,
    RepositoryState, WatchRepositoryRequest,
    repository_server::{Repository as Service, RepositoryServer},
};
use pgo_tls::{Authority, TlsFiles, grpc};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use crate::harness::identity;

/// Port of agents.
const PORT: u16 = 8445;

/// Serves as long as this is there.
pub struct Repository {
    serving: JoinHandle<()>,
    #[allow(dead_code, reason = "the folder is there as long as this is")]
    folder: TempDir,
}

/// What `pgbackrest info` says: as text, and as JSON.
#[derive(Clone)]
struct Says(Result<[&'static str; 2], &'static str>);

impl Repository {
    /// At an address of this machine that no other test has, as the agent of hippo in pgouser1.
    pub async fn start(
        authority: &Authority,
        at: IpAddr,
        says: Result<[&'static str; 2], &'static str>,
    ) -> Self {
        pgo_tls::provider();
        let folder = tempfile::tempdir().unwrap();
        identity(authority, "hippo.pgouser1.agent.pgo", folder.path());
        let files = Arc::new(TlsFiles::open(folder.path()).unwrap());
        let listener = grpc::listen(SocketAddr::new(at, PORT), files)
            .await
            .unwrap();
        let serving = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .serve_with_incoming(RepositoryServer::new(Says(says)), listener)
                .await
                .unwrap();
        });
        Self { serving, folder }
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tonic::async_trait]
impl Service for Says {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<RepositoryState, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRepositoryRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        grpc::require_identity(&request, &["apiserver.pgo"])?;
        let state = RepositoryState {
            ready: true,
            volume_bytes: 400,
            volume_used: 100,
            ..RepositoryState::default()
        };
        let states = futures::stream::iter([Ok(state)]);
        Ok(Response::new(Box::pin(states)))
    }

    async fn begin(&self, _: Request<BeginRequest>) -> Result<Response<BeginResponse>, Status> {
        Err(Status::permission_denied("the apiserver begins nothing"))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        Err(Status::permission_denied("the apiserver may only look"))
    }

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        grpc::require_identity(&request, &["apiserver.pgo"])?;
        match self.0 {
            Ok([text, json]) => {
                let request = request.into_inner();
                let text = match (request.json, request.storage.as_str()) {
                    (true, _) => json.to_owned(),
                    (false, "s3") => text.replace("ok", "ok in s3"),
                    (false, _) => text.to_owned(),
                };
                Ok(Response::new(InfoResponse { text }))
            }
            Err(why) => Err(Status::failed_precondition(why)),
        }
    }
}
