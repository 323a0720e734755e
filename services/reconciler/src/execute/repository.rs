//! Steps that are about a cluster's repository of backups: its objects are made, and its agent is asked.

mod key;

use std::sync::Arc;

pub use key::SOURCE;
use pgo_core::{Cluster, Step};
use pgo_crd::Pgcluster;
use pgo_ids::OperationId;

use super::own::{Present, make};
use crate::{
    context::Context,
    error::Error,
    repositories::{backup, check_restore, create_stanza},
};

/// Carries out one of them.
///
/// # Errors
/// Kubernetes failed. What the agent does not do is asked again with the next look.
pub async fn one(
    step: &Step,
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    if let Step::CancelWork { operation } = step {
        cancel(*operation, cluster, context).await;
        return Ok(());
    }
    let status = object.status.clone().map(|status| status.0);
    let Some(desired) = cluster.desired_repository(&status.unwrap_or_default()) else {
        return Ok(());
    };
    let Some(backups) = &desired.backups else {
        return Ok(());
    };
    let (client, uid) = (&context.client, &cluster.stream);
    match step {
        Step::MakeRepositoryClaim => {
            let claim = pgo_objects::repository_claim(&desired, backups);
            make(client, cluster, &claim, Present::Stays).await
        }
        Step::MakeRepositoryService => {
            let service = pgo_objects::repository_service(&desired, uid);
            make(client, cluster, &service, Present::Renewed).await
        }
        Step::MakeBucketKey => key::copy(&desired, cluster, context).await,
        Step::MakeRepository => {
            let logs = &context.agent_logs;
            let deployment = pgo_objects::repository(&desired, backups, uid, logs);
            make(client, cluster, &deployment, Present::Renewed).await
        }
        _ => {
            ask(step, cluster, context).await;
            Ok(())
        }
    }
}

/// Has the agent stop what it does for an operation.
async fn cancel(operation: OperationId, cluster: &Cluster, context: &Context) {
    if let Err(why) = context.repositories.cancel(cluster, operation).await {
        tracing::warn!(
            cluster = %cluster.name, namespace = %cluster.namespace, %operation, why,
            "the repository of backups does not stop what was cancelled; it is asked again"
        );
    }
}

/// Has the agent begin something.
async fn ask(step: &Step, cluster: &Cluster, context: &Context) {
    let repositories = &context.repositories;
    let (operation, asked) = match step {
        Step::CreateStanza { operation, primary } => {
            let hosts = (Some(primary), None);
            let asked = repositories.begin(cluster, *operation, hosts, create_stanza());
            (operation, asked.await)
        }
        Step::CheckRestore {
            operation,
            primary,
            options,
        } => {
            let hosts = (primary.as_ref(), None);
            let asked = repositories.begin(cluster, *operation, hosts, check_restore(options));
            (operation, asked.await)
        }
        Step::Backup {
            operation,
            primary,
            replica,
            options,
        } => {
            let hosts = (Some(primary), replica.as_ref());
            let stall = context.config.borrow().cluster.backup_stall_timeout();
            let asked = repositories.begin(cluster, *operation, hosts, backup(options, stall));
            (operation, asked.await)
        }
        _ => return,
    };
    if let Err(why) = asked {
        tracing::warn!(
            cluster = %cluster.name, namespace = %cluster.namespace, %operation, why,
            "the repository of backups does not begin; it is asked again"
        );
    }
}
