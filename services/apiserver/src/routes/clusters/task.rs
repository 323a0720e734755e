//! Pgtasks that belong to a cluster and go with it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions},
};
use pgo_api::CreateFailoverRequest;
use pgo_core::DeleteOptions;
use pgo_crd::{CCP_IMAGE_TAG, INSTANCE, Pgtask, PgtaskSpec, StorageSpec, TaskType, label};
use pgo_ids::{ClusterName, OperationId, StreamId};

use crate::refusal::Refusal;

/// How long a task is tried again that must follow something done: a leader change of Kubernetes' API server or store is
/// over by then, and the handler has time left.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause before the second try; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The cluster that a task is about.
pub(super) struct Subject<'a> {
    pub namespace: &'a str,
    pub name: &'a ClusterName,
    /// Its uid: who has the name later is another cluster.
    pub uid: &'a StreamId,
    /// Who asks.
    pub actor: &'a str,
}

/// Name of the task that follows a creation.
pub(super) fn creation_name(cluster: &ClusterName) -> String {
    format!("{cluster}-createcluster")
}

/// Name of the task that asks for a deletion.
pub(super) fn deletion_name(cluster: &ClusterName) -> String {
    format!("{cluster}-rmdata")
}

/// Name of a further task that asks for a deletion, where the first asked for less.
pub(super) fn further_deletion_name(cluster: &ClusterName, options: DeleteOptions) -> String {
    let what = match (options.data, options.backups) {
        (true, true) => "-with-data-and-backups",
        (true, false) => "-with-data",
        (false, true) => "-with-backups",
        (false, false) => "",
    };
    format!("{}{what}", deletion_name(cluster))
}

/// What a task asks to remove; none where it asks for no deletion of a cluster.
pub(super) fn asked_to_remove(task: &Pgtask) -> Option<DeleteOptions> {
    let is_true = |key: &str| task.spec.parameters.get(key).map(String::as_str) == Some("true");
    let is_deletion = task.spec.tasktype == TaskType::DeleteData.as_str();
    is_deletion.then(|| DeleteOptions {
        data: is_true("delete-data"),
        backups: is_true("delete-backups"),
    })
}

/// The task that follows a creation.
pub(super) fn creation(subject: &Subject<'_>, id: OperationId, now: Timestamp) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        (label::WORKFLOWID, id.to_string()),
        // 4.1's form of a time.
        (
            "task submitted",
            now.strftime("%Y-%m-%d.%H.%M.%S").to_string(),
        ),
    ];
    let name = creation_name(subject.name);
    task(subject, name, TaskType::Workflow, id, &[], parameters)
}

/// The task that asks for a deletion.
pub(super) fn deletion(
    subject: &Subject<'_>,
    name: String,
    id: OperationId,
    DeleteOptions { data, backups }: DeleteOptions,
) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        ("delete-data", data.to_string()),
        ("delete-backups", backups.to_string()),
        ("is-replica", false.to_string()),
        ("is-backup", false.to_string()),
        ("replica-name", String::new()),
    ];
    let labels = [(label::PGRMDATA, "true")];
    task(subject, name, TaskType::DeleteData, id, &labels, parameters)
}

/// The task that asks for the removal of a replica.
pub(super) fn scale_down(
    subject: &Subject<'_>,
    replica: &str,
    id: OperationId,
    with_data: bool,
) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        ("delete-data", with_data.to_string()),
        ("delete-backups", false.to_string()),
        ("is-replica", true.to_string()),
        ("is-backup", false.to_string()),
        ("replica-name", replica.to_owned()),
    ];
    let labels = [(label::PGRMDATA, "true")];
    let name = format!("{replica}-rmdata");
    task(subject, name, TaskType::DeleteData, id, &labels, parameters)
}

/// The task that asks for a policy to be applied. Each policy has its own, so that one does not wait for the other.
pub(super) fn policy(subject: &Subject<'_>, policy: &str, id: OperationId) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        (pgo_crd::POLICY, policy.to_owned()),
    ];
    let name = format!("{}-apply-{policy}", subject.name);
    task(subject, name, TaskType::ApplyPolicy, id, &[], parameters)
}

/// The task that asks for another primary: 4.1's labels and its one parameter.
pub(super) fn failover(
    subject: &Subject<'_>,
    request: &CreateFailoverRequest,
    id: OperationId,
) -> Pgtask {
    let labels: Vec<(&str, &str)> = [
        (label::TARGET, request.target.as_str()),
        (
            label::AUTOFAIL_REPLACE_REPLICA,
            request.autofail_replace_replica.as_str(),
        ),
        (label::PLANNED, if request.planned { "true" } else { "" }),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .collect();
    let parameters = [(subject.name.as_str(), subject.name.to_string())];
    let name = format!("{}-failover", subject.name);
    task(subject, name, TaskType::Failover, id, &labels, parameters)
}

/// The task that asks for a minor upgrade; an empty tag means that of `pgo.yaml`.
pub(super) fn upgrade(subject: &Subject<'_>, id: OperationId, tag: &str) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        (CCP_IMAGE_TAG, tag.to_owned()),
    ];
    let name = format!("{}-minor-upgrade", subject.name);
    task(subject, name, TaskType::MinorUpgrade, id, &[], parameters)
}

/// The task that asks for a reload of the configuration.
pub(super) fn reload(subject: &Subject<'_>, id: OperationId) -> Pgtask {
    let parameters = [(label::PG_CLUSTER, subject.name.to_string())];
    let name = format!("{}-reload", subject.name);
    task(subject, name, TaskType::Reload, id, &[], parameters)
}

/// The task that asks for a restart, of all instances where no target is given.
pub(super) fn restart(subject: &Subject<'_>, id: OperationId, target: &str) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        (INSTANCE, target.to_owned()),
    ];
    let name = format!("{}-restart", subject.name);
    task(subject, name, TaskType::Restart, id, &[], parameters)
}

/// What a backup by pgBackRest is asked for with.
pub(super) struct BackupTask<'a> {
    /// The repository's pod.
    pub pod: &'a str,
    /// Options of `pgbackrest backup`.
    pub options: &'a str,
    /// 4.1's type of storage; empty means what the cluster has.
    pub storage_type: &'a str,
}

/// Name of the task that asks for a backup by pgBackRest.
pub(super) fn backup_name(cluster: &str) -> String {
    format!("backrest-backup-{cluster}")
}

/// The task that asks for a backup by pgBackRest: 4.1's parameters.
pub(super) fn backup(subject: &Subject<'_>, id: OperationId, work: &BackupTask<'_>) -> Pgtask {
    let name = backup_name(subject.name.as_str());
    let parameters = [
        ("job-name", name.clone()),
        (label::PG_CLUSTER, subject.name.to_string()),
        ("podname", work.pod.to_owned()),
        ("containername", "database".to_owned()),
        (pgo_crd::COMMAND, pgo_crd::BACKUP.to_owned()),
        (pgo_crd::OPTIONS, work.options.to_owned()),
        (pgo_crd::STORAGE_TYPE, work.storage_type.to_owned()),
    ];
    let labels = [(label::PG_CLUSTER_ID, subject.uid.as_str())];
    task(subject, name, TaskType::Backrest, id, &labels, parameters)
}

/// What a restore by pgBackRest is asked for with.
pub(super) struct RestoreTask<'a> {
    /// The new instance, and its claim.
    pub to: &'a str,
    /// Options of `pgbackrest restore`.
    pub options: &'a str,
    /// The point in time.
    pub target: &'a str,
    /// Label of the nodes that the new instance prefers.
    pub node: Option<(String, String)>,
    /// 4.1's type of storage; empty means what the cluster has.
    pub storage_type: &'a str,
}

/// The task that asks for a restore by pgBackRest: 4.1's parameters.
pub(super) fn restore(subject: &Subject<'_>, id: OperationId, work: &RestoreTask<'_>) -> Pgtask {
    let (cluster, to) = (subject.name.to_string(), work.to);
    let repository = format!("{cluster}{}", pgo_core::backup::REPOSITORY);
    let (key, value) = work.node.clone().unwrap_or_default();
    let [node_key, node_value] = pgo_crd::NODE_LABEL;
    let parameters = [
        (pgo_crd::RESTORE_FROM, cluster.clone()),
        (pgo_crd::RESTORE_TO, to.to_owned()),
        (pgo_crd::RESTORE_OPTIONS, work.options.to_owned()),
        (pgo_crd::RESTORE_TARGET, work.target.to_owned()),
        ("pgbackrest-stanza", "db".to_owned()),
        ("pgbackrest-db-path", format!("/pgdata/{to}")),
        (
            "pgbackrest-repo-path",
            format!("/backrestrepo/{repository}"),
        ),
        ("pgbackrest-repo-host", repository),
        (pgo_crd::STORAGE_TYPE, work.storage_type.to_owned()),
        (node_key, key),
        (node_value, value),
        (label::WORKFLOWID, id.to_string()),
    ];
    let name = format!("backrest-restore-{cluster}-to-{to}");
    let labels = [(label::PG_CLUSTER_ID, subject.uid.as_str())];
    task(subject, name, TaskType::Restore, id, &labels, parameters)
}

/// The task that follows it.
pub(super) fn restoring(
    subject: &Subject<'_>,
    id: OperationId,
    to: &str,
    now: Timestamp,
) -> Pgtask {
    let parameters = [
        (label::PG_CLUSTER, subject.name.to_string()),
        (label::WORKFLOWID, id.to_string()),
        (pgo_crd::RESTORE_TO, to.to_owned()),
        (
            "task submitted",
            now.strftime("%Y-%m-%d.%H.%M.%S").to_string(),
        ),
    ];
    let name = format!("{}-pgbackrestrestore", subject.name);
    task(subject, name, TaskType::Workflow, id, &[], parameters)
}

/// What a dump is asked for with.
pub(super) struct DumpTask<'a> {
    /// Options of `pg_dump` or `pg_dumpall`.
    pub options: &'a str,
    /// The claim; empty means that of the cluster's dumps.
    pub claim: &'a str,
    /// What a claim that is not there is made of.
    pub storage: &'a StorageSpec,
    /// Tag of the image.
    pub tag: &'a str,
    /// Port of the database.
    pub port: String,
}

/// Name of the task that asks for a dump.
pub(super) fn dump_name(cluster: &str) -> String {
    format!("backup-{cluster}-pgdump")
}

/// The task that asks for a dump: 4.1's parameters. Which database is dumped that says nothing else, the cluster's spec says.
pub(super) fn dump(subject: &Subject<'_>, id: OperationId, work: &DumpTask<'_>) -> Pgtask {
    let cluster = subject.name.to_string();
    let all = work
        .options
        .split_whitespace()
        .any(|one| one == "--dump-all");
    let options = work.options.replace("--dump-all", "");
    let parameters = [
        (label::PG_CLUSTER, cluster.clone()),
        ("pgdump-host", cluster.clone()),
        ("containername", "database".to_owned()),
        ("pgdump", "pgdump".to_owned()),
        (pgo_crd::DUMP_OPTIONS, options.trim().to_owned()),
        (pgo_crd::DUMP_DATABASE, String::new()),
        ("pgdump-user", format!("{cluster}-postgres-secret")),
        ("pgdump-port", work.port.clone()),
        (pgo_crd::DUMP_ALL, all.to_string()),
        (pgo_crd::DUMP_CLAIM, work.claim.to_owned()),
        ("ccp-image-tag", work.tag.to_owned()),
    ];
    let name = dump_name(&cluster);
    let labels = [(label::PG_CLUSTER_ID, subject.uid.as_str())];
    let mut task = task(subject, name, TaskType::Pgdump, id, &labels, parameters);
    task.spec.storagespec = work.storage.clone();
    task
}

/// The task of this name that asks for a benchmark, or for a load, with these parameters.
pub(super) fn job(
    subject: &Subject<'_>,
    kind: TaskType,
    (id, name): (OperationId, &str),
    parameters: BTreeMap<String, String>,
) -> Pgtask {
    let word = match kind {
        TaskType::Benchmark => label::BENCHMARK,
        _ => label::LOAD,
    };
    let labels = [(label::PG_CLUSTER_ID, subject.uid.as_str()), (word, "true")];
    let mut task = task(subject, name.to_owned(), kind, id, &labels, []);
    task.spec.parameters = parameters;
    task
}

/// Whether a task came to its end, whichever.
pub(super) fn is_over(task: &Pgtask) -> bool {
    let status = task.status.as_ref();
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    conditions.any(|one| {
        one["type"] == "Complete" && (one["status"] == "True" || one["reason"] == "Failed")
    })
}

pub(super) fn task<const N: usize>(
    subject: &Subject<'_>,
    name: String,
    task_type: TaskType,
    id: OperationId,
    labels: &[(&str, &str)],
    parameters: [(&str, String); N],
) -> Pgtask {
    let own = [
        (label::PG_CLUSTER, subject.name.to_string()),
        (label::PGOUSER, subject.actor.to_owned()),
        (label::WORKFLOWID, id.to_string()),
    ];
    let further = labels
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()));
    let labels: BTreeMap<String, String> = own
        .into_iter()
        .chain(further)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Pgtask {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(subject.namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![pgo_objects::owner(subject.name, subject.uid)]),
            ..ObjectMeta::default()
        },
        spec: PgtaskSpec {
            namespace: subject.namespace.to_owned(),
            name,
            tasktype: task_type.as_str().to_owned(),
            parameters: parameters
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            ..PgtaskSpec::default()
        },
        status: None,
    }
}

fn is_of(task: &Pgtask, cluster: &StreamId) -> bool {
    let owners = task.owner_references();
    owners.iter().any(|owner| owner.uid == cluster.as_str())
}

/// Whether a task belongs to a former cluster of the name, and Kubernetes has not collected it yet.
pub(super) fn is_anothers(task: &Pgtask, present: &StreamId) -> bool {
    !task.owner_references().is_empty() && !is_of(task, present)
}

/// Whether a task was there before the cluster was: 4.1's tasks have no owner.
pub(super) fn is_older(task: &Pgtask, new: &StreamId) -> bool {
    !is_of(task, new)
}

/// Stores a task, and gives it as it was stored. One of the same name that `is_left_over` makes way.
///
/// # Errors
/// A task of that name is there and stays, or Kubernetes refuses.
pub(super) async fn create(
    tasks: &Api<Pgtask>,
    task: &Pgtask,
    is_left_over: impl Fn(&Pgtask) -> bool,
) -> Result<Pgtask, kube::Error> {
    let refused = match tasks.create(&PostParams::default(), task).await {
        Ok(stored) => return Ok(stored),
        Err(error) => error,
    };
    if matches!(&refused, kube::Error::Api(status) if !status.is_already_exists()) {
        return Err(refused);
    }
    // Another one has the name, or this one has it and the answer was lost.
    match tasks.get_opt(&task.name_any()).await? {
        Some(found) if is_same(&found, task) => return Ok(found),
        Some(found) if is_left_over(&found) => remove(tasks, &found).await?,
        Some(_) => return Err(refused),
        None => {}
    }
    tasks.create(&PostParams::default(), task).await
}

/// As [`create`], and again and again while Kubernetes cannot answer, for as long as [`PATIENCE`].
///
/// # Errors
/// As of [`create`], or Kubernetes was out of reach all the time.
pub(super) async fn create_patiently(
    tasks: &Api<Pgtask>,
    task: &Pgtask,
    is_left_over: impl Fn(&Pgtask) -> bool,
) -> Result<Pgtask, Refusal> {
    let mut why = Refusal(format!(
        "Kubernetes did not answer within {} s",
        PATIENCE.as_secs()
    ));
    let trying = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match create(tasks, task, &is_left_over).await {
                Ok(stored) => return Ok(stored),
                Err(error) if !is_passing(&error) => return Err(Refusal::from(error)),
                Err(error) => why = error.into(),
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    };
    let tried = tokio::time::timeout(PATIENCE, trying).await;
    tried.unwrap_or(Err(why))
}

/// Whether the same call may succeed a moment later.
fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

/// Whether a task that is there was stored by an earlier try: each request has an id of its own.
fn is_same(found: &Pgtask, task: &Pgtask) -> bool {
    found.labels().get(label::WORKFLOWID) == task.labels().get(label::WORKFLOWID)
}

/// Removes exactly this task, if it is still there.
///
/// # Errors
/// Kubernetes refuses.
pub(super) async fn remove(tasks: &Api<Pgtask>, found: &Pgtask) -> Result<(), kube::Error> {
    let exactly_it = DeleteParams {
        preconditions: Some(Preconditions {
            uid: found.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match tasks.delete(&found.name_any(), &exactly_it).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> StreamId {
        text.parse().expect("a uid")
    }

    fn a_deletion(of: &StreamId) -> Pgtask {
        let subject = Subject {
            namespace: "pgouser1",
            name: &"hippo".parse().expect("a name"),
            uid: of,
            actor: "alice",
        };
        let id = "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id");
        let options = DeleteOptions {
            data: true,
            backups: false,
        };
        deletion(&subject, deletion_name(subject.name), id, options)
    }

    #[test]
    fn a_deletion_says_what_goes_in_4_1s_words() {
        let task = a_deletion(&uid("u1"));
        assert_eq!(task.name_any(), "hippo-rmdata");
        assert_eq!(task.spec.tasktype, "delete-data");
        let said: Vec<_> = task
            .spec
            .parameters
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("delete-backups", "false"),
                ("delete-data", "true"),
                ("is-backup", "false"),
                ("is-replica", "false"),
                ("pg-cluster", "hippo"),
                ("replica-name", ""),
            ]
        );
        assert_eq!(task.labels()["pgrmdata"], "true");
        assert_eq!(task.labels()["pgouser"], "alice");
    }

    #[test]
    fn a_task_of_a_former_cluster_is_told_from_one_that_somebody_made() {
        let task = a_deletion(&uid("u1"));
        assert!(!is_anothers(&task, &uid("u1")));
        assert!(is_anothers(&task, &uid("u2")));
        let mut unowned = task;
        unowned.metadata.owner_references = None;
        assert!(
            !is_anothers(&unowned, &uid("u2")),
            "somebody asked with kubectl"
        );
        assert!(is_older(&unowned, &uid("u2")));
    }
}
