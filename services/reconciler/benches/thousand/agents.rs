//! The agents: a process of its own that answers for each pod at the pod's address, over mTLS with the cluster's
//! certificate, and says what the agent of a healthy instance says. Which pods there are it reads from its standard
//! input, a line of JSON each.

use std::{
    collections::HashMap,
    env,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use pgo_control_plane::{NAMESPACE, issue};
use pgo_objects::{AGENT_PORT, agent_identity};
use pgo_proto::agent::{
    DropSlotRequest, DropSlotResponse, FailoverRequest, FailoverResponse, Follower, InstanceState,
    Phase, ReloadRequest, ReloadResponse, RestartRequest, RestartResponse, Role, StayRequest,
    StayResponse, SwitchoverRequest, SwitchoverResponse, WatchRequest,
    agent_server::{Agent, AgentServer},
};
use pgo_tls::{Authority, TlsFiles, grpc};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

/// What makes this program the agents.
pub const ARGUMENT: &str = "--agents";

/// A place in the WAL to begin with.
const LSN: u64 = 0x500_0000;

/// What is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Line {
    /// A pod has an address.
    Pod {
        /// Its cluster.
        cluster: String,
        /// Its instance.
        instance: String,
        /// Its uid.
        uid: String,
        /// Its address.
        ip: IpAddr,
    },
    /// From now on each instance tells where it is so often, as those of busy databases do.
    TellEvery(Duration),
}

/// All agents.
#[derive(Default)]
struct Agents {
    /// Of each instance, what it says, and its cluster.
    states: HashMap<String, (String, watch::Sender<InstanceState>)>,
    /// The certificates of each cluster.
    files: HashMap<String, Arc<TlsFiles>>,
}

/// Answers until the standard input ends.
pub async fn run() -> anyhow::Result<()> {
    let folder: PathBuf = env::args_os().nth(2).context("the folder")?.into();
    let read = |name| std::fs::read_to_string(folder.join("ca").join(name));
    let authority = Authority::from_pem(&read("tls.crt")?, &read("tls.key")?)?;
    let mut lines = lines();
    let mut agents = Agents::default();
    let mut every = None;
    loop {
        let due = async {
            match every {
                Some(every) => tokio::time::sleep(every).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = lines.recv() => match line.map(|line| serde_json::from_str(&line)).transpose()? {
                None => return Ok(()),
                Some(Line::TellEvery(period)) => every = Some(period),
                Some(Line::Pod { cluster, instance, uid, ip }) => {
                    let files = agents.files(&cluster, &authority, &folder)?;
                    agents.begin(&cluster, &instance, uid, (ip, files)).await?;
                }
            },
            () = due => agents.move_on(),
        }
    }
}

/// The lines of the standard input.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            // Nobody reads them any more when all ends.
            let _ = sender.send(line);
        }
    });
    lines
}

impl Agents {
    fn files(
        &mut self,
        cluster: &str,
        authority: &Authority,
        folder: &Path,
    ) -> anyhow::Result<Arc<TlsFiles>> {
        if let Some(files) = self.files.get(cluster) {
            return Ok(files.clone());
        }
        let identity = agent_identity(&cluster.parse()?, &NAMESPACE.parse()?);
        let files = Arc::new(TlsFiles::open(issue(authority, &identity, folder)?)?);
        self.files.insert(cluster.to_owned(), files.clone());
        Ok(files)
    }

    async fn begin(
        &mut self,
        cluster: &str,
        instance: &str,
        uid: String,
        (ip, files): (IpAddr, Arc<TlsFiles>),
    ) -> anyhow::Result<()> {
        let state = watch::Sender::new(healthy(cluster, instance, uid));
        if cluster != instance {
            self.follow(cluster, instance);
        }
        let listener = grpc::listen(SocketAddr::new(ip, AGENT_PORT), files).await?;
        let service = AgentServer::new(Told(state.subscribe()));
        tokio::spawn(grpc::server().serve_with_incoming(service, listener));
        self.states
            .insert(instance.to_owned(), (cluster.to_owned(), state));
        let followers: Vec<String> = self
            .states
            .iter()
            .filter(|(name, (of, _))| cluster == instance && of == cluster && *name != instance)
            .map(|(name, _)| name.clone())
            .collect();
        for follower in followers {
            self.follow(cluster, &follower);
        }
        Ok(())
    }

    /// The primary of the cluster, which has its name, has a follower.
    fn follow(&self, cluster: &str, instance: &str) {
        let Some((_, primary)) = self.states.get(cluster) else {
            return;
        };
        primary.send_modify(|state| {
            state.followers.push(Follower {
                slot: format!("pgo_{}", instance.replace('-', "_")),
                streaming: true,
                sync: "async".to_owned(),
                ..Follower::default()
            });
        });
    }

    /// Somebody has written.
    fn move_on(&self) {
        for (_, state) in self.states.values() {
            state.send_modify(|state| {
                state.lsn += 0x2000;
                state.received_lsn = if state.streaming { state.lsn } else { 0 };
            });
        }
    }
}

/// What the agent of a healthy instance says.
fn healthy(cluster: &str, instance: &str, uid: String) -> InstanceState {
    let leads = cluster == instance;
    let now = Timestamp::now();
    InstanceState {
        cluster: cluster.to_owned(),
        instance: instance.to_owned(),
        pod_uid: uid,
        phase: Phase::Running.into(),
        role: if leads { Role::Primary } else { Role::Replica }.into(),
        term: 1,
        postgres_version: "15.18".to_owned(),
        system_identifier: "7576543210987654321".to_owned(),
        timeline: 1,
        lsn: LSN,
        running_since: Some(prost_types::Timestamp {
            seconds: now.as_second(),
            nanos: now.subsec_nanosecond(),
        }),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        streaming: !leads,
        received_lsn: if leads { 0 } else { LSN },
        leader: if leads {
            String::new()
        } else {
            cluster.to_owned()
        },
        ..InstanceState::default()
    }
}

struct Told(watch::Receiver<InstanceState>);

#[tonic::async_trait]
impl Agent for Told {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<InstanceState, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        grpc::require_identity(&request, &["reconciler.pgo"])?;
        let states = WatchStream::new(self.0.clone()).map(Ok);
        Ok(Response::new(Box::pin(states)))
    }

    async fn drop_slot(
        &self,
        _: Request<DropSlotRequest>,
    ) -> Result<Response<DropSlotResponse>, Status> {
        Err(Status::failed_precondition("no instance goes here"))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        Err(Status::failed_precondition("no server runs here"))
    }

    async fn restart(
        &self,
        _: Request<RestartRequest>,
    ) -> Result<Response<RestartResponse>, Status> {
        Err(Status::failed_precondition("no server runs here"))
    }

    async fn switchover(
        &self,
        _: Request<SwitchoverRequest>,
    ) -> Result<Response<SwitchoverResponse>, Status> {
        Err(Status::failed_precondition("no primary changes here"))
    }

    async fn stay(&self, _: Request<StayRequest>) -> Result<Response<StayResponse>, Status> {
        Err(Status::failed_precondition("no primary changes here"))
    }

    async fn failover(
        &self,
        _: Request<FailoverRequest>,
    ) -> Result<Response<FailoverResponse>, Status> {
        Err(Status::failed_precondition("no primary changes here"))
    }
}
