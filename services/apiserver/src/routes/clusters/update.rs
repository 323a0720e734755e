//! `POST /clustersupdate`: whether instances take over by themselves, as 4.1's label of the Pgcluster says it, how large volumes are,
//! and which backups are tried. Who asked is noted with it, in the same write: the reconciler tells it.

use std::sync::Arc;

use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
};
use pgo_api::{Outcome, UpdateClusterRequest, UpdateClusterResponse, texts};
use pgo_bus::Kind;
use pgo_core::DrillPolicy;
use pgo_crd::{Pgcluster, UpdateNote, label};
use pgo_ids::OperationId;
use serde_json::json;
use uuid::Uuid;

use super::{failover::selected, grow};
use crate::{doorbell::doorbell, refusal::Refusal, request::Call};

/// What is to change of each cluster.
struct Change {
    autofail: Option<bool>,
    /// The size of the volumes, and the storage classes that let them grow.
    size: Option<(String, Vec<String>)>,
    drills: Option<DrillPolicy>,
}

pub(crate) async fn update(
    call: Arc<Call>,
    request: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Refusal> {
    let change = change(&call, &request).await?;
    let which = (
        request.selector.as_str(),
        request.all_flag,
        request.cluster_names.as_slice(),
    );
    let clusters = selected(&call.app, &request.namespace, which).await?;
    if clusters.is_empty() {
        return Err(Refusal(texts::NO_CLUSTERS.to_owned()));
    }
    let names: Vec<String> = clusters.iter().map(kube::ResourceExt::name_any).collect();
    let unknown: Vec<&str> = request
        .cluster_names
        .iter()
        .filter(|name| request.selector.is_empty() && !request.all_flag && !names.contains(name))
        .map(String::as_str)
        .collect();
    // What was begun is finished, also when the client goes away.
    let problem = (!unknown.is_empty()).then(|| {
        let all = unknown.join(", ");
        format!("{}: {all}", texts::NO_CLUSTERS)
    });
    let namespace = request.namespace.clone();
    let updating =
        tokio::spawn(async move { update_all(&call, &namespace, &clusters, &change).await });
    let mut answer = updating
        .await
        .map_err(|error| Refusal(format!("the update broke off: {error}")))?;
    if let Some(problem) = problem.filter(|_| answer.outcome.failure().is_none()) {
        answer.outcome = Outcome::error(problem);
    }
    Ok(answer)
}

/// What a request asks for. 4.1's always says something of autofail.
async fn change(call: &Call, request: &UpdateClusterRequest) -> Result<Change, Refusal> {
    let size = request.pvc_size.as_str();
    let drills = drills(&request.restore_drills)?;
    if size.is_empty() && request.keep_autofail && drills.is_none() {
        return Err(Refusal("the request changes nothing".to_owned()));
    }
    let size = match size {
        "" => None,
        size => {
            grow::check(size)?;
            Some((size.to_owned(), grow::growing_classes(&call.app).await?))
        }
    };
    Ok(Change {
        autofail: (!request.keep_autofail).then_some(request.autofail),
        size,
        drills,
    })
}

/// Which backups are to be tried; none where nothing is said of it.
pub(super) fn drills(word: &str) -> Result<Option<DrillPolicy>, Refusal> {
    match (word, DrillPolicy::named(word)) {
        ("", _) => Ok(None),
        (_, Some(policy)) => Ok(Some(policy)),
        (other, None) => Err(Refusal(format!(
            "restore drills are made each, daily or never, not {other:?}"
        ))),
    }
}

/// Changes each; what stands in the way of one does not keep the others.
async fn update_all(
    call: &Call,
    namespace: &str,
    clusters: &[DynamicObject],
    change: &Change,
) -> UpdateClusterResponse {
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for cluster in clusters {
        match update_one(call, namespace, cluster, change).await {
            Ok(()) => results.push(texts::updated_cluster(&cluster.name_any())),
            Err(Refusal(why)) => problems.push(why),
        }
    }
    let outcome = if problems.is_empty() {
        Outcome::ok()
    } else {
        Outcome::error(problems.join("; "))
    };
    UpdateClusterResponse { results, outcome }
}

async fn update_one(
    call: &Call,
    namespace: &str,
    cluster: &DynamicObject,
    change: &Change,
) -> Result<(), Refusal> {
    let api: Api<Pgcluster> = call.app.api(namespace);
    let name = cluster.name_any();
    let note = UpdateNote {
        user: call.caller.name.clone(),
    };
    let id = OperationId::from(Uuid::new_v4());
    let (key, value) = note.annotation(id);
    let mut patch = json!({"metadata": {"annotations": {key: value}}});
    if let Some(autofail) = change.autofail {
        patch["metadata"]["labels"] = json!({label::AUTOFAIL: autofail.to_string()});
    }
    if let Some((size, classes)) = &change.size {
        patch["spec"] = grow::prepare(&call.app, cluster, (size, classes)).await?;
    }
    if let Some(drills) = change.drills {
        patch["spec"]["restoreDrills"] = json!(drills.as_str());
    }
    let parameters = PatchParams::default();
    let stored = api.patch(&name, &parameters, &Patch::Merge(&patch)).await?;
    let rung = doorbell(Kind::Pgcluster, &stored, Some(id));
    call.app.bell.tell(rung);
    let size = change.size.as_ref().map(|(size, _)| size.as_str());
    tracing::info!(
        cluster = name,
        autofail = change.autofail,
        size,
        drills = ?change.drills,
        user = call.caller.name,
        "changed settings of a cluster"
    );
    Ok(())
}
