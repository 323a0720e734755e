//! What 4.1 keeps of benchmarks, loads and dumps in their tasks.

use kube::ResourceExt as _;
use pgo_core::{Operation, Outcome};
use pgo_crd::Pgtask;
use serde_json::{Value, json};

use super::TIME_FORMAT;

/// 4.1's notes in a task that asks for a benchmark or a load: its state, and when it was done.
pub(super) fn of_task(task: &Pgtask, operation: &Operation) -> Option<Value> {
    const DONE: &str = "job completed";
    let word = match operation.outcome {
        None => "job submitted",
        Some(Outcome::Completed) => DONE,
        Some(Outcome::Failed) => "job error",
    };
    // 4.1 had the name of its Job behind it; the task has that name.
    let word = format!("{word} [{}]", task.name_any());
    let is_noted = task.spec.parameters.contains_key(DONE);
    let is_done = operation.outcome == Some(Outcome::Completed);
    if task.spec.status == word && (!is_done || is_noted) {
        return None;
    }
    let mut patch = json!({"spec": {"status": word}});
    if is_done && !is_noted {
        let at = operation.finished.unwrap_or(operation.started);
        patch["spec"]["parameters"][DONE] = at.strftime(TIME_FORMAT).to_string().into();
    }
    Some(patch)
}

/// 4.1's state of a task that asks for a dump, or for the restore of one.
pub(super) fn of_dump(task: &Pgtask, operation: &Operation) -> Option<Value> {
    let word = match operation.outcome {
        None => "job submitted",
        Some(Outcome::Completed) => "job completed",
        Some(Outcome::Failed) => "job error",
    };
    (task.spec.status != word).then(|| json!({"spec": {"status": word}}))
}
