//! The labels of pods: the Service of the replicas finds them by one, and users by others.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pgo_core::{Cluster, Role};
use pgo_crd::label;
use pgo_ids::InstanceName;
use serde_json::{Value, json};

use crate::{call::call, context::Context, error::Error};

/// The labels that say what an instance is, and who asked for its cluster.
fn labels(cluster: &Cluster, of: (&InstanceName, Role)) -> BTreeMap<String, String> {
    let mut labels = pgo_objects::pod_labels((&cluster.name, &cluster.stream), of);
    if !cluster.actor.is_empty() && label::is_value(&cluster.actor) {
        labels.insert(label::PGOUSER.to_owned(), cluster.actor.clone());
    }
    labels
}

/// The same on a pod that is to be made.
pub fn say(pod: &mut Pod, cluster: &Cluster, of: (&InstanceName, Role)) {
    let said = pod.metadata.labels.get_or_insert_default();
    said.extend(labels(cluster, of));
}

/// Says on exactly this pod what the instance is; one that is gone needs no label.
///
/// # Errors
/// Kubernetes failed, or another pod has the name by now.
pub async fn pod(
    cluster: &Cluster,
    (instance, uid): (&InstanceName, &str),
    role: Role,
    context: &Context,
) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), cluster.namespace.as_str());
    // Kubernetes refuses a patch whose uid is another pod's.
    let mut labels = json!(labels(cluster, (instance, role)));
    if role != Role::Restoring {
        // It was one of those; null takes it away.
        labels[label::BACKREST_RESTORE] = Value::Null;
    }
    let patch = json!({"metadata": {"uid": uid, "labels": labels}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = api.patch_metadata(instance.as_str(), &parameters, &patch);
    match call("label", &format!("pod {instance}"), patched).await {
        Err(error) if error.is_missing() => Ok(()),
        result => result.map(drop),
    }
}
