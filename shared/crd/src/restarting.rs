//! From Pgtasks that ask for a reload or a restart to what the core decides on.

use kube::ResourceExt as _;
use pgo_core::{ReloadRequest, RestartRequest};
use pgo_ids::OperationId;

use crate::{
    Pgcluster, Pgtask, TaskType,
    convert::{actor, is_later, is_over, operation},
    label,
};

/// Parameter of a task that asks for a restart: the one instance that is meant.
pub const INSTANCE: &str = "instance";

/// The reloads that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn reload_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<ReloadRequest> {
    in_order(tasks, |task| reload_request(task, cluster))
}

/// The reload that a Pgtask asks for, where it does.
#[must_use]
pub fn reload_request(task: &Pgtask, cluster: &Pgcluster) -> Option<ReloadRequest> {
    Some(ReloadRequest {
        operation: asked(task, cluster, TaskType::Reload)?,
        actor: actor(task),
    })
}

/// The restarts that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn restart_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<RestartRequest> {
    in_order(tasks, |task| restart_request(task, cluster))
}

/// The restart that a Pgtask asks for, where it does.
#[must_use]
pub fn restart_request(task: &Pgtask, cluster: &Pgcluster) -> Option<RestartRequest> {
    let target = task.spec.parameters.get(INSTANCE);
    Some(RestartRequest {
        operation: asked(task, cluster, TaskType::Restart)?,
        actor: actor(task),
        target: target.filter(|target| !target.is_empty()).cloned(),
    })
}

/// What tasks ask for that are not over, the first to ask first.
pub(crate) fn in_order<'a, T>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    request: impl Fn(&Pgtask) -> Option<T>,
) -> Vec<T> {
    let asking = tasks.filter(|task| !is_over(task));
    let mut asking: Vec<_> = asking
        .filter_map(|task| Some((task, request(task)?)))
        .collect();
    asking.sort_by_key(|(task, _)| (task.creation_timestamp(), task.name_any()));
    asking.into_iter().map(|(_, request)| request).collect()
}

/// Id of what a Pgtask asks for, where it asks for this of this very cluster.
pub(crate) fn asked(task: &Pgtask, cluster: &Pgcluster, what: TaskType) -> Option<OperationId> {
    let of = task.spec.parameters.get(label::PG_CLUSTER);
    let is_asked = task.spec.tasktype == what.as_str()
        && of == Some(&cluster.name_any())
        && task.namespace() == cluster.namespace()
        && is_later(task, cluster);
    is_asked.then(|| operation(task, what.as_str())).flatten()
}
