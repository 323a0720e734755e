//! The pod that makes a dump or a base backup, or restores one: the programs of the instances' image, on the claim of the dumps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvVar, KeyToPath, Pod, PodSpec, SecretVolumeSource, Volume, VolumeMount,
};
use pgo_core::{
    Desired, DumpKind, DumpOrder, DumpWork, Fixture, NodePreference, UserSecret, dump_pod_name,
};
use pgo_crd::label;
use pgo_ids::StreamId;

use crate::{
    LogSettings,
    identity::{fixture_name, owned},
    pod::{
        claimed, container_security, empty, installer, mount, mount_part, pod_security, prefers,
        secret, value,
    },
};

/// Name of the container that does it.
pub const DUMP_CONTAINER: &str = "dump";

/// How long what runs may take to end when the pod is to go.
const GRACE_SECONDS: i64 = 20;

/// The pod. It has no account, and of the agents' certificate only the authority that it knows the server by; that which copies a
/// server has all of it, as a replica that does so. None has more of these than it needs.
#[must_use]
pub fn dump_pod(
    desired: &Desired,
    uid: &StreamId,
    (order, claim): (&DumpOrder, &str),
    logs: &LogSettings,
) -> Pod {
    let kind = order.work.kind();
    let word = match kind {
        DumpKind::Make => label::PGDUMP,
        DumpKind::Load => label::PGRESTORE,
        DumpKind::BaseBackup => label::PGBACKUP,
        DumpKind::BaseRestore => label::PGBASEBACKUP_RESTORE,
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
            affinity: affinity(&order.work),
            containers: vec![container(desired, order, logs)],
            volumes: Some(volumes(desired, &order.work, claim)),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

/// It prefers nodes where somebody said so.
fn affinity(work: &DumpWork) -> Option<Affinity> {
    let DumpWork::BaseRestore { node_label, .. } = work else {
        return None;
    };
    let (key, value) = node_label.as_ref()?.split_once('=')?;
    let node = NodePreference::With(key.to_owned(), value.to_owned());
    Some(Affinity {
        node_affinity: Some(prefers(&node)),
        ..Affinity::default()
    })
}

fn volumes(desired: &Desired, work: &DumpWork, claim: &str) -> Vec<Volume> {
    let mut volumes = vec![empty("agent"), empty("tmp")];
    match work {
        DumpWork::Make { .. } | DumpWork::Load { .. } => volumes.extend([
            authority(desired),
            secret("postgres", desired.secret_name(UserSecret::Superuser)),
        ]),
        DumpWork::BaseBackup { .. } => {
            let name = fixture_name(Fixture::Certificate, &desired.name);
            volumes.push(secret("authority", name));
        }
        DumpWork::BaseRestore { to, .. } => volumes.push(claimed("restored", to.clone())),
    }
    volumes.push(claimed("dumps", claim.to_owned()));
    volumes
}

/// Where those are that not every pod has.
fn mounts(work: &DumpWork) -> Vec<VolumeMount> {
    match work {
        DumpWork::Make { .. } | DumpWork::Load { .. } => vec![
            mount("authority", "/pgo/tls", true),
            mount("postgres", "/pgo/secrets/postgres", true),
        ],
        DumpWork::BaseBackup { .. } => vec![mount("authority", "/pgo/tls", true)],
        DumpWork::BaseRestore { .. } => vec![mount("restored", "/restored", false)],
    }
}

fn container(desired: &Desired, order: &DumpOrder, logs: &LogSettings) -> Container {
    let read_only = |volume: &str, path: &str, part: &str| VolumeMount {
        read_only: Some(true),
        ..mount_part(volume, path, part)
    };
    let mut mounted = vec![
        read_only("agent", "/pgo/bin", "bin"),
        // The image need not know user 26; these do.
        read_only("agent", "/etc/passwd", "etc/passwd"),
        read_only("agent", "/etc/group", "etc/group"),
        mount("tmp", "/tmp", false),
        mount("dumps", "/pgdata", false),
    ];
    mounted.extend(mounts(&order.work));
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
        volume_mounts: Some(mounted),
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
