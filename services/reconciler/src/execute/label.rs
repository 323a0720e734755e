//! The label by which the Service of the replicas finds their pods.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pgo_core::{Cluster, Role};
use pgo_crd::label;
use pgo_ids::InstanceName;
use serde_json::json;

use super::call;
use crate::{context::Context, error::Error};

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
    let service = role.service(&cluster.name);
    // Kubernetes refuses a patch whose uid is another pod's.
    let patch = json!({"metadata": {"uid": uid, "labels": {label::SERVICE_NAME: service}}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = api.patch_metadata(instance.as_str(), &parameters, &patch);
    match call("label", &format!("pod {instance}"), patched).await {
        Err(error) if error.is_missing() => Ok(()),
        result => result.map(drop),
    }
}
