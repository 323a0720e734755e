//! What there is to do about a schedule, as calls of Kubernetes.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use pgo_crd::{
    BACKUP, COMMAND, ClusterConfig, DATABASE, DUMP_CLAIM, OPTIONS, POLICY, Pgcluster, PgoConfig,
    Pgtask, PgtaskSpec, SECRET, STORAGE_TYPE, TaskType, label,
};
use pgo_ids::{ClusterName, StreamId};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    book::{Make, Note, Step, Tell},
    schedule::Work,
};

/// Who writes.
const MANAGER: &str = "pgo-scheduler";

/// How long the API server may take for one call.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// ConfigMap and key of `pgo.yaml`.
const CONFIG: (&str, &str) = ("pgo-config", "pgo.yaml");

/// What came of a step.
#[derive(Debug)]
pub enum Done {
    /// It is written.
    Written(Box<ConfigMap>),
    /// The task of this name is there: the one that was to be made, or another one that is in its way.
    Task(Box<Pgtask>),
    /// Something has changed; it is on its way here.
    Overtaken,
    /// Kubernetes does not take the task, now or later.
    Refused(String),
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Kubernetes failed.
    #[error("{0}")]
    Api(#[from] kube::Error),
    /// It did not answer.
    #[error("the API server did not answer in {ANSWER_WITHIN:?}")]
    Deadline,
    /// `pgo.yaml` cannot be used.
    #[error("{0}")]
    Config(String),
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    let answer = timeout(ANSWER_WITHIN, call).await;
    Ok(answer.map_err(|_| Failure::Deadline)??)
}

fn code(failure: &Failure) -> Option<u16> {
    match failure {
        Failure::Api(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// Carries out a step.
///
/// # Errors
/// Kubernetes fails or does not answer. What was asked may have been done.
pub async fn perform(client: &Client, step: &Step) -> Result<Done, Failure> {
    match step {
        Step::Note(note) => write(client, note).await,
        Step::Make(make) => self::make(client, make).await,
        Step::Tell(tell) => {
            self::tell(client, tell).await?;
            write(client, &tell.then).await
        }
    }
}

/// Whether clusters that do not say it have pgBackRest, by `pgo.yaml`.
///
/// # Errors
/// It cannot be read, or not be used.
pub async fn has_backrest(client: &Client, namespace: &str) -> Result<bool, Failure> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = within(api.get_opt(CONFIG.0)).await?;
    let Some(map) = map else {
        return Ok(ClusterConfig::default().backrest);
    };
    let data = map.data.unwrap_or_default();
    let text = data.get(CONFIG.1).map_or("", String::as_str);
    let config = PgoConfig::parse(text).map_err(|error| Failure::Config(error.to_string()))?;
    Ok(config.cluster.backrest)
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

async fn write(client: &Client, note: &Note) -> Result<Done, Failure> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &note.key.namespace);
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": note.version, "annotations": note.annotations},
    }));
    match within(api.patch(&note.key.name, &params(), &patch)).await {
        Ok(map) => Ok(Done::Written(Box::new(map))),
        Err(failure) if matches!(code(&failure), Some(404 | 409)) => Ok(Done::Overtaken),
        Err(failure) => Err(failure),
    }
}

/// Notes on the Pgcluster what became of runs. One that is not there any more, and one that does not take it, goes without.
async fn tell(client: &Client, tell: &Tell) -> Result<(), Failure> {
    let Some((cluster, uid)) = &tell.cluster else {
        return Ok(());
    };
    let notes = tell.notes.iter();
    let notes: BTreeMap<String, String> = notes.map(|(id, note)| note.annotation(*id)).collect();
    if notes.is_empty() {
        return Ok(());
    }
    let (namespace, schedule) = (&tell.then.key.namespace, &tell.then.key.name);
    let api: Api<Pgcluster> = Api::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(json!({"metadata": {"uid": uid, "annotations": notes}}));
    // Only its metadata is of interest: an answer that cannot be read as a Pgcluster is one, too.
    match within(api.patch_metadata(cluster, &params(), &patch)).await {
        Ok(_) => Ok(()),
        Err(failure) => match code(&failure) {
            Some(code @ 400..500) if code != 429 => {
                tracing::warn!(namespace, schedule, cluster, %failure, "what became of a run cannot be told as an event");
                Ok(())
            }
            _ => Err(failure),
        },
    }
}

/// Makes the task, in the place of a former one that is over.
async fn make(client: &Client, make: &Make) -> Result<Done, Failure> {
    let task = match task(make) {
        Ok(task) => task,
        Err(reason) => return Ok(Done::Refused(reason)),
    };
    let api: Api<Pgtask> = Api::namespaced(client.clone(), &make.key.namespace);
    let name = task.name_any();
    let post = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    for _ in 0..2 {
        match within(api.create(&post, &task)).await {
            Ok(made) => return Ok(Done::Task(Box::new(made))),
            Err(failure) => match code(&failure) {
                Some(409) => {}
                Some(403 | 422) => return Ok(Done::Refused(failure.to_string())),
                _ => return Err(failure),
            },
        }
        let Some(found) = within(api.get_opt(&name)).await? else {
            continue;
        };
        let id = found.labels().get(label::WORKFLOWID);
        let is_ours = id == Some(&make.claim.operation.to_string());
        let status = found.status.as_ref();
        let is_over = status.is_some_and(|status| status.verdict().is_some());
        if is_ours || !is_over {
            return Ok(Done::Task(Box::new(found)));
        }
        let preconditions = Preconditions {
            uid: found.uid(),
            resource_version: None,
        };
        let delete = DeleteParams::default().preconditions(preconditions);
        match within(api.delete(&name, &delete)).await {
            Ok(_) => {}
            Err(failure) if matches!(code(&failure), Some(404 | 409)) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(Done::Overtaken)
}

/// The task of a run; why there can be none.
fn task(make: &Make) -> Result<Pgtask, String> {
    let cluster: ClusterName = make.cluster.parse().map_err(|error| {
        let cluster = &make.cluster;
        format!("{cluster:?} is no name of a cluster: {error}")
    })?;
    let uid: StreamId = make
        .cluster_uid
        .parse()
        .map_err(|error| format!("cluster {cluster}: {error}"))?;
    let (name, tasktype, what) = match &make.work {
        Work::PgBackRest { backup, storage } => of_backup(&cluster, backup.as_str(), storage),
        Work::Policy {
            name,
            database,
            secret,
        } => of_policy(&cluster, name, (database, secret)),
        Work::PgBaseBackup { claim } => of_copy(&cluster, claim),
    };
    let of_all = [
        (label::PG_CLUSTER, cluster.to_string()),
        ("schedule", make.key.name.clone()),
        ("due", make.claim.due.to_string()),
    ];
    let labels = [
        (label::PG_CLUSTER, cluster.to_string()),
        (label::PG_CLUSTER_ID, make.cluster_uid.clone()),
        (label::WORKFLOWID, make.claim.operation.to_string()),
    ];
    let owned = |(key, value): (&str, String)| (key.to_owned(), value);
    Ok(Pgtask {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(make.key.namespace.clone()),
            labels: Some(labels.map(owned).into()),
            owner_references: Some(vec![pgo_objects::owner(&cluster, &uid)]),
            ..ObjectMeta::default()
        },
        spec: PgtaskSpec {
            namespace: make.key.namespace.clone(),
            name,
            tasktype: tasktype.as_str().to_owned(),
            parameters: of_all.into_iter().chain(what).map(owned).collect(),
            ..PgtaskSpec::default()
        },
        status: None,
    })
}

/// Name and type of a task, and the parameters that others have not.
type Asked = (String, TaskType, Vec<(&'static str, String)>);

fn of_backup(cluster: &ClusterName, backup: &str, storage: &str) -> Asked {
    let name = format!("{cluster}-backrest-{backup}-backup-schedule");
    let parameters = vec![
        ("job-name", name.clone()),
        ("podname", String::new()),
        ("containername", "database".to_owned()),
        (COMMAND, BACKUP.to_owned()),
        (OPTIONS, format!("--type={backup}")),
        (STORAGE_TYPE, storage.to_owned()),
    ];
    (name, TaskType::Backrest, parameters)
}

fn of_copy(cluster: &ClusterName, claim: &str) -> Asked {
    // That of those that users ask for: the last one is what pgo show backup shows.
    let name = format!("{cluster}-backupworkflow");
    let parameters = vec![(DUMP_CLAIM, claim.to_owned())];
    (name, TaskType::Pgbasebackup, parameters)
}

fn of_policy(cluster: &ClusterName, policy: &str, (database, secret): (&str, &str)) -> Asked {
    // 4.1's name of the job that did it.
    let name = format!("policy-{cluster}-{policy}-schedule");
    let parameters = vec![
        (POLICY, policy.to_owned()),
        (DATABASE, database.to_owned()),
        (SECRET, secret.to_owned()),
    ];
    (name, TaskType::ApplyPolicy, parameters)
}
