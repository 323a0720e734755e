//! Making the claim and the pod of a dump.

use std::sync::Arc;

use pgo_core::{Cluster, Step};
use pgo_crd::Pgcluster;

use super::own::{Present, make};
use crate::{context::Context, error::Error};

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
        Step::MakeDumpClaim { claim, storage } => {
            let claim = pgo_objects::dump_claim(&desired, claim, storage);
            make(client, cluster, &claim, Present::Stays).await
        }
        Step::MakeDumpPod { order, claim } => {
            let (uid, logs) = (&cluster.stream, &context.agent_logs);
            let pod = pgo_objects::dump_pod(&desired, uid, (order, claim), logs);
            make(client, cluster, &pod, Present::Stays).await
        }
        _ => Ok(()),
    }
}
