//! What keeps a cluster from being ready, if it is more than time.

use jiff::{SignedDuration, Timestamp};
use pgo_events::shortened;
use pgo_ids::InstanceName;

use crate::{AgentPhase, ClaimFacts, ClaimPhase, Desired, Observed, PodFacts, StorageKind};

/// How long no node may take a pod before that is called a failure: while a volume is being made the scheduler says for
/// a moment that none fits.
const SCHEDULING_GRACE: SignedDuration = SignedDuration::from_secs(4);

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
    /// A problem with this cause.
    #[must_use]
    pub fn new(reason: &'static str, cause: &str) -> Self {
        Self {
            reason,
            cause: shortened(cause),
        }
    }

    /// The first problem there is, from the ground up: volume, pod, PostgreSQL, Service.
    ///
    /// Claims that wait in vain are about to be replaced, and outdated pods where they are `replaceable`: what is wrong with
    /// them is no problem any more.
    #[must_use]
    pub fn find(
        desired: &Desired,
        observed: &Observed,
        replaceable: bool,
        now: Timestamp,
    ) -> Option<Self> {
        if let Some(refused) = &observed.refused {
            return Some(Self::new("Refused", refused));
        }
        let (claim_form, pod_form) = (desired.claim_form(), desired.pod_form());
        desired.instances().iter().find_map(|instance| {
            if observed.waits_in_vain(instance, &claim_form) {
                return None;
            }
            let on_a_claim = desired.storage.kind != StorageKind::EmptyDir;
            let claim = observed.claims.get(instance).filter(|_| on_a_claim);
            if let Some(problem) = claim.and_then(|claim| of_claim(instance, claim)) {
                return Some(problem);
            }
            let pod = observed.pods.get(instance)?;
            if pod.terminating || (replaceable && pod.is_outdated(&pod_form)) {
                return None;
            }
            of_pod(instance, pod, now).or_else(|| of_agent(observed, instance))
        })
    }
}

fn of_claim(instance: &InstanceName, claim: &ClaimFacts) -> Option<Problem> {
    let cause = match (claim.phase, &claim.complaint) {
        (ClaimPhase::Lost, _) => "its volume is gone",
        (ClaimPhase::Pending, Some(complaint)) => complaint,
        _ => return None,
    };
    let cause = format!("PersistentVolumeClaim {instance} cannot be bound: {cause}");
    Some(Problem::new("VolumeNotBound", &cause))
}

fn of_agent(observed: &Observed, instance: &InstanceName) -> Option<Problem> {
    let agent = observed.agent(instance)?;
    let error = agent.error.as_deref();
    match (agent.phase, error) {
        (AgentPhase::Failed, _) => {
            let error = error.unwrap_or("the agent gave no reason; see the pod's log");
            let cause = format!("instance {instance}: {error}");
            Some(Problem::new("PostgreSQLFailed", &cause))
        }
        _ => None,
    }
}

fn of_pod(instance: &InstanceName, pod: &PodFacts, now: Timestamp) -> Option<Problem> {
    if let Some((since, why)) = &pod.unschedulable
        && now.duration_since(*since) >= SCHEDULING_GRACE
    {
        let cause = format!("no node can take pod {instance}: {why}");
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
            "container {} of pod {instance} does not start: {}: {}",
            waiting.container, waiting.reason, waiting.message
        );
        return Some(Problem::new(reason, &cause));
    }
    None
}
