//! Names, labels and owners that all objects of a cluster share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pgo_core::{Desired, Fixture, Form, backup::REPOSITORY};
use pgo_crd::label;
use pgo_ids::{ClusterName, Namespace, StreamId};

/// Annotation with what an object was made for, as JSON: fields of the spec and their values.
pub const FORM: &str = "pgo.crunchydata.com/made-for";

/// What comes behind a cluster's name in that of the Service of its replicas, as in 4.1.
pub(crate) const REPLICA_SERVICE: &str = "-replica";

/// Name of a fixture of a cluster.
#[must_use]
pub fn fixture_name(fixture: Fixture, cluster: &ClusterName) -> String {
    match fixture {
        Fixture::Service | Fixture::Lease => cluster.to_string(),
        Fixture::ReplicaService => format!("{cluster}{REPLICA_SERVICE}"),
        Fixture::Repository | Fixture::RepositoryService => format!("{cluster}{REPOSITORY}"),
        Fixture::EndpointSlice => format!("{cluster}-primary"),
        Fixture::Certificate => format!("{cluster}-agent-tls"),
        Fixture::RoleBinding | Fixture::Role | Fixture::Account => format!("{cluster}-agent"),
    }
}

/// Whether an object is one of the cluster by its labels: those of [`cluster_labels`].
#[must_use]
pub fn is_labelled(metadata: &ObjectMeta, cluster: &ClusterName) -> bool {
    let label = |key: &str| {
        let labels = metadata.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    };
    label(label::VENDOR) == Some("crunchydata")
        && label(label::PG_CLUSTER) == Some(cluster.as_str())
}

/// Whether this very Pgcluster owns an object, and not a former one of its name.
#[must_use]
pub fn is_owned(metadata: &ObjectMeta, uid: &StreamId) -> bool {
    owners(metadata).any(|owner| owner.uid == uid.as_str())
}

/// Why an object with the name of one that stays when its cluster goes is not the cluster's, as a clause: whose it is
/// then. None where it is the cluster's by its labels: that of a former cluster whose data was kept, or one that somebody
/// wants to be used.
#[must_use]
pub fn stranger(found: &ObjectMeta, cluster: &ClusterName) -> Option<String> {
    if is_labelled(found, cluster) {
        return None;
    }
    let labels = found.labels.as_ref();
    let other = labels.and_then(|labels| labels.get(label::PG_CLUSTER));
    Some(match (other, owners(found).next()) {
        (Some(other), _) if other != cluster.as_str() => format!("belongs to cluster {other}"),
        (_, Some(owner)) => format!("belongs to {} {}", owner.kind, owner.name),
        (_, None) => format!(
            "does not carry the labels {}=crunchydata and {}={cluster}, by which it would be used",
            label::VENDOR,
            label::PG_CLUSTER
        ),
    })
}

/// The owners of an object.
pub fn owners(metadata: &ObjectMeta) -> impl Iterator<Item = &OwnerReference> {
    metadata.owner_references.iter().flatten()
}

/// What an object was made for; none where nobody wrote it down, or in a form of another version.
#[must_use]
pub fn form(metadata: &ObjectMeta) -> Option<Form> {
    let annotations = metadata.annotations.as_ref()?;
    serde_json::from_str(annotations.get(FORM)?).ok()
}

/// Writes down what an object is made for.
pub fn made_for(metadata: &mut ObjectMeta, form: &Form) {
    // Texts by texts are always JSON.
    let form = serde_json::to_string(form).unwrap_or_default();
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(FORM.to_owned(), form);
}

/// The identity of a cluster's agents in their certificate.
#[must_use]
pub fn agent_identity(name: &ClusterName, namespace: &Namespace) -> String {
    Desired::agent_identity(name, namespace)
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
