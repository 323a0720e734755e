//! Step 1, observe: what is there of a cluster, from the caches and the agents; no call unless something is wrong, or the
//! cluster goes.

mod drill;
mod probe;
mod repository;
mod size;
mod there;
mod worker;

use std::{collections::BTreeMap, hash::Hash, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{ContainerStatus, PersistentVolumeClaim, Pod, PodCondition, Secret},
        discovery::v1::{Endpoint, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::ListParams,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::reflector::Store,
};
use pgo_core::{
    AddressFamily, Backup, ClaimFacts, ClaimPhase, Cluster, Endpoints, Fixture, Observed, PodFacts,
    PodPhase, Takeover, Waiting, wants_upgrade,
};
use pgo_crd::{FINALIZER, Pgcluster, PgoConfig, Pgreplica, Pgtask, Requests, label};
use pgo_ids::InstanceName;
use pgo_objects::{
    AUTOFAIL, CERTIFICATE_UNTIL, DUMP_CONTAINER, FIRST_SINCE, Holds, JOB_CONTAINER, PREFERRED,
    RESTORED, SYNC_FALLBACK, SYNCHRONOUS, TAKEOVERS, fixture_name, form, holds, is_labelled,
    is_owned, owners, preferred_instances,
};

use crate::{
    agents::{self, Said},
    cache::{Cache, by_name},
    call::call,
    complaints,
    context::Context,
    error::Error,
    passwords,
};

pub use there::Looks;
use there::There;

/// A claim that is younger than this is not asked about: volumes take a moment.
const CLAIM_GRACE: Duration = Duration::from_secs(3);

/// 4.1's label of Secrets that belong to backups; they do not go with the data.
const OF_BACKUPS: &str = "pgo-backrest-repo";

/// Pgtasks as the cache shows them at one moment: a task that nobody has heard is not among those that are removed.
pub type Tasks = Vec<Arc<DeserializeGuard<Pgtask>>>;

/// What other objects ask for of a cluster. Where the cache shows other Pgreplicas than the status knows, Kubernetes itself is
/// asked for all: one that another reconciler has seen, and this one not yet, is no removed one, and one that another has
/// removed is no new one.
///
/// # Errors
/// Kubernetes does not say.
pub async fn requests(
    object: &Pgcluster,
    tasks: &Tasks,
    config: &PgoConfig,
    context: &Context,
) -> Result<Requests, Error> {
    let tasks = tasks.iter().filter_map(|task| task.0.as_ref().ok());
    let replicas = context.cache.replicas.state();
    let replicas = replicas
        .iter()
        .filter_map(|replica| replica.0.as_ref().ok());
    let shown = asked(object, (tasks.clone(), replicas), config);
    if !differ(object, &shown) {
        return Ok(shown);
    }
    let namespace = object.namespace().unwrap_or_default();
    let replicas: Api<DeserializeGuard<Pgreplica>> =
        Api::namespaced(context.client.clone(), &namespace);
    let parameters = ListParams::default();
    let list = call("list", "Pgreplicas", replicas.list(&parameters));
    let replicas = list.await?.items;
    let replicas = replicas
        .iter()
        .filter_map(|replica| replica.0.as_ref().ok());
    Ok(asked(object, (tasks, replicas), config))
}

/// Whether the status knows a Pgreplica that is not among these, or does not know one of them.
fn differ(object: &Pgcluster, shown: &Requests) -> bool {
    let known = || object.status.iter().flat_map(|one| &one.0.replicas);
    let is_shown = |uid: &str| shown.replicas.iter().any(|one| one.uid == uid);
    let is_known = |name: &InstanceName| known().any(|one| one.name == *name);
    let mut there = shown.replicas.iter().filter(|one| !one.deleting);
    known().any(|one| !one.uid.is_empty() && !is_shown(&one.uid))
        || there.any(|one| !is_known(&one.name))
}

/// What these Pgtasks and Pgreplicas ask for of a cluster.
pub fn asked<'a>(
    object: &Pgcluster,
    (tasks, replicas): (
        impl Iterator<Item = &'a Pgtask> + Clone,
        impl Iterator<Item = &'a Pgreplica>,
    ),
    config: &PgoConfig,
) -> Requests {
    let replicas = replicas.filter_map(|one| pgo_crd::replica(one, object, config));
    let mut replicas: Vec<_> = replicas.collect();
    replicas.sort_by(|one, other| one.name.cmp(&other.name));
    Requests {
        replicas,
        ..asked_by(object, tasks, config)
    }
}

/// What these Pgtasks ask for.
pub fn asked_by<'a>(
    object: &Pgcluster,
    tasks: impl Iterator<Item = &'a Pgtask> + Clone,
    config: &PgoConfig,
) -> Requests {
    let tasks = || tasks.clone();
    Requests {
        delete: pgo_crd::delete_requests(tasks(), object),
        scale_down: pgo_crd::scale_down_requests(tasks(), object),
        failover: pgo_crd::failover_requests(tasks(), object),
        reloads: pgo_crd::reload_requests(tasks(), object),
        restarts: pgo_crd::restart_requests(tasks(), object),
        upgrades: pgo_crd::upgrade_requests(tasks(), object, config),
        backups: pgo_crd::backup_requests(tasks(), object),
        restores: pgo_crd::restore_requests(tasks(), object),
        drills: pgo_crd::drill_requests(tasks(), object),
        dumps: pgo_crd::dump_requests(tasks(), object, config),
        removals: pgo_crd::removal_requests(tasks(), object),
        jobs: pgo_crd::job_requests(tasks(), object),
        policies: pgo_crd::policy_requests(tasks(), object),
        tasks: pgo_crd::asking(tasks(), object),
        cancelled: pgo_crd::cancelled(tasks(), object),
        replicas: Vec::new(),
    }
}

/// What is there of a cluster.
///
/// # Errors
/// Kubernetes does not say what is left of one that goes.
pub async fn observe(
    object: &Pgcluster,
    cluster: &Cluster,
    tasks: &Tasks,
    context: &Context,
) -> Result<Observed, Error> {
    let cache = &context.cache;
    let There {
        pods,
        claims,
        secrets,
    } = There::of(cluster, context).await?;
    let service = fixture(&cache.services, cluster, Fixture::Service);
    let replica_service = fixture(&cache.services, cluster, Fixture::ReplicaService);
    let slice = fixture(&cache.slices, cluster, Fixture::EndpointSlice);
    let lease = fixture(&cache.leases, cluster, Fixture::Lease);
    let said = |name: &str| lease.as_ref()?.annotations().get(name).cloned();
    let mut observed = Observed {
        finalizer: object.finalizers().iter().any(|f| f == FINALIZER),
        user_secrets: uids(&secrets, |secret| {
            opens_data(secret) && owners(secret).next().is_none()
        }),
        lent_secrets: uids(&secrets, |secret| {
            opens_data(secret) && owners(secret).next().is_some()
        })
        .into_keys()
        .collect(),
        fixtures: fixtures(cache, cluster),
        authority_until: Some(context.authority.validity().not_after),
        service_form: service.and_then(|service| form(&service.metadata)),
        replica_service_form: replica_service.and_then(|service| form(&service.metadata)),
        endpoints: slice.map(|slice| endpoints(&slice)),
        synchronous: said(SYNCHRONOUS).and_then(|said| said.parse().ok()),
        sync_fallback: said(SYNC_FALLBACK).and_then(|said| said.parse().ok()),
        autofail: said(AUTOFAIL).and_then(|said| said.parse().ok()),
        preferred: said(PREFERRED).map_or_else(Default::default, |said| preferred_instances(&said)),
        preferred_nodes: context.preferred_nodes.borrow().as_deref().cloned(),
        lease_restore: said(RESTORED).and_then(|said| said.parse().ok()),
        takeovers: takeovers(cluster, said(TAKEOVERS)),
        family: own_family(),
        tasks: uids(&of_cluster(tasks, cluster), |task| {
            owners(task).next().is_none() || is_owned(task, &cluster.stream)
        }),
        refused: context.refused(cluster.stream.as_str()),
        unwilling: context.changes.unwilling(&cluster.stream),
        reloads: context.reloads.answers(&cluster.stream),
        policy: context.policies.answer(&cluster.stream),
        upgrades_full: upgrades_full(object, cluster, context),
        ..Observed::default()
    };
    see_certificate(&mut observed, cluster, cache);
    see_pods(&mut observed, &pods, cluster, context).await;
    observed.backups = backups(&claims, &secrets, cluster);
    see_claims(&mut observed, &claims, cluster, context).await;
    size::see_classes(&mut observed, (object, cluster), &context.client).await;
    hear_agents(&mut observed, cluster, context);
    observed.repository = repository::observe(&pods, &claims, cluster, context).await;
    observed.drill_place = drill::place(object, cluster, &observed, context);
    observed.sources = passwords::sources(cluster, &observed, &context.client).await;
    Ok(observed)
}

/// The claims of the instances.
async fn see_claims(
    observed: &mut Observed,
    claims: &[Arc<PersistentVolumeClaim>],
    cluster: &Cluster,
    context: &Context,
) {
    let of_data = |claim: &&Arc<PersistentVolumeClaim>| {
        holds(claim.meta(), &cluster.name) == Some(Holds::Data)
    };
    for claim in claims.iter().filter(of_data) {
        if let Ok(instance) = claim.name_any().parse() {
            let facts = claim_facts(claim, context, cluster).await;
            observed.claims.insert(instance, facts);
        }
    }
}

/// The agents' certificate: what it was made for, and when it ends.
fn see_certificate(observed: &mut Observed, cluster: &Cluster, cache: &Cache) {
    if let Some(secret) = fixture(&cache.secrets, cluster, Fixture::Certificate) {
        let until = secret.annotations().get(CERTIFICATE_UNTIL);
        observed.certificate_until = until.and_then(|until| until.parse().ok());
        observed.certificate_form = form(&secret.metadata);
    }
}

/// The pods of the instances, and those that do one thing: ask an image for its version, try a backup, measure or load.
async fn see_pods(
    observed: &mut Observed,
    pods: &[Arc<Pod>],
    cluster: &Cluster,
    context: &Context,
) {
    for pod in pods {
        let is_ours = is_owned(&pod.metadata, &cluster.stream);
        if let Some(operation) = pod.labels().get(label::UPGRADE_PROBE) {
            if is_ours {
                observed.probe = Some(probe::facts(pod, operation));
            }
            continue;
        }
        if let Some(operation) = pod.labels().get(label::RESTORE_DRILL) {
            if is_ours {
                observed.drill = Some(drill::facts(pod, operation));
            }
            continue;
        }
        if let Some(operation) = pod.labels().get(label::DUMP) {
            if is_ours {
                let facts = worker::facts(pod, DUMP_CONTAINER, operation);
                observed.dump = worker::seen(observed.dump.take(), facts);
            }
            continue;
        }
        if let Some(operation) = pod.labels().get(label::JOB) {
            if is_ours {
                let facts = worker::facts(pod, JOB_CONTAINER, operation);
                observed.job = worker::seen(observed.job.take(), facts);
            }
            continue;
        }
        if let Some(instance) = pod.name_any().parse().ok().filter(|_| is_ours) {
            let facts = with_complaint(pod_facts(pod), context, cluster).await;
            observed.pods.insert(instance, facts);
        }
    }
}

fn upgrades_full(object: &Pgcluster, cluster: &Cluster, context: &Context) -> bool {
    let limit = context.config.borrow().pgo.upgrades_at_once();
    let Some(status) = object.status.as_ref().map(|status| &status.0) else {
        return false;
    };
    let wants = !cluster.is_to_go() && wants_upgrade(status, cluster);
    let at_it = status.upgrading().is_some();
    let wake = context.waking(cluster);
    context
        .upgrades
        .full(&cluster.stream, (at_it, wants), limit, wake)
}

/// The last changes of the primary, as the agents wrote them down.
fn takeovers(cluster: &Cluster, said: Option<String>) -> Vec<Takeover> {
    let Some(said) = said else {
        return Vec::new();
    };
    let read = serde_json::from_str(&said);
    if let Err(error) = &read {
        tracing::error!(
            cluster = %cluster.name, namespace = %cluster.namespace, %error,
            "the Lease's annotation {TAKEOVERS} is not understood; changes of the primary are not told"
        );
    }
    read.unwrap_or_default()
}

/// Objects that carry a cluster's labels.
fn of_cluster<K: Resource>(all: &[Arc<K>], cluster: &Cluster) -> Vec<Arc<K>> {
    let is_of_cluster = |object: &&Arc<K>| {
        let meta = object.meta();
        let labels = meta.labels.as_ref();
        labels
            .and_then(|labels| labels.get(label::PG_CLUSTER))
            .map(String::as_str)
            == Some(cluster.name.as_str())
            && meta.namespace.as_deref() == Some(cluster.namespace.as_str())
    };
    all.iter().filter(is_of_cluster).cloned().collect()
}

/// Uids of objects, by name.
fn uids<K: Resource>(
    objects: &[Arc<K>],
    wanted: impl Fn(&ObjectMeta) -> bool,
) -> BTreeMap<String, String> {
    let wanted = objects.iter().filter(|object| wanted(object.meta()));
    wanted
        .filter_map(|object| Some((object.name_any(), object.uid()?)))
        .collect()
}

/// Whether a Secret of a cluster holds the password of a user: those of any user it ever had. A Pgcluster does not own
/// them, as they stay with the data.
fn opens_data(secret: &ObjectMeta) -> bool {
    let labels = secret.labels.as_ref();
    owners(secret).all(|owner| owner.kind != "Pgcluster")
        && labels.is_none_or(|labels| !labels.contains_key(OF_BACKUPS))
}

/// What holds the backups of a cluster: claims, and the Secret of the repository.
fn backups(
    claims: &[Arc<PersistentVolumeClaim>],
    secrets: &[Arc<PartialObjectMeta<Secret>>],
    cluster: &Cluster,
) -> BTreeMap<(Backup, String), String> {
    let claims = claims.iter().map(|claim| claim.meta());
    let claims = claims.filter(|claim| holds(claim, &cluster.name) == Some(Holds::Backups));
    let claims = claims.map(|claim| (Backup::Claim, claim));
    let of_repository = format!("{}-backrest-repo-config", cluster.name);
    let secrets = secrets
        .iter()
        .filter(|secret| secret.name_any() == of_repository);
    let secrets = secrets.map(|secret| (Backup::Secret, secret.meta()));
    let all = claims.chain(secrets);
    all.filter_map(|(backup, meta)| Some(((backup, meta.name.clone()?), meta.uid.clone()?)))
        .collect()
}

/// A fixture, if it is this very cluster's.
fn fixture<K>(store: &Store<K>, cluster: &Cluster, fixture: Fixture) -> Option<Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let name = fixture_name(fixture, &cluster.name);
    by_name(store, cluster.namespace.as_str(), &name).filter(|found| {
        let meta = found.meta();
        is_owned(meta, &cluster.stream) && is_labelled(meta, &cluster.name)
    })
}

/// Uids of the cluster's fixtures.
fn fixtures(cache: &Cache, cluster: &Cluster) -> BTreeMap<Fixture, String> {
    fn uid<K>(store: &Store<K>, cluster: &Cluster, which: Fixture) -> Option<(Fixture, String)>
    where
        K: Resource + Clone + 'static,
        K::DynamicType: Default + Eq + Hash + Clone,
    {
        Some((which, fixture(store, cluster, which)?.uid()?))
    }
    [
        uid(&cache.deployments, cluster, Fixture::Repository),
        uid(&cache.services, cluster, Fixture::RepositoryService),
        uid(&cache.services, cluster, Fixture::Service),
        uid(&cache.services, cluster, Fixture::ReplicaService),
        uid(&cache.slices, cluster, Fixture::EndpointSlice),
        uid(&cache.leases, cluster, Fixture::Lease),
        uid(&cache.secrets, cluster, Fixture::Certificate),
        uid(&cache.bindings, cluster, Fixture::RoleBinding),
        uid(&cache.roles, cluster, Fixture::Role),
        uid(&cache.accounts, cluster, Fixture::Account),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The family of addresses by which this process reaches the API server; none where it runs outside of the cluster.
fn own_family() -> Option<AddressFamily> {
    AddressFamily::of(&std::env::var("KUBERNETES_SERVICE_HOST").ok()?)
}

/// Where an EndpointSlice leads.
fn endpoints(slice: &EndpointSlice) -> Endpoints {
    let is_ready = |endpoint: &&Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.is_none_or(|conditions| conditions.ready != Some(false))
    };
    let ready = slice.endpoints.iter().filter(is_ready);
    Endpoints {
        family: [AddressFamily::V4, AddressFamily::V6]
            .into_iter()
            .find(|family| family.as_str() == slice.address_type),
        addresses: ready
            .flat_map(|endpoint| endpoint.addresses.clone())
            .collect(),
    }
}

fn hear_agents(observed: &mut Observed, cluster: &Cluster, context: &Context) {
    let present: Vec<InstanceName> = observed.pods.keys().cloned().collect();
    context
        .agents
        .forget_others(&cluster.namespace, &cluster.name, &present);
    for (instance, pod) in &observed.pods {
        if let Some(ip) = &pod.ip {
            context.agents.hear(&agents::Pod {
                namespace: cluster.namespace.clone(),
                cluster: cluster.name.clone(),
                name: instance.to_string(),
                uid: pod.uid.clone(),
                ip: ip.clone(),
            });
        }
        match context.agents.said(&cluster.namespace, instance) {
            Some(Said::Facts(facts)) => {
                observed.agents.insert(instance.clone(), *facts);
            }
            Some(Said::Nothing { since }) => {
                observed.silent.insert(instance.clone(), since);
            }
            None => {}
        }
    }
}

fn pod_facts(pod: &Pod) -> PodFacts {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |name: &str| -> Option<&PodCondition> {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == name)
    };
    let scheduled = condition("PodScheduled");
    let since = scheduled
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0);
    let unschedulable = scheduled
        .filter(|condition| condition.status == "False")
        .map(|condition| {
            let why = condition.message.clone().unwrap_or_default();
            (since.unwrap_or(Timestamp::UNIX_EPOCH), why)
        });
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let containers = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    PodFacts {
        uid: pod.uid().unwrap_or_default(),
        phase: match status.phase.as_deref() {
            Some("Running") => PodPhase::Running,
            Some("Succeeded" | "Failed") => PodPhase::Ended,
            _ => PodPhase::Pending,
        },
        placed: since.filter(|_| node.is_some()),
        node,
        ip: status.pod_ip.clone().filter(|ip| !ip.is_empty()),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        unschedulable,
        waiting: containers.into_iter().find_map(waiting),
        complaint: None,
        form: form(&pod.metadata),
        service: service(pod),
    }
}

/// The Service whose clients a pod is for, where all labels say so that say it: pods of earlier versions have one.
fn service(pod: &Pod) -> Option<String> {
    let said = |key: &str| pod.labels().get(key);
    let service = said(label::SERVICE_NAME);
    service.filter(|_| said(label::NAME) == service).cloned()
}

/// Asks what is wrong with a pod that should have started by now.
async fn with_complaint(facts: PodFacts, context: &Context, cluster: &Cluster) -> PodFacts {
    if !facts.is_slow(Timestamp::now()) {
        return facts;
    }
    let namespace = cluster.namespace.as_str();
    let said = complaints::about(&facts.uid, namespace, &context.client).await;
    PodFacts {
        complaint: complaints::standing(&said),
        ..facts
    }
}

fn waiting(status: &ContainerStatus) -> Option<Waiting> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone()?;
    // A container that fails again and again says why in its last end.
    let last = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .map(|ended| {
            let said = ended
                .message
                .iter()
                .map(|said| format!(": {}", said.trim()));
            format!("ended with {}{}", ended.exit_code, said.collect::<String>())
        });
    let said = last.into_iter().chain(waiting.message.clone());
    let message = said.collect::<Vec<_>>().join("; ");
    Some(Waiting {
        container: status.name.clone(),
        reason,
        message: message.trim().to_owned(),
    })
}

async fn claim_facts(
    claim: &PersistentVolumeClaim,
    context: &Context,
    cluster: &Cluster,
) -> ClaimFacts {
    let phase = match claim.status.as_ref().and_then(|s| s.phase.as_deref()) {
        Some("Bound") => ClaimPhase::Bound,
        Some("Lost") => ClaimPhase::Lost,
        _ => ClaimPhase::Pending,
    };
    let age = claim
        .creation_timestamp()
        .map(|made| Timestamp::now().duration_since(made.0).unsigned_abs())
        .unwrap_or_default();
    let uid = claim.uid().unwrap_or_default();
    let complaint = if phase == ClaimPhase::Pending && age > CLAIM_GRACE {
        let namespace = cluster.namespace.as_str();
        complaints::last(&complaints::about(&uid, namespace, &context.client).await)
    } else {
        None
    };
    let volume = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref());
    let since = claim.annotations().get(FIRST_SINCE);
    ClaimFacts {
        uid,
        first_since: since.and_then(|since| since.parse().ok()),
        phase,
        has_volume: volume.is_some_and(|name| !name.is_empty()),
        form: form(&claim.metadata),
        size: size::of(claim),
        complaint,
        terminating: claim.metadata.deletion_timestamp.is_some(),
    }
}

#[cfg(test)]
mod tests;
