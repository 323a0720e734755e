//! Steps that remove something: exactly what was seen, by its uid, where a name may have come to mean another object.

use std::fmt::Debug;

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Preconditions},
    core::NamespaceResourceScope,
};
use pgo_core::{Cluster, Step};
use pgo_crd::{Pgcluster, Pgtask, label};
use pgo_objects::{certificate_secret_name, endpoint_slice_name};
use serde::de::DeserializeOwned;

use super::call;
use crate::{context::Context, error::Error};

/// Carries out one of them.
pub async fn one(step: &Step, cluster: &Cluster, context: &Context) -> Result<(), Error> {
    let name = cluster.name.as_str();
    match step {
        Step::RemovePod { instance, uid } => {
            remove::<Pod>(cluster, context, instance.as_str(), Some(uid)).await
        }
        Step::RemoveClaim { instance, uid } => {
            remove::<PersistentVolumeClaim>(cluster, context, instance.as_str(), Some(uid)).await
        }
        Step::RemoveCluster => {
            let uid = cluster.stream.as_str();
            remove::<Pgcluster>(cluster, context, name, Some(uid)).await
        }
        Step::RemoveUserSecret(which) => match &cluster.desired {
            Ok(desired) => {
                remove::<Secret>(cluster, context, &desired.secret_name(*which), None).await
            }
            Err(_) => Ok(()),
        },
        Step::RemoveFixtures => fixtures(cluster, context).await,
        Step::RemoveTasks => tasks(cluster, context).await,
        _ => Ok(()),
    }
}

/// What a cluster has besides its data.
async fn fixtures(cluster: &Cluster, context: &Context) -> Result<(), Error> {
    let name = cluster.name.as_str();
    let agent = format!("{name}-agent");
    remove::<Service>(cluster, context, name, None).await?;
    let slice = endpoint_slice_name(&cluster.name);
    remove::<EndpointSlice>(cluster, context, &slice, None).await?;
    remove::<Lease>(cluster, context, name, None).await?;
    let certificate = certificate_secret_name(&cluster.name);
    remove::<Secret>(cluster, context, &certificate, None).await?;
    remove::<RoleBinding>(cluster, context, &agent, None).await?;
    remove::<Role>(cluster, context, &agent, None).await?;
    remove::<ServiceAccount>(cluster, context, &agent, None).await
}

/// The cluster's tasks, so that a later cluster of the same name begins without them.
async fn tasks(cluster: &Cluster, context: &Context) -> Result<(), Error> {
    let api: Api<Pgtask> = Api::namespaced(context.client.clone(), cluster.namespace.as_str());
    let of_cluster =
        ListParams::default().labels(&format!("{}={}", label::PG_CLUSTER, cluster.name));
    call(
        "remove the Pgtasks of",
        cluster.name.as_str(),
        api.delete_collection(&DeleteParams::default(), &of_cluster),
    )
    .await
    .map(|_| ())
}

async fn remove<K>(
    cluster: &Cluster,
    context: &Context,
    name: &str,
    uid: Option<&str>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), cluster.namespace.as_str());
    let on = format!("{} {name}", K::kind(&()));
    let parameters = DeleteParams {
        preconditions: uid.map(|uid| Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match call("remove", &on, api.delete(name, &parameters)).await {
        Ok(_) => Ok(()),
        Err(Error::Kubernetes { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 404) => {
            Ok(())
        }
        // The precondition did not hold: what had this name is gone, another has it now.
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}
