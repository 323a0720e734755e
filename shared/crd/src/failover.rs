//! From Pgtasks that ask for another primary to what the core decides on.

use kube::ResourceExt as _;
use pgo_core::FailoverRequest;

use crate::{
    Pgcluster, Pgtask, TaskType,
    convert::{actor, is_later, is_over, operation},
    label,
};

/// The changes of the primary that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn failover_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<FailoverRequest> {
    let mut asking: Vec<_> = tasks
        .filter(|task| !is_over(task))
        .filter_map(|task| Some((task, failover_request(task, cluster)?)))
        .collect();
    asking.sort_by_key(|(task, _)| (task.creation_timestamp(), task.name_any()));
    asking.into_iter().map(|(_, request)| request).collect()
}

/// The change of the primary that a Pgtask asks for, where it does: as in 4.1 a parameter has the cluster's name, and a
/// label that of the instance.
#[must_use]
pub fn failover_request(task: &Pgtask, cluster: &Pgcluster) -> Option<FailoverRequest> {
    if task.spec.tasktype != TaskType::Failover.as_str()
        || !task.spec.parameters.contains_key(&cluster.name_any())
        || task.namespace() != cluster.namespace()
        || !is_later(task, cluster)
    {
        return None;
    }
    let label = |key: &str| task.labels().get(key).filter(|value| !value.is_empty());
    Some(FailoverRequest {
        operation: operation(task, "failover")?,
        actor: actor(task),
        target: label(label::TARGET).cloned(),
        planned: label(label::PLANNED).is_some_and(|value| value == "true"),
    })
}
