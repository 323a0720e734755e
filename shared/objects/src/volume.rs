//! The claim for an instance's volume, and what the claims of a cluster hold.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};
use pgo_core::{Backups, Desired, DumpKind, Storage, StorageKind, backup::REPOSITORY_CLAIM};
use pgo_crd::label;
use pgo_ids::{ClusterName, InstanceName};

use crate::identity::{kept, made_for};

/// Annotation of the claim of an instance that its cluster was restored to: since when that is the first one. A cluster of the
/// same name that comes later goes on with the newest of these.
pub const FIRST_SINCE: &str = "pgo.crunchydata.com/first-since";

/// What a claim that carries a cluster's labels holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The data of an instance.
    Data,
    /// Backups: the repository of pgBackRest, copies by `pg_basebackup`, or dumps.
    Backups,
}

/// What such a claim holds; none where neither its labels nor its name say it. Backups have 4.1's names.
#[must_use]
pub fn holds(claim: &ObjectMeta, cluster: &ClusterName) -> Option<Holds> {
    let name = claim.name.as_deref()?;
    let labels = claim.labels.as_ref();
    let instance = labels.and_then(|labels| labels.get(label::DEPLOYMENT_NAME));
    if instance.is_some_and(|instance| instance == name) || is_instance(name, cluster.as_str()) {
        return Some(Holds::Data);
    }
    let is_said = |key: &str| {
        let label = labels.and_then(|labels| labels.get(key));
        label.is_some_and(|value| value == "true")
    };
    if is_said(label::PGDUMP) || is_said(label::PGBACKUP) {
        return Some(Holds::Backups);
    }
    let backups = [
        format!("{cluster}{REPOSITORY_CLAIM}"),
        pgo_core::base_claim_name(cluster),
        pgo_core::dump_claim_name(cluster),
    ];
    backups
        .iter()
        .any(|of| of == name)
        .then_some(Holds::Backups)
}

/// Whether an instance may have this name: the cluster's, or that with four letters more.
fn is_instance(name: &str, cluster: &str) -> bool {
    match name.strip_prefix(cluster) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|letters| {
            letters.len() == 4 && letters.bytes().all(|letter| letter.is_ascii_lowercase())
        }),
        None => false,
    }
}

/// The claim. It has no owner: it stays when the cluster goes without its data.
#[must_use]
pub fn claim(desired: &Desired, instance: &InstanceName) -> PersistentVolumeClaim {
    let mut metadata = kept(desired, instance.to_string());
    if let Some(labels) = &mut metadata.labels {
        labels.extend([
            (label::PGREMOVE.to_owned(), "true".to_owned()),
            (label::DEPLOYMENT_NAME.to_owned(), instance.to_string()),
        ]);
    }
    made_for(&mut metadata, &desired.claim_form());
    claim_of(metadata, &desired.storage)
}

/// The claim of the repository of backups, likewise without an owner.
#[must_use]
pub fn repository_claim(desired: &Desired, backups: &Backups) -> PersistentVolumeClaim {
    let mut metadata = kept(desired, desired.repository_claim_name());
    made_for(&mut metadata, &desired.repository_claim_form());
    claim_of(metadata, &backups.storage)
}

/// A claim for dumps or base backups, likewise without an owner; its label says what it holds, whatever its name.
#[must_use]
pub fn dump_claim(
    desired: &Desired,
    (name, kind): (&str, DumpKind),
    storage: &Storage,
) -> PersistentVolumeClaim {
    let mut metadata = kept(desired, name.to_owned());
    let labels = metadata.labels.get_or_insert_default();
    let what = match kind.is_base() {
        true => label::PGBACKUP,
        false => label::PGDUMP,
    };
    labels.insert(what.to_owned(), "true".to_owned());
    claim_of(metadata, storage)
}

/// The claim that a base backup is restored to: that of the first instance of a cluster that there may be later. It belongs to none
/// until then.
#[must_use]
pub fn restored_claim(desired: &Desired, cluster: &ClusterName) -> PersistentVolumeClaim {
    let mut metadata = kept(desired, cluster.to_string());
    let labels = [
        (label::VENDOR, "crunchydata"),
        (label::PG_CLUSTER, cluster.as_str()),
        (label::PGREMOVE, "true"),
        (label::DEPLOYMENT_NAME, cluster.as_str()),
        (label::PGBASEBACKUP_RESTORE, "true"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    metadata.labels = Some(BTreeMap::from(labels));
    claim_of(metadata, &desired.storage)
}

pub(crate) fn claim_of(metadata: ObjectMeta, storage: &Storage) -> PersistentVolumeClaim {
    let selects = storage.kind == StorageKind::Create && !storage.match_labels.is_empty();
    PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![storage.access_mode.clone()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(storage.size.clone()),
                )])),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: match storage.kind {
                // The default class of Kubernetes.
                StorageKind::Create => None,
                StorageKind::Dynamic | StorageKind::EmptyDir => storage.class.clone(),
            },
            // A provisioner refuses a claim that selects volumes; 4.1 has it for `create` alone.
            selector: selects.then(|| LabelSelector {
                match_labels: Some(storage.match_labels.clone()),
                ..LabelSelector::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
