//! What keeps a cluster from being ready, if it is more than time.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{shortened, without_secrets};
use pgo_ids::InstanceName;

use crate::{
    AgentPhase, ClaimFacts, ClaimPhase, Desired, Milestone, Observed, Operation, PodFacts,
    PodPhase, StorageKind, password,
};

/// How long no node may take a pod before that is called a failure: while a volume is being made the scheduler says for
/// a moment that none fits.
const SCHEDULING_GRACE: SignedDuration = SignedDuration::from_secs(4);

/// How long a creation may take while nobody says that he works on it. Images are pulled in that time.
const CREATION_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// Reasons of a waiting container that do not go away by waiting (kubelet's `images` and `kuberuntime` packages).
const NOT_STARTING: [&str; 9] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// Why a cluster is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word, for the condition's reason.
    pub reason: &'static str,
    /// What failed, on what, why; as long as an event can tell it.
    pub cause: String,
}

impl Problem {
    /// A problem with this cause, as an event tells it: condition and event say the same, and neither has a secret.
    #[must_use]
    pub fn new(reason: &'static str, cause: &str) -> Self {
        Self {
            reason,
            cause: shortened(&without_secrets(cause)),
        }
    }

    /// The first problem there is, from the ground up: passwords, volume, pod, PostgreSQL, Service.
    ///
    /// Claims that wait in vain are about to be replaced, and outdated pods where they are `replaceable`: what is wrong with
    /// them is no problem any more.
    #[must_use]
    pub fn find(
        (desired, first): (&Desired, &InstanceName),
        observed: &Observed,
        replaceable: bool,
        now: Timestamp,
    ) -> Option<Self> {
        if let Some(refused) = &observed.refused {
            return Some(Self::new("Refused", refused));
        }
        if let Some(problem) = of_passwords(desired, observed, !replaceable) {
            return Some(problem);
        }
        let primary = observed.primary(first);
        Self::of_instance(desired, observed, &primary, replaceable, now)
    }

    /// Reason of a problem that an agent tells.
    pub(crate) const OF_AGENT: &'static str = "PostgreSQLFailed";

    /// Reason of one that it tells of the way to it.
    pub(crate) const OF_WAY: &'static str = "ServiceNotDirected";

    /// The first problem of one instance, for which this is wanted.
    pub(crate) fn of_instance(
        desired: &Desired,
        observed: &Observed,
        instance: &InstanceName,
        replaceable: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let (claim_form, pod_form) = (desired.claim_form(), desired.pod_form());
        if observed.waits_in_vain(instance, &claim_form) {
            return None;
        }
        let on_a_claim = desired.storage.kind != StorageKind::EmptyDir;
        let claim = observed.claims.get(instance).filter(|_| on_a_claim);
        if let Some(problem) = claim.and_then(|claim| of_claim(instance.as_str(), claim)) {
            return Some(problem);
        }
        let pod = observed.pods.get(instance)?;
        if pod.terminating || (replaceable && pod.is_outdated(&pod_form)) {
            return None;
        }
        of_pod(instance.as_str(), pod, now).or_else(|| of_agent(observed, instance))
    }

    /// A creation that takes too long: what it still waits for; none once the primary serves.
    #[must_use]
    pub fn late(wanted: (&Desired, &InstanceName), observed: &Observed) -> Option<Self> {
        let awaited = awaited(wanted, observed)?;
        let minutes = CREATION_DEADLINE.as_mins();
        let cause = format!("not ready within {minutes} min; still waiting for {awaited}");
        Some(Self::new("Late", &cause))
    }
}

/// Whether a running creation should be over by now. Not while an agent says that it is at work: what it does has
/// deadlines of its own, or takes as long as there is data.
pub(crate) fn is_overdue(
    creation: &Operation,
    first: &InstanceName,
    observed: &Observed,
    now: Timestamp,
) -> bool {
    let agent = observed.agent(first);
    let at_work = agent.is_some_and(|agent| {
        matches!(
            agent.phase,
            AgentPhase::Initializing | AgentPhase::Recovering
        )
    });
    !at_work && now.duration_since(creation.started) >= CREATION_DEADLINE
}

/// What must happen next.
fn awaited((desired, instance): (&Desired, &InstanceName), observed: &Observed) -> Option<String> {
    let pod = observed.pods.get(instance);
    let reached = Milestone::reached((desired, instance), observed);
    Some(match (reached, pod) {
        (Milestone::Accepted, _) => "secrets, certificate and service".to_owned(),
        (Milestone::Prepared, None) => format!("pod {instance} to be made"),
        (Milestone::Prepared, Some(pod)) if pod.node.is_none() => {
            format!("a node for pod {instance}")
        }
        (Milestone::Prepared, Some(_)) => {
            format!("PersistentVolumeClaim {instance} to be bound")
        }
        (Milestone::Placed, Some(pod)) if pod.phase != PodPhase::Running => {
            format!("the containers of pod {instance} to start")
        }
        (Milestone::Placed, pod) => {
            let address = pod.and_then(|pod| pod.ip.as_deref()).unwrap_or("none yet");
            format!(
                "the agent in pod {instance} to answer at its address ({address}); see the pod's log, and whether a \
                 NetworkPolicy is in the way"
            )
        }
        (Milestone::Started, _) => {
            format!("the agent in pod {instance} to bring PostgreSQL up; see the pod's log")
        }
        (Milestone::Initialized, _) => "the primary to answer on its service".to_owned(),
        (Milestone::Serving, _) => return None,
    })
}

fn of_passwords(desired: &Desired, observed: &Observed, was_ready: bool) -> Option<Problem> {
    let lacking = password::steps(desired, observed, was_ready).err()?;
    let (from, first) = (desired.secret_from.as_ref()?, lacking.first()?);
    let others = match lacking.len() - 1 {
        0 => String::new(),
        others => format!(", and {others} more,"),
    };
    let cause = format!(
        "spec.secretfrom: the passwords of cluster {from} cannot be copied: Secret {first}{others} is not there or has no \
         password; make it, or name another cluster"
    );
    Some(Problem::new("SecretNotFound", &cause))
}

/// What is wrong with a claim; `whose` comes behind its kind.
pub(crate) fn of_claim(whose: &str, claim: &ClaimFacts) -> Option<Problem> {
    let cause = match (claim.phase, &claim.complaint) {
        (ClaimPhase::Lost, _) => "its volume is gone",
        (ClaimPhase::Pending, Some(complaint)) => complaint,
        _ => return None,
    };
    let cause = format!("PersistentVolumeClaim {whose} cannot be bound: {cause}");
    Some(Problem::new("VolumeNotBound", &cause))
}

fn of_agent(observed: &Observed, instance: &InstanceName) -> Option<Problem> {
    let agent = observed.agent(instance)?;
    let error = agent.error.as_deref();
    match (agent.phase, error) {
        (AgentPhase::Failed, _) => {
            let error = error.unwrap_or("the agent gave no reason; see the pod's log");
            let cause = format!("instance {instance}: {error}");
            Some(Problem::new(Problem::OF_AGENT, &cause))
        }
        // What it tells while PostgreSQL runs is about the way to it.
        (AgentPhase::Running, Some(error)) => {
            let cause =
                format!("instance {instance} runs, but the service may not lead to it: {error}");
            Some(Problem::new(Problem::OF_WAY, &cause))
        }
        _ => None,
    }
}

/// What is wrong with a pod; `whose` comes behind the word.
pub(crate) fn of_pod(whose: &str, pod: &PodFacts, now: Timestamp) -> Option<Problem> {
    if let Some((since, why)) = &pod.unschedulable
        && now.duration_since(*since) >= SCHEDULING_GRACE
    {
        let cause = format!("no node can take pod {whose}: {why}");
        return Some(Problem::new("PodNotScheduled", &cause));
    }
    if let Some(waiting) = &pod.waiting
        && NOT_STARTING.contains(&waiting.reason.as_str())
    {
        let reason = if waiting.reason.contains("Image") {
            "ImageNotPulled"
        } else {
            "ContainerNotStarted"
        };
        let cause = format!(
            "container {} of pod {whose} does not start: {}: {}",
            waiting.container, waiting.reason, waiting.message
        );
        return Some(Problem::new(reason, &cause));
    }
    let complaint = pod.complaint.as_ref().filter(|_| pod.is_slow(now))?;
    let cause = format!("pod {whose} does not start: {complaint}");
    Some(Problem::new("PodNotStarted", &cause))
}
