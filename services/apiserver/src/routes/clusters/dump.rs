//! Dumps by pg_dump: `POST /pgdumpbackup` and `POST /pgdumprestore` ask for them by Pgtasks, which the reconciler carries out;
//! `GET /pgdump/{name}` shows what was asked for last, and which dumps there are.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use pgo_api::{
    AskedBackup, CreateDumpRequest, CreateDumpResponse, DumpItem, DumpList, DumpSpec, Outcome,
    RestoreDumpRequest, RestoreResponse, ShowDumpQuery, ShowDumpResponse, texts,
};
use pgo_core::dump::options::{DumpOptions, LoadOptions};
use pgo_crd::{Pgcluster, PgoConfig, Pgtask, StorageSpec, TaskType, label};
use pgo_ids::{ClusterName, OperationId};
use serde_json::{Value, json};

use super::{
    Selection, ask,
    create::nodes,
    restore::cluster,
    task::{self, DumpTask, Subject},
    wanted::node_label,
};
use crate::{app::App, refusal::Refusal, request::Call};

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// What is wrong with the name of a claim.
pub(super) fn check_claim(name: &str) -> Result<(), Refusal> {
    match name.is_empty() || pgo_crd::is_claim(name) {
        true => Ok(()),
        false => refuse(format!("{name:?} is the name of no claim")),
    }
}

pub(crate) async fn create(
    call: Arc<Call>,
    request: CreateDumpRequest,
) -> Result<CreateDumpResponse, Refusal> {
    DumpOptions::parse(&request.backup_opts).map_err(|error| Refusal(error.to_string()))?;
    check_claim(&request.pvc_name)?;
    let storage = storage(&call.app.configuration.now(), &request.storage_config)?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { all(&call, &request, storage).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a dump broke off: {error}")))?
}

/// What a claim is made of: the entry of `pgo.yaml` that is named, else that for backups.
pub(super) fn storage(config: &PgoConfig, named: &str) -> Result<StorageSpec, Refusal> {
    let entry = match (named, config.backup_storage.as_str()) {
        ("", "") => config.primary_storage.as_str(),
        ("", entry) | (entry, _) => entry,
    };
    let found = config.storage.get(entry).map(StorageSpec::from);
    found.ok_or_else(|| Refusal(texts::storage_not_found(entry)))
}

async fn all(
    call: &Call,
    request: &CreateDumpRequest,
    storage: StorageSpec,
) -> Result<CreateDumpResponse, Refusal> {
    let make = |cluster: &Pgcluster, subject: &Subject<'_>, id| {
        let work = DumpTask {
            options: &request.backup_opts,
            claim: &request.pvc_name,
            storage: &storage,
            tag: tag(cluster),
            port: port(cluster, &call.app),
        };
        task::dump(subject, id, &work)
    };
    let told = |name: &str, _| vec![texts::created_backup(&task::dump_name(name))];
    each(call, request, make, told).await
}

/// Asks for one of each cluster, by the task that `make` makes, and says what `told` says of it; what stands in the way of one
/// does not keep the others.
pub(super) async fn each(
    call: &Call,
    request: &CreateDumpRequest,
    make: impl Fn(&Pgcluster, &Subject<'_>, OperationId) -> Pgtask,
    told: impl Fn(&str, OperationId) -> Vec<String>,
) -> Result<CreateDumpResponse, Refusal> {
    let namespace = request.namespace.as_str();
    let mut answer = CreateDumpResponse::default();
    let wanted = (request.args.as_slice(), request.selector.as_str());
    let (clusters, mut problems) = ask::clusters(&call.app, namespace, wanted).await?;
    if clusters.is_empty() && !request.selector.is_empty() {
        answer.outcome = Outcome::ok();
        texts::NO_CLUSTERS_SELECTED.clone_into(&mut answer.outcome.msg);
        return Ok(answer);
    }
    for cluster in &clusters {
        let make = |subject: &Subject<'_>, id| make(cluster, subject, id);
        match ask::one(call, namespace, cluster, make).await {
            Ok(id) => {
                let name = cluster.name_any();
                answer.results.extend(told(&name, id));
                answer.backups.push(AskedBackup {
                    cluster: name,
                    operation: id.to_string(),
                });
            }
            Err(Refusal(why)) => problems.push(why),
        }
    }
    answer.outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    Ok(answer)
}

/// Tag of the image that the cluster runs, as its spec says.
pub(super) fn tag(cluster: &Pgcluster) -> &str {
    &cluster.spec.ccpimagetag
}

pub(super) fn port(cluster: &Pgcluster, app: &App) -> String {
    match cluster.spec.port.as_str() {
        "" => app.configuration.now().cluster.port.clone(),
        port => port.to_owned(),
    }
}

pub(crate) async fn show(
    call: Arc<Call>,
    query: ShowDumpQuery,
) -> Result<ShowDumpResponse, Refusal> {
    let (app, namespace, name) = (&*call.app, query.namespace.as_str(), call.variable());
    let selection = Selection::by_word(&query.selector, false, &name);
    let items = asked(app, (namespace, &selection), task::dump_name, item).await?;
    let mut outcome = Outcome::ok();
    if items.is_empty() {
        outcome.msg = texts::no_dumps(&name);
    }
    Ok(ShowDumpResponse {
        backup_list: DumpList {
            metadata: json!({}),
            items,
        },
        outcome,
    })
}

/// What was asked for last of each cluster, as `item` puts it together from the task of this name.
pub(super) async fn asked(
    app: &App,
    (namespace, selection): (&str, &Selection),
    task_name: impl Fn(&str) -> String,
    item: impl Fn(&ClusterName, &DynamicObject, &Pgtask) -> DumpItem,
) -> Result<Vec<DumpItem>, Refusal> {
    let tasks: Api<Pgtask> = app.api(namespace);
    let mut items = Vec::new();
    for object in selection.clusters(app, namespace).await? {
        let name = object.name_any();
        let task = tasks.get_opt(&task_name(&name)).await?;
        if let (Ok(name), Some(task)) = (name.parse(), task) {
            items.push(item(&name, &object, &task));
        }
    }
    Ok(items)
}

/// As 4.1 puts it together from the task.
fn item(cluster: &ClusterName, object: &DynamicObject, task: &Pgtask) -> DumpItem {
    let said = |key: &str| task.spec.parameters.get(key).cloned().unwrap_or_default();
    let claim = match said(pgo_crd::DUMP_CLAIM) {
        none if none.is_empty() => pgo_core::dump_claim_name(cluster),
        claim => claim,
    };
    let options = said(pgo_crd::DUMP_OPTIONS);
    let options = match said(pgo_crd::DUMP_ALL).as_str() {
        "true" => format!("--dump-all {options}"),
        _ => options,
    };
    let storage = &task.spec.storagespec;
    DumpItem {
        metadata: json!({"creationTimestamp": task.creation_timestamp()}),
        spec: DumpSpec {
            name: task.name_any(),
            storagespec: json!({
                "name": "", "storageclass": "", "accessmode": storage.accessmode, "size": storage.size,
                "storagetype": "", "fsgroup": "", "supplementalgroups": "", "matchLabels": "",
            }),
            ccpimagetag: said("ccp-image-tag"),
            backuphost: said("pgdump-host"),
            backupusersecret: said("pgdump-user"),
            backupport: said("pgdump-port"),
            backupstatus: task.spec.status.clone(),
            toc: made(object, &claim, false),
            backuppvc: claim,
            backupopts: options,
            ..DumpSpec::default()
        },
        status: json!({}),
    }
}

/// The dumps, or base backups, that were made on a claim, as the status remembers them.
pub(super) fn made(
    object: &DynamicObject,
    claim: &str,
    base: bool,
) -> Option<BTreeMap<String, String>> {
    let dumps = object.data["status"]["dumps"].as_array()?;
    let is_alike = |dump: &&Value| (dump["base"] == true) == base && dump["claim"] == claim;
    let on_it = dumps.iter().filter(is_alike);
    let made: BTreeMap<String, String> = on_it
        .filter_map(|dump| {
            let text = |key: &str| dump[key].as_str().map(str::to_owned);
            Some((text("name")?, text("path")?))
        })
        .collect();
    (!made.is_empty()).then_some(made)
}

pub(crate) async fn restore(
    call: Arc<Call>,
    request: RestoreDumpRequest,
) -> Result<RestoreResponse, Refusal> {
    LoadOptions::parse(&request.restore_opts).map_err(|error| Refusal(error.to_string()))?;
    check_claim(&request.from_pvc)?;
    let target = request.pitr_target.trim();
    if !target.is_empty() && !pgo_crd::is_dump(target) {
        return refuse(format!(
            "{target:?} is the name of no dump; pgo show backup {} --backup-type=pgdump names them",
            request.from_cluster
        ));
    }
    let nodes = nodes(&call.app, &request.node_label).await?;
    let node = node_label(&request.node_label, &nodes)?;
    let cluster = cluster(&call.app, &request.namespace, &request.from_cluster).await?;
    let name: ClusterName = request
        .from_cluster
        .parse()
        .map_err(|_| Refusal(texts::not_found(&request.from_cluster)))?;
    let claim = match request.from_pvc.as_str() {
        "" => pgo_core::dump_claim_name(&name),
        claim => claim.to_owned(),
    };
    is_there(&call.app, &request.namespace, &claim).await?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { load(&call, &request, &cluster, (&claim, node)).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a restore broke off: {error}")))?
}

/// Whether a claim is there; Kubernetes' text where it is not, as in 4.1.
pub(super) async fn is_there(app: &App, namespace: &str, claim: &str) -> Result<(), Refusal> {
    let claims: Api<PersistentVolumeClaim> = app.api(namespace);
    let named = ListParams::default().fields(&format!("metadata.name={claim}"));
    let found = claims.list_metadata(&named).await?;
    match found.items.iter().any(|one| one.name_any() == claim) {
        true => Ok(()),
        false => refuse(texts::no_claim(claim)),
    }
}

async fn load(
    call: &Call,
    request: &RestoreDumpRequest,
    cluster: &Pgcluster,
    (claim, node): (&str, Option<(String, String)>),
) -> Result<RestoreResponse, Refusal> {
    let work = LoadTask {
        options: &request.restore_opts,
        claim,
        dump: request.pitr_target.trim(),
        node,
        tag: tag(cluster),
        port: port(cluster, &call.app),
    };
    let make = |subject: &Subject<'_>, id| load_task(subject, id, &work);
    let id = ask::one(call, &request.namespace, cluster, make).await?;
    let opts = (request.restore_opts.as_str(), request.pitr_target.as_str());
    Ok(RestoreResponse {
        results: vec![texts::restore_performed(&request.from_cluster, claim, opts)],
        operation: id.to_string(),
        outcome: Outcome::ok(),
    })
}

/// What the restore of a dump is asked for with.
struct LoadTask<'a> {
    /// Options of `pg_restore`.
    options: &'a str,
    /// The claim.
    claim: &'a str,
    /// Name of the dump; empty means the newest.
    dump: &'a str,
    /// Label of the nodes that its pod prefers.
    node: Option<(String, String)>,
    /// Tag of the image.
    tag: &'a str,
    /// Port of the database.
    port: String,
}

/// The task that asks for the restore of a dump: 4.1's parameters.
fn load_task(subject: &Subject<'_>, id: OperationId, work: &LoadTask<'_>) -> Pgtask {
    let cluster = subject.name.to_string();
    let (key, value) = work.node.clone().unwrap_or_default();
    let [node_key, node_value] = pgo_crd::NODE_LABEL;
    let parameters = [
        (pgo_crd::LOAD_DATABASE, String::new()),
        ("pgrestore-host", cluster.clone()),
        (pgo_crd::LOAD_CLUSTER, cluster.clone()),
        (pgo_crd::LOAD_CLAIM, work.claim.to_owned()),
        (pgo_crd::LOAD_DUMP, work.dump.to_owned()),
        (pgo_crd::LOAD_OPTIONS, work.options.to_owned()),
        ("pgrestore-user", format!("{cluster}-postgres-secret")),
        ("pgrestore-port", work.port.clone()),
        ("pgrestore", "pgrestore".to_owned()),
        (node_key, key),
        (node_value, value),
        ("ccp-image-tag", work.tag.to_owned()),
    ];
    let name = format!("restore-{cluster}-pgdump");
    let labels = [(label::PG_CLUSTER_ID, subject.uid.as_str())];
    task::task(subject, name, TaskType::Pgrestore, id, &labels, parameters)
}
