//! The finalizer of a Pgreplica: it is put on and taken off by compare-and-swap.

use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use pgo_core::Cluster;
use pgo_crd::{Pgreplica, REPLICA_FINALIZER};
use pgo_ids::InstanceName;
use serde_json::json;

use crate::{call::call, context::Context, error::Error};

/// Puts the finalizer on exactly this Pgreplica, or takes it off.
///
/// # Errors
/// Somebody else wrote it meanwhile, or Kubernetes failed.
pub async fn hold(
    cluster: &Cluster,
    (name, uid): (&InstanceName, &str),
    held: bool,
    context: &Context,
) -> Result<(), Error> {
    let api: Api<Pgreplica> = Api::namespaced(context.client.clone(), cluster.namespace.as_str());
    let on = format!("Pgreplica {name}");
    let found = call("read", &on, api.get_metadata_opt(name.as_str())).await?;
    let Some(found) = found.filter(|found| found.uid().as_deref() == Some(uid)) else {
        return Ok(());
    };
    let mut finalizers = found.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != REPLICA_FINALIZER);
    if held {
        finalizers.push(REPLICA_FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {
        "resourceVersion": found.resource_version(), "finalizers": finalizers,
    }});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = call(
        "change the finalizers of",
        &on,
        api.patch_metadata(name.as_str(), &parameters, &patch),
    );
    match patched.await {
        // With its last finalizer the object goes: it is removed already, which was only not seen yet.
        Err(error) if error.is_missing() => Ok(()),
        result => result.map(drop),
    }
}
