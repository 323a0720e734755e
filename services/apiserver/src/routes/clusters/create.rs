//! `POST /clusters`.
//!
//! ```text
//! request ─► facts (what Kubernetes has) ─► wanted::judge (pure) ─► per cluster: Secrets ─► Pgcluster ─► Pgtask
//!                                                  │                      ▲            │
//!                                                  └─ refused             └── removed ─┘ where it fails
//! ```
//!
//! Of Pgcluster and Pgtask the other services are told by a doorbell as soon as they are stored.
//!
//! With the Pgcluster the creation is asked for: what fails after it is told beside the success, not instead of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions},
};
use pgo_api::{CreateClusterRequest, CreateClusterResponse, Outcome, texts};
use pgo_bus::Kind;
use pgo_core::UserSecret;
use pgo_crd::{Pgcluster, PgoConfig, Pgreplica, Pgtask, label};
use pgo_ids::{ClusterName, OperationId, StreamId};
use pgo_objects::rivals;
use uuid::Uuid;

use super::{
    task::{self, Subject},
    wanted::{self, Creation, Facts, GLOBAL_CONFIG, Judged, Passwords, is_object_name},
};
use crate::{app::App, doorbell::doorbell, refusal::Refusal, request::Call};

pub(crate) async fn create(
    call: Arc<Call>,
    request: CreateClusterRequest,
) -> Result<CreateClusterResponse, Refusal> {
    let config = call.app.configuration.now();
    let id = || OperationId::from(Uuid::new_v4());
    let judged = match facts(&call.app, &request, &config).await {
        Ok(facts) => {
            let (caller, now) = (&call.caller.name, Timestamp::now());
            wanted::judge(&request, &config, &facts, caller, now, id)
        }
        Err(refusal) => Err(refusal),
    };
    match judged {
        Ok(judged) => {
            // What was begun is finished, also when the client goes away.
            let making =
                tokio::spawn(async move { make_all(&call, &request.namespace, judged).await });
            let made = making.await;
            Ok(made.unwrap_or_else(|error| {
                CreateClusterResponse::failed(format!("the creation broke off: {error}"))
            }))
        }
        Err(Refusal(why)) => Ok(CreateClusterResponse::failed(why)),
    }
}

/// Asks Kubernetes for what the request must be judged by, all at once.
async fn facts(
    app: &App,
    request: &CreateClusterRequest,
    config: &PgoConfig,
) -> Result<Facts, Refusal> {
    let namespace = request.namespace.as_str();
    let config_maps: Api<ConfigMap> = app.api(namespace);
    let secrets: Api<Secret> = app.api(namespace);
    let (user, names) = (&config.cluster.user, wanted::names(request));
    let (taken, replicas, custom_config, global_config, pgpool_secret, nodes, source, present) = futures::try_join!(
        taken(app, request),
        replicas(app, request),
        exists(&config_maps, &request.custom_config),
        exists(&config_maps, GLOBAL_CONFIG),
        exists(&secrets, &request.pgpool_secret),
        nodes(app, &request.node_label),
        source(&secrets, &request.secret_from, user),
        present(&secrets, &names, user),
    )?;
    Ok(Facts {
        taken,
        replicas,
        custom_config,
        global_config,
        pgpool_secret,
        nodes,
        source,
        secrets: present,
    })
}

/// The names asked for that can be those of clusters.
fn asked(request: &CreateClusterRequest) -> Vec<ClusterName> {
    let names = wanted::names(request).into_iter();
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Which clusters are there of those asked for and those that they could not stand beside.
async fn taken(app: &App, request: &CreateClusterRequest) -> Result<BTreeSet<String>, kube::Error> {
    let clusters: Api<Pgcluster> = app.api(&request.namespace);
    match asked(request).as_slice() {
        [] => Ok(BTreeSet::new()),
        [name] => {
            let mut names: BTreeSet<ClusterName> = [name.clone()].into();
            names.extend(rivals(name).into_iter().map(|rival| rival.cluster));
            let gets = names
                .iter()
                .map(|name| clusters.get_metadata_opt(name.as_str()));
            let found = futures::future::try_join_all(gets).await?;
            Ok(found.iter().flatten().map(ResourceExt::name_any).collect())
        }
        _ => {
            let all = clusters.list_metadata(&ListParams::default()).await?;
            Ok(all.iter().map(ResourceExt::name_any).collect())
        }
    }
}

/// The Pgreplicas that have a name asked for: their pods and volumes have it.
async fn replicas(
    app: &App,
    request: &CreateClusterRequest,
) -> Result<BTreeSet<String>, kube::Error> {
    let api: Api<Pgreplica> = app.api(&request.namespace);
    let mut params = ListParams::default();
    match asked(request).as_slice() {
        [] => return Ok(BTreeSet::new()),
        [name] => params = params.fields(&format!("metadata.name={name}")),
        _ => {}
    }
    let found = api.list_metadata(&params).await?;
    Ok(found.iter().map(ResourceExt::name_any).collect())
}

/// Whether an object is there; none has an impossible name.
async fn exists<K>(api: &Api<K>, name: &str) -> Result<bool, kube::Error>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    if !is_object_name(name) {
        return Ok(false);
    }
    Ok(api.get_metadata_opt(name).await?.is_some())
}

/// Labels of the nodes, where a label of one is asked for.
pub(super) async fn nodes(
    app: &App,
    node_label: &str,
) -> Result<Vec<BTreeMap<String, String>>, kube::Error> {
    if node_label.is_empty() {
        return Ok(Vec::new());
    }
    let nodes = Api::<Node>::all(app.client.clone());
    let list = nodes.list_metadata(&ListParams::default()).await?;
    Ok(list.iter().map(|node| node.labels().clone()).collect())
}

/// The passwords of the cluster that `--secret-from` names, if its three Secrets are there.
async fn source(
    secrets: &Api<Secret>,
    cluster: &str,
    user: &str,
) -> Result<Option<Passwords>, kube::Error> {
    let mut passwords = Passwords::new();
    for which in UserSecret::ALL {
        let name = which.name(cluster, user);
        if !is_object_name(&name) {
            return Ok(None);
        }
        let Some(secret) = secrets.get_opt(&name).await? else {
            return Ok(None);
        };
        let Some(password) = pgo_objects::password(&secret) else {
            return Ok(None);
        };
        passwords.insert(which, password);
    }
    Ok(Some(passwords))
}

/// The Secrets that are there with the names of the clusters' user Secrets: each asked for, or those of a series all at
/// once.
async fn present(
    secrets: &Api<Secret>,
    clusters: &[String],
    user: &str,
) -> Result<BTreeMap<String, ObjectMeta>, kube::Error> {
    let names = clusters
        .iter()
        .flat_map(|cluster| UserSecret::ALL.map(|which| which.name(cluster, user)));
    let names: BTreeSet<String> = names.filter(|name| is_object_name(name)).collect();
    let found = if clusters.len() > 1 {
        secrets.list_metadata(&ListParams::default()).await?.items
    } else {
        let gets = names.iter().map(|name| secrets.get_metadata_opt(name));
        let found = futures::future::try_join_all(gets).await?;
        found.into_iter().flatten().collect()
    };
    Ok(found
        .into_iter()
        .map(|secret| (secret.name_any(), secret.metadata))
        .filter(|(name, _)| names.contains(name))
        .collect())
}

/// Makes the clusters of a series one by one, until one cannot be made.
async fn make_all(call: &Call, namespace: &str, judged: Judged) -> CreateClusterResponse {
    let (mut results, mut outcome) = (Vec::new(), Outcome::ok());
    for creation in &judged.creations {
        if let Err(Refusal(why)) = make(call, namespace, creation, &mut results).await {
            outcome = Outcome::error(why);
            break;
        }
    }
    if !results.is_empty() && !judged.left_out.is_empty() {
        let keys = Vec::from_iter(judged.left_out).join(", ");
        results.push(format!(
            "made without what {keys} of pgo.yaml asks for: it is not available in this version yet"
        ));
    }
    CreateClusterResponse {
        results: Some(results),
        outcome,
    }
}

/// Makes one cluster: its Secrets, itself, the task that follows its creation.
async fn make(
    call: &Call,
    namespace: &str,
    creation: &Creation,
    results: &mut Vec<String>,
) -> Result<(), Refusal> {
    let app = &*call.app;
    let _turn = app.names.lock(namespace, creation.name.as_str()).await;
    let clusters: Api<Pgcluster> = app.api(namespace);
    let secrets: Api<Secret> = app.api(namespace);
    let tasks: Api<Pgtask> = app.api(namespace);

    forget_former(&clusters, &tasks, &creation.name).await?;
    let mut made = MadeSecrets::default();
    let stored = match made.make(&secrets, creation).await {
        Ok(()) => store(&clusters, creation).await,
        Err(refusal) => Err(NotStored::Certainly(refusal)),
    };
    let cluster = match stored {
        Ok(cluster) => cluster,
        Err(NotStored::Perhaps(why)) => return Err(why),
        Err(NotStored::Certainly(why)) => {
            made.remove(&secrets).await;
            return Err(why);
        }
    };
    app.bell
        .tell(doorbell(Kind::Pgcluster, &cluster, Some(creation.id)));
    tracing::info!(namespace, cluster = %creation.name, operation = %creation.id, user = call.caller.name, "a cluster was created");
    results.push(texts::created_cluster(creation.name.as_str()));
    results.push(texts::workflow_id(&creation.id.to_string()));
    results.extend(made.kept.iter().map(|name| {
        format!("kept Secret {name} of a former cluster: its password has not changed")
    }));

    if let Err(Refusal(why)) = follow(call, namespace, creation, &cluster).await {
        tracing::error!(namespace, cluster = %creation.name, why, "the task that follows a creation is missing");
        results.push(format!(
            "the cluster is being created, but pgtask {}, which shows its workflow, could not be made: {why}",
            task::creation_name(&creation.name)
        ));
    }
    Ok(())
}

/// Stores the task that follows the creation of a cluster.
async fn follow(
    call: &Call,
    namespace: &str,
    creation: &Creation,
    cluster: &Pgcluster,
) -> Result<(), Refusal> {
    let uid: StreamId = cluster
        .uid()
        .and_then(|uid| uid.parse().ok())
        .ok_or_else(|| Refusal(format!("Kubernetes gave {} no uid", creation.name)))?;
    let subject = Subject {
        namespace,
        name: &creation.name,
        uid: &uid,
        actor: &call.caller.name,
    };
    let task = task::creation(&subject, creation.id, Timestamp::now());
    let tasks = call.app.api(namespace);
    let stored = task::create_patiently(&tasks, &task, |found| task::is_older(found, &uid)).await?;
    let rung = doorbell(Kind::Pgtask, &stored, Some(creation.id));
    call.app.bell.tell(rung);
    Ok(())
}

/// A request to delete a former cluster of the name must not reach the new one.
async fn forget_former(
    clusters: &Api<Pgcluster>,
    tasks: &Api<Pgtask>,
    name: &ClusterName,
) -> Result<(), Refusal> {
    let Some(left_over) = tasks.get_opt(&task::deletion_name(name)).await? else {
        return Ok(());
    };
    if clusters.get_metadata_opt(name.as_str()).await?.is_some() {
        return Err(Refusal(texts::cluster_exists(name.as_str())));
    }
    Ok(task::remove(tasks, &left_over).await?)
}

/// Why a Pgcluster is not stored.
enum NotStored {
    /// It is not there.
    Certainly(Refusal),
    /// Nobody knows: what it needs must stay.
    Perhaps(Refusal),
}

async fn store(clusters: &Api<Pgcluster>, creation: &Creation) -> Result<Pgcluster, NotStored> {
    let name = creation.name.as_str();
    match clusters
        .create(&PostParams::default(), &creation.cluster)
        .await
    {
        Ok(cluster) => Ok(cluster),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            Err(NotStored::Certainly(Refusal(texts::cluster_exists(name))))
        }
        Err(error @ kube::Error::Api(_)) => Err(NotStored::Certainly(error.into())),
        // The answer is lost, not necessarily the request.
        Err(error) => match clusters.get_opt(name).await {
            Ok(Some(cluster)) if is_ours(&cluster, creation) => Ok(cluster),
            Ok(_) => Err(NotStored::Certainly(error.into())),
            Err(_) => Err(NotStored::Perhaps(error.into())),
        },
    }
}

fn is_ours(cluster: &Pgcluster, creation: &Creation) -> bool {
    let id = cluster.spec.userlabels.get(label::WORKFLOW_ID);
    id.is_some_and(|id| *id == creation.id.to_string())
}

/// User Secrets on the way.
#[derive(Default)]
struct MadeSecrets {
    made: Vec<Secret>,
    /// Names of those that were there: they open the data of a former cluster.
    kept: Vec<String>,
}

impl MadeSecrets {
    async fn make(&mut self, api: &Api<Secret>, creation: &Creation) -> Result<(), Refusal> {
        for secret in &creation.secrets {
            let name = secret.name_any();
            match api.create(&PostParams::default(), secret).await {
                Ok(made) => self.made.push(made),
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    let found = api.get_opt(&name).await?;
                    if let Some(found) = &found {
                        wanted::check_secret(&name, &found.metadata, &creation.name)?;
                    }
                    if found.is_none_or(|found| found.data != secret.data) {
                        self.kept.push(name);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn remove(&self, api: &Api<Secret>) {
        for secret in &self.made {
            let exactly_it = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: secret.uid(),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            if let Err(error) = api.delete(&secret.name_any(), &exactly_it).await {
                tracing::warn!(%error, secret = secret.name_any(), "a Secret of a cluster that was not created is left over");
            }
        }
    }
}
