//! What is there of a cluster's repository of backups.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Resource as _, ResourceExt as _};
use pgo_core::{Cluster, Fixture, Repository};
use pgo_objects::{form, is_repository};

use super::{claim_facts, fixture, pod_facts, with_complaint};
use crate::context::Context;

/// Its objects, and what its agent says.
pub async fn observe(
    pods: &[Arc<Pod>],
    claims: &[Arc<PersistentVolumeClaim>],
    cluster: &Cluster,
    context: &Context,
) -> Repository {
    let cache = &context.cache;
    let deployment = fixture(&cache.deployments, cluster, Fixture::Repository);
    let service = fixture(&cache.services, cluster, Fixture::RepositoryService);
    let of_repository = pgo_core::repository_claim_name(&cluster.name);
    let mut claim = None;
    for found in claims {
        if found.name_any() == of_repository {
            claim = Some(claim_facts(found, context, cluster).await);
        }
    }
    let pods = pods
        .iter()
        .filter(|pod| is_repository(pod.meta(), &cluster.stream));
    // The one that stays, where another one ends.
    let pod = pods.max_by_key(|pod| {
        let stays = pod.metadata.deletion_timestamp.is_none();
        (stays, pod.creation_timestamp(), pod.uid())
    });
    let pod = match pod {
        Some(pod) => Some(with_complaint(pod_facts(pod), context, cluster).await),
        None => None,
    };
    let repositories = &context.repositories;
    match &pod {
        Some(pod) => {
            if let Some(ip) = &pod.ip {
                repositories.hear(cluster, (&pod.uid, ip));
            }
        }
        None => repositories.forget(cluster),
    }
    Repository {
        service_form: service.and_then(|service| form(&service.metadata)),
        form: deployment.and_then(|deployment| form(&deployment.metadata)),
        claim,
        agent: repositories.said(cluster),
        pod,
    }
}
