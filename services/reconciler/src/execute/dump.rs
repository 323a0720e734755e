//! Making the claim and the pod of a dump.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use pgo_core::{Cluster, Step};
use pgo_crd::Pgcluster;
use pgo_ids::ClusterName;

use super::own::{Present, make};
use crate::{call::call, context::Context, error::Error};

/// Carries out one of these steps, with the image that is in force.
pub async fn one(
    step: &Step,
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let status = object.status.clone().map(|status| status.0);
    let Some(desired) = cluster.desired_in_force(&status.unwrap_or_default()) else {
        // Nothing is planned to be made of what nobody understands.
        return Ok(());
    };
    let client = &context.client;
    match step {
        Step::MakeDumpClaim {
            claim,
            kind,
            storage,
        } => {
            let claim = pgo_objects::dump_claim(&desired, (claim, *kind), storage);
            make(client, cluster, &claim, Present::Stays).await
        }
        Step::MakeRestoredClaim { claim: name } => {
            let claim = pgo_objects::restored_claim(&desired, name);
            restored(client, &claim, name).await
        }
        Step::MakeDumpPod { order, claim } => {
            let (uid, logs) = (&cluster.stream, &context.agent_logs);
            let stall = context.config.borrow().cluster.backup_stall_timeout();
            let pod = pgo_objects::dump_pod(&desired, uid, (order, claim), stall, logs);
            make(client, cluster, &pod, Present::Stays).await
        }
        _ => Ok(()),
    }
}

/// Makes the claim that a backup is restored to. One that is there already is taken where it is for data of a cluster of its name:
/// whether it holds any, the pod says.
async fn restored(
    client: &Client,
    claim: &PersistentVolumeClaim,
    name: &ClusterName,
) -> Result<(), Error> {
    let namespace = claim.namespace().unwrap_or_default();
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let on = format!("PersistentVolumeClaim {name}");
    let parameters = PostParams {
        field_manager: Some(pgo_crd::RECONCILER.to_owned()),
        ..PostParams::default()
    };
    match call("make", &on, api.create(&parameters, claim)).await {
        Err(error) if error.is_conflict() => {}
        result => return result.map(drop),
    }
    let Some(found) = call("read", &on, api.get_metadata_opt(name.as_str())).await? else {
        return Err(Error::Leaving(on));
    };
    if found.metadata.deletion_timestamp.is_some() {
        return Err(Error::Leaving(on));
    }
    match pgo_objects::stranger(&found.metadata, name) {
        Some(whose) => Err(Error::Foreign { on, whose }),
        None => Ok(()),
    }
}
