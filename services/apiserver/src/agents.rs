//! What an agent says just now, of its instance or of the repository of backups: asked once, for an answer that cannot be had
//! from Kubernetes.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_core::Place;
use pgo_crd::label;
use pgo_objects::{AGENT_PORT, agent_identity};
use pgo_proto::agent::{
    DatabaseSizeRequest, InfoRequest, InstanceState, ListFolderRequest, ListFolderResponse,
    ReadFileRequest, RepositoryState, WatchRepositoryRequest, WatchRequest,
    agent_client::AgentClient, inspection_client::InspectionClient,
    repository_client::RepositoryClient,
};
use tonic::{Status, transport::Channel};

use crate::app::App;

/// How long an agent may take: an answer without it is better than none.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long a repository may take. It reads each backup's manifest, and there is no answer without it.
const INFO_DEADLINE: Duration = Duration::from_secs(20);

/// How long it may take where it asks PostgreSQL or the volume, which it gives up after 5 s.
const LOOK_DEADLINE: Duration = Duration::from_secs(6);

/// What the agent in a pod says; none where it cannot be asked.
pub(crate) async fn state(app: &App, pod: &Pod) -> Option<InstanceState> {
    let asking = async {
        let mut client = AgentClient::new(channel(app, pod)?);
        let states = client.watch(WatchRequest { term: 0 }).await?;
        Ok(states.into_inner().message().await?)
    };
    in_time(pod, asking).await
}

/// The same of the repository in a pod.
pub(crate) async fn repository(app: &App, pod: &Pod) -> Option<RepositoryState> {
    let asking = async {
        let mut client = RepositoryClient::new(channel(app, pod)?);
        let states = client.watch(WatchRepositoryRequest {}).await?;
        Ok(states.into_inner().message().await?)
    };
    in_time(pod, asking).await
}

async fn in_time<T>(
    pod: &Pod,
    asking: impl Future<Output = anyhow::Result<Option<T>>>,
) -> Option<T> {
    let asked = tokio::time::timeout(DEADLINE, asking).await;
    let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
    match asked {
        Ok(state) => state,
        Err(error) => {
            tracing::info!(pod = pod.name_any(), %error, "an agent cannot be asked");
            None
        }
    }
}

/// Size of all databases of an instance, in bytes; or why that cannot be had, for people.
pub(crate) async fn database_size(app: &App, pod: &Pod) -> Result<u64, String> {
    let look = async |mut client: InspectionClient<Channel>| {
        let answer = client.database_size(DatabaseSizeRequest {}).await?;
        Ok(answer.into_inner().bytes)
    };
    inspect(app, pod, look).await
}

/// What is in a folder of an instance; or why that is not shown, for people.
pub(crate) async fn list(app: &App, pod: &Pod, path: &str) -> Result<ListFolderResponse, String> {
    let path = path.to_owned();
    let look = async |mut client: InspectionClient<Channel>| {
        let answer = client.list_folder(ListFolderRequest { path }).await?;
        Ok(answer.into_inner())
    };
    inspect(app, pod, look).await
}

/// The text of a file of an instance; or why it is not shown, for people.
pub(crate) async fn read(app: &App, pod: &Pod, path: &str) -> Result<String, String> {
    let path = path.to_owned();
    let look = async |mut client: InspectionClient<Channel>| {
        let answer = client.read_file(ReadFileRequest { path }).await?;
        Ok(answer.into_inner().text)
    };
    inspect(app, pod, look).await
}

async fn inspect<T>(
    app: &App,
    pod: &Pod,
    look: impl AsyncFnOnce(InspectionClient<Channel>) -> Result<T, tonic::Status>,
) -> Result<T, String> {
    let name = pod.name_any();
    let channel = channel(app, pod).map_err(|error| format!("pod {name}: {error}"))?;
    let client = InspectionClient::new(channel);
    match tokio::time::timeout(LOOK_DEADLINE, look(client)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
            Err(status.message().to_owned())
        }
        Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => Err(format!(
            "the agent of {name} is of an earlier version; it comes with the next restart of its pod"
        )),
        Ok(Err(status)) => Err(format!("{name}: {}", status.message())),
        Err(_) => Err(format!("the agent of {name} does not answer")),
    }
}

/// What `pgbackrest info` says in the repository of this pod, as text or as JSON, of all or of what is in one place; or why it cannot
/// be had.
pub(crate) async fn info(
    app: &App,
    pod: &Pod,
    (json, place): (bool, Option<Place>),
) -> Result<String, String> {
    let storage = place.map_or("", Place::as_str).to_owned();
    let asking = async {
        let channel = channel(app, pod).map_err(|error| format!("{error:#}"))?;
        let mut client = RepositoryClient::new(channel);
        let answer = client.info(InfoRequest { json, storage }).await;
        answer
            .map(|answer| answer.into_inner().text)
            .map_err(|status| said(&status))
    };
    let asked = tokio::time::timeout(INFO_DEADLINE, asking).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} s", INFO_DEADLINE.as_secs())))
}

/// A refusal in its own words, where it has some.
fn said(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }
}

/// The way to the agent in a pod, which is known by the identity of its cluster's agents.
fn channel(app: &App, pod: &Pod) -> anyhow::Result<Channel> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let address = address.context("its pod has no address yet")?;
    let cluster = pod.labels().get(label::PG_CLUSTER);
    let cluster = cluster.context("its pod has no label pg-cluster")?;
    let namespace = pod.namespace().context("its pod has no namespace")?;
    let identity = agent_identity(&cluster.parse()?, &namespace.parse()?);
    let at = match address.contains(':') {
        true => format!("[{address}]:{AGENT_PORT}"),
        false => format!("{address}:{AGENT_PORT}"),
    };
    Ok(pgo_tls::grpc::channel(
        &at,
        &identity,
        app.tls_files.clone(),
    )?)
}
