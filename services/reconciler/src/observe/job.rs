//! What the pod for a benchmark or a load says of how far it is.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use pgo_core::{JobFacts, JobState};
use pgo_objects::JOB_CONTAINER;

/// Exit codes of a process that a signal has ended: shells' 128 and the signal's number.
const BY_A_SIGNAL: [i32; 3] = [130, 137, 143];

/// How far a pod is that was made for this operation.
pub fn facts(pod: &Pod, operation: &str) -> JobFacts {
    JobFacts {
        uid: pod.uid().unwrap_or_default(),
        name: pod.name_any(),
        operation: operation.to_owned(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        state: state(pod),
    }
}

/// The one that counts, where two are there: that which stays.
pub fn seen(before: Option<JobFacts>, now: JobFacts) -> Option<JobFacts> {
    Some(match before {
        Some(before) if !before.terminating => before,
        _ => now,
    })
}

fn state(pod: &Pod) -> JobState {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let it = containers.iter().find(|one| one.name == JOB_CONTAINER);
    if let Some(ended) = it.and_then(|one| one.state.as_ref()?.terminated.as_ref()) {
        let said = ended.message.clone().unwrap_or_default();
        return ended_with(ended.exit_code, said.trim());
    }
    let phase = status.phase.as_deref();
    if phase == Some("Failed") {
        // Evicted, out of time, or its node is gone.
        let why = [status.reason, status.message];
        let why: Vec<String> = why.into_iter().flatten().collect();
        return JobState::Lost(format!("its pod failed: {}", why.join(": ")));
    }
    if let Some(why) = it.and_then(waiting) {
        return JobState::Waiting(Some(why));
    }
    if phase == Some("Running") {
        return JobState::Working;
    }
    let mut conditions = status.conditions.into_iter().flatten();
    let not = conditions.find(|one| one.type_ == "PodScheduled" && one.status == "False");
    JobState::Waiting(not.and_then(|condition| condition.message))
}

/// What its last words say (`services/agent/src/job.rs`).
fn ended_with(code: i32, said: &str) -> JobState {
    match (code, said) {
        (0, said) => match serde_json::from_str(said) {
            Ok(done) => JobState::Done(done),
            Err(error) => {
                JobState::Lost(format!("it said something that is not understood: {error}"))
            }
        },
        (code, _) if BY_A_SIGNAL.contains(&code) => {
            JobState::Lost(format!("it was killed (exit code {code})"))
        }
        (code, "") => JobState::Lost(format!("it ended with {code} and said nothing")),
        (_, said) => JobState::Failed(said.to_owned()),
    }
}

fn waiting(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.clone().unwrap_or_default();
    Some(format!("{}: {message}", waiting.reason.clone()?))
}

#[cfg(test)]
mod tests {
    use pgo_core::JobResult;
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        let pod =
            json!({"metadata": {"name": "benchmark-hippo-abcd", "uid": "u"}, "status": status});
        serde_json::from_value(pod).expect("a pod")
    }

    fn with(state: &Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{
            "name": "job", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]})
    }

    fn ended(code: i32, said: &str) -> JobState {
        let terminated = json!({"terminated": {"exitCode": code, "message": said}});
        state(&pod(&with(&terminated)))
    }

    #[test]
    fn its_last_word_is_what_became_of_it() {
        let done = JobResult {
            summary: "tps = 85.1".to_owned(),
            output: Some("a\nb\n".to_owned()),
        };
        let text = serde_json::to_string(&done).expect("JSON");
        assert_eq!(ended(0, &text), JobState::Done(done));
        let why = "line 3: invalid input syntax";
        assert_eq!(ended(1, why), JobState::Failed(why.to_owned()));
        assert!(
            matches!(ended(0, ""), JobState::Lost(_)),
            "rows may be there"
        );
        assert!(matches!(ended(137, ""), JobState::Lost(_)));
        assert!(matches!(ended(143, "half a word"), JobState::Lost(_)));
        assert!(matches!(ended(2, ""), JobState::Lost(_)));
    }

    #[test]
    fn before_that_it_works_or_waits() {
        assert_eq!(state(&pod(&json!({"phase": "Running"}))), JobState::Working);
        assert_eq!(
            state(&pod(&json!({"phase": "Pending"}))),
            JobState::Waiting(None)
        );
        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "no room"});
        let lost = "its pod failed: Evicted: no room".to_owned();
        assert_eq!(state(&pod(&evicted)), JobState::Lost(lost));
        let unscheduled = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "no claim"},
        ]});
        assert_eq!(
            state(&pod(&unscheduled)),
            JobState::Waiting(Some("no claim".to_owned()))
        );
        let pulls =
            with(&json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}));
        let why = "ErrImagePull: no such image".to_owned();
        assert_eq!(state(&pod(&pulls)), JobState::Waiting(Some(why)));
    }

    #[test]
    fn the_pod_that_stays_counts() {
        let one = |uid: &str, terminating| JobFacts {
            uid: uid.to_owned(),
            terminating,
            ..facts(&pod(&json!({})), "o")
        };
        let (stays, goes) = (one("stays", false), one("goes", true));
        for (before, now) in [(&stays, &goes), (&goes, &stays)] {
            assert_eq!(seen(Some(before.clone()), now.clone()), Some(stays.clone()));
        }
        assert_eq!(seen(None, goes.clone()), Some(goes));
    }
}
