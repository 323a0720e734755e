//! The claim for an instance's volume.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};
use pgo_core::{Desired, StorageKind};
use pgo_crd::label;
use pgo_ids::InstanceName;

use crate::identity::{kept, made_for};

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
    let storage = &desired.storage;
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
                StorageKind::Create => Some(String::new()),
                StorageKind::Dynamic | StorageKind::EmptyDir => storage.class.clone(),
            },
            selector: (!storage.match_labels.is_empty()).then(|| LabelSelector {
                match_labels: Some(storage.match_labels.clone()),
                ..LabelSelector::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
