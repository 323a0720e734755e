//! 4.1's words in the tasks that ask for something: how far that is.

use pgo_core::{Operation, Outcome};
use pgo_crd::{Pgtask, TaskType};
use serde_json::{Value, json};

use super::{COMPLETED, TIME_FORMAT};

/// 4.1's state of a task that asks for an upgrade.
pub(super) fn of_upgrade_task(task: &Pgtask, operation: &Operation) -> Option<Value> {
    let word = match operation.outcome {
        None => "in progress",
        Some(Outcome::Completed) => COMPLETED,
        Some(Outcome::Failed) => "failed",
    };
    (task.spec.status != word).then(|| json!({"spec": {"status": word}}))
}

/// 4.1's state of a task that asks for a backup.
pub(super) fn of_backup_task(task: &Pgtask, operation: &Operation) -> Option<Value> {
    let word = match operation.outcome {
        None => "Backup Job Submitted",
        Some(Outcome::Completed) => "job completed",
        Some(Outcome::Failed) => "job error",
    };
    if task.spec.status == word {
        return None;
    }
    let mut patch = json!({"spec": {"status": word}});
    // 4.1 follows those by pg_basebackup alone.
    let is_followed = task.spec.tasktype == TaskType::Pgbasebackup.as_str();
    if let Some(at) = operation.finished
        && is_followed
        && operation.outcome == Some(Outcome::Completed)
    {
        patch["spec"]["parameters"]["task completed"] = at.strftime(TIME_FORMAT).to_string().into();
    }
    Some(patch)
}

/// 4.1's notes in the tasks of a restore: of the one that asks for it, and of the one that follows it.
pub(super) fn of_restore_task(task: &Pgtask, operation: &Operation) -> Option<Value> {
    let follows = task.spec.tasktype == TaskType::Workflow.as_str();
    let mut patch = json!({"spec": {}});
    let word = match (operation.outcome, follows) {
        (None, _) => "in progress",
        (Some(Outcome::Completed), true) => COMPLETED,
        (Some(Outcome::Completed), false) => "job completed",
        (Some(Outcome::Failed), _) => "job error",
    };
    let is_noted = |key: &str| !follows || task.spec.parameters.contains_key(key);
    let steps = [
        (
            operation.steps > 0,
            "restore job created",
            operation.started,
        ),
        (
            operation.outcome == Some(Outcome::Completed),
            "restored Primary created",
            operation.finished.unwrap_or(operation.started),
        ),
    ];
    let mut any = task.spec.status != word;
    patch["spec"]["status"] = word.into();
    for (_, key, at) in steps
        .into_iter()
        .filter(|(is_so, key, _)| *is_so && !is_noted(key))
    {
        patch["spec"]["parameters"][key] = at.strftime(TIME_FORMAT).to_string().into();
        any = true;
    }
    any.then_some(patch)
}
