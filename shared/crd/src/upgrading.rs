//! From Pgtasks that ask for an upgrade to what the core decides on.

use kube::ResourceExt as _;
use pgo_core::UpgradeRequest;
use pgo_ids::OperationId;

use crate::{
    Pgcluster, PgoConfig, Pgtask, TaskType,
    convert::{actor, image_with, is_later, is_over},
    label,
};

/// 4.1's parameter of a task that asks for an upgrade: the tag that is wanted; empty means that of `pgo.yaml`.
pub const CCP_IMAGE_TAG: &str = "CCPImageTag";

/// The upgrades that Pgtasks ask for and that are not over.
#[must_use]
pub fn upgrade_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
    config: &PgoConfig,
) -> Vec<UpgradeRequest> {
    tasks
        .filter(|task| !is_over(task))
        .filter_map(|task| {
            let tag = task.spec.parameters.get(CCP_IMAGE_TAG);
            let tag = tag.map(String::as_str).unwrap_or_default();
            let image = image_with(&cluster.spec, tag, config);
            Some(UpgradeRequest {
                operation: upgrade_operation(task, cluster)?,
                actor: actor(task),
                made: task.creation_timestamp().map(|time| time.0),
                image: image.map_err(|invalid| invalid.to_string()),
            })
        })
        .collect()
}

/// Id of the upgrade that a Pgtask asks for, where it asks for one of this very cluster.
#[must_use]
pub fn upgrade_operation(task: &Pgtask, cluster: &Pgcluster) -> Option<OperationId> {
    let of = task.spec.parameters.get(label::PG_CLUSTER);
    if task.spec.tasktype != TaskType::MinorUpgrade.as_str()
        || of != Some(&cluster.name_any())
        || task.namespace() != cluster.namespace()
        || !is_later(task, cluster)
    {
        return None;
    }
    let id = task.labels().get(label::WORKFLOWID);
    id.and_then(|id| id.parse().ok())
        .or_else(|| Some(OperationId::derived(&task.uid()?.parse().ok()?, "upgrade")))
}

/// What a spec itself says of the image: an upgrade begins when that changes, not when `pgo.yaml` does.
pub(crate) fn said(cluster: &Pgcluster) -> String {
    format!("{}:{}", cluster.spec.ccpimage, cluster.spec.ccpimagetag)
}
