//! Steps that remove something: exactly what was seen, by its uid, as a name may have come to mean another object.

use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    rbac::v1::{Role, RoleBinding},
};
use kube::Client;
use pgo_core::{Backup, Cluster, Fixture, Step};
use pgo_crd::{Pgcluster, Pgreplica, Pgtask};
use pgo_objects::fixture_name;

use super::own::remove;
use crate::error::Error;

/// Carries out one of them.
pub async fn one(step: &Step, cluster: &Cluster, client: &Client) -> Result<(), Error> {
    match step {
        Step::RemovePod { instance, uid } => {
            remove::<Pod>(client, cluster, (instance.as_str(), uid)).await
        }
        Step::RemoveProbe { uid } => {
            let name = pgo_objects::probe_name(&cluster.name);
            remove::<Pod>(client, cluster, (&name, uid)).await
        }
        Step::RemoveDrill { uid } => {
            let name = pgo_objects::drill_name(&cluster.name);
            remove::<Pod>(client, cluster, (&name, uid)).await
        }
        Step::RemoveDumpPod { name, uid } => remove::<Pod>(client, cluster, (name, uid)).await,
        Step::RemoveJobPod { name, uid } => remove::<Pod>(client, cluster, (name, uid)).await,
        Step::RemoveClaim { instance, uid } => {
            let name = instance.as_str();
            remove::<PersistentVolumeClaim>(client, cluster, (name, uid)).await
        }
        Step::RemoveCluster => {
            let (name, uid) = (cluster.name.as_str(), cluster.stream.as_str());
            remove::<Pgcluster>(client, cluster, (name, uid)).await
        }
        Step::RemoveReplica { name, uid } => {
            remove::<Pgreplica>(client, cluster, (name.as_str(), uid)).await
        }
        Step::RemoveUserSecret { name, uid } => {
            remove::<Secret>(client, cluster, (name, uid)).await
        }
        Step::RemoveBackup { backup, name, uid } => match backup {
            Backup::Claim => remove::<PersistentVolumeClaim>(client, cluster, (name, uid)).await,
            Backup::Secret => remove::<Secret>(client, cluster, (name, uid)).await,
        },
        Step::RemoveFixture { fixture, uid } => {
            let name = fixture_name(*fixture, &cluster.name);
            let exactly = (name.as_str(), uid.as_str());
            match fixture {
                Fixture::Repository => remove::<Deployment>(client, cluster, exactly).await,
                Fixture::Service | Fixture::ReplicaService | Fixture::RepositoryService => {
                    remove::<Service>(client, cluster, exactly).await
                }
                Fixture::EndpointSlice => remove::<EndpointSlice>(client, cluster, exactly).await,
                Fixture::Lease => remove::<Lease>(client, cluster, exactly).await,
                Fixture::Certificate => remove::<Secret>(client, cluster, exactly).await,
                Fixture::RoleBinding => remove::<RoleBinding>(client, cluster, exactly).await,
                Fixture::Role => remove::<Role>(client, cluster, exactly).await,
                Fixture::Account => remove::<ServiceAccount>(client, cluster, exactly).await,
            }
        }
        Step::RemoveTask { name, uid } => remove::<Pgtask>(client, cluster, (name, uid)).await,
        _ => Ok(()),
    }
}
