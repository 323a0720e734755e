//! What the pod for a dump says of how far it is.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_core::{DumpFacts, DumpState};
use pgo_objects::DUMP_CONTAINER;

use super::probe::{Said, said};

/// Exit codes of a process that a signal has ended: shells' 128 and the signal's number.
const BY_A_SIGNAL: [i32; 3] = [130, 137, 143];

/// How far a pod is that was made for this operation.
pub fn facts(pod: &Pod, operation: &str) -> DumpFacts {
    DumpFacts {
        uid: pod.uid().unwrap_or_default(),
        name: pod.name_any(),
        operation: operation.to_owned(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        state: state(pod),
    }
}

/// The one that counts, where two are there: that which stays.
pub fn seen(before: Option<DumpFacts>, now: DumpFacts) -> Option<DumpFacts> {
    Some(match before {
        Some(before) if !before.terminating => before,
        _ => now,
    })
}

fn state(pod: &Pod) -> DumpState {
    match said(pod, DUMP_CONTAINER) {
        Said::Ended(0, text) => match serde_json::from_str(&text) {
            Ok(done) => DumpState::Done(done),
            Err(error) => DumpState::Failed(format!(
                "its pod said something that is not understood: {error}"
            )),
        },
        Said::Ended(code, _) if BY_A_SIGNAL.contains(&code) => {
            DumpState::Lost(format!("it was killed (exit code {code})"))
        }
        Said::Ended(code, text) if text.is_empty() => {
            DumpState::Lost(format!("it ended with {code} and said nothing"))
        }
        Said::Ended(_, text) => DumpState::Failed(text),
        // Evicted, or its node is gone.
        Said::Failed(why) => DumpState::Lost(why),
        Said::Waits(reason, message) => DumpState::Waiting(Some(format!("{reason}: {message}"))),
        Said::Nothing(why) => match is_running(pod) {
            true => DumpState::Working,
            false => DumpState::Waiting(why),
        },
    }
}

fn is_running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Running")
}

#[cfg(test)]
mod tests {
    use pgo_core::DumpResult;
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        let pod =
            json!({"metadata": {"name": "backup-hippo-pgdump-abcd", "uid": "u"}, "status": status});
        serde_json::from_value(pod).expect("a pod")
    }

    fn ended(code: i32, said: &str) -> DumpState {
        state(&pod(&json!({"containerStatuses": [{
            "name": "dump", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "message": said}},
        }]})))
    }

    #[test]
    fn its_last_word_is_what_became_of_it() {
        let done = DumpResult {
            name: "a".to_owned(),
            path: "/pgdata/hippo-backups/a".to_owned(),
            bytes: 3,
            wal: None,
            note: None,
        };
        let text = serde_json::to_string(&done).expect("JSON");
        assert_eq!(ended(0, &text), DumpState::Done(done));
        assert!(matches!(ended(0, ""), DumpState::Failed(_)));
        let why = "pg_dump: error: no matching tables were found";
        assert_eq!(ended(1, why), DumpState::Failed(why.to_owned()));
        assert!(matches!(ended(137, ""), DumpState::Lost(_)));
        assert!(matches!(ended(143, "half a word"), DumpState::Lost(_)));
        assert!(matches!(ended(2, ""), DumpState::Lost(_)));
    }

    #[test]
    fn before_that_it_works_or_waits() {
        assert_eq!(
            state(&pod(&json!({"phase": "Running"}))),
            DumpState::Working
        );
        assert_eq!(
            state(&pod(&json!({"phase": "Pending"}))),
            DumpState::Waiting(None)
        );
        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "no room"});
        assert_eq!(
            state(&pod(&evicted)),
            DumpState::Lost("its pod failed: Evicted: no room".to_owned())
        );
        let unscheduled = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "no node"},
        ]});
        assert_eq!(
            state(&pod(&unscheduled)),
            DumpState::Waiting(Some("no node".to_owned()))
        );
    }

    #[test]
    fn the_pod_that_stays_counts() {
        let one = |uid: &str, terminating| DumpFacts {
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
