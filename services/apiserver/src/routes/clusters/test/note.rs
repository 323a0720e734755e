//! Notes on the Pgclusters what a test of their connections has shown, for the reconciler to tell. A test only looks: it is
//! answered also where that cannot be noted.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
};
use pgo_bus::Kind;
use pgo_crd::{Pgcluster, TestNote};
use pgo_ids::OperationId;
use serde_json::json;
use uuid::Uuid;

use super::Shown;
use crate::{doorbell::doorbell, request::Call};

/// How long an answer waits for the notes; they are written all the same.
const DEADLINE: Duration = Duration::from_secs(2);

/// Notes what each cluster has shown.
pub(super) async fn all(
    call: &Arc<Call>,
    namespace: &str,
    (clusters, shown): (&[DynamicObject], &[Shown]),
    began: Timestamp,
) {
    let ended = Timestamp::now();
    let of_each = clusters.iter().zip(shown);
    let noting = of_each.filter_map(|(cluster, shown)| {
        let name = cluster.name_any();
        if cluster.metadata.deletion_timestamp.is_some() {
            return None;
        }
        if !TestNote::has_room(cluster.annotations().keys()) {
            tracing::warn!(
                cluster = name,
                "this test is told nowhere: many before it wait for the reconciler, which tells them"
            );
            return None;
        }
        let broken = shown.iter().filter_map(|(psql, worked)| {
            let why = worked.as_ref().err()?;
            Some(format!("{psql}: {why}"))
        });
        let note = TestNote {
            user: call.caller.name.clone(),
            began,
            ended,
            tried: shown.len(),
            broken: broken.collect(),
        };
        let api: Api<Pgcluster> = call.app.api(namespace);
        Some(one(call.clone(), (api, name, cluster.uid()?), note))
    });
    // What was begun is finished, also when the client goes away.
    let noting = tokio::spawn(futures::future::join_all(noting.collect::<Vec<_>>()));
    if tokio::time::timeout(DEADLINE, noting).await.is_err() {
        tracing::warn!("Kubernetes is slow to take the notes on a test; it is answered before");
    }
}

/// Notes it on exactly this cluster.
async fn one(call: Arc<Call>, (api, name, uid): (Api<Pgcluster>, String, String), note: TestNote) {
    let id = OperationId::from(Uuid::new_v4());
    let (key, value) = note.annotation(id);
    let patch = json!({"metadata": {"uid": uid, "annotations": {key: value}}});
    match api
        .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(stored) => call
            .app
            .bell
            .tell(doorbell(Kind::Pgcluster, &stored, Some(id))),
        Err(error) => {
            tracing::warn!(cluster = name, %error, "a test cannot be noted and is told nowhere");
        }
    }
}
