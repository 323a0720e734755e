//! What a pod that does one operation says of how far it is: a dump, a copy, a benchmark, a load.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_core::{WorkerPod, WorkerState};
use serde::de::DeserializeOwned;

use super::probe::{Said, said};

/// Exit codes of a process that a signal has ended: shells' 128 and the signal's number.
const BY_A_SIGNAL: [i32; 3] = [130, 137, 143];

/// How far a pod is that was made for this operation, by what its container of this name says.
pub fn facts<T: DeserializeOwned>(pod: &Pod, container: &str, operation: &str) -> WorkerPod<T> {
    WorkerPod {
        uid: pod.uid().unwrap_or_default(),
        name: pod.name_any(),
        operation: operation.to_owned(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        state: state(pod, container),
    }
}

/// The one that counts, where two are there: that which stays.
pub fn seen<T>(before: Option<WorkerPod<T>>, now: WorkerPod<T>) -> Option<WorkerPod<T>> {
    Some(match before {
        Some(before) if !before.terminating => before,
        _ => now,
    })
}

fn state<T: DeserializeOwned>(pod: &Pod, container: &str) -> WorkerState<T> {
    match said(pod, container) {
        // Its last words (`services/agent/src/operation.rs`).
        Said::Ended(0, text) => match serde_json::from_str(&text) {
            Ok(done) => WorkerState::Done(done),
            Err(error) => WorkerState::Garbled(error.to_string()),
        },
        Said::Ended(code, _) if BY_A_SIGNAL.contains(&code) => {
            WorkerState::Lost(format!("it was killed (exit code {code})"))
        }
        Said::Ended(code, text) if text.is_empty() => {
            WorkerState::Lost(format!("it ended with {code} and said nothing"))
        }
        Said::Ended(_, text) => WorkerState::Failed(text),
        // Evicted, out of time, or its node is gone.
        Said::Failed(why) => WorkerState::Lost(why),
        Said::Waits(reason, message) => WorkerState::Waiting(Some(format!("{reason}: {message}"))),
        Said::Nothing(why) => match is_running(pod) {
            true => WorkerState::Working,
            false => WorkerState::Waiting(why),
        },
    }
}

fn is_running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Running")
}

#[cfg(test)]
mod tests {
    use pgo_core::{DumpResult, DumpState, JobResult, JobState};
    use pgo_objects::{DUMP_CONTAINER, JOB_CONTAINER};
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        let pod =
            json!({"metadata": {"name": "backup-hippo-pgdump-abcd", "uid": "u"}, "status": status});
        serde_json::from_value(pod).expect("a pod")
    }

    fn with(container: &str, state: &Value) -> Pod {
        pod(&json!({"phase": "Pending", "containerStatuses": [{
            "name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]}))
    }

    fn ended<T: DeserializeOwned>(container: &str, code: i32, said: &str) -> WorkerState<T> {
        let terminated = json!({"terminated": {"exitCode": code, "message": said}});
        state(&with(container, &terminated), container)
    }

    fn text(done: &impl Serialize) -> String {
        serde_json::to_string(done).expect("JSON")
    }

    #[test]
    fn its_last_word_is_what_became_of_it() {
        let made = DumpResult {
            name: "a".to_owned(),
            path: "/pgdata/hippo-backups/a".to_owned(),
            bytes: 3,
            wal: None,
            end: None,
            note: None,
        };
        let measured = JobResult {
            summary: "tps = 85.1".to_owned(),
            output: Some("a\nb\n".to_owned()),
            rows: None,
            bytes: Some(4096),
        };
        assert_eq!(
            ended(DUMP_CONTAINER, 0, &text(&made)),
            DumpState::Done(made)
        );
        assert_eq!(
            ended(JOB_CONTAINER, 0, &text(&measured)),
            JobState::Done(measured)
        );
        let job = |code, said| ended::<JobResult>(JOB_CONTAINER, code, said);
        assert!(matches!(job(0, ""), JobState::Garbled(_)));
        let why = "line 3: invalid input syntax";
        assert_eq!(job(1, why), JobState::Failed(why.to_owned()));
        assert!(matches!(job(137, ""), JobState::Lost(_)));
        assert!(matches!(job(143, "half a word"), JobState::Lost(_)));
        assert!(matches!(job(2, ""), JobState::Lost(_)));
    }

    #[test]
    fn before_that_it_works_or_waits() {
        let state = |pod: &Pod| state::<JobResult>(pod, JOB_CONTAINER);
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
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        let why = "ErrImagePull: no such image".to_owned();
        assert_eq!(
            state(&with(JOB_CONTAINER, &waiting)),
            JobState::Waiting(Some(why))
        );
    }

    #[test]
    fn the_pod_that_stays_counts() {
        let one = |uid: &str, terminating| WorkerPod::<JobResult> {
            uid: uid.to_owned(),
            terminating,
            ..facts(&pod(&json!({})), JOB_CONTAINER, "o")
        };
        let (stays, goes) = (one("stays", false), one("goes", true));
        for (before, now) in [(&stays, &goes), (&goes, &stays)] {
            assert_eq!(seen(Some(before.clone()), now.clone()), Some(stays.clone()));
        }
        assert_eq!(seen(None, goes.clone()), Some(goes));
    }
}
