//! The pod that asks an image which PostgreSQL it holds, before any instance is made from it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EmptyDirVolumeSource, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, Pod, PodSpec, Volume,
};
use pgo_core::{Desired, Image};
use pgo_crd::label;
use pgo_ids::{ClusterName, OperationId, StreamId};

use crate::{
    identity::owned,
    pod::{container_security, installer, mount_part, pod_security},
};

/// Longest life of the pod: images are pulled in that time.
const DEADLINE_SECONDS: i64 = 300;

/// Name of the container that asks.
pub const PROBE_CONTAINER: &str = "probe";

/// What comes behind a cluster's name in that of the pod.
pub(crate) const PROBE: &str = "-upgrade-probe";

/// Name of the pod; a cluster has one at a time.
#[must_use]
pub fn probe_name(cluster: &ClusterName) -> String {
    format!("{cluster}{PROBE}")
}

/// The pod that asks `image`. It runs on `node`, where there is one, so that the image is there when it is needed.
#[must_use]
pub fn probe(
    desired: &Desired,
    uid: &StreamId,
    image: &Image,
    (operation, series): (OperationId, &str),
    node: Option<&str>,
) -> Pod {
    let mut metadata = owned(desired, uid, probe_name(&desired.name));
    let labels = metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert(label::UPGRADE_PROBE.to_owned(), operation.to_string());
    Pod {
        metadata,
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(1),
            security_context: Some(pod_security(&desired.storage)),
            affinity: node.map(at),
            init_containers: Some(vec![installer(&desired.agent_image)]),
            containers: vec![asker(image, series)],
            volumes: Some(vec![Volume {
                name: "agent".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..Volume::default()
            }]),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

fn asker(image: &Image, series: &str) -> Container {
    Container {
        name: PROBE_CONTAINER.to_owned(),
        image: Some(image.0.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/pgo/bin/agent".to_owned()]),
        args: Some(vec!["probe".to_owned(), format!("--series={series}")]),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![mount_part("agent", "/pgo/bin", "bin")]),
        ..Container::default()
    }
}

/// On exactly this node.
fn at(node: &str) -> Affinity {
    let named = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_fields: Some(vec![named]),
                    ..NodeSelectorTerm::default()
                }],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}
