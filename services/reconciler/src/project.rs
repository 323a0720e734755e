//! Projections: what 4.1 keeps in specs and tasks, written after the status, from the status alone.

mod jobs;
mod replicas;
mod tasks;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use pgo_core::{
    Cluster, ClusterStatus, ConditionStatus, Kind, Operation, Outcome, StorageKind, UpgradeStage,
};
use pgo_crd::{Pgcluster, Pgtask, TaskType, delete_request, is_over, label, noted, requested};
use serde_json::{Value, json};

use crate::{
    conditions::{self, Verdict},
    context::Context,
};

/// How long a projection may take; it is only a courtesy to readers of 4.1's fields.
const DEADLINE: Duration = Duration::from_secs(5);

/// 4.1's time in the parameters of a workflow.
const TIME_FORMAT: &str = "%Y-%m-%d.%H.%M.%S";

/// 4.1's word for what is done.
const COMPLETED: &str = "completed";

/// Notes in the Pgcluster's spec and in its tasks how far they are; whether all of its tasks say so then. What fails here is
/// done by a later reconcile.
pub async fn project(
    object: &Arc<Pgcluster>,
    cluster: &Cluster,
    status: &ClusterStatus,
    context: &Context,
) -> bool {
    let namespace = cluster.namespace.as_str();
    if let Some(patch) = of_cluster(object, cluster, status) {
        let api: Api<Pgcluster> = Api::namespaced(context.client.clone(), namespace);
        let name = cluster.name.as_str();
        // What it writes there was asked for by others: nobody is to take it for who asked.
        let parameters = PatchParams {
            field_manager: Some(pgo_crd::RECONCILER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        if let Some(patched) = within(name, api.patch(name, &parameters, &patch)).await {
            context.remember(object.resource_version(), Arc::new(patched));
        }
    }
    replicas::project(cluster, status, context).await;
    let api: Api<Pgtask> = Api::namespaced(context.client.clone(), namespace);
    let mut all = true;
    for task in context.cache.tasks.state() {
        // What cannot be understood is noted nowhere.
        let Ok(task) = &task.0 else { continue };
        if let Some(operation) = operation(task, object, status) {
            all &= note(&api, task, operation).await;
        }
    }
    all
}

/// Notes in a task what became of its operation; whether it says so then. The name may be that of another request by now, or
/// say already what this process has not heard: nothing is written over what was not seen.
async fn note(api: &Api<Pgtask>, task: &Pgtask, operation: &Operation) -> bool {
    let (name, parameters) = (task.name_any(), PatchParams::default());
    let of_version = |mut patch: Value, task: &Pgtask| {
        patch["metadata"]["resourceVersion"] = json!(task.resource_version());
        patch
    };
    // What follows is about the generation that this makes: kubectl wait takes no older word.
    let mut noted = None;
    if let Some(patch) = of_task(task, operation) {
        let patch = of_version(patch, task);
        noted = within(&name, api.patch(&name, &parameters, &Patch::Merge(&patch))).await;
        if noted.is_none() {
            return false;
        }
    }
    let task = noted.as_ref().unwrap_or(task);
    let Some(patch) = of_task_status(task, operation, Timestamp::now()) else {
        return true;
    };
    let patch = Patch::Merge(of_version(patch, task));
    let noted = within(&name, api.patch_status(&name, &parameters, &patch));
    noted.await.is_some()
}

/// What a Pgcluster is to say besides its status: its spec, its labels, and no notes that are told.
fn of_cluster(object: &Pgcluster, cluster: &Cluster, status: &ClusterStatus) -> Option<Value> {
    let spec = of_spec(object, cluster, status);
    let (labels, told) = (
        of_labels(object, cluster, status),
        told_notes(object, status),
    );
    if spec.is_none() && labels.is_empty() && told.is_empty() {
        return None;
    }
    let mut patch = spec.unwrap_or_else(|| json!({}));
    if !labels.is_empty() {
        patch["metadata"]["labels"] = json!(labels);
    }
    if !told.is_empty() {
        patch["metadata"]["annotations"] = json!(told);
    }
    Some(patch)
}

/// The annotations with notes that are told: null takes each away.
fn told_notes<'a>(object: &'a Pgcluster, status: &ClusterStatus) -> BTreeMap<&'a str, Value> {
    let keys = object.annotations().keys();
    let told = keys.filter(|key| noted(key).is_some_and(|id| status.told_notes.contains(&id)));
    told.map(|key| (key.as_str(), Value::Null)).collect()
}

async fn within<T>(name: &str, patched: impl Future<Output = Result<T, kube::Error>>) -> Option<T> {
    match tokio::time::timeout(DEADLINE, patched).await {
        Ok(Ok(patched)) => Some(patched),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
            tracing::debug!(
                name,
                "has changed since it was seen; noted in 4.1's fields later"
            );
            None
        }
        Ok(Err(error)) => {
            tracing::warn!(name, %error, "cannot note in 4.1's fields how far it is");
            None
        }
        Err(_) => {
            tracing::warn!(name, "no answer while noting in 4.1's fields how far it is");
            None
        }
    }
}

/// What a spec is to say: how many replicas there are, and 4.1's state.
fn of_spec(object: &Pgcluster, cluster: &Cluster, status: &ClusterStatus) -> Option<Value> {
    let count = status
        .replica_count
        .filter(|count| count.wanted != cluster.replica_count);
    let state = of_state(object, cluster, status);
    let tag = of_upgrade(object, cluster, status);
    if count.is_none() && tag.is_none() {
        return state;
    }
    let mut patch = state.unwrap_or_else(|| json!({"spec": {}}));
    if let Some(count) = count {
        patch["spec"]["replicaCount"] = count.wanted.into();
    }
    if let Some(tag) = tag {
        patch["spec"]["ccpimagetag"] = tag.into();
    }
    Some(patch)
}

/// The tag that an upgrade has brought into force and that the spec does not name; what was written there since is a wish of
/// its own.
fn of_upgrade<'a>(
    object: &Pgcluster,
    cluster: &Cluster,
    status: &'a ClusterStatus,
) -> Option<&'a str> {
    let newest = status.journal.newest(Kind::UpgradeCluster)?;
    let images = status.images.as_ref()?;
    let is_done = newest.outcome == Some(Outcome::Completed) && images.said == cluster.image_said;
    let (_, tag) = images.in_force.0.rsplit_once(':')?;
    (is_done && object.spec.ccpimagetag != tag && !cluster.is_to_go()).then_some(tag)
}

/// 4.1's word for how far the newest upgrade is.
fn of_minor_upgrade(status: &ClusterStatus) -> Option<&'static str> {
    let upgrade = status.upgrade.as_ref()?;
    match (upgrade.is_running(), &upgrade.stage) {
        (true, _) => Some("upgrade-in-progress"),
        (false, UpgradeStage::Completed) => Some("upgrade-complete"),
        (false, _) => Some("upgrade-failed"),
    }
}

/// 4.1's state of a cluster whose creation is completed, and the name of its claim; once, so that who changes them later is
/// not overruled.
fn of_state(object: &Pgcluster, cluster: &Cluster, status: &ClusterStatus) -> Option<Value> {
    if !status.was_ready() || object.spec.status == COMPLETED {
        return None;
    }
    let on_a_claim = cluster
        .desired
        .as_ref()
        .is_ok_and(|desired| desired.storage.kind != StorageKind::EmptyDir);
    Some(if on_a_claim {
        json!({"spec": {"status": COMPLETED, "PrimaryStorage": {"name": cluster.name.as_str()}}})
    } else {
        json!({"spec": {"status": COMPLETED}})
    })
}

/// 4.1's labels of a Pgcluster that it does not have as they should be: selectors go by them. What a user has put there under
/// a key of his own stays.
fn of_labels(
    object: &Pgcluster,
    cluster: &Cluster,
    status: &ClusterStatus,
) -> BTreeMap<String, String> {
    if cluster.is_to_go() {
        return BTreeMap::new();
    }
    let present = object.labels();
    let primary = status.current_primary.as_ref();
    let ours = [
        (label::NAME, Some(cluster.name.to_string())),
        (label::PG_CLUSTER, Some(cluster.name.to_string())),
        (label::DEPLOYMENT_NAME, Some(cluster.name.to_string())),
        (label::PG_CLUSTER_ID, Some(cluster.stream.to_string())),
        (label::CURRENT_PRIMARY, primary.map(ToString::to_string)),
        (
            label::MINOR_UPGRADE,
            of_minor_upgrade(status).map(str::to_owned),
        ),
    ];
    let ours = ours
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .filter(|(key, value)| present.get(key) != Some(value));
    let applied = status.applied_policies.iter();
    let applied = applied
        .filter(|policy| !present.contains_key(*policy) && !label::is_reserved(policy))
        .map(|policy| (policy.clone(), label::PGPOLICY.to_owned()));
    let users = cluster.desired.iter().flat_map(|desired| &desired.labels);
    let users = users
        .filter(|(key, _)| !present.contains_key(*key))
        .map(|(key, value)| (key.clone(), value.clone()));
    users.chain(applied).chain(ours).collect()
}

/// The operation of this cluster that a task is about.
fn operation<'a>(
    task: &Pgtask,
    object: &Pgcluster,
    status: &'a ClusterStatus,
) -> Option<&'a Operation> {
    let follows_creation = task.spec.tasktype == TaskType::Workflow.as_str()
        && task.namespace() == object.namespace()
        && task.name_any() == format!("{}-createcluster", object.name_any());
    if follows_creation {
        return status.journal.newest(Kind::CreateCluster);
    }
    let follows_restore = task.spec.tasktype == TaskType::Workflow.as_str()
        && task.namespace() == object.namespace()
        && task.name_any() == format!("{}-pgbackrestrestore", object.name_any());
    if follows_restore {
        let id = task.labels().get(label::WORKFLOWID)?.parse().ok()?;
        let mut operations = status.journal.operations.iter();
        let operation = operations.find(|operation| operation.id == id)?;
        return (!operation.is_running() || !is_over(task)).then_some(operation);
    }
    if let Some(id) = requested(task, object) {
        let mut operations = status.journal.operations.iter();
        let operation = operations.find(|operation| operation.id == id)?;
        // An end is not taken back by who does not know it yet: by it the operation is forgotten.
        return (!operation.is_running() || !is_over(task)).then_some(operation);
    }
    let request = delete_request(task, object)?;
    let mut deletions = status.journal.all(Kind::DeleteCluster);
    let own = deletions.find(|deletion| deletion.id == request.operation);
    // One that is none of its own follows the deletion as a whole.
    own.or_else(|| status.journal.newest(Kind::DeleteCluster))
}

/// 4.1's note in the workflow's task that the creation is completed.
fn of_task(task: &Pgtask, operation: &Operation) -> Option<Value> {
    if operation.kind == Kind::CreateBackup {
        return tasks::of_backup_task(task, operation);
    }
    let is_dump = matches!(operation.kind, Kind::CreateDump | Kind::RestoreDump);
    if is_dump || operation.kind == Kind::RestoreBaseBackup {
        return jobs::of_dump(task, operation);
    }
    if matches!(operation.kind, Kind::Benchmark | Kind::Load) {
        return jobs::of_task(task, operation);
    }
    if operation.kind == Kind::RestoreCluster {
        return tasks::of_restore_task(task, operation);
    }
    if operation.kind == Kind::UpgradeCluster {
        return tasks::of_upgrade_task(task, operation);
    }
    let is_noted = task.spec.parameters.contains_key("task completed");
    let is_completed = operation.outcome == Some(Outcome::Completed);
    if operation.kind != Kind::CreateCluster || !is_completed || is_noted {
        return None;
    }
    let at = operation.finished.unwrap_or(operation.started);
    Some(json!({"spec": {
        "status": COMPLETED,
        "parameters": {"task completed": at.strftime(TIME_FORMAT).to_string()},
    }}))
}

/// 4.1's state of a task, and the condition that says what became of it.
fn of_task_status(task: &Pgtask, operation: &Operation, now: Timestamp) -> Option<Value> {
    let (status, reason, message) = match operation.outcome {
        None => (
            ConditionStatus::False,
            "Running",
            "it is under way".to_owned(),
        ),
        Some(Outcome::Completed) => {
            let gave = operation.result.clone();
            let message = gave.unwrap_or_else(|| "it is done".to_owned());
            (ConditionStatus::True, "Completed", message)
        }
        Some(Outcome::Failed) => {
            let cause = operation.cause.clone().unwrap_or_default();
            (ConditionStatus::False, "Failed", cause)
        }
    };
    let verdict = Verdict {
        name: "Complete",
        status,
        reason,
        message,
    };
    let present = task
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let generation = task.metadata.generation.unwrap_or(0);
    let conditions = conditions::with(present.unwrap_or_default(), &verdict, generation, now)?;
    Some(json!({"status": {
        "state": "pgtask Processed",
        "message": "Successfully processed Pgtask by controller",
        "conditions": conditions,
    }}))
}

#[cfg(test)]
mod tests {
    use pgo_core::Journal;

    use super::*;

    fn cluster(desired: Result<pgo_core::Desired, String>) -> Cluster {
        Cluster {
            name: "hippo".parse().expect("a name"),
            namespace: "pgouser1".parse().expect("a namespace"),
            stream: "uid-1".parse().expect("a uid"),
            generation: 1,
            deleting: false,
            actor: String::new(),
            workflow: None,
            delete_requests: Vec::new(),
            replicas: Vec::new(),
            replica_count: 0,
            scale_down: Vec::new(),
            failover: Vec::new(),
            reloads: Vec::new(),
            restarts: Vec::new(),
            upgrades: Vec::new(),
            dumps: Vec::new(),
            removals: Vec::new(),
            backups: Vec::new(),
            restores: Vec::new(),
            drills: Vec::new(),
            jobs: Vec::new(),
            policies: Vec::new(),
            policies_at_creation: Vec::new(),
            tasks: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            notes: pgo_core::Notes::default(),
            changed_by: pgo_core::ChangedBy::default(),
            image_said: String::new(),
            desired,
        }
    }

    fn object(spec: Value) -> Pgcluster {
        let object = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
            "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1"}, "spec": spec,
        });
        serde_json::from_value(object).expect("a Pgcluster")
    }

    fn task(name: &str, spec: Value, status: Value) -> Pgtask {
        let task = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
            "metadata": {"name": name, "namespace": "pgouser1", "labels": {"workflowid": WORKFLOW}},
            "spec": spec, "status": status,
        });
        serde_json::from_value(task).expect("a Pgtask")
    }

    const WORKFLOW: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

    fn status(kind: Kind, outcome: Option<Outcome>) -> ClusterStatus {
        let operation = Operation {
            id: WORKFLOW.parse().expect("an id"),
            kind,
            instance: None,
            actor: String::new(),
            task: None,
            policy: None,
            place: None,
            table: None,
            result: None,
            backup: None,
            tool: None,
            started: Timestamp::UNIX_EPOCH,
            finished: None,
            outcome,
            cause: Some("no disk".to_owned()),
            steps: 0,
            generation: 1,
            delete: None,
        };
        ClusterStatus {
            journal: Journal {
                operations: vec![operation],
                ..Journal::default()
            },
            ..ClusterStatus::default()
        }
    }

    #[test]
    fn a_spec_says_once_that_the_creation_is_completed() {
        let cluster = cluster(Err("not needed here".to_owned()));
        let completed = status(Kind::CreateCluster, Some(Outcome::Completed));
        let patch = of_spec(&object(json!({})), &cluster, &completed).expect("news");
        assert_eq!(patch, json!({"spec": {"status": "completed"}}));
        let noted = object(json!({"status": "completed"}));
        assert_eq!(of_spec(&noted, &cluster, &completed), None);
        for outcome in [None, Some(Outcome::Failed)] {
            let unfinished = status(Kind::CreateCluster, outcome);
            assert_eq!(of_spec(&object(json!({})), &cluster, &unfinished), None);
        }
    }

    #[test]
    fn a_cluster_has_the_labels_that_selectors_go_by_whoever_made_it() {
        let mut cluster = cluster(Err("not needed here".to_owned()));
        let mut status = status(Kind::CreateCluster, None);
        let labelled = |labels: Value| {
            let mut object = object(json!({}));
            object.metadata.labels = serde_json::from_value(labels).expect("labels");
            object
        };
        let id = ("pg-cluster-id".to_owned(), "uid-1".to_owned());
        let names = ["name", "pg-cluster", "deployment-name"];
        let mut all_of_it = BTreeMap::from(names.map(|key| (key.to_owned(), "hippo".to_owned())));
        all_of_it.extend([id.clone()]);
        let own = labelled(json!({"team": "a"}));
        assert_eq!(of_labels(&own, &cluster, &status), all_of_it);
        status.current_primary = Some("hippo-abcd".parse().expect("a name"));
        let primary = ("current-primary".to_owned(), "hippo-abcd".to_owned());
        let former = labelled(json!({
            "name": "hippo", "pg-cluster": "hippo", "deployment-name": "hippo", "current-primary": "hippo",
        }));
        assert_eq!(of_labels(&former, &cluster, &status), [id, primary].into());
        let all = labelled(
            json!({"name": "hippo", "pg-cluster": "hippo", "deployment-name": "hippo",
                "current-primary": "hippo-abcd", "pg-cluster-id": "uid-1"}),
        );
        assert!(of_labels(&all, &cluster, &status).is_empty());
        // A policy that was applied is a label, where its name is nobody's label yet.
        status.applied_policies = ["gold", "team", "pgouser"].map(str::to_owned).into();
        let mut with_label = all;
        with_label
            .labels_mut()
            .insert("team".to_owned(), "a".to_owned());
        let gold = ("gold".to_owned(), "pgpolicy".to_owned());
        assert_eq!(of_labels(&with_label, &cluster, &status), [gold].into());
        cluster.deleting = true;
        assert!(of_labels(&own, &cluster, &status).is_empty());
    }

    #[test]
    fn the_task_of_a_creation_follows_it() {
        let object = object(json!({}));
        let spec = json!({"tasktype": "workflow", "parameters": {}});
        let following = task("hippo-createcluster", spec.clone(), json!({}));
        for (outcome, holds, reason, is_noted) in [
            (None, "False", "Running", false),
            (Some(Outcome::Failed), "False", "Failed", false),
            (Some(Outcome::Completed), "True", "Completed", true),
        ] {
            let status = status(Kind::CreateCluster, outcome);
            let operation = operation(&following, &object, &status).expect("its operation");
            assert_eq!(of_task(&following, operation).is_some(), is_noted);
            let patch = of_task_status(&following, operation, Timestamp::UNIX_EPOCH);
            let patch = patch.expect("news");
            let condition = &patch["status"]["conditions"][0];
            assert_eq!(
                (&condition["status"], &condition["reason"]),
                (&json!(holds), &json!(reason))
            );
            assert_eq!(patch["status"]["state"], "pgtask Processed");

            let told = task("hippo-createcluster", spec.clone(), patch["status"].clone());
            assert_eq!(of_task_status(&told, operation, Timestamp::now()), None);
        }
        let other = task("rhino-createcluster", spec, json!({}));
        let status = status(Kind::CreateCluster, None);
        assert!(operation(&other, &object, &status).is_none());
    }

    #[test]
    fn the_task_of_a_deletion_follows_that_of_its_own_cluster() {
        let mut object = object(json!({}));
        object.metadata.creation_timestamp =
            serde_json::from_value(json!("2026-10-15T10:11:12Z")).expect("a time");
        let spec = json!({"tasktype": "delete-data", "parameters": {"pg-cluster": "hippo"}});
        let mut asked = task("hippo-rmdata", spec, json!({}));
        asked.metadata.creation_timestamp =
            serde_json::from_value(json!("2026-10-15T10:11:13Z")).expect("a time");
        let mut status = status(Kind::DeleteCluster, None);
        assert!(operation(&asked, &object, &status).is_some());
        let another = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";
        let operations = &mut status.journal.operations;
        operations.push(Operation {
            id: another.parse().expect("an id"),
            ..operations[0].clone()
        });
        for (id, followed) in [
            (WORKFLOW, WORKFLOW),
            (another, another),
            // Of a flood of requests not each is an operation of its own.
            ("0c9de7c2-0f0e-4b0c-8f55-4a2d3f6a7e10", another),
        ] {
            let labels = asked.metadata.labels.get_or_insert_default();
            labels.insert("workflowid".to_owned(), id.to_owned());
            let found = operation(&asked, &object, &status).expect("its operation");
            assert_eq!(found.id.to_string(), followed);
        }
        std::mem::swap(
            &mut object.metadata.creation_timestamp,
            &mut asked.metadata.creation_timestamp,
        );
        assert!(
            operation(&asked, &object, &status).is_none(),
            "it is older than the cluster"
        );
    }
}
