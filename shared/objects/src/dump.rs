//! The pod that makes a dump, or restores one: the programs of the instances' image, on the claim of the dumps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EnvVar, KeyToPath, Pod, PodSpec, SecretVolumeSource, Volume, VolumeMount,
};
use pgo_core::{Desired, DumpKind, DumpOrder, DumpWork, Fixture, UserSecret, dump_pod_name};
use pgo_crd::label;
use pgo_ids::StreamId;

use crate::{
    LogSettings,
    identity::{fixture_name, owned},
    pod::{
        claimed, container_security, empty, installer, mount, mount_part, pod_security, secret,
        value,
    },
};

/// Name of the container that does it.
pub const DUMP_CONTAINER: &str = "dump";

/// How long what runs may take to end when the pod is to go.
const GRACE_SECONDS: i64 = 20;

/// The pod. It has no account, and of the agents' certificate only the authority that it knows the server by.
#[must_use]
pub fn dump_pod(
    desired: &Desired,
    uid: &StreamId,
    (order, claim): (&DumpOrder, &str),
    logs: &LogSettings,
) -> Pod {
    let (kind, word) = match order.work {
        DumpWork::Make { .. } => (DumpKind::Make, label::PGDUMP),
        DumpWork::Load { .. } => (DumpKind::Load, label::PGRESTORE),
    };
    let name = dump_pod_name(&desired.name, kind, order.operation);
    let mut metadata = owned(desired, uid, name);
    let labels = metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert(word.to_owned(), "true".to_owned());
    labels.insert(label::DUMP.to_owned(), order.operation.to_string());
    Pod {
        metadata,
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(pod_security(&desired.storage)),
            init_containers: Some(vec![installer(&desired.agent_image)]),
            containers: vec![container(desired, order, logs)],
            volumes: Some(vec![
                empty("agent"),
                empty("tmp"),
                authority(desired),
                secret("postgres", desired.secret_name(UserSecret::Superuser)),
                claimed("dumps", claim.to_owned()),
            ]),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

fn container(desired: &Desired, order: &DumpOrder, logs: &LogSettings) -> Container {
    let read_only = |volume: &str, path: &str, part: &str| VolumeMount {
        read_only: Some(true),
        ..mount_part(volume, path, part)
    };
    Container {
        name: DUMP_CONTAINER.to_owned(),
        // The image of the instances: pg_dump is to be as new as the server.
        image: Some(desired.image.0.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/pgo/bin/agent".to_owned()]),
        args: Some(vec!["dump".to_owned()]),
        env: Some(environment(desired, order, logs)),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![
            read_only("agent", "/pgo/bin", "bin"),
            // The image need not know user 26; these do.
            read_only("agent", "/etc/passwd", "etc/passwd"),
            read_only("agent", "/etc/group", "etc/group"),
            mount("tmp", "/tmp", false),
            mount("authority", "/pgo/tls", true),
            mount("postgres", "/pgo/secrets/postgres", true),
            mount("dumps", "/pgdata", false),
        ]),
        ..Container::default()
    }
}

/// The part of the agents' certificate that is no secret.
fn authority(desired: &Desired) -> Volume {
    Volume {
        name: "authority".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(fixture_name(Fixture::Certificate, &desired.name)),
            items: Some(vec![KeyToPath {
                key: "ca.crt".to_owned(),
                path: "ca.crt".to_owned(),
                mode: None,
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn environment(desired: &Desired, order: &DumpOrder, logs: &LogSettings) -> Vec<EnvVar> {
    // Texts, numbers and lists of texts are always JSON.
    let text = serde_json::to_string(order).unwrap_or_default();
    let mut variables = vec![
        value("PGO_DUMP", text),
        value("PGO_CLUSTER", desired.name.to_string()),
        // The certificate of the server has this name.
        value(
            "PGO_DATABASE_HOST",
            format!("{}.{}.svc", desired.name, desired.namespace),
        ),
        value("PGPORT", desired.port.to_string()),
    ];
    variables.extend(logs.variables());
    variables
}
