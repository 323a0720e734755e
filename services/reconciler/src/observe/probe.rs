//! What the pod has found that asks an image for its version.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use pgo_core::{Found, ProbeFacts};
use pgo_objects::PROBE_CONTAINER;

/// Reasons of a waiting container that waiting does not mend (kubelet's `images` and `kuberuntime` packages). A first failed
/// pull is not among them: the kubelet tries again.
const NOT_STARTING: [&str; 6] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "CreateContainerError",
    "RunContainerError",
];

/// What a probe has found, made for this upgrade.
pub fn facts(pod: &Pod, operation: &str) -> ProbeFacts {
    ProbeFacts {
        uid: pod.uid().unwrap_or_default(),
        operation: operation.to_owned(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        found: found(pod),
    }
}

/// What a container that does one thing says of it.
#[derive(Debug)]
pub enum Said {
    /// It ended: its exit code and its last words.
    Ended(i32, String),
    /// The pod failed as a whole; how.
    Failed(String),
    /// It waits: Kubernetes' reason, and its message.
    Waits(String, String),
    /// Nothing yet; why the pod is not scheduled, where that is so.
    Nothing(Option<String>),
}

/// What the container of this name says.
pub fn said(pod: &Pod, container: &str) -> Said {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let it = containers.iter().find(|one| one.name == container);
    if let Some(ended) = it.and_then(|one| one.state.as_ref()?.terminated.as_ref()) {
        let said = ended.message.clone().unwrap_or_default();
        return Said::Ended(ended.exit_code, said.trim().to_owned());
    }
    if status.phase.as_deref() == Some("Failed") {
        let why = [status.reason, status.message];
        let why: Vec<String> = why.into_iter().flatten().collect();
        return Said::Failed(format!("its pod failed: {}", why.join(": ")));
    }
    if let Some((reason, message)) = it.and_then(waiting) {
        return Said::Waits(reason, message);
    }
    let scheduled = status.conditions.iter().flatten();
    let mut scheduled = scheduled.filter(|condition| condition.type_ == "PodScheduled");
    let not = scheduled.find(|condition| condition.status == "False");
    Said::Nothing(not.and_then(|condition| condition.message.clone()))
}

fn found(pod: &Pod) -> Found {
    match said(pod, PROBE_CONTAINER) {
        Said::Ended(0, said) => Found::Version(said),
        Said::Ended(code, said) if said.is_empty() => {
            Found::Unusable(format!("the probe ended with {code}"))
        }
        Said::Ended(_, said) | Said::Failed(said) => Found::Unusable(said),
        Said::Waits(reason, message) => {
            let why = format!("{reason}: {message}");
            match NOT_STARTING.contains(&reason.as_str()) {
                true => Found::Unusable(why),
                false => Found::Nothing(Some(why)),
            }
        }
        Said::Nothing(why) => Found::Nothing(why),
    }
}

fn waiting(status: &ContainerStatus) -> Option<(String, String)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.clone().unwrap_or_default();
    Some((waiting.reason.clone()?, message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        let pod =
            json!({"metadata": {"name": "hippo-upgrade-probe", "uid": "u"}, "status": status});
        serde_json::from_value(pod).expect("a pod")
    }

    fn with(state: Value) -> Found {
        found(&pod(json!({"containerStatuses": [
            {"name": "probe", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state},
        ]})))
    }

    #[test]
    fn what_a_probe_says_is_its_version_or_why_there_is_none() {
        let ended =
            |code: i32, said: &str| json!({"terminated": {"exitCode": code, "message": said}});
        assert_eq!(
            with(ended(0, "15.20\n")),
            Found::Version("15.20".to_owned())
        );
        let none = "agent: the image holds no PostgreSQL";
        assert_eq!(with(ended(1, none)), Found::Unusable(none.to_owned()));
        let waits = |reason: &str| json!({"waiting": {"reason": reason, "message": "not found"}});
        assert_eq!(
            with(waits("ErrImagePull")),
            Found::Nothing(Some("ErrImagePull: not found".to_owned()))
        );
        assert_eq!(
            with(waits("ImagePullBackOff")),
            Found::Unusable("ImagePullBackOff: not found".to_owned())
        );
        assert_eq!(found(&pod(json!({}))), Found::Nothing(None));
        let late = json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"});
        assert_eq!(
            found(&pod(late)),
            Found::Unusable("its pod failed: DeadlineExceeded: too long".to_owned())
        );
    }
}
