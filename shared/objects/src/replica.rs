//! A Pgreplica that PGO makes, because a Pgcluster is to have one more.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;
use pgo_core::Desired;
use pgo_crd::{Pgreplica, PgreplicaSpec, REPLICA_FINALIZER, label};
use pgo_ids::{InstanceName, StreamId};

use crate::identity::owner;

/// The Pgreplica. Storage, resources and nodes are left open: they are the cluster's.
#[must_use]
pub fn replica(desired: &Desired, uid: &StreamId, name: &InstanceName) -> Pgreplica {
    let labels = [
        (label::VENDOR, "crunchydata".to_owned()),
        (label::PG_CLUSTER, desired.name.to_string()),
        (label::NAME, name.to_string()),
        (label::DERIVED, "true".to_owned()),
    ];
    Pgreplica {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            namespace: Some(desired.namespace.to_string()),
            labels: Some(BTreeMap::from(
                labels.map(|(key, value)| (key.to_owned(), value)),
            )),
            owner_references: Some(vec![owner(&desired.name, uid)]),
            finalizers: Some(vec![REPLICA_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: PgreplicaSpec {
            namespace: desired.namespace.to_string(),
            name: name.to_string(),
            clustername: desired.name.to_string(),
            ..PgreplicaSpec::default()
        },
        status: None,
    }
}
