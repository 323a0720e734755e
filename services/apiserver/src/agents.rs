//! What an agent says just now, of its instance or of the repository of backups: asked once, for an answer that cannot be had
//! from Kubernetes.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_crd::label;
use pgo_objects::{AGENT_PORT, agent_identity};
use pgo_proto::agent::{
    InfoRequest, InstanceState, WatchRequest, agent_client::AgentClient,
    repository_client::RepositoryClient,
};
use tonic::{Status, transport::Channel};

use crate::app::App;

/// How long an agent may take: an answer without it is better than none.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long a repository may take. It reads each backup's manifest, and there is no answer without it.
const INFO_DEADLINE: Duration = Duration::from_secs(20);

/// What the agent in a pod says; none where it cannot be asked.
pub(crate) async fn state(app: &App, pod: &Pod) -> Option<InstanceState> {
    let asked = tokio::time::timeout(DEADLINE, ask(app, pod)).await;
    let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
    match asked {
        Ok(state) => state,
        Err(error) => {
            tracing::info!(pod = pod.name_any(), %error, "an agent cannot be asked");
            None
        }
    }
}

async fn ask(app: &App, pod: &Pod) -> anyhow::Result<Option<InstanceState>> {
    let mut client = AgentClient::new(channel(app, pod)?);
    let states = client.watch(WatchRequest { term: 0 }).await?;
    Ok(states.into_inner().message().await?)
}

/// What `pgbackrest info` says in the repository of this pod, as text or as JSON; or why it cannot be had.
pub(crate) async fn info(app: &App, pod: &Pod, json: bool) -> Result<String, String> {
    let asking = async {
        let channel = channel(app, pod).map_err(|error| format!("{error:#}"))?;
        let mut client = RepositoryClient::new(channel);
        let answer = client.info(InfoRequest { json }).await;
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
