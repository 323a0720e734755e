//! Notes on a Pgcluster that a schedule was made or deleted, for the reconciler to tell. What was done stays done where that
//! cannot be noted; the answer says so.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ObjectMeta},
};
use pgo_crd::{MOST_SCHEDULES, Pgcluster, ScheduleNote, label};
use pgo_ids::{ClusterName, OperationId};
use uuid::Uuid;

use crate::{
    refusal::kubernetes_text,
    request::Call,
    routes::clusters::{Place, note},
};

/// A schedule of this cluster was made, or not. Why that is told nowhere, where it is not.
pub(super) async fn created(
    call: &Call,
    cluster: &DynamicObject,
    schedule: &str,
    at: Timestamp,
    failed: Option<&str>,
) -> Option<String> {
    let note = ScheduleNote {
        user: call.caller.name.clone(),
        schedule: schedule.to_owned(),
        at,
        deleted: false,
        failed: failed.map(str::to_owned),
    };
    on(call, &cluster.metadata, note).await
}

/// The same of a schedule that was deleted, or not. Where its cluster is gone nobody is left to tell it.
pub(super) async fn deleted(
    call: &Call,
    namespace: &str,
    map: &ConfigMap,
    at: Timestamp,
    failed: Option<&str>,
) -> Option<String> {
    let name: ClusterName = map.labels().get(label::PG_CLUSTER)?.parse().ok()?;
    let clusters: Api<Pgcluster> = call.app.api(namespace);
    let schedule = map.name_any();
    let cluster = match clusters.get_metadata_opt(name.as_str()).await {
        Ok(found) => found?,
        Err(error) => return Some(untold(&schedule, &kubernetes_text(&error))),
    };
    let note = ScheduleNote {
        user: call.caller.name.clone(),
        schedule,
        at,
        deleted: true,
        failed: failed.map(str::to_owned),
    };
    on(call, &cluster.metadata, note).await
}

async fn on(call: &Call, cluster: &ObjectMeta, shown: ScheduleNote) -> Option<String> {
    let annotations = cluster.annotations.iter().flatten();
    if !ScheduleNote::has_room(annotations.map(|(key, _)| key)) {
        let why = format!(
            "{MOST_SCHEDULES} before it wait for the reconciler, which tells them; see that it runs"
        );
        return Some(untold(&shown.schedule, &why));
    }
    let id = OperationId::from(Uuid::new_v4());
    let place = Place {
        namespace: cluster.namespace.clone().unwrap_or_default(),
        name: cluster.name.clone().unwrap_or_default(),
        uid: cluster.uid.clone(),
    };
    let noted = note(call, &place, id, shown.annotation(id)).await;
    noted.err().map(|why| untold(&shown.schedule, &why))
}

fn untold(schedule: &str, why: &str) -> String {
    tracing::warn!(
        schedule,
        why,
        "a change of a schedule is not told as an event"
    );
    format!("schedule {schedule}: this is not told as an event: {why}")
}
