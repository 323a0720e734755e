//! Backups by pgBackRest: `POST /backrestbackup` asks for them by Pgtasks, which the reconciler brings to the agent of the
//! repository; `GET /backrest/{name}` shows what that agent has.
//!
//! What can be told at once is refused here; whether the repository can work, its agent says when the backup is to begin.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use pgo_api::{
    AskedBackup, CreateBackrestBackupRequest, CreateBackrestBackupResponse, Outcome,
    ShowBackrestDetail, ShowBackrestQuery, ShowBackrestResponse, texts,
};
use pgo_core::backup::options::BackupOptions;
use pgo_crd::{Pgcluster, label};
use pgo_proto::agent::Phase;
use serde_json::Value;

use super::{
    Selection, ask,
    failover::instances,
    pod::{self, Containers},
    scale::primary,
    task::{self, BackupTask},
    trials,
    wanted::{check_place, check_storage_types, places_of},
};
use crate::{agents, app::App, refusal::Refusal, request::Call};

/// Repositories that are asked at the same time: that of one may take 20 s, and all of an answer are had within 55 s.
const ASKED_AT_ONCE: usize = 32;

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// Whether a cluster has pgBackRest, by the rule of the reconciler.
pub(crate) fn has_backrest(app: &App, cluster: &DynamicObject) -> Result<bool, Refusal> {
    said_or_configured(app, cluster.labels(), &userlabels(cluster))
}

/// The same of a cluster that was read as one.
pub(super) fn backs_up(app: &App, cluster: &Pgcluster) -> Result<bool, Refusal> {
    said_or_configured(app, cluster.labels(), &cluster.spec.userlabels)
}

fn said_or_configured(
    app: &App,
    labels: &BTreeMap<String, String>,
    userlabels: &BTreeMap<String, String>,
) -> Result<bool, Refusal> {
    let said = pgo_crd::has_backrest(labels, userlabels, &app.configuration.now());
    said.map_err(|error| Refusal(error.to_string()))
}

fn userlabels(cluster: &DynamicObject) -> BTreeMap<String, String> {
    let labels = &cluster.data["spec"]["userlabels"];
    serde_json::from_value(labels.clone()).unwrap_or_default()
}

pub(crate) async fn create(
    call: Arc<Call>,
    request: CreateBackrestBackupRequest,
) -> Result<CreateBackrestBackupResponse, Refusal> {
    BackupOptions::parse(&request.backup_opts).map_err(|error| Refusal(error.to_string()))?;
    check_storage_types(&request.backrest_storage_type)?;
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move { all(&call, &request).await });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a backup broke off: {error}")))?
}

/// Asks for each; what stands in the way of one does not keep the others.
async fn all(
    call: &Call,
    request: &CreateBackrestBackupRequest,
) -> Result<CreateBackrestBackupResponse, Refusal> {
    let namespace = request.namespace.as_str();
    let mut answer = CreateBackrestBackupResponse::default();
    let wanted = (request.args.as_slice(), request.selector.as_str());
    let (clusters, mut problems) = ask::clusters(&call.app, namespace, wanted).await?;
    if clusters.is_empty() && !request.selector.is_empty() {
        answer.outcome = Outcome::ok();
        texts::NO_CLUSTERS_SELECTED.clone_into(&mut answer.outcome.msg);
        return Ok(answer);
    }
    for cluster in &clusters {
        match one(call, request, cluster).await {
            Ok((task, asked)) => {
                answer.results.push(texts::created_backup(&task));
                answer.backups.push(asked);
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

async fn one(
    call: &Call,
    request: &CreateBackrestBackupRequest,
    cluster: &Pgcluster,
) -> Result<(String, AskedBackup), Refusal> {
    let (app, namespace, name) = (&call.app, request.namespace.as_str(), cluster.name_any());
    if !backs_up(app, cluster)? {
        return refuse(texts::no_backrest(&name));
    }
    check_place(&request.backrest_storage_type, &cluster.spec.userlabels)?;
    let pod = repository(app, namespace, &name).await?;
    let primary = primary(cluster);
    let pods = instances(app, namespace, &name).await?;
    let primary = pods.iter().find(|pod| pod::deployment(pod) == primary);
    let serves = match primary {
        Some(pod) => Containers::of(pod).all_ready() || is_running(app, pod).await,
        None => false,
    };
    if !serves {
        return refuse(texts::PRIMARY_NOT_READY);
    }
    let work = BackupTask {
        pod: &pod.name_any(),
        options: &request.backup_opts,
        storage_type: &request.backrest_storage_type,
    };
    let make = |subject: &task::Subject<'_>, id| task::backup(subject, id, &work);
    let id = ask::one(call, namespace, cluster, make).await?;
    let asked = AskedBackup {
        cluster: name.clone(),
        operation: id.to_string(),
    };
    Ok((task::backup_name(&name), asked))
}

/// Whether PostgreSQL runs in this pod, by its agent: the kubelet looks once a second, and says later that it is ready.
async fn is_running(app: &App, pod: &Pod) -> bool {
    let state = agents::state(app, pod).await;
    state.is_some_and(|state| state.phase() == Phase::Running)
}

/// The pod with the repository of a cluster: one that can be asked, before one that is not ready.
async fn repository(app: &App, namespace: &str, cluster: &str) -> Result<Pod, Refusal> {
    let pods: Api<Pod> = app.api(namespace);
    let selector = format!(
        "{}={cluster},{}=true",
        label::PG_CLUSTER,
        label::BACKREST_REPO
    );
    let mut pods = pods
        .list(&ListParams::default().labels(&selector))
        .await?
        .items;
    pods.retain(|pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
    });
    pods.sort_by_key(|pod| (!Containers::of(pod).all_ready(), pod.name_any()));
    let first = pods.into_iter().next();
    first.ok_or_else(|| Refusal(texts::no_repository(cluster)))
}

pub(crate) async fn show(
    call: Arc<Call>,
    query: ShowBackrestQuery,
) -> Result<ShowBackrestResponse, Refusal> {
    let json = match query.format.as_str() {
        "" => false,
        "json" => true,
        other => return refuse(format!("there is no format {other:?}; json is one")),
    };
    let (app, namespace, name) = (&*call.app, query.namespace.as_str(), call.variable());
    let selection = Selection::by_word(&query.selector, false, &name);
    let mut clusters = selection.clusters(app, namespace).await?;
    // Among several, those without pgBackRest have nothing to show; of which it is not known, they are told.
    if !matches!(selection, Selection::One(_)) {
        clusters.retain(|cluster| has_backrest(app, cluster).unwrap_or(true));
    }
    let (mut items, mut problems) = (Vec::new(), Vec::new());
    for some in clusters.chunks(ASKED_AT_ONCE) {
        let asked = some.iter().map(|one| detail(app, namespace, one, json));
        for one in futures::future::join_all(asked).await {
            match one {
                Ok(detail) => items.push(detail),
                Err(Refusal(why)) => problems.push(why),
            }
        }
    }
    let outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    Ok(ShowBackrestResponse { items, outcome })
}

/// What pgBackRest knows of one cluster's backups.
async fn detail(
    app: &App,
    namespace: &str,
    cluster: &DynamicObject,
    json: bool,
) -> Result<ShowBackrestDetail, Refusal> {
    let name = cluster.name_any();
    if !has_backrest(app, cluster)? {
        return refuse(texts::no_backrest(&name));
    }
    let pod = repository(app, namespace, &name).await?;
    let unknown = |why: &str| {
        Refusal(format!(
            "the backups of cluster {name} cannot be shown: its repository, pod {}, says: {why}; see pgo show cluster {name}",
            pod.name_any()
        ))
    };
    let parts = async {
        // The text is for people; what is made of the backups is in the JSON alone.
        let places = if json {
            Vec::new()
        } else {
            places_of(&userlabels(cluster))
        };
        let asked = places.into_iter().map(async |place| {
            let text = agents::info(app, &pod, (false, Some(place))).await?;
            Ok(format!("\nStorage Type: {place}\n{text}"))
        });
        let texts = futures::future::try_join_all(asked);
        let (texts, said) =
            futures::future::try_join(texts, agents::info(app, &pod, (true, None))).await?;
        let stanzas: Result<Value, _> = serde_json::from_str(&said);
        let stanzas = stanzas.map_err(|error| format!("something that is no JSON: {error}"))?;
        Ok((texts.concat(), stanzas))
    };
    let (info, stanzas) = parts.await.map_err(|why: String| unknown(&why))?;
    let trials = trials::of(cluster, &stanzas);
    Ok(ShowBackrestDetail {
        name: name.clone(),
        info,
        stanzas: if json { stanzas } else { Value::Null },
        trials,
    })
}
