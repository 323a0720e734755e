//! Has a claim ask for a larger volume.

use k8s_openapi::{
    api::core::v1::PersistentVolumeClaim, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pgo_core::{Cluster, Form, Step};
use serde_json::json;

use crate::{call::call, context::Context, error::Error};

/// Exactly this claim: Kubernetes refuses a patch whose uid is another's.
///
/// # Errors
/// Kubernetes failed, or refuses.
pub async fn claim(step: &Step, cluster: &Cluster, context: &Context) -> Result<(), Error> {
    let Step::GrowClaim {
        instance,
        uid,
        size,
        form,
    } = step
    else {
        return Ok(());
    };
    let namespace = cluster.namespace.as_str();
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
    let patch = patch(uid, size, form);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = api.patch_metadata(instance.as_str(), &parameters, &patch);
    let what = format!("PersistentVolumeClaim {instance}");
    call("enlarge", &what, patched).await.map(drop)
}

fn patch(uid: &str, size: &str, form: &Form) -> serde_json::Value {
    let mut metadata = ObjectMeta {
        uid: Some(uid.to_owned()),
        ..ObjectMeta::default()
    };
    pgo_objects::made_for(&mut metadata, form);
    json!({"metadata": metadata, "spec": {"resources": {"requests": {"storage": size}}}})
}
