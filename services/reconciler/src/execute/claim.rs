//! Changes of claims: a larger volume, and whose data it is.

use k8s_openapi::{
    api::core::v1::PersistentVolumeClaim, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pgo_core::{Cluster, Form, Step};
use pgo_objects::FIRST_SINCE;
use serde_json::{Value, json};

use crate::{call::call, context::Context, error::Error};

/// Exactly this claim: Kubernetes refuses a patch whose uid is another's.
///
/// # Errors
/// Kubernetes failed, or refuses.
pub async fn change(step: &Step, cluster: &Cluster, context: &Context) -> Result<(), Error> {
    let (what, instance, patch) = match step {
        Step::GrowClaim {
            instance,
            uid,
            size,
            form,
        } => ("enlarge", instance, larger(uid, size, form)),
        Step::MarkClaim {
            instance,
            uid,
            since,
        } => {
            let said = json!({FIRST_SINCE: since.to_string()});
            let patch = json!({"metadata": {"uid": uid, "annotations": said}});
            ("mark", instance, patch)
        }
        _ => return Ok(()),
    };
    let namespace = cluster.namespace.as_str();
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = api.patch_metadata(instance.as_str(), &parameters, &patch);
    let named = format!("PersistentVolumeClaim {instance}");
    call(what, &named, patched).await.map(drop)
}

fn larger(uid: &str, size: &str, form: &Form) -> Value {
    let mut metadata = ObjectMeta {
        uid: Some(uid.to_owned()),
        ..ObjectMeta::default()
    };
    pgo_objects::made_for(&mut metadata, form);
    json!({"metadata": metadata, "spec": {"resources": {"requests": {"storage": size}}}})
}
