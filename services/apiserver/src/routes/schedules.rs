//! `POST /schedule`, `/scheduleshow` and `/scheduledelete`: schedules, each a ConfigMap as 4.1 writes it, which the scheduler
//! keeps. What it notes there of their runs is shown.

mod format;
mod told;

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, PostParams, Preconditions},
};
use pgo_api::{
    CreateScheduleRequest, CreateScheduleResponse, DeleteScheduleResponse, Outcome,
    SelectScheduleRequest, ShowScheduleResponse, texts,
};
use pgo_bus::Kind;
use pgo_crd::{Pgpolicy, label};
use pgo_ids::{ClusterName, StreamId};
use pgo_schedule::SCHEDULER;

use self::{
    format::{Wanted, detail, text},
    told::{created, deleted},
};
use super::clusters::{Selection, has_backrest, is_object_name};
use crate::{
    app::App,
    doorbell::doorbell,
    refusal::{Refusal, kubernetes_text},
    request::Call,
};

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// Done, or what stood in the way.
fn outcome(problems: &[String]) -> Outcome {
    match problems {
        [] => Outcome::ok(),
        some => Outcome::error(some.join("; ")),
    }
}

pub(super) async fn create(
    call: Arc<Call>,
    request: CreateScheduleRequest,
) -> Result<CreateScheduleResponse, Refusal> {
    let wanted = Wanted::of(&request)?;
    if let Some(policy) = wanted.applies() {
        let policies: Api<Pgpolicy> = call.app.api(&request.namespace);
        if policies.get_metadata_opt(policy).await?.is_none() {
            return refuse(texts::policy_not_found(policy));
        }
    }
    let selection = Selection::of(&request.selector, false, &request.cluster_name);
    let clusters = selection.clusters(&call.app, &request.namespace).await?;
    // What was begun is finished, also when the client goes away.
    let making = tokio::spawn(async move {
        let (mut results, mut problems) = (Vec::new(), Vec::new());
        for cluster in &clusters {
            match one(&call, &request.namespace, &wanted, cluster).await {
                Ok(mut texts) => results.append(&mut texts),
                Err(Refusal(why)) => problems.push(why),
            }
        }
        CreateScheduleResponse {
            results,
            outcome: outcome(&problems),
        }
    });
    making
        .await
        .map_err(|error| Refusal(format!("making schedules broke off: {error}")))
}

/// Stores the schedule of one cluster; what is to be said of it.
async fn one(
    call: &Call,
    namespace: &str,
    wanted: &Wanted,
    cluster: &DynamicObject,
) -> Result<Vec<String>, Refusal> {
    let name = cluster.name_any();
    let unusable = |what: &str| Refusal(format!("{name} has no usable {what}"));
    let cluster_name: ClusterName = name.parse().map_err(|_| unusable("name"))?;
    let uid: StreamId = cluster
        .uid()
        .and_then(|uid| uid.parse().ok())
        .ok_or_else(|| unusable("uid"))?;
    if cluster.metadata.deletion_timestamp.is_some() {
        return refuse(format!("cluster {name} is being deleted"));
    }
    if wanted.needs_backrest() && !has_backrest(&call.app, cluster)? {
        return refuse(texts::no_backrest(&name));
    }
    if let Some(secret) = wanted.secret() {
        check_secret(call, namespace, (&name, secret)).await?;
    }
    let at = Timestamp::now();
    let map = wanted.config_map(namespace, (&cluster_name, &uid), at)?;
    let schedule = map.name_any();
    let maps: Api<ConfigMap> = call.app.api(namespace);
    let stored = match store(&maps, &map, &uid).await {
        Ok(stored) => stored?,
        Err(error) => {
            let why = kubernetes_text(&error);
            created(call, cluster, &schedule, at, Some(&why)).await;
            return Err(Refusal(why));
        }
    };
    call.app.bell.tell(doorbell(Kind::ConfigMap, &stored, None));
    tracing::info!(
        namespace,
        cluster = name,
        schedule,
        user = call.caller.name,
        "a schedule was created"
    );
    let text = texts::created_schedule(&schedule, &name);
    let untold = created(call, cluster, &schedule, at, None).await;
    Ok([text].into_iter().chain(untold).collect())
}

/// Whether the Secret that a policy's user is of is there and of this cluster.
async fn check_secret(
    call: &Call,
    namespace: &str,
    (cluster, secret): (&str, &str),
) -> Result<(), Refusal> {
    let secrets: Api<Secret> = call.app.api(namespace);
    match secrets.get_metadata_opt(secret).await? {
        Some(found)
            if found
                .labels()
                .get(label::PG_CLUSTER)
                .is_some_and(|of| of == cluster) =>
        {
            Ok(())
        }
        Some(_) => refuse(format!("Secret {secret} is not of cluster {cluster}")),
        None => refuse(format!("Secret {secret} not found")),
    }
}

/// Stores a schedule, where none of its name is in the way. One of a former cluster of the name, which Kubernetes has not
/// collected yet, makes way.
///
/// # Errors
/// Kubernetes fails.
async fn store(
    maps: &Api<ConfigMap>,
    map: &ConfigMap,
    cluster: &StreamId,
) -> Result<Result<ConfigMap, Refusal>, kube::Error> {
    let name = map.name_any();
    match maps.create(&PostParams::default(), map).await {
        Ok(stored) => return Ok(Ok(stored)),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error),
    }
    if let Some(found) = maps.get_opt(&name).await? {
        if !is_schedule(&found) {
            return Ok(refuse(format!(
                "ConfigMap {name} is there and is no schedule; rename it, its name is that of the schedule"
            )));
        }
        let mut owners = found.owner_references().iter();
        let is_former = owners.len() > 0 && owners.all(|owner| owner.uid != cluster.as_str());
        if !is_former {
            return Ok(refuse(texts::schedule_exists(&name)));
        }
        remove(maps, &found).await?;
    }
    maps.create(&PostParams::default(), map).await.map(Ok)
}

/// Removes exactly this ConfigMap; one that is gone is fine.
async fn remove(maps: &Api<ConfigMap>, found: &ConfigMap) -> Result<(), kube::Error> {
    let exactly_it = DeleteParams {
        preconditions: Some(Preconditions {
            uid: found.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match maps.delete(&found.name_any(), &exactly_it).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_schedule(map: &ConfigMap) -> bool {
    map.labels().contains_key(SCHEDULER)
}

pub(super) async fn show(
    call: Arc<Call>,
    request: SelectScheduleRequest,
) -> Result<ShowScheduleResponse, Refusal> {
    let maps = match request.schedule_name.as_str() {
        "" => of_clusters(&call.app, &request).await?,
        name => Vec::from_iter(named(&call.app, &request.namespace, name).await?),
    };
    let schedules: Vec<_> = maps.iter().map(detail).collect();
    Ok(ShowScheduleResponse {
        results: schedules.iter().map(text).collect(),
        schedules,
        outcome: Outcome::ok(),
    })
}

pub(super) async fn delete(
    call: Arc<Call>,
    request: SelectScheduleRequest,
) -> Result<DeleteScheduleResponse, Refusal> {
    let found = match request.schedule_name.as_str() {
        "" => of_clusters(&call.app, &request).await?,
        name => match named(&call.app, &request.namespace, name).await? {
            Some(map) => vec![map],
            None => {
                let why = format!("configmaps {name:?} not found");
                return refuse(texts::schedule_not_deleted(name, &why));
            }
        },
    };
    // What was begun is finished, also when the client goes away.
    let deleting = tokio::spawn(async move { delete_all(&call, &request.namespace, &found).await });
    deleting
        .await
        .map_err(|error| Refusal(format!("deleting schedules broke off: {error}")))
}

async fn delete_all(call: &Call, namespace: &str, found: &[ConfigMap]) -> DeleteScheduleResponse {
    let maps: Api<ConfigMap> = call.app.api(namespace);
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for map in found {
        let (name, at) = (map.name_any(), Timestamp::now());
        match remove(&maps, map).await {
            Ok(()) => {
                tracing::info!(
                    namespace,
                    schedule = name,
                    user = call.caller.name,
                    "a schedule was deleted"
                );
                results.push(texts::deleted_schedule(&name));
                results.extend(deleted(call, namespace, map, at, None).await);
            }
            Err(error) => {
                let why = kubernetes_text(&error);
                deleted(call, namespace, map, at, Some(&why)).await;
                problems.push(texts::schedule_not_deleted(&name, &why));
            }
        }
    }
    DeleteScheduleResponse {
        results,
        outcome: outcome(&problems),
    }
}

/// The schedule of this name, if there is one.
async fn named(app: &App, namespace: &str, name: &str) -> Result<Option<ConfigMap>, Refusal> {
    if !is_object_name(name) {
        return Ok(None);
    }
    let maps: Api<ConfigMap> = app.api(namespace);
    Ok(maps.get_opt(name).await?.filter(is_schedule))
}

/// The schedules of the clusters that a request is about, in order of name; also of one that is gone.
async fn of_clusters(
    app: &App,
    request: &SelectScheduleRequest,
) -> Result<Vec<ConfigMap>, Refusal> {
    let namespace = request.namespace.as_str();
    let wanted: BTreeSet<String> = match request.selector.as_str() {
        "" if request.cluster_name.is_empty() => {
            return refuse("name a schedule or a cluster, or give a selector");
        }
        "" => [request.cluster_name.clone()].into(),
        selector => {
            let selection = Selection::of(selector, false, "");
            let clusters = selection.clusters(app, namespace).await?;
            clusters.iter().map(|cluster| cluster.name_any()).collect()
        }
    };
    let maps: Api<ConfigMap> = app.api(namespace);
    let schedules = ListParams::default().labels(SCHEDULER);
    let mut found = maps.list(&schedules).await?.items;
    found.retain(|map| {
        let cluster = map.labels().get(label::PG_CLUSTER);
        cluster.is_some_and(|cluster| wanted.contains(cluster))
    });
    found.sort_by_key(|map| map.name_any());
    Ok(found)
}
