//! Notes on the Pgclusters what a test of their connections has shown, for the reconciler to tell. A test only looks: it is
//! answered also where that cannot be noted, and the answer says so.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
};
use pgo_bus::Kind;
use pgo_crd::{MOST_TESTS, Pgcluster, TestNote};
use pgo_ids::OperationId;
use serde_json::json;
use uuid::Uuid;

use super::Shown;
use crate::{doorbell::doorbell, refusal::kubernetes_text, request::Call};

/// How long an answer waits for the notes; they are written all the same.
const DEADLINE: Duration = Duration::from_secs(5);

/// Pause before a note is tried again that Kubernetes did not take.
const PAUSE: Duration = Duration::from_millis(200);

/// Notes what each cluster has shown. What is noted is told, whatever ends afterwards; of the others it is said why it is not,
/// or may not be.
pub(super) async fn all(
    call: &Arc<Call>,
    namespace: &str,
    (clusters, shown): (&[DynamicObject], &[Shown]),
    began: Timestamp,
) -> Vec<String> {
    let ended = Timestamp::now();
    let (mut untold, mut noting) = (Vec::new(), Vec::new());
    for (cluster, shown) in clusters.iter().zip(shown) {
        let name = cluster.name_any();
        if let Some(why) = hindrance(cluster) {
            untold.push(format!("{name}: {why}"));
            continue;
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
        let place = (call.app.api(namespace), name.clone(), cluster.uid());
        // What was begun is finished, also when the client goes away.
        noting.push((name, tokio::spawn(one(call.clone(), place, note))));
    }
    let deadline = tokio::time::Instant::now() + DEADLINE;
    for (name, noted) in noting {
        let why = match tokio::time::timeout_at(deadline, noted).await {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(why))) => why,
            Ok(Err(_)) => "the apiserver ends".to_owned(),
            Err(_) => {
                let seconds = DEADLINE.as_secs();
                format!(
                    "Kubernetes has not taken the note within {seconds} s; it is told if that is taken yet"
                )
            }
        };
        untold.push(format!("{name}: {why}"));
    }
    for why in &untold {
        tracing::warn!(why, "a test is not told as an event");
    }
    untold
}

/// Why nothing can be noted on a cluster.
fn hindrance(cluster: &DynamicObject) -> Option<String> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return Some("the cluster is being deleted".to_owned());
    }
    let has_room = TestNote::has_room(cluster.annotations().keys());
    (!has_room).then(|| {
        format!("{MOST_TESTS} tests before it wait for the reconciler, which tells them; see that it runs")
    })
}

/// Notes it on exactly this cluster; what Kubernetes fails to take is tried again.
async fn one(
    call: Arc<Call>,
    (api, name, uid): (Api<Pgcluster>, String, Option<String>),
    note: TestNote,
) -> Result<(), String> {
    let id = OperationId::from(Uuid::new_v4());
    let (key, value) = note.annotation(id);
    let patch = json!({"metadata": {"uid": uid, "annotations": {key: value}}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let until = tokio::time::Instant::now() + DEADLINE;
    loop {
        let error = match api.patch(&name, &parameters, &patch).await {
            Ok(stored) => {
                let bell = doorbell(Kind::Pgcluster, &stored, Some(id));
                call.app.bell.tell(bell);
                return Ok(());
            }
            Err(error) => error,
        };
        let is_refused =
            matches!(&error, kube::Error::Api(status) if status.code < 500 && status.code != 429);
        if is_refused || tokio::time::Instant::now() + PAUSE >= until {
            return Err(kubernetes_text(&error));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
