//! Step 4, commit: the new status, with its events, in one compare-and-swap.

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt as _, api::PostParams};
use pgo_core::ClusterStatus;
use pgo_crd::{Pgcluster, PgclusterStatus};

use crate::{context::Context, error::Error};

/// How long the API server may take for a write.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Writes a status where it differs from the one the object has, and returns the object as it is then.
///
/// # Errors
/// Another write was first (a conflict), or Kubernetes failed; nothing was written, or it is read again.
pub async fn status(
    object: Arc<Pgcluster>,
    next: &ClusterStatus,
    context: &Context,
) -> Result<Arc<Pgcluster>, Error> {
    let is_written = match &object.status {
        Some(status) => status.0 == *next,
        None => *next == ClusterStatus::default(),
    };
    if is_written {
        return Ok(object);
    }
    let name = object.name_any();
    let api: Api<Pgcluster> = Api::namespaced(
        context.client.clone(),
        &object.namespace().unwrap_or_default(),
    );
    let mut wanted = object.as_ref().clone();
    wanted.status = Some(PgclusterStatus(next.clone()));
    let parameters = PostParams::default();
    let write = api.replace_status(&name, &parameters, &wanted);
    let written = tokio::time::timeout(WRITE_DEADLINE, write)
        .await
        .map_err(|_| Error::Deadline("write the status"))?
        .map_err(|source| Error::Kubernetes {
            what: format!("write the status of Pgcluster {name}"),
            source: Box::new(source),
        })?;
    let written = Arc::new(written);
    // The benchmark of event latency counts from here.
    tracing::debug!(
        stream = object.uid(),
        seq = next.journal.outbox.last.0,
        "the status is written"
    );
    context.remember(object.resource_version(), written.clone());
    Ok(written)
}
