//! What Kubernetes shows of PGO's services: the pods of their processes, and the Leases of their leaders.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use pgo_core::services::{Ending, LeaseFacts, ProcessFacts};

/// Label of the pods of PGO's services: which one it is.
const PROCESS: &str = "pgo-process";

/// Services of which one replica leads, and the names of their Leases.
const LEASES: [(&str, &str); 3] = [
    ("reconciler", crate::LEASE),
    ("scheduler", "pgo-scheduler"),
    ("event", "pgo-event"),
];

/// Names of the Leases of other services.
pub const OTHERS: &[&str] = &["pgo-scheduler", "pgo-event"];

/// The processes that are there.
pub async fn processes(client: &Client, namespace: &str) -> anyhow::Result<Vec<ProcessFacts>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let listed = api.list(&ListParams::default().labels(PROCESS)).await;
    let listed = listed.context("list the pods of PGO")?;
    Ok(listed.items.iter().filter_map(process).collect())
}

fn process(pod: &Pod) -> Option<ProcessFacts> {
    let service = pod.labels().get(PROCESS)?;
    let status = container(pod, service);
    let state = |state: Option<&ContainerState>| state.and_then(|state| state.terminated.clone());
    let now = status.and_then(|status| status.state.as_ref());
    let running = now.and_then(|state| state.running.as_ref());
    let ended = state(now).or_else(|| state(status.and_then(|s| s.last_state.as_ref())));
    Some(ProcessFacts {
        service: service.clone(),
        pod: pod.name_any(),
        uid: pod.uid()?,
        running: running.and_then(|running| time(running.started_at.as_ref())),
        ended: ended.as_ref().map(ending),
    })
}

/// Of the containers of a pod the one of its service; others stand beside it.
fn container<'a>(pod: &'a Pod, service: &str) -> Option<&'a ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    all.iter().find(|status| status.name == service)
}

fn ending(ended: &ContainerStateTerminated) -> Ending {
    Ending {
        began: time(ended.started_at.as_ref()),
        at: time(ended.finished_at.as_ref()),
        exit_code: ended.exit_code,
        reason: ended.reason.clone().unwrap_or_default(),
    }
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The Leases there are: a service with one replica has none.
pub async fn leases(client: &Client, namespace: &str) -> anyhow::Result<Vec<LeaseFacts>> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    for (service, name) in LEASES {
        let lease = api.get_opt(name).await;
        let lease = lease.with_context(|| format!("read Lease {name}"))?;
        found.extend(lease.and_then(|lease| facts(service, lease)));
    }
    Ok(found)
}

fn facts(service: &str, lease: Lease) -> Option<LeaseFacts> {
    let spec = lease.spec?;
    let seconds = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into());
    Some(LeaseFacts {
        service: service.to_owned(),
        holder: spec.holder_identity,
        until: spec.renew_time.map(|renewed| renewed.0 + seconds),
    })
}
