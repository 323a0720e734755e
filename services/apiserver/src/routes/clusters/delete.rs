//! `POST /clustersdelete`: asks for the deletion; the reconciler does it.
//!
//! ```text
//! request ─► task ─┬─► asked for ────────────────────────────────────────────► deleted
//!                  ├─ one is there that asks for less ─► a further task ─┐
//!                  └─ the cluster is going already ──────────────────────┴─► was that in time? ─► deleted, or refused
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::PartialObjectMeta,
};
use pgo_api::{DeleteClusterRequest, DeleteClusterResponse, Outcome, texts};
use pgo_core::{DeleteOptions, Kind};
use pgo_crd::{Pgcluster, Pgtask, label};
use pgo_ids::{ClusterName, OperationId, StreamId};
use pgo_objects::{Holds, holds};
use uuid::Uuid;

use super::{
    Selection,
    task::{self, Subject},
};
use crate::{
    app::App,
    doorbell::doorbell,
    refusal::{Refusal, kubernetes_text},
    request::Call,
};

/// How long the reconciler may take to take up what is asked of a deletion that goes on. One that is away longer sees the
/// task before it goes on.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(5);

/// Clusters asked for at the same time: each may wait that long.
const AT_ONCE: usize = 16;

/// Pause between two looks whether it has.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn delete(
    call: Arc<Call>,
    request: DeleteClusterRequest,
) -> Result<DeleteClusterResponse, Refusal> {
    let selection = Selection::by_word(&request.selector, request.all_flag, &request.cluster_name);
    let clusters = selection.clusters(&call.app, &request.namespace).await?;
    if clusters.is_empty() {
        let left = match &selection {
            Selection::One(name) => left_over(&call.app, &request.namespace, name).await?,
            _ => None,
        };
        let left = left.map_or_else(String::new, |left| format!("; {left}"));
        return Err(Refusal(format!("{}{left}", texts::NO_CLUSTERS)));
    }
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { ask(&call, &request, &clusters).await });
    asking
        .await
        .map_err(|error| Refusal(format!("the deletion broke off: {error}")))
}

/// What a cluster that is gone has left under its name, and the command that removes it.
async fn left_over(
    app: &App,
    namespace: &str,
    name: &ClusterName,
) -> Result<Option<String>, Refusal> {
    let selector = format!("{}=crunchydata,{}={name}", label::VENDOR, label::PG_CLUSTER);
    let params = ListParams::default().labels(&selector);
    let (claims, secrets): (Api<PersistentVolumeClaim>, Api<Secret>) =
        (app.api(namespace), app.api(namespace));
    let (claims, secrets) = futures::try_join!(
        claims.list_metadata(&params),
        secrets.list_metadata(&params)
    )?;
    let claims = claims.iter().filter(|claim| stays(&claim.metadata));
    let claims = claims.map(|claim| format!("persistentvolumeclaim/{}", claim.name_any()));
    let secrets = secrets.iter().filter(|secret| stays(&secret.metadata));
    let secrets = secrets.map(|secret| format!("secret/{}", secret.name_any()));
    let left: Vec<String> = claims.chain(secrets).collect();
    if left.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "what a former cluster {name} kept is still there, and a new cluster of that name takes it up; to remove it for good: \
         kubectl delete --namespace {namespace} {}",
        left.join(" ")
    )))
}

/// Whether it is not on its way out, and does not go with an owner.
fn stays(metadata: &ObjectMeta) -> bool {
    let owners = metadata.owner_references.as_ref();
    metadata.deletion_timestamp.is_none() && owners.is_none_or(Vec::is_empty)
}

/// Asks for the deletion of each; what stands in the way of one does not keep the others.
async fn ask(
    call: &Call,
    request: &DeleteClusterRequest,
    clusters: &[DynamicObject],
) -> DeleteClusterResponse {
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    let mut asking = Vec::with_capacity(clusters.len());
    for cluster in clusters {
        asking.push(ask_one(call, request, cluster));
    }
    let asked: Vec<_> = stream::iter(asking).buffered(AT_ONCE).collect().await;
    for (cluster, asked) in clusters.iter().zip(asked) {
        match asked {
            Ok(()) => results.push(texts::deleted_cluster(&cluster.name_any())),
            Err(Refusal(why)) => problems.push(why),
        }
    }
    let outcome = if problems.is_empty() {
        Outcome::ok()
    } else {
        Outcome::error(problems.join("; "))
    };
    DeleteClusterResponse { results, outcome }
}

async fn ask_one(
    call: &Call,
    request: &DeleteClusterRequest,
    cluster: &DynamicObject,
) -> Result<(), Refusal> {
    let unusable = |what: &str| Refusal(format!("{} has no usable {what}", cluster.name_any()));
    let name: ClusterName = cluster.name_any().parse().map_err(|_| unusable("name"))?;
    let uid: StreamId = cluster
        .uid()
        .and_then(|uid| uid.parse().ok())
        .ok_or_else(|| unusable("uid"))?;
    let subject = Subject {
        namespace: &request.namespace,
        name: &name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let options = DeleteOptions {
        data: request.delete_data,
        backups: request.delete_backups,
    };
    let is_further = ask_by_task(&call.app, &subject, options).await?;
    let is_going = is_further || cluster.metadata.deletion_timestamp.is_some();
    if is_going && options != DeleteOptions::default() {
        in_time(&call.app, &subject, options).await?;
    }
    Ok(())
}

/// Stores the task that asks for a deletion; a further one where the first is there and asks for less. Whether it is that.
async fn ask_by_task(
    app: &App,
    subject: &Subject<'_>,
    options: DeleteOptions,
) -> Result<bool, Refusal> {
    let tasks: Api<Pgtask> = app.api(subject.namespace);
    let id = OperationId::from(Uuid::new_v4());
    let store = async |name: String| {
        let task = task::deletion(subject, name, id, options);
        let is_former = |found: &Pgtask| task::is_anothers(found, subject.uid);
        let stored = task::create(&tasks, &task, is_former).await?;
        app.bell
            .tell(doorbell(pgo_bus::Kind::Pgtask, &stored, Some(id)));
        Ok::<_, kube::Error>(())
    };
    let name = task::deletion_name(subject.name);
    let refused = match store(name.clone()).await {
        Ok(()) => return Ok(false),
        Err(refused) => refused,
    };
    let found = tasks.get_opt(&name).await?;
    let asked = found.as_ref().and_then(task::asked_to_remove);
    if asked.is_none_or(|asked| asked.covers(options)) {
        return Err(Refusal(kubernetes_text(&refused)));
    }
    store(task::further_deletion_name(subject.name, options)).await?;
    Ok(true)
}

/// Waits until a deletion that goes on has taken up what more is asked of it.
///
/// # Errors
/// The cluster was gone before that, and data is left.
async fn in_time(app: &App, subject: &Subject<'_>, options: DeleteOptions) -> Result<(), Refusal> {
    let clusters: Api<Pgcluster> = app.api(subject.namespace);
    let begin = Instant::now();
    while begin.elapsed() < TAKEN_UP_WITHIN {
        let found = clusters.get_opt(subject.name.as_str()).await?;
        let found = found.filter(|found| found.uid().as_deref() == Some(subject.uid.as_str()));
        let Some(cluster) = found else {
            return nothing_left(app, subject, options).await;
        };
        let status = cluster.status.map(|status| status.0).unwrap_or_default();
        let deletion = status.journal.newest(Kind::DeleteCluster);
        let removes = deletion.and_then(|deletion| deletion.delete);
        if removes.is_some_and(|removes| removes.covers(options)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Refuses where a cluster that is gone has left what was to be removed.
async fn nothing_left(
    app: &App,
    subject: &Subject<'_>,
    options: DeleteOptions,
) -> Result<(), Refusal> {
    let (name, namespace) = (subject.name, subject.namespace);
    let selector = format!("{}=crunchydata,{}={name}", label::VENDOR, label::PG_CLUSTER);
    let claims: Api<PersistentVolumeClaim> = app.api(namespace);
    let found = claims
        .list_metadata(&ListParams::default().labels(&selector))
        .await?;
    let is_wanted_gone = |claim: &&PartialObjectMeta<PersistentVolumeClaim>| {
        let metadata = &claim.metadata;
        let goes = match holds(metadata, name) {
            Some(Holds::Data) => options.data,
            Some(Holds::Backups) => options.backups,
            None => false,
        };
        goes && metadata.deletion_timestamp.is_none()
    };
    let left = found.iter().filter(is_wanted_gone);
    let left: Vec<String> = left.map(|claim| claim.name_any()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let names = left.join(" ");
    Err(Refusal(format!(
        "pgcluster {name} was gone before it could be asked to remove what it keeps: PersistentVolumeClaim {names} is still \
         there; unless a new cluster of that name uses it, remove it: kubectl delete persistentvolumeclaims --namespace \
         {namespace} {names}; passwords that go with data are in the Secrets that kubectl get secrets --namespace \
         {namespace} --selector {selector} shows"
    )))
}
