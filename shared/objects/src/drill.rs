//! The pod in which a backup is tried: restored, checked, read in full, and thrown away.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, EphemeralVolumeSource, PersistentVolumeClaimTemplate, Pod, PodSpec, Volume,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use pgo_core::{Desired, StorageKind};
use pgo_crd::label;
use pgo_ids::{ClusterName, OperationId, StreamId};

use crate::{
    LogSettings,
    identity::owned,
    pod::{
        affinity, agents_mounts, agents_volumes, container_security, custom_config, empty,
        installer, mount, pod_security, resources, value,
    },
    repository::repository_path,
    volume::claim_of,
};

/// Longest life of the pod. The agent ends itself after a day.
const DEADLINE_SECONDS: i64 = 25 * 3600;

/// How long it may take to go: what it has is thrown away.
const GRACE_SECONDS: i64 = 5;

/// Name of the container that tries it.
pub const DRILL_CONTAINER: &str = "drill";

/// What comes behind a cluster's name in that of the pod.
pub(crate) const DRILL: &str = "-restore-drill";

/// Where the copy is mounted.
const FOLDER: &str = "/pgdrill";

/// Name of the pod; a cluster has one at a time.
#[must_use]
pub fn drill_name(cluster: &ClusterName) -> String {
    format!("{cluster}{DRILL}")
}

/// The pod that tries a backup. It is in no Service, and nobody's instance.
#[must_use]
pub fn drill(
    desired: &Desired,
    uid: &StreamId,
    (operation, backup): (OperationId, &str),
    logs: &LogSettings,
) -> Pod {
    let mut metadata = owned(desired, uid, drill_name(&desired.name));
    let labels = metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert(label::RESTORE_DRILL.to_owned(), operation.to_string());
    let mut volumes = agents_volumes(desired);
    volumes.extend([custom_config(desired), copy(desired)]);
    Pod {
        metadata,
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(pod_security(&desired.storage)),
            affinity: Some(affinity(desired)),
            init_containers: Some(vec![installer(&desired.agent_image)]),
            containers: vec![container(desired, backup, logs)],
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

fn container(desired: &Desired, backup: &str, logs: &LogSettings) -> Container {
    let mut environment = vec![
        value("PGO_DRILL_BACKUP", backup.to_owned()),
        value("PGO_DRILL_DIR", FOLDER.to_owned()),
        value("PGO_BACKREST_HOST", desired.repository_name()),
        value("PGO_BACKREST_PATH", repository_path(desired)),
    ];
    if let Some(backups) = &desired.backups {
        let places = backups.places.as_str().to_owned();
        environment.push(value("PGO_BACKREST_STORAGE", places));
    }
    environment.extend(logs.variables());
    let mut mounts = agents_mounts();
    mounts.extend([
        mount("pgconf", "/pgconf", true),
        mount("copy", FOLDER, false),
    ]);
    Container {
        name: DRILL_CONTAINER.to_owned(),
        // That of the instances: it has the PostgreSQL and the libraries that a restore would have.
        image: Some(desired.image.0.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/pgo/bin/agent".to_owned()]),
        args: Some(vec!["drill".to_owned()]),
        env: Some(environment),
        resources: resources(desired),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// Where the copy goes: a volume as the instances have it, made with the pod and gone with it. Those that are made by hand are
/// for instances; there the node gives the room.
fn copy(desired: &Desired) -> Volume {
    if desired.storage.kind != StorageKind::Dynamic {
        return empty("copy");
    }
    let claim = claim_of(ObjectMeta::default(), &desired.storage);
    Volume {
        name: "copy".to_owned(),
        ephemeral: Some(EphemeralVolumeSource {
            // Without labels: it is not among the cluster's data.
            volume_claim_template: Some(PersistentVolumeClaimTemplate {
                metadata: None,
                spec: claim.spec.unwrap_or_default(),
            }),
        }),
        ..Volume::default()
    }
}
