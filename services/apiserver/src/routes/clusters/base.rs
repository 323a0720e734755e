//! Backups by pg_basebackup: `POST /backups` and `POST /pgbasebackuprestore` ask for them by Pgtasks, which the reconciler carries
//! out; `GET /backups/{name}` shows what was asked for last, and which backups there are.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt as _, api::DynamicObject};
use pgo_api::{
    CreateDumpRequest, CreateDumpResponse, DumpItem, DumpList, DumpSpec, Outcome,
    RestoreBaseRequest, RestoreResponse, ShowDumpResponse, StatusQuery, texts,
};
use pgo_core::{dump::base::BaseOptions, restore::instance_name};
use pgo_crd::{Pgcluster, Pgtask, StorageSpec, TaskType, label};
use pgo_ids::{ClusterName, OperationId};
use serde_json::json;
use uuid::Uuid;

use super::{
    Selection, ask,
    create::nodes,
    dump::{asked, check_claim, each, is_there, made, port, storage, tag},
    restore::cluster,
    task::{self, Subject},
    wanted::node_label,
};
use crate::{app::App, refusal::Refusal, request::Call};

/// Name of the task that asks for a backup: that of 4.1's which followed it.
pub(super) fn task_name(cluster: &str) -> String {
    format!("{cluster}-backupworkflow")
}

/// 4.1's form of a time.
fn submitted() -> (&'static str, String) {
    let now = Timestamp::now().strftime("%Y-%m-%d.%H.%M.%S");
    ("task submitted", now.to_string())
}

pub(crate) async fn create(
    call: Arc<Call>,
    request: CreateDumpRequest,
) -> Result<CreateDumpResponse, Refusal> {
    BaseOptions::parse(&request.backup_opts).map_err(|error| Refusal(error.to_string()))?;
    check_claim(&request.pvc_name)?;
    let storage = storage(&call.app.configuration.now(), &request.storage_config)?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { all(&call, &request, &storage).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a backup broke off: {error}")))?
}

async fn all(
    call: &Call,
    request: &CreateDumpRequest,
    storage: &StorageSpec,
) -> Result<CreateDumpResponse, Refusal> {
    let make = |cluster: &Pgcluster, subject: &Subject<'_>, id| {
        let port = port(cluster, &call.app);
        let mut task = backup(subject, id, request, (tag(cluster), &port));
        task.spec.storagespec = storage.clone();
        task
    };
    let told = |name: &str, id: OperationId| {
        vec![
            texts::created_base_backup(name),
            texts::workflow_id(&id.to_string()),
        ]
    };
    each(call, request, make, told).await
}

/// The task that asks for a backup.
fn backup(
    subject: &Subject<'_>,
    id: OperationId,
    request: &CreateDumpRequest,
    (tag, port): (&str, &str),
) -> Pgtask {
    let cluster = subject.name.to_string();
    let parameters = [
        (label::PG_CLUSTER, cluster.clone()),
        (label::WORKFLOWID, id.to_string()),
        submitted(),
        (pgo_crd::BASE_OPTIONS, request.backup_opts.clone()),
        (pgo_crd::DUMP_CLAIM, request.pvc_name.clone()),
        (HOST, cluster.clone()),
        (SECRET, format!("{cluster}-primaryuser-secret")),
        (PORT, port.to_owned()),
        (pgo_crd::CCP_IMAGE_TAG, tag.to_owned()),
    ];
    let labels = [(label::PG_CLUSTER_ID, subject.uid.as_str())];
    let name = task_name(&cluster);
    task::task(
        subject,
        name,
        TaskType::Pgbasebackup,
        id,
        &labels,
        parameters,
    )
}

/// Parameters of the task that are shown alone, as 4.1 shows them.
const HOST: &str = "pgbasebackup-host";
const SECRET: &str = "pgbasebackup-secret";
const PORT: &str = "pgbasebackup-port";

pub(crate) async fn show(call: Arc<Call>, query: StatusQuery) -> Result<ShowDumpResponse, Refusal> {
    let (app, namespace, name) = (&*call.app, query.namespace.as_str(), call.variable());
    let selection = Selection::by_word("", false, &name);
    let items = asked(app, (namespace, &selection), task_name, item).await?;
    if items.is_empty() && name != "all" {
        return Err(Refusal(texts::no_base_backup(&name)));
    }
    Ok(ShowDumpResponse {
        backup_list: DumpList {
            metadata: json!({}),
            items,
        },
        outcome: Outcome::ok(),
    })
}

/// 4.1's Pgbackup, as the task has what stood in it.
fn item(cluster: &ClusterName, object: &DynamicObject, task: &Pgtask) -> DumpItem {
    let said = |key: &str| task.spec.parameters.get(key).cloned().unwrap_or_default();
    // What a schedule asks for has not all of 4.1's.
    let or = |key: &str, default: String| {
        Some(said(key))
            .filter(|one| !one.is_empty())
            .unwrap_or(default)
    };
    let claim = match said(pgo_crd::DUMP_CLAIM) {
        none if none.is_empty() => pgo_core::base_claim_name(cluster),
        claim => claim,
    };
    let storage = &task.spec.storagespec;
    let status = match task.spec.status.as_str() {
        "" => "initial",
        status => status,
    };
    let namespace = task.namespace().unwrap_or_default();
    DumpItem {
        metadata: json!({
            "name": cluster.as_str(), "namespace": namespace, "creationTimestamp": task.creation_timestamp(),
        }),
        spec: DumpSpec {
            namespace,
            name: cluster.to_string(),
            storagespec: json!({
                "name": claim, "storageclass": storage.storageclass, "accessmode": storage.accessmode,
                "size": storage.size, "storagetype": storage.storagetype, "fsgroup": storage.fsgroup,
                "supplementalgroups": storage.supplementalgroups, "matchLabels": "",
            }),
            ccpimagetag: said(pgo_crd::CCP_IMAGE_TAG),
            backuphost: or(HOST, cluster.to_string()),
            backupusersecret: or(SECRET, format!("{cluster}-primaryuser-secret")),
            backupport: said(PORT),
            backupstatus: status.to_owned(),
            toc: made(object, &claim, true).or_else(|| Some(Default::default())),
            backuppvc: claim,
            backupopts: said(pgo_crd::BASE_OPTIONS),
        },
        status: json!({}),
    }
}

pub(crate) async fn restore(
    call: Arc<Call>,
    request: RestoreBaseRequest,
) -> Result<RestoreResponse, Refusal> {
    let app = &*call.app;
    let (namespace, name) = (request.namespace.as_str(), request.from_cluster.as_str());
    let cluster = cluster(app, namespace, name).await;
    let cluster = cluster.map_err(|Refusal(why)| invalid(&[why]))?;
    let from = match request.from_pvc.as_str() {
        "" => format!("{name}-backup"),
        claim => claim.to_owned(),
    };
    let to = match request.to_pvc.as_str() {
        "" => instance_name(name, OperationId::from(Uuid::new_v4())),
        claim => claim.to_owned(),
    };
    let mut problems = Vec::new();
    let mut note = |checked: Result<(), Refusal>| problems.extend(checked.err().map(|no| no.0));
    let nodes = nodes(app, &request.node_label).await?;
    let node = node_label(&request.node_label, &nodes);
    note(node.as_ref().map(drop).map_err(|no| Refusal(no.0.clone())));
    note(check_claim(&from));
    note(is_there(app, namespace, &from).await);
    note(check_path(&request.backup_path));
    note(check_target(app, namespace, &to).await);
    if !problems.is_empty() {
        return Err(invalid(&problems));
    }
    let node = node?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move {
        let work = RestoreWork {
            from: &from,
            to: &to,
            path: &request.backup_path,
            node,
        };
        one(&call, &request, &cluster, &work).await
    });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a restore broke off: {error}")))?
}

/// 4.1's text.
fn invalid(problems: &[String]) -> Refusal {
    Refusal(format!(
        "Invalid pgbasebackup restore request:\n{}",
        problems.join("\n")
    ))
}

fn check_path(path: &str) -> Result<(), Refusal> {
    match path.is_empty() || pgo_crd::base_name(path).is_some() {
        true => Ok(()),
        false => Err(Refusal(format!(
            "{path:?} is the path of no backup, such as hippo-backups/2026-11-27-03-15-00"
        ))),
    }
}

/// Whether a cluster of this name could be made of the data: neither that nor its claim is there.
async fn check_target(app: &App, namespace: &str, to: &str) -> Result<(), Refusal> {
    let name: ClusterName = to
        .parse()
        .map_err(|error| Refusal(format!("{to:?} can be no cluster: {error}")))?;
    let clusters: Api<Pgcluster> = app.api(namespace);
    if clusters.get_metadata_opt(name.as_str()).await?.is_some() {
        return Err(Refusal(format!(
            "cluster {to} is there; restore to a claim of another name"
        )));
    }
    let claims: Api<PersistentVolumeClaim> = app.api(namespace);
    let named = kube::api::ListParams::default().fields(&format!("metadata.name={to}"));
    let found = claims.list_metadata(&named).await?;
    match found.items.iter().any(|one| one.name_any() == to) {
        true => Err(Refusal(format!(
            "persistentvolumeclaims \"{to}\" already exists"
        ))),
        false => Ok(()),
    }
}

/// What a restore is asked for with.
struct RestoreWork<'a> {
    from: &'a str,
    to: &'a str,
    path: &'a str,
    node: Option<(String, String)>,
}

async fn one(
    call: &Call,
    request: &RestoreBaseRequest,
    cluster: &Pgcluster,
    work: &RestoreWork<'_>,
) -> Result<RestoreResponse, Refusal> {
    let make = |subject: &Subject<'_>, id| restoring(subject, id, work);
    let id = ask::one(call, &request.namespace, cluster, make).await?;
    let id = id.to_string();
    let path = match work.path {
        "" => "the newest",
        path => path,
    };
    let name = &request.from_cluster;
    Ok(RestoreResponse {
        results: vec![
            texts::base_restore_performed(name, work.to, path),
            texts::workflow_id(&id),
        ],
        operation: id,
        outcome: Outcome::ok(),
    })
}

/// The task that asks for a restore: 4.1's parameters.
fn restoring(subject: &Subject<'_>, id: OperationId, work: &RestoreWork<'_>) -> Pgtask {
    let (key, value) = work.node.clone().unwrap_or_default();
    let [node_key, node_value] = pgo_crd::NODE_LABEL;
    let cluster = subject.name.to_string();
    let parameters = [
        (pgo_crd::BASE_FROM_CLUSTER, cluster.clone()),
        (pgo_crd::BASE_TO, work.to.to_owned()),
        (pgo_crd::BASE_PATH, work.path.to_owned()),
        (pgo_crd::BASE_FROM_CLAIM, work.from.to_owned()),
        (node_key, key),
        (node_value, value),
        (label::WORKFLOWID, id.to_string()),
        submitted(),
    ];
    let name = format!("pgbasebackup-restore-{cluster}-to-{}", work.to);
    let kind = TaskType::PgbasebackupRestore;
    task::task(subject, name, kind, id, &[], parameters)
}
