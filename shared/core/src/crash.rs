//! Pods whose container ends again and again: Kubernetes waits longer and longer before it starts that again, up to 5 min, so
//! the pod is made anew, on the same volume.
//!
//! ```text
//! CrashLoopBackOff, nothing heard ─► recorded in the status, told ─► RemovePod ─► made like any that is missing
//!          ▲                                                                              │
//!          ├── 10 s, 20 s, 40 s … 5 min after the one before ◄── ends again and again ◄───┤
//!          └── at once ◄── forgotten ◄── PostgreSQL has run for a minute ◄────────────────┘
//! ```
//!
//! A new pod begins without the pauses of the former one. Ours keep an instance that cannot start at all from being made in
//! a circle; meanwhile kubelet tries on, and whichever pause ends first counts.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{Datum, EventType, Field};
use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::{
    AgentPhase, Cluster, ClusterStatus, Observed, Plan, PodFacts, Step, StorageKind, Waiting,
    journal::Notice,
};

/// kubelet's word for a container that it does not start again yet, since that has ended too often (`kuberuntime` package).
const LOOPS: &str = "CrashLoopBackOff";

/// Shortest pause between two pods that were made for this: kubelet's own first one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Longest such pause: kubelet's own longest one (`MaxContainerBackOff`).
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// How long PostgreSQL must have run before an instance counts as well again: what fails at its beginning, fails sooner.
const WELL: SignedDuration = SignedDuration::from_mins(1);

/// Pods of an instance that were made anew since it was well last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Crashes {
    /// How many.
    pub replaced: u32,
    /// Uid of the last one that made way, or is to.
    pub pod: String,
    /// When that was decided.
    pub since: Timestamp,
}

impl Crashes {
    /// When the next pod may make way.
    fn next(&self) -> Timestamp {
        let doublings = self.replaced.saturating_sub(1).min(8);
        let pause = FIRST_PAUSE * (1 << doublings);
        self.since + pause.min(LONGEST_PAUSE)
    }
}

/// Records which pods make way, and tells why; forgets instances that are well or gone.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let instances = instances(next, cluster);
    next.crashes
        .retain(|name, crashes| instances.contains(name) && !is_well(observed, name, crashes, now));
    for instance in instances {
        let Some((pod, waiting)) = looping(next, cluster, observed, &instance) else {
            continue;
        };
        let former = next.crashes.get(&instance);
        let may = former.is_none_or(|former| former.pod != pod.uid && former.next() <= now);
        if !may {
            continue;
        }
        let replaced = former.map_or(0, |former| former.replaced).saturating_add(1);
        let crashes = Crashes {
            replaced,
            pod: pod.uid.clone(),
            since: now,
        };
        let notice = notice(&instance, &crashes, waiting);
        next.crashes.insert(instance, crashes);
        next.journal.tell(cluster.subject(), notice, now);
    }
}

fn notice(instance: &InstanceName, crashes: &Crashes, waiting: &Waiting) -> Notice {
    let again = match crashes.replaced {
        1 => String::new(),
        times => format!("; {times} times since PostgreSQL ran there for a minute"),
    };
    Notice {
        event_type: EventType::InstanceReplaced,
        about: format!("pod {} of {instance} ends again and again", crashes.pod),
        time: None,
        cause: format!(
            "container {} of pod {instance} ends again and again: {}{again}",
            waiting.container, waiting.message
        ),
        since: None,
        details: vec![(Field::Instance, Datum::Text(instance.to_string()))],
    }
}

/// The instances whose pods may make way. Before a cluster is ready for the first time its image or its spec is wrong, and it
/// says that it has failed; a new pod would hide that.
fn instances(status: &ClusterStatus, cluster: &Cluster) -> Vec<InstanceName> {
    if !status.was_ready() {
        return Vec::new();
    }
    let replicas = status.replicas.iter().filter(|known| !known.leaving);
    let first = status.first(&cluster.name);
    core::iter::once(first)
        .chain(replicas.map(|known| known.name.clone()))
        .collect()
}

/// The pod of an instance, if it ends again and again and nothing but it is lost with it: not where its data is in the pod
/// itself, and not while its agent is heard, whatever Kubernetes says: PostgreSQL may run there.
fn looping<'a>(
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &'a Observed,
    instance: &InstanceName,
) -> Option<(&'a PodFacts, &'a Waiting)> {
    let pod = observed.pods.get(instance)?;
    let waiting = pod.waiting.as_ref().filter(|one| one.reason == LOOPS)?;
    let desired = cluster.desired_of(status, instance)?;
    let is_on_a_volume =
        desired.storage.kind != StorageKind::EmptyDir && observed.claims.contains_key(instance);
    let may = is_on_a_volume && !pod.terminating && observed.agent(instance).is_none();
    may.then_some((pod, waiting))
}

/// Whether PostgreSQL has run for long enough in a pod that came later.
fn is_well(
    observed: &Observed,
    instance: &InstanceName,
    crashes: &Crashes,
    now: Timestamp,
) -> bool {
    observed.agent(instance).is_some_and(|agent| {
        let runs = agent.phase == AgentPhase::Running && agent.pod_uid != crashes.pod;
        let since = agent.started.filter(|_| runs);
        since.is_some_and(|since| now.duration_since(since) >= WELL)
    })
}

/// Has the pods make way that are recorded, as long as it is so.
pub(crate) fn steps(
    plan: &mut Plan,
    status: &ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
) {
    for instance in instances(status, cluster) {
        let Some((pod, _)) = looping(status, cluster, observed, &instance) else {
            continue;
        };
        let is_recorded = |crashes: &Crashes| crashes.pod == pod.uid;
        let step = Step::RemovePod {
            instance: instance.clone(),
            uid: pod.uid.clone(),
        };
        if !status.crashes.get(&instance).is_some_and(is_recorded) {
            plan.waiting_for = Some("the pause before a pod that ends again and again makes way");
        } else if !plan.steps.contains(&step) {
            plan.steps.push(step);
        }
    }
    if plan.waiting_for.is_none() && !status.crashes.is_empty() {
        plan.waiting_for = Some("an instance that had ended again and again to be well");
    }
}
