//! Restores by pgBackRest: the Pgtasks that ask for one, under 4.1's names.

use kube::ResourceExt as _;
use pgo_core::{RestoreRequest, restore::options::RestoreOptions};

use crate::{
    Pgcluster, Pgtask, STORAGE_TYPE, TaskType,
    convert::{actor, is_later, operation},
    places::one_place,
    restarting::in_order,
};

/// Parameter of a Pgtask: the cluster that is to be restored.
pub const RESTORE_FROM: &str = "backrest-restore-from-cluster";

/// Parameter of a Pgtask: name of the new instance, and of its claim.
pub const RESTORE_TO: &str = "backrest-restore-to-pvc";

/// Parameter of a Pgtask: options for pgBackRest.
pub const RESTORE_OPTIONS: &str = "backrest-restore-opts";

/// Parameter of a Pgtask: the point in time.
pub const RESTORE_TARGET: &str = "backrest-pitr-target";

/// Parameters of a Pgtask: key and value of the label of the nodes that the new instance prefers.
pub const NODE_LABEL: [&str; 2] = ["NodeLabelKey", "NodeLabelValue"];

/// The restores that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn restore_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<RestoreRequest> {
    in_order(tasks, |task| restore_request(task, cluster))
}

/// The restore that a Pgtask asks for, where it asks for one of this very cluster.
#[must_use]
pub fn restore_request(task: &Pgtask, cluster: &Pgcluster) -> Option<RestoreRequest> {
    let said = |key: &str| {
        let value = task.spec.parameters.get(key);
        value.map(|value| value.trim()).unwrap_or_default()
    };
    let given = |key: &str| Some(said(key).to_owned()).filter(|text| !text.is_empty());
    let is_asked = task.spec.tasktype == TaskType::Restore.as_str()
        && said(RESTORE_FROM) == cluster.name_any()
        && task.namespace() == cluster.namespace()
        && is_later(task, cluster);
    if !is_asked {
        return None;
    }
    let place = one_place(said(STORAGE_TYPE))
        .map_err(|problem| format!("parameters.{STORAGE_TYPE}: {problem}"));
    let options = place.and_then(|place| {
        let options = RestoreOptions::parse(said(RESTORE_OPTIONS), said(RESTORE_TARGET));
        let options = options.map_err(|error| error.to_string())?;
        Ok(options.within(place))
    });
    let [key, value] = NODE_LABEL.map(given);
    Some(RestoreRequest {
        operation: operation(task, TaskType::Restore.as_str())?,
        actor: actor(task),
        to: given(RESTORE_TO),
        node_label: key.zip(value).map(|(key, value)| format!("{key}={value}")),
        options,
    })
}
