//! Names, labels and owners that all objects of a cluster share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pgo_core::Desired;
use pgo_crd::label;
use pgo_ids::{ClusterName, Namespace, StreamId};

/// The identity of a cluster's agents in their certificate.
#[must_use]
pub fn agent_identity(name: &ClusterName, namespace: &Namespace) -> String {
    format!("{name}.{namespace}.agent.pgo")
}

/// The Pgcluster as owner: what it owns goes with it.
#[must_use]
pub fn owner(name: &ClusterName, uid: &StreamId) -> OwnerReference {
    OwnerReference {
        api_version: "crunchydata.com/v1".to_owned(),
        kind: "Pgcluster".to_owned(),
        name: name.to_string(),
        uid: uid.to_string(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Labels of every object of a cluster: ours over the user's.
#[must_use]
pub fn cluster_labels(desired: &Desired) -> BTreeMap<String, String> {
    let mut labels = desired.labels.clone();
    labels.insert(label::VENDOR.to_owned(), "crunchydata".to_owned());
    labels.insert(label::PG_CLUSTER.to_owned(), desired.name.to_string());
    labels
}

/// Metadata of an object that goes with its cluster.
pub(crate) fn owned(desired: &Desired, uid: &StreamId, name: String) -> ObjectMeta {
    ObjectMeta {
        owner_references: Some(vec![owner(&desired.name, uid)]),
        ..kept(desired, name)
    }
}

/// Metadata of an object that stays when its cluster goes.
pub(crate) fn kept(desired: &Desired, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(desired.namespace.to_string()),
        labels: Some(cluster_labels(desired)),
        ..ObjectMeta::default()
    }
}
