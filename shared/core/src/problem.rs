//! What keeps a cluster from being ready, if it is more than time.

use jiff::{SignedDuration, Timestamp};

use crate::{AgentPhase, ClaimPhase, Desired, Observed, PodFacts};

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
    /// What failed, on what, why.
    pub cause: String,
}

impl Problem {
    /// The first problem there is, from the ground up: volume, pod, PostgreSQL.
    ///
    /// Where a `replacing` generation is given, pods that were made for another one are about to be replaced: what is
    /// wrong with them is no problem any more.
    #[must_use]
    pub fn find(
        desired: &Desired,
        observed: &Observed,
        replacing: Option<i64>,
        now: Timestamp,
    ) -> Option<Self> {
        if let Some(refused) = &observed.refused {
            return Some(Self {
                reason: "Refused",
                cause: refused.clone(),
            });
        }
        desired.instances().iter().find_map(|instance| {
            let claim = observed.claims.get(instance).and_then(|claim| {
                let cause = match (claim.phase, &claim.complaint) {
                    (ClaimPhase::Lost, _) => "its volume is gone".to_owned(),
                    (ClaimPhase::Pending, Some(complaint)) => complaint.clone(),
                    _ => return None,
                };
                Some(Self {
                    reason: "VolumeNotBound",
                    cause: format!("PersistentVolumeClaim {instance} cannot be bound: {cause}"),
                })
            });
            let counts = |pod: &&PodFacts| {
                !pod.terminating && !replacing.is_some_and(|generation| pod.is_outdated(generation))
            };
            let pod = || {
                let pod = observed.pods.get(instance).filter(counts)?;
                of_pod(instance.as_str(), pod, now)
            };
            let agent = || {
                observed.pods.get(instance).filter(counts)?;
                let agent = observed.agent(instance)?;
                (agent.phase == AgentPhase::Failed).then(|| Self {
                    reason: "PostgreSQLFailed",
                    cause: format!(
                        "instance {instance}: {}",
                        agent
                            .error
                            .as_deref()
                            .unwrap_or("the agent gave no reason; see the pod's log")
                    ),
                })
            };
            claim.or_else(pod).or_else(agent)
        })
    }
}

fn of_pod(instance: &str, pod: &PodFacts, now: Timestamp) -> Option<Problem> {
    if let Some((since, why)) = &pod.unschedulable
        && now.duration_since(*since) >= SCHEDULING_GRACE
    {
        return Some(Problem {
            reason: "PodNotScheduled",
            cause: format!("no node can take pod {instance}: {why}"),
        });
    }
    let waiting = pod.waiting.as_ref()?;
    let image = waiting.reason.contains("Image");
    NOT_STARTING
        .contains(&waiting.reason.as_str())
        .then(|| Problem {
            reason: if image {
                "ImageNotPulled"
            } else {
                "ContainerNotStarted"
            },
            cause: format!(
                "container {} of pod {instance} does not start: {}: {}",
                waiting.container, waiting.reason, waiting.message
            ),
        })
}
