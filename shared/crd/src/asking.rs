//! Which Pgtasks ask for something of a cluster other than its deletion, whatever it is.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use pgo_ids::OperationId;

use crate::{
    Pgcluster, Pgtask, backup_request, convert::is_over, drill_request, dump_operation,
    failover_request, job_operation, label, policy_request, reload_request, removal_operation,
    restart_request, restore_request, scale_down_request, upgrade_operation,
};

/// Id of what a Pgtask asks for of this very cluster other than its deletion, where it asks for anything; also where it is
/// over.
#[must_use]
pub fn requested(task: &Pgtask, cluster: &Pgcluster) -> Option<OperationId> {
    let removal = || Some(scale_down_request(task, cluster)?.operation);
    let change = || Some(failover_request(task, cluster)?.operation);
    let reload = || Some(reload_request(task, cluster)?.operation);
    let restart = || Some(restart_request(task, cluster)?.operation);
    let backup = || Some(backup_request(task, cluster)?.operation);
    let restore = || Some(restore_request(task, cluster)?.operation);
    let drill = || Some(drill_request(task, cluster)?.operation);
    let policy = || Some(policy_request(task, cluster)?.operation);
    removal()
        .or_else(change)
        .or_else(reload)
        .or_else(restart)
        .or_else(backup)
        .or_else(restore)
        .or_else(drill)
        .or_else(policy)
        .or_else(|| dump_operation(task, cluster))
        .or_else(|| removal_operation(task, cluster))
        .or_else(|| job_operation(task, cluster))
        .or_else(|| upgrade_operation(task, cluster))
}

/// Names of the Pgtasks that ask and are not over, by what they ask for.
#[must_use]
pub fn asking<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> BTreeMap<OperationId, String> {
    let open = tasks.filter(|task| !is_over(task));
    open.filter_map(|task| Some((requested(task, cluster)?, task.name_any())))
        .collect()
}

/// What somebody wants to go on no longer of what Pgtasks ask for, and who that is; also where it is over.
#[must_use]
pub fn cancelled<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> BTreeMap<OperationId, String> {
    tasks
        .filter_map(|task| {
            let who = task.annotations().get(label::CANCEL)?;
            Some((requested(task, cluster)?, who.clone()))
        })
        .collect()
}
