//! What the scheduler knows besides schedules: the clusters, and the tasks by which something is asked of them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use pgo_crd::{Pgcluster, Pgtask, RequestVerdict, RunNote, TaskType, label, task_cluster};
use pgo_ids::OperationId;
use serde::Deserialize;

use crate::{book::Key, run::Progress};

/// A Pgcluster, as far as it is read here.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Pgcluster)]
pub struct LeanCluster {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: LeanSpec,
    #[serde(default)]
    status: Option<LeanStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LeanSpec {
    userlabels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LeanStatus {
    operations: Vec<LeanOperation>,
}

#[derive(Clone, Debug, Deserialize)]
struct LeanOperation {
    id: String,
    #[serde(default)]
    outcome: Option<String>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its uid: who has the name later is another cluster.
    pub uid: String,
    /// Whether it is on its way out.
    pub is_deleted: bool,
    /// Whether another note on a run has room.
    pub has_room: bool,
    backrest: Option<bool>,
    operations: Vec<(OperationId, Progress)>,
}

impl Cluster {
    fn of(object: &LeanCluster) -> Self {
        // The labels of the object come before those of its user, as for the reconciler.
        let labels = [object.labels(), &object.spec.userlabels];
        let mut said = labels.iter().filter_map(|of| of.get(label::PGO_BACKREST));
        let said = said.find(|value| !value.is_empty());
        let operations = object.status.iter().flat_map(|status| &status.operations);
        let operations = operations.filter_map(|operation| {
            let progress = match operation.outcome.as_deref() {
                None => Progress::Running,
                Some("Completed") => Progress::Completed,
                Some(_) => Progress::Failed,
            };
            Some((operation.id.parse().ok()?, progress))
        });
        Self {
            uid: object.uid().unwrap_or_default(),
            is_deleted: object.metadata.deletion_timestamp.is_some(),
            has_room: RunNote::has_room(object.annotations().keys()),
            backrest: said.and_then(|value| value.parse().ok()),
            operations: operations.collect(),
        }
    }
}

/// A Pgtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its uid: who has the name later is another task.
    pub uid: String,
    version: u64,
    /// Id of what it asks for, where its maker chose one.
    pub operation: Option<OperationId>,
    /// Whether nothing of a schedule can be run before it is over.
    is_waited_for: bool,
    cluster: String,
    /// What became of it; none while it is not over.
    pub verdict: Option<RequestVerdict>,
}

/// Types of tasks that ask for a backup, or for the restore of one: a run that began meanwhile would fail.
const WAITED_FOR: [TaskType; 6] = [
    TaskType::Backrest,
    TaskType::Pgbasebackup,
    TaskType::Pgdump,
    TaskType::Restore,
    TaskType::Pgrestore,
    TaskType::PgbasebackupRestore,
];

impl From<&Pgtask> for Task {
    fn from(task: &Pgtask) -> Self {
        let id = task.labels().get(label::WORKFLOWID);
        let tasktype = task.spec.tasktype.as_str();
        let parameters = task.spec.parameters.iter();
        let parameters = parameters.map(|(key, value)| (key.as_str(), value.as_str()));
        let cluster = task_cluster(tasktype, parameters);
        Self {
            uid: task.uid().unwrap_or_default(),
            version: version(&task.metadata),
            operation: id.and_then(|id| id.parse().ok()),
            is_waited_for: WAITED_FOR.iter().any(|one| one.as_str() == tasktype),
            cluster: cluster.unwrap_or_default().to_owned(),
            verdict: task.status.as_ref().and_then(|status| status.verdict()),
        }
    }
}

/// The version of an object. Versions are compared as numbers, which they are in Kubernetes.
pub fn version(meta: &ObjectMeta) -> u64 {
    let version = meta.resource_version.as_deref();
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn key(meta: &ObjectMeta) -> Option<Key> {
    Some(Key {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
    })
}

/// All of it.
#[derive(Debug, Default)]
pub struct Around {
    clusters: BTreeMap<Key, Cluster>,
    tasks: BTreeMap<Key, Task>,
    /// Which task asks for which operation.
    by_operation: BTreeMap<OperationId, Key>,
    /// Whether clusters that do not say it have pgBackRest; none while that is not known.
    pub backrest: Option<bool>,
}

/// Why nothing can be run on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// For a reason that waiting does not mend.
    Final(String),
    /// It is not known whether something can.
    Unknown,
}

impl Around {
    /// A cluster.
    pub fn cluster(&self, namespace: &str, name: &str) -> Option<&Cluster> {
        self.clusters.get(&Key::new(namespace, name))
    }

    /// Why there is no cluster to run anything on.
    pub fn absence(&self, namespace: &str, name: &str) -> Option<String> {
        match self.cluster(namespace, name) {
            None => Some(format!(
                "there is no cluster {name} in namespace {namespace}"
            )),
            Some(cluster) if cluster.is_deleted => Some(format!("cluster {name} is being deleted")),
            Some(_) => None,
        }
    }

    /// What keeps pgBackRest from working for a cluster.
    pub fn hindrance(&self, namespace: &str, name: &str) -> Option<Hindrance> {
        if let Some(reason) = self.absence(namespace, name) {
            return Some(Hindrance::Final(reason));
        }
        let cluster = self.cluster(namespace, name)?;
        match cluster.backrest.or(self.backrest) {
            Some(true) => None,
            Some(false) => Some(Hindrance::Final(format!(
                "cluster {name} has no pgBackRest (its label {}, else Cluster.Backrest of pgo.yaml)",
                label::PGO_BACKREST
            ))),
            None => Some(Hindrance::Unknown),
        }
    }

    /// How far an operation is of which a task or the cluster knows.
    pub fn progress(
        &self,
        namespace: &str,
        cluster: &str,
        operation: OperationId,
    ) -> Option<Progress> {
        let known = self.cluster(namespace, cluster).and_then(|cluster| {
            let mut operations = cluster.operations.iter();
            operations.find(|(id, _)| *id == operation)
        });
        let ended = known.map(|(_, progress)| *progress);
        if ended.is_some_and(|progress| progress != Progress::Running) {
            return ended;
        }
        let task = self.by_operation.get(&operation);
        let task = task.and_then(|key| self.tasks.get(key));
        let of_task = task.map(|task| match task.verdict {
            None => Progress::Running,
            Some(RequestVerdict::Completed) => Progress::Completed,
            Some(RequestVerdict::Failed(_)) => Progress::Failed,
        });
        of_task.or(ended)
    }

    /// Whether a task asks for an operation.
    pub fn asks_for(&self, operation: OperationId) -> bool {
        self.by_operation.contains_key(&operation)
    }

    /// The cluster of each task for a backup or a restore that is not over, its namespace before it, and the id of what it asks for.
    pub fn at_work(&self) -> impl Iterator<Item = (Key, Option<OperationId>)> {
        let tasks = self.tasks.iter();
        let at_work = tasks.filter(|(_, task)| task.is_waited_for && task.verdict.is_none());
        at_work.map(|(key, task)| (Key::new(&key.namespace, &task.cluster), task.operation))
    }

    /// Takes a cluster as it is now.
    pub fn put_cluster(&mut self, object: &LeanCluster) {
        if let Some(key) = key(&object.metadata) {
            self.clusters.insert(key, Cluster::of(object));
        }
    }

    /// Forgets a cluster.
    pub fn remove_cluster(&mut self, object: &LeanCluster) {
        if let Some(key) = key(&object.metadata) {
            self.clusters.remove(&key);
        }
    }

    /// Takes all clusters of a namespace; there are no others.
    pub fn replace_clusters(&mut self, namespace: &str, all: &[LeanCluster]) {
        self.clusters.retain(|key, _| key.namespace != namespace);
        all.iter().for_each(|object| self.put_cluster(object));
    }

    /// Takes a task as it is now, unless it is known in a later version.
    pub fn put_task(&mut self, task: &Pgtask) {
        let Some(key) = key(&task.metadata) else {
            return;
        };
        let task = Task::from(task);
        let known = self.tasks.get(&key);
        if known.is_some_and(|known| known.version > task.version) {
            return;
        }
        if let Some(former) = known.and_then(|known| known.operation) {
            self.by_operation.remove(&former);
        }
        if let Some(operation) = task.operation {
            self.by_operation.insert(operation, key.clone());
        }
        self.tasks.insert(key, task);
    }

    /// Forgets a task, unless another one has its name.
    pub fn remove_task(&mut self, task: &Pgtask) {
        if let Some(key) = key(&task.metadata)
            && let Some(known) = self.tasks.get(&key)
            && Some(&known.uid) == task.metadata.uid.as_ref()
        {
            let operation = known.operation;
            operation.map(|id| self.by_operation.remove(&id));
            self.tasks.remove(&key);
        }
    }

    /// Takes all tasks of a namespace; there are no others.
    pub fn replace_tasks(&mut self, namespace: &str, all: &[Pgtask]) {
        self.tasks.retain(|key, _| key.namespace != namespace);
        self.by_operation
            .retain(|_, key| key.namespace != namespace);
        all.iter().for_each(|task| self.put_task(task));
    }
}
