//! `POST /clustersupdate`: whether instances take over by themselves, as 4.1's label of the Pgcluster says it. Who asked is
//! noted with it, in the same write: the reconciler tells it.

use std::sync::Arc;

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pgo_api::{Outcome, UpdateClusterRequest, UpdateClusterResponse, texts};
use pgo_bus::Kind;
use pgo_crd::{Pgcluster, UpdateNote, label};
use pgo_ids::OperationId;
use serde_json::json;
use uuid::Uuid;

use super::failover::selected;
use crate::{doorbell::doorbell, refusal::Refusal, request::Call};

pub(crate) async fn update(
    call: Arc<Call>,
    request: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Refusal> {
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
    let (namespace, autofail) = (request.namespace.clone(), request.autofail);
    let updating =
        tokio::spawn(async move { update_all(&call, &namespace, &names, autofail).await });
    let mut answer = updating
        .await
        .map_err(|error| Refusal(format!("the update broke off: {error}")))?;
    if let Some(problem) = problem.filter(|_| answer.outcome.failure().is_none()) {
        answer.outcome = Outcome::error(problem);
    }
    Ok(answer)
}

/// Labels each; what stands in the way of one does not keep the others.
async fn update_all(
    call: &Call,
    namespace: &str,
    names: &[String],
    autofail: bool,
) -> UpdateClusterResponse {
    let api: Api<Pgcluster> = call.app.api(namespace);
    let parameters = PatchParams::default();
    let note = UpdateNote {
        user: call.caller.name.clone(),
    };
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        let id = OperationId::from(Uuid::new_v4());
        let (key, value) = note.annotation(id);
        let patch = json!({"metadata": {
            "labels": {label::AUTOFAIL: autofail.to_string()}, "annotations": {key: value},
        }});
        match api.patch(name, &parameters, &Patch::Merge(&patch)).await {
            Ok(stored) => {
                call.app
                    .bell
                    .tell(doorbell(Kind::Pgcluster, &stored, Some(id)));
                tracing::info!(
                    cluster = name,
                    autofail,
                    user = call.caller.name,
                    "said whether instances take over by themselves"
                );
                results.push(texts::updated_cluster(name));
            }
            Err(error) => problems.push(Refusal::from(error).0),
        }
    }
    let outcome = if problems.is_empty() {
        Outcome::ok()
    } else {
        Outcome::error(problems.join("; "))
    };
    UpdateClusterResponse { results, outcome }
}
