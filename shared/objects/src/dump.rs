//! The pod that makes a dump or a base backup, or restores one: the programs of the instances' image, on the claim of the dumps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, KeyToPath, Pod, PodSpec, SecretVolumeSource, Volume, VolumeMount,
};
use pgo_core::{
    Desired, DumpKind, DumpOrder, DumpWork, Fixture, NodePreference, UserSecret, dump_pod_name,
};
use pgo_crd::label;
use pgo_ids::StreamId;

use crate::{
    LogSettings,
    identity::{fixture_name, owned},
    pod::{claimed, mount, prefers, secret, value},
    worker,
};

/// Name of the container that does it.
pub const DUMP_CONTAINER: &str = "dump";

/// The pod. It has no account, and of the agents' certificate only the authority that it knows the server by; that which copies a
/// server has all of it, as a replica that does so. None has more of these than it needs. What it makes is ended where no data moves
/// for `stall` seconds; 0 for never.
#[must_use]
pub fn dump_pod(
    desired: &Desired,
    uid: &StreamId,
    (order, claim): (&DumpOrder, &str),
    stall: u32,
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
    let mut environment = worker::environment(desired, ("PGO_DUMP", order), logs);
    environment.push(value("PGO_CLUSTER", desired.name.to_string()));
    if matches!(kind, DumpKind::Make | DumpKind::BaseBackup) {
        environment.push(value("PGO_STALL_SECONDS", stall.to_string()));
    }
    let mounts = mounts(&order.work);
    let container = worker::container(desired, DUMP_CONTAINER, environment, mounts);
    let volumes = volumes(desired, &order.work, claim);
    Pod {
        metadata,
        spec: Some(PodSpec {
            affinity: affinity(&order.work),
            ..worker::spec(desired, container, volumes)
        }),
        ..Pod::default()
    }
}

/// It prefers nodes where somebody said so.
fn affinity(work: &DumpWork) -> Option<Affinity> {
    let (DumpWork::BaseRestore { node_label, .. } | DumpWork::Load { node_label, .. }) = work
    else {
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
    let mut volumes = Vec::new();
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

/// Where the dumps are, and what not every pod has.
fn mounts(work: &DumpWork) -> Vec<VolumeMount> {
    let mut mounts = vec![mount("dumps", "/pgdata", false)];
    match work {
        DumpWork::Make { .. } | DumpWork::Load { .. } => mounts.extend([
            mount("authority", "/pgo/tls", true),
            mount("postgres", "/pgo/secrets/postgres", true),
        ]),
        DumpWork::BaseBackup { .. } => mounts.push(mount("authority", "/pgo/tls", true)),
        DumpWork::BaseRestore { .. } => mounts.push(mount("restored", "/restored", false)),
    }
    mounts
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
