//! `/clusters/scale/{name}`, `/scale/{name}` and `/scaledown/{name}`: more replicas, which there are, and fewer.
//!
//! A replica is asked for by a Pgreplica, and its removal by a Pgtask; the reconciler does the rest.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, ObjectMeta, PostParams},
};
use pgo_api::{
    ClusterScaleResponse, Outcome, ScaleDownQuery, ScaleDownResponse, ScaleQuery,
    ScaleQueryResponse, ScaleQueryTarget, StatusQuery, texts,
};
use pgo_bus::Kind;
use pgo_core::{ClusterStatus, Needs};
use pgo_crd::{
    ContainerResources, PGO_VERSION, Pgcluster, PgoConfig, Pgreplica, PgreplicaSpec, Pgtask,
    REPLICA_FINALIZER, StorageSpec, label,
};
use pgo_ids::{ClusterName, OperationId, StreamId};
use uuid::Uuid;

use super::{
    create,
    pod::{self, Containers},
    task::{self, Subject},
    wanted::{self, MOST_REPLICAS},
};
use crate::{agents, app::App, doorbell::doorbell, refusal::Refusal, request::Call};

/// 4.1's word for all clusters, which cannot be scaled at once.
const ALL: &str = "all";

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// The Pgcluster that the path names; Kubernetes says where there is none.
async fn cluster(call: &Call, namespace: &str) -> Result<Pgcluster, Refusal> {
    let name = call.variable();
    if name.parse::<ClusterName>().is_err() {
        return refuse(texts::no_such_cluster(&name));
    }
    let clusters: Api<Pgcluster> = call.app.api(namespace);
    Ok(clusters.get(&name).await?)
}

/// The Pgreplicas of a cluster, also those that somebody made without 4.1's label.
async fn replicas(
    app: &App,
    namespace: &str,
    cluster: &Pgcluster,
) -> Result<Vec<Pgreplica>, Refusal> {
    let api: Api<Pgreplica> = app.api(namespace);
    let mut replicas = api.list(&ListParams::default()).await?.items;
    replicas.retain(|replica| {
        replica.spec.clustername == cluster.name_any()
            && replica.metadata.deletion_timestamp.is_none()
    });
    replicas.sort_by_key(|replica| replica.name_any());
    Ok(replicas)
}

pub(crate) async fn scale(
    call: Arc<Call>,
    query: ScaleQuery,
) -> Result<ClusterScaleResponse, Refusal> {
    if call.variable() == ALL {
        return refuse(texts::SCALE_ALL);
    }
    let cluster = cluster(&call, &query.namespace).await?;
    let config = call.app.configuration.now();
    let count = count(&query.replica_count)?;
    let wanted = check(&call, &query, &cluster, &config).await?;
    let present = replicas(&call.app, &query.namespace, &cluster).await?;
    let most = usize::try_from(MOST_REPLICAS).unwrap_or(usize::MAX);
    if present.len() + count > most {
        return refuse(format!(
            "cluster {} has {} replicas, and {count} more are more than {MOST_REPLICAS}",
            cluster.name_any(),
            present.len()
        ));
    }
    // What was begun is finished, also when the client goes away.
    let making = tokio::spawn(async move { make_all(&call, &cluster, &wanted, count).await });
    making
        .await
        .map_err(|error| Refusal(format!("scaling broke off: {error}")))
}

/// How many more.
fn count(text: &str) -> Result<usize, Refusal> {
    let most = MOST_REPLICAS;
    match text.parse::<i64>() {
        Ok(count) if (0..=most).contains(&count) => Ok(usize::try_from(count).unwrap_or_default()),
        _ => refuse(format!(
            "invalid replica-count {text:?}, should be a number from 0 to {most}"
        )),
    }
}

/// What each of the new replicas is to be.
async fn check(
    call: &Call,
    query: &ScaleQuery,
    cluster: &Pgcluster,
    config: &PgoConfig,
) -> Result<PgreplicaSpec, Refusal> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return refuse(format!("cluster {} is being deleted", cluster.name_any()));
    }
    if !matches!(
        query.service_type.as_str(),
        "" | "ClusterIP" | "NodePort" | "LoadBalancer"
    ) {
        return refuse(texts::SCALE_SERVICE_TYPE);
    }
    let (storage, resources) = (&query.storage_config, &query.resources_config);
    if !storage.is_empty() && !config.storage.contains_key(storage) {
        return refuse(texts::storage_not_found(storage));
    }
    if !resources.is_empty() && !config.container_resources.contains_key(resources) {
        return refuse(texts::resources_not_found(resources));
    }
    let nodes = create::nodes(&call.app, &query.node_label).await?;
    let node = wanted::node_label(&query.node_label, &nodes)?;
    let mut userlabels = BTreeMap::from([("pgo-version".to_owned(), PGO_VERSION.to_owned())]);
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            userlabels.insert(key.to_owned(), value.to_owned());
        }
    };
    set("service-type", &query.service_type);
    set("ccp-image-tag", &query.ccp_image_tag);
    if let Some((key, value)) = &node {
        set("NodeLabelKey", key);
        set("NodeLabelValue", value);
    }
    let spec = PgreplicaSpec {
        namespace: query.namespace.clone(),
        clustername: cluster.name_any(),
        replicastorage: config
            .storage
            .get(storage)
            .map(StorageSpec::from)
            .unwrap_or_default(),
        containerresources: config
            .container_resources
            .get(resources)
            .map(ContainerResources::from)
            .unwrap_or_default(),
        userlabels,
        ..PgreplicaSpec::default()
    };
    would_be_made(&spec, cluster, config)?;
    Ok(spec)
}

/// What the reconciler would refuse is refused before anything is stored.
fn would_be_made(
    spec: &PgreplicaSpec,
    cluster: &Pgcluster,
    config: &PgoConfig,
) -> Result<(), Refusal> {
    let shape = Pgreplica {
        metadata: ObjectMeta {
            name: Some(format!("{}-xxxx", cluster.name_any())),
            namespace: Some(spec.namespace.clone()),
            uid: Some("not-stored-yet".to_owned()),
            ..ObjectMeta::default()
        },
        spec: spec.clone(),
        status: None,
    };
    match pgo_crd::replica(&shape, cluster, config).map(|replica| replica.wanted) {
        Some(Err(why)) => refuse(why),
        _ => Ok(()),
    }
}

async fn make_all(
    call: &Call,
    cluster: &Pgcluster,
    wanted: &PgreplicaSpec,
    count: usize,
) -> ClusterScaleResponse {
    let (mut results, mut outcome) = (None::<Vec<String>>, Outcome::ok());
    for _ in 0..count {
        match make(call, cluster, wanted).await {
            Ok(name) => results
                .get_or_insert_default()
                .push(texts::created_replica(&name)),
            Err(Refusal(why)) => {
                outcome = Outcome::error(why);
                break;
            }
        }
    }
    ClusterScaleResponse { results, outcome }
}

/// Stores one Pgreplica; its name has 4.1's four letters at its end, and is not that of a cluster: pod and volume of both
/// would have it.
async fn make(call: &Call, cluster: &Pgcluster, wanted: &PgreplicaSpec) -> Result<String, Refusal> {
    let api: Api<Pgreplica> = call.app.api(&wanted.namespace);
    let clusters: Api<Pgcluster> = call.app.api(&wanted.namespace);
    loop {
        let name = format!("{}-{}", cluster.name_any(), letters(Uuid::new_v4()));
        if clusters.get_metadata_opt(&name).await?.is_some() {
            continue;
        }
        let replica = replica(call, cluster, wanted, &name)?;
        match api.create(&PostParams::default(), &replica).await {
            Ok(stored) => {
                call.app.bell.tell(doorbell(Kind::Pgreplica, &stored, None));
                tracing::info!(
                    cluster = cluster.name_any(),
                    name,
                    user = call.caller.name,
                    "a replica was asked for"
                );
                return Ok(name);
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn replica(
    call: &Call,
    cluster: &Pgcluster,
    wanted: &PgreplicaSpec,
    name: &str,
) -> Result<Pgreplica, Refusal> {
    let (of, uid) = identity(cluster)?;
    let labels = [
        (label::VENDOR, "crunchydata"),
        (label::PG_CLUSTER, of.as_str()),
        (label::NAME, name),
        (label::PGOUSER, &call.caller.name),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(Pgreplica {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(wanted.namespace.clone()),
            labels: Some(BTreeMap::from(labels)),
            owner_references: Some(vec![pgo_objects::owner(&of, &uid)]),
            finalizers: Some(vec![REPLICA_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: PgreplicaSpec {
            name: name.to_owned(),
            ..wanted.clone()
        },
        status: None,
    })
}

pub(super) fn identity(cluster: &Pgcluster) -> Result<(ClusterName, StreamId), Refusal> {
    let unusable = |what: &str| Refusal(format!("{} has no usable {what}", cluster.name_any()));
    let name = cluster.name_any().parse().map_err(|_| unusable("name"))?;
    let uid = cluster.uid().and_then(|uid| uid.parse().ok());
    Ok((name, uid.ok_or_else(|| unusable("uid"))?))
}

/// Four lower-case letters.
fn letters(random: Uuid) -> String {
    let bytes = random.as_bytes()[..4].iter();
    bytes.map(|byte| char::from(b'a' + byte % 26)).collect()
}

pub(crate) async fn query(
    call: Arc<Call>,
    query: StatusQuery,
) -> Result<ScaleQueryResponse, Refusal> {
    let app = &*call.app;
    let cluster = cluster(&call, &query.namespace).await?;
    let name = cluster.name_any();
    let members = ListParams::default().labels(&format!("{}={name}", label::PG_CLUSTER));
    let pods: Api<Pod> = app.api(&query.namespace);
    let mut pods = pods.list(&members).await?.items;
    let primary = primary(&cluster);
    // The first instance stays as long as the cluster.
    pods.retain(|pod| {
        let instance = pod::deployment(pod);
        pod::is_instance(pod) && instance != primary && instance != name
    });
    pods.sort_by_key(|pod| pod.name_any());
    let targets = pods.iter().map(|pod| target(app, pod));
    Ok(ScaleQueryResponse {
        results: Some(Vec::new()),
        targets: Some(futures::future::join_all(targets).await),
        outcome: Outcome::ok(),
    })
}

/// The primary, as far as is known; while none serves, the last one that did: the first instance before any other.
pub(super) fn primary(cluster: &Pgcluster) -> String {
    let status = cluster.status.as_ref();
    let known = status.and_then(|status| status.0.current_primary.as_ref());
    let last = || cluster.labels().get(label::CURRENT_PRIMARY).cloned();
    let known = known.map(ToString::to_string).or_else(last);
    known.unwrap_or_else(|| cluster.name_any())
}

async fn target(app: &App, pod: &Pod) -> ScaleQueryTarget {
    let state = agents::state(app, pod).await.unwrap_or_default();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    ScaleQueryTarget {
        name: pod::deployment(pod),
        ready_status: Containers::of(pod).to_string(),
        node: node.unwrap_or_default(),
        rep_status: texts::replication_status(state.received_lsn, state.lsn),
    }
}

pub(crate) async fn down(
    call: Arc<Call>,
    query: ScaleDownQuery,
) -> Result<ScaleDownResponse, Refusal> {
    let cluster = cluster(&call, &query.namespace).await?;
    let target = query.replica_name.as_str();
    if target == primary(&cluster) {
        return refuse(format!(
            "{target} is the primary of cluster {}; only a replica can be removed: fail over to another instance first, or \
             delete the cluster",
            cluster.name_any()
        ));
    }
    if target == cluster.name_any() {
        return refuse(format!(
            "{target} is the first instance of cluster {target} and stays as long as the cluster; remove another replica"
        ));
    }
    let present = replicas(&call.app, &query.namespace, &cluster).await?;
    if present.is_empty() {
        return refuse(texts::NO_REPLICAS);
    }
    let is_known = present.iter().any(|replica| replica.name_any() == target);
    if !is_known {
        return refuse(texts::replica_not_found(target));
    }
    let config = call.app.configuration.now();
    let autofail = pgo_crd::autofail(&cluster, &config);
    let autofail = autofail.map_err(|error| Refusal(error.to_string()))?;
    let answers = pgo_crd::synchronous(&cluster, &config);
    let answers = answers.map_err(|error| Refusal(error.to_string()))?;
    let needs = Needs {
        autofail,
        answers: usize::try_from(answers).unwrap_or(usize::MAX),
    };
    if let Some(why) = needs.refuse(&cluster.name_any(), target, present.len()) {
        return refuse(why);
    }
    its_vote_can_be_missed(&cluster, target)?;
    let id = ask_for_removal(&call, &cluster, &query).await?;
    Ok(ScaleDownResponse {
        results: vec![texts::deleted_replica(target)],
        operation: id.to_string(),
        outcome: Outcome::ok(),
    })
}

/// While nobody serves as the primary an election may need each vote; the reconciler would refuse it, too.
fn its_vote_can_be_missed(cluster: &Pgcluster, target: &str) -> Result<(), Refusal> {
    let status = cluster.status.as_ref().map(|status| &status.0);
    let nobody = |status: &&ClusterStatus| status.was_ready() && status.current_primary.is_none();
    match status.filter(nobody) {
        None => Ok(()),
        Some(_) => refuse(format!(
            "no instance of cluster {} serves as the primary, and an election may need the vote of {target}; try again when \
             one serves, see pgo show cluster {0}",
            cluster.name_any()
        )),
    }
}

async fn ask_for_removal(
    call: &Call,
    cluster: &Pgcluster,
    query: &ScaleDownQuery,
) -> Result<OperationId, Refusal> {
    let (name, uid) = identity(cluster)?;
    let subject = Subject {
        namespace: &query.namespace,
        name: &name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let id = OperationId::from(Uuid::new_v4());
    let with_data = query.delete_data == "true";
    let task = task::scale_down(&subject, &query.replica_name, id, with_data);
    let tasks: Api<Pgtask> = call.app.api(&query.namespace);
    let is_former = |found: &Pgtask| task::is_anothers(found, &uid) || task::is_over(found);
    let stored = task::create(&tasks, &task, is_former).await?;
    let rung = doorbell(Kind::Pgtask, &stored, Some(id));
    call.app.bell.tell(rung);
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_replicas_is_one_that_makes_sense() {
        assert_eq!(count("2"), Ok(2));
        assert_eq!(count("0"), Ok(0));
        for nonsense in ["-1", "", "two", "101", "99999999999999999999"] {
            let Err(Refusal(why)) = count(nonsense) else {
                panic!("{nonsense} was taken");
            };
            assert!(why.contains(&format!("{nonsense:?}")), "{why}");
        }
    }

    #[test]
    fn names_end_with_four_letters() {
        for _ in 0..100 {
            let letters = letters(Uuid::new_v4());
            assert_eq!(letters.len(), 4);
            assert!(letters.chars().all(|c| c.is_ascii_lowercase()), "{letters}");
        }
    }
}
