//! Step 5, execute: each step of a plan as calls of Kubernetes, idempotent.

mod change;
mod claim;
mod dump;
mod label;
mod lease;
mod make;
mod order;
mod own;
mod policy;
mod remove;
mod replica;
mod repository;

use std::sync::Arc;

use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::DeserializeGuard,
};
use pgo_core::{Cluster, Step, unrecorded};
use pgo_crd::{FINALIZER, Pgcluster, Pgreplica, Pgtask};
use pgo_objects::{AUTOFAIL, PREFERRED, SYNC_FALLBACK, SYNCHRONOUS, preferred};
use serde_json::json;

pub use repository::SOURCE as KEY_SOURCE;

use crate::{call::call, context::Context, error::Error, observe::asked};

/// Carries out the steps in their order, until one fails; those that do not need each other at the same time.
///
/// # Errors
/// A step failed; those before it are done.
pub async fn execute(
    steps: &[Step],
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    for together in steps.chunk_by(|a, b| is_independent(a) && is_independent(b)) {
        let each = together
            .iter()
            .map(|step| timed(step, object, cluster, context));
        futures::future::try_join_all(each).await?;
    }
    Ok(())
}

/// Whether a step needs nothing that another one does. A pod does: its account must be there before it.
fn is_independent(step: &Step) -> bool {
    matches!(
        step,
        Step::MakeUserSecret(_)
            | Step::CopyUserSecret { .. }
            | Step::MakeCertificate
            | Step::MakeAccess
            | Step::MakeLease(_)
            | Step::MakeService
            | Step::MakeReplicaService
            | Step::MakeEndpointSlice(_)
            | Step::MakeClaim(_)
            | Step::MakeRepositoryClaim
            | Step::MakeRepositoryService
            | Step::MakeBucketKey
            | Step::GrowClaim { .. }
            | Step::MarkClaim { .. }
            | Step::RemoveUserSecret { .. }
            | Step::RemoveBackup { .. }
            | Step::RemoveFixture { .. }
            | Step::RemoveReplica { .. }
            | Step::RemoveTask { .. }
            | Step::Reload { .. }
    )
}

async fn timed(
    step: &Step,
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let begin = std::time::Instant::now();
    one(step, object, cluster, context).await?;
    let took = begin.elapsed();
    tracing::info!(
        cluster = %cluster.name, namespace = %cluster.namespace, ?step,
        millis = took.as_millis(), "carried out a step"
    );
    context.metrics.step(step);
    Ok(())
}

/// Adds the finalizer: the object stays until all of it is gone.
async fn hold(object: &Arc<Pgcluster>, context: &Context) -> Result<(), Error> {
    let added = set_finalizers(object, context, |finalizers| {
        finalizers.push(FINALIZER.to_owned());
    });
    added.await
}

/// Removes the finalizer, and with the last one the object.
async fn let_go(
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    hear_every_request(object, cluster, context).await?;
    let removed = set_finalizers(object, context, |finalizers| {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    });
    match removed.await {
        // It is removed already, which was only not seen yet.
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}

async fn one(
    step: &Step,
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    match step {
        Step::AddFinalizer => hold(object, context).await,
        Step::RemoveFinalizer => let_go(object, cluster, context).await,
        Step::RemovePod { .. }
        | Step::RemoveCluster
        | Step::RemoveClaim { .. }
        | Step::RemoveUserSecret { .. }
        | Step::RemoveBackup { .. }
        | Step::RemoveFixture { .. }
        | Step::RemoveReplica { .. }
        | Step::RemoveTask { .. }
        | Step::RemoveDrill { .. }
        | Step::RemoveDumpPod { .. }
        | Step::RemoveJobPod { .. }
        | Step::RemoveProbe { .. } => remove::one(step, cluster, &context.client).await,
        Step::HoldReplica { .. }
        | Step::ReleaseReplica { .. }
        | Step::DropSlot { .. }
        | Step::Switchover { .. }
        | Step::Failover { .. }
        | Step::Stay(_)
        | Step::Reload { .. }
        | Step::Restart { .. }
        | Step::ApplyPolicy { .. }
        | Step::LabelPod { .. }
        | Step::SetAutofail(_)
        | Step::SetSynchronous(_)
        | Step::SetSyncFallback(_)
        | Step::SetPreferred(_) => of_instances(step, cluster, context).await,
        Step::GrowClaim { .. } | Step::MarkClaim { .. } => {
            claim::change(step, cluster, context).await
        }
        Step::CopyEvents => crate::pages::copy(object, context).await,
        Step::MakeRepositoryClaim
        | Step::MakeRepositoryService
        | Step::MakeBucketKey
        | Step::MakeRepository
        | Step::CreateStanza { .. }
        | Step::CheckRestore { .. }
        | Step::Backup { .. }
        | Step::CancelWork { .. } => repository::one(step, object, cluster, context).await,
        Step::MakeDrill { .. } => make::drill(step, object, cluster, context).await,
        Step::MakeJobPod { order } => make::job(order, object, cluster, context).await,
        Step::MakeClaim(instance) | Step::MakePod { instance, .. } => {
            make::of_instance((step, instance), object, cluster, context).await
        }
        Step::MakeDumpClaim { .. } | Step::MakeRestoredClaim { .. } | Step::MakeDumpPod { .. } => {
            dump::one(step, object, cluster, context).await
        }
        // The others make something for the cluster as a whole.
        _ => match &cluster.desired {
            Ok(desired) => make::one(step, desired, cluster, context).await,
            // Nothing is planned to be made of what nobody understands.
            Err(_) => Ok(()),
        },
    }
}

/// What is said to instances, or on the objects that stand for them.
async fn of_instances(step: &Step, cluster: &Cluster, context: &Context) -> Result<(), Error> {
    match step {
        Step::HoldReplica { name, uid } => replica::hold(cluster, (name, uid), true, context).await,
        Step::ReleaseReplica { name, uid } => {
            replica::hold(cluster, (name, uid), false, context).await
        }
        Step::DropSlot { primary, slot } => {
            let asked = context.agents.drop_slot(&cluster.namespace, primary, slot);
            asked.await.map_err(|error| Error::Agent {
                what: format!("have {primary} remove replication slot {slot}"),
                why: format!("{error:#}"),
            })
        }
        Step::Stay(primary) => {
            let asked = context.agents.stay(&cluster.namespace, primary);
            asked.await.map_err(|why| Error::Agent {
                what: format!("have {primary} keep its place while its pod is replaced"),
                why,
            })
        }
        Step::LabelPod {
            instance,
            uid,
            role,
        } => label::pod(cluster, (instance, uid), *role, context).await,
        Step::SetAutofail(autofail) => {
            lease::say(cluster, (AUTOFAIL, autofail.to_string()), context).await
        }
        Step::SetSynchronous(k) => lease::say(cluster, (SYNCHRONOUS, k.to_string()), context).await,
        Step::SetSyncFallback(falls_back) => {
            lease::say(cluster, (SYNC_FALLBACK, falls_back.to_string()), context).await
        }
        Step::SetPreferred(instances) => {
            lease::say(cluster, (PREFERRED, preferred(instances)), context).await
        }
        Step::Reload { .. } | Step::Restart { .. } => {
            order::one(step, cluster, context).await;
            Ok(())
        }
        Step::ApplyPolicy { .. } => {
            policy::begin(step, cluster, context);
            Ok(())
        }
        _ => {
            change::one(step, cluster, context).await;
            Ok(())
        }
    }
}

/// Asks Kubernetes itself, as the last thing before a cluster goes, whether anything was asked of it that no cache has
/// shown: whoever asked is owed the end of it.
async fn hear_every_request(
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    context: &Context,
) -> Result<(), Error> {
    let (client, namespace) = (&context.client, cluster.namespace.as_str());
    let tasks: Api<DeserializeGuard<Pgtask>> = Api::namespaced(client.clone(), namespace);
    let replicas: Api<DeserializeGuard<Pgreplica>> = Api::namespaced(client.clone(), namespace);
    let parameters = ListParams::default();
    let (tasks, replicas) = futures::future::try_join(
        call("list", "Pgtasks", tasks.list(&parameters)),
        call("list", "Pgreplicas", replicas.list(&parameters)),
    )
    .await?;
    let tasks = tasks.items.iter().filter_map(|task| task.0.as_ref().ok());
    let replicas = replicas.items.iter();
    let replicas = replicas.filter_map(|replica| replica.0.as_ref().ok());
    let config = context.config.borrow().clone();
    let requests = asked(object, (tasks, replicas), &config);
    let status = object.status.clone().map(|status| status.0);
    let unheard = pgo_crd::cluster(object, &config, requests)
        .and_then(|asked| unrecorded(&status.unwrap_or_default(), &asked));
    match unheard {
        None => Ok(()),
        Some(operation) => Err(Error::Unheard(cluster.name.clone(), operation)),
    }
}

/// Changes the finalizers by compare-and-swap: a foreign one that came meanwhile is not lost.
async fn set_finalizers(
    object: &Arc<Pgcluster>,
    context: &Context,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<(), Error> {
    let object = context.newest(object.clone());
    let mut finalizers = object.finalizers().to_vec();
    change(&mut finalizers);
    let name = object.name_any();
    let api: Api<Pgcluster> = Api::namespaced(
        context.client.clone(),
        &object.namespace().unwrap_or_default(),
    );
    let patch = json!({"metadata": {
        "resourceVersion": object.resource_version(), "finalizers": finalizers,
    }});
    let patched = call(
        "change the finalizers",
        &name,
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)),
    )
    .await?;
    context.remember(object.resource_version(), Arc::new(patched));
    Ok(())
}
