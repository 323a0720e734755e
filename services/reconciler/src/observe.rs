//! Step 1, observe: what is there of a cluster, from the caches and the agents; no call unless something is wrong.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStatus, Event, PersistentVolumeClaim, Pod, PodCondition,
};
use kube::{Api, Resource, ResourceExt as _, api::ListParams, runtime::reflector::Store};
use pgo_core::{
    ClaimFacts, ClaimPhase, Cluster, DeleteRequest, Observed, PodFacts, PodPhase, UserSecret,
    Waiting,
};
use pgo_crd::{FINALIZER, Pgcluster, label};
use pgo_ids::InstanceName;
use pgo_objects::{CERTIFICATE_UNTIL, GENERATION, certificate_secret_name, endpoint_slice_name};

use crate::{
    agents::{self, Said},
    cache::by_name,
    context::Context,
};

/// A claim that is younger than this is not asked about: volumes take a moment.
const CLAIM_GRACE: Duration = Duration::from_secs(3);

/// How long Kubernetes may take to say what it complained of.
const COMPLAINT_DEADLINE: Duration = Duration::from_secs(5);

/// The deletion that a Pgtask asks for.
pub fn delete_request(object: &Pgcluster, context: &Context) -> Option<DeleteRequest> {
    let tasks = context.cache.tasks.state();
    tasks
        .iter()
        .filter_map(|task| task.0.as_ref().ok())
        .find_map(|task| pgo_crd::delete_request(task, object))
}

/// What is there of a cluster.
pub async fn observe(object: &Pgcluster, cluster: &Cluster, context: &Context) -> Observed {
    let cache = &context.cache;
    let (name, namespace) = (cluster.name.as_str(), cluster.namespace.as_str());
    let agent_name = format!("{name}-agent");
    let mut observed = Observed {
        finalizer: object.finalizers().iter().any(|f| f == FINALIZER),
        user_secrets: user_secrets(cluster, context),
        certificate_until: by_name(
            &cache.secrets,
            namespace,
            &certificate_secret_name(&cluster.name),
        )
        .and_then(|secret| secret.annotations().get(CERTIFICATE_UNTIL)?.parse().ok()),
        access: by_name(&cache.accounts, namespace, &agent_name).is_some()
            && by_name(&cache.roles, namespace, &agent_name).is_some()
            && by_name(&cache.bindings, namespace, &agent_name).is_some(),
        lease: by_name(&cache.leases, namespace, name).is_some(),
        service: by_name(&cache.services, namespace, name).is_some(),
        endpoints: by_name(
            &cache.slices,
            namespace,
            &endpoint_slice_name(&cluster.name),
        )
        .map(|slice| {
            slice
                .endpoints
                .iter()
                .filter(|e| e.conditions.as_ref().is_none_or(|c| c.ready != Some(false)))
                .flat_map(|e| e.addresses.clone())
                .collect()
        }),
        tasks: of_cluster(&cache.tasks, cluster).len(),
        refused: context.refused(cluster.stream.as_str()),
        ..Observed::default()
    };
    for pod in of_cluster(&cache.pods, cluster) {
        if let Ok(instance) = pod.name_any().parse() {
            observed.pods.insert(instance, pod_facts(&pod));
        }
    }
    for claim in of_cluster(&cache.claims, cluster) {
        if let Ok(instance) = claim.name_any().parse() {
            let facts = claim_facts(&claim, context).await;
            observed.claims.insert(instance, facts);
        }
    }
    hear_agents(&mut observed, cluster, context);
    observed
}

/// Objects of a cluster in a store.
fn of_cluster<K>(store: &Store<K>, cluster: &Cluster) -> Vec<Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    store.state_filtered(cluster)
}

/// Selection by cluster, for every kind.
trait StateFiltered<K> {
    fn state_filtered(&self, cluster: &Cluster) -> Vec<Arc<K>>;
}

impl<K> StateFiltered<K> for Store<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    fn state_filtered(&self, cluster: &Cluster) -> Vec<Arc<K>> {
        self.state()
            .into_iter()
            .filter(|object| {
                let meta = object.meta();
                let named = meta
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(label::PG_CLUSTER));
                named.map(String::as_str) == Some(cluster.name.as_str())
                    && meta.namespace.as_deref() == Some(cluster.namespace.as_str())
            })
            .collect()
    }
}

fn user_secrets(cluster: &Cluster, context: &Context) -> BTreeSet<UserSecret> {
    let Ok(desired) = &cluster.desired else {
        return BTreeSet::new();
    };
    UserSecret::ALL
        .into_iter()
        .filter(|which| {
            let name = desired.secret_name(*which);
            by_name(&context.cache.secrets, cluster.namespace.as_str(), &name).is_some()
        })
        .collect()
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
                instance: instance.clone(),
                uid: pod.uid.clone(),
                ip: ip.clone(),
            });
        }
        match context.agents.said(&cluster.namespace, instance) {
            Some(Said::Facts(facts)) => {
                observed.agents.insert(instance.clone(), facts);
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
    let unschedulable = condition("PodScheduled")
        .filter(|condition| condition.status == "False")
        .map(|condition| {
            let since = condition.last_transition_time.as_ref().map(|time| time.0);
            let why = condition.message.clone().unwrap_or_default();
            (since.unwrap_or(Timestamp::UNIX_EPOCH), why)
        });
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
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ip: status.pod_ip.clone().filter(|ip| !ip.is_empty()),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        unschedulable,
        waiting: containers.into_iter().find_map(waiting),
        generation: pod
            .annotations()
            .get(GENERATION)
            .and_then(|generation| generation.parse().ok()),
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
            let said = ended.message.clone().unwrap_or_default();
            format!("ended with {} {said}", ended.exit_code)
        });
    let message = waiting.message.clone().or(last).unwrap_or_default();
    Some(Waiting {
        container: status.name.clone(),
        reason,
        message: message.trim().to_owned(),
    })
}

async fn claim_facts(claim: &PersistentVolumeClaim, context: &Context) -> ClaimFacts {
    let phase = match claim.status.as_ref().and_then(|s| s.phase.as_deref()) {
        Some("Bound") => ClaimPhase::Bound,
        Some("Lost") => ClaimPhase::Lost,
        _ => ClaimPhase::Pending,
    };
    let age = claim
        .creation_timestamp()
        .map(|made| Timestamp::now().duration_since(made.0).unsigned_abs())
        .unwrap_or_default();
    let complaint = if phase == ClaimPhase::Pending && age > CLAIM_GRACE {
        complaint(claim, context).await
    } else {
        None
    };
    ClaimFacts {
        uid: claim.uid().unwrap_or_default(),
        phase,
        complaint,
        terminating: claim.metadata.deletion_timestamp.is_some(),
    }
}

/// What was complained of last about a claim, in Kubernetes' own events.
async fn complaint(claim: &PersistentVolumeClaim, context: &Context) -> Option<String> {
    let api: Api<Event> = Api::namespaced(context.client.clone(), &claim.namespace()?);
    let about = format!(
        "involvedObject.uid={},type=Warning",
        claim.uid().unwrap_or_default()
    );
    let about = ListParams::default().fields(&about);
    match tokio::time::timeout(COMPLAINT_DEADLINE, api.list(&about)).await {
        Ok(Ok(events)) => events
            .items
            .into_iter()
            .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))
            .and_then(|event| event.message),
        Ok(Err(error)) => {
            tracing::warn!(claim = claim.name_any(), %error, "cannot read the claim's events");
            None
        }
        Err(_) => None,
    }
}
