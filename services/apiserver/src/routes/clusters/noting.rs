//! Notes on a Pgcluster what was done without the reconciler, for the reconciler to tell.

use std::time::Duration;

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use pgo_bus::Kind;
use pgo_crd::Pgcluster;
use pgo_ids::OperationId;
use serde_json::json;

use crate::{doorbell::doorbell, refusal::kubernetes_text, request::Call};

/// How long Kubernetes may take to take a note; then nothing is told.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Pause before a note is tried again that Kubernetes did not take.
const PAUSE: Duration = Duration::from_millis(200);

/// Which cluster is noted on: that with this name and this uid.
pub(crate) struct Place {
    pub namespace: String,
    pub name: String,
    pub uid: Option<String>,
}

/// Notes it on exactly this cluster, as an annotation; what Kubernetes fails to take is tried again.
pub(crate) async fn note(
    call: &Call,
    place: &Place,
    id: OperationId,
    (key, value): (String, String),
) -> Result<(), String> {
    let api: Api<Pgcluster> = call.app.api(&place.namespace);
    let patch = json!({"metadata": {"uid": place.uid, "annotations": {key: value}}});
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let until = tokio::time::Instant::now() + DEADLINE;
    loop {
        let error = match api.patch(&place.name, &parameters, &patch).await {
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
