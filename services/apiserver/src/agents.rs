//! What the agent of an instance says just now: asked once, for an answer that cannot be had from Kubernetes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_crd::label;
use pgo_objects::{AGENT_PORT, agent_identity};
use pgo_proto::agent::{InstanceState, WatchRequest, agent_client::AgentClient};

use crate::app::App;

/// How long an agent may take: an answer without it is better than none.
const DEADLINE: Duration = Duration::from_secs(2);

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
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let cluster = pod.labels().get(label::PG_CLUSTER);
    let (Some(address), Some(cluster), Some(namespace)) = (address, cluster, pod.namespace())
    else {
        return Ok(None);
    };
    let identity = agent_identity(&cluster.parse()?, &namespace.parse()?);
    let at = match address.contains(':') {
        true => format!("[{address}]:{AGENT_PORT}"),
        false => format!("{address}:{AGENT_PORT}"),
    };
    let channel = pgo_tls::grpc::channel(&at, &identity, app.tls_files.clone())?;
    let mut client = AgentClient::new(channel);
    let states = client.watch(WatchRequest { term: 0 }).await?;
    Ok(states.into_inner().message().await?)
}
