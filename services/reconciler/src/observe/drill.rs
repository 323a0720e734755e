//! What the pod has found in which a backup is tried, and whether another may be.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use pgo_core::{
    Cluster, DrillFacts, DrillFound, DrillPlace, DrillReport, Observed, is_drilled, wants_drill,
};
use pgo_crd::Pgcluster;
use pgo_objects::DRILL_CONTAINER;

use crate::context::Context;

/// What a drill has found, made for this operation.
pub fn facts(pod: &Pod, operation: &str) -> DrillFacts {
    DrillFacts {
        uid: pod.uid().unwrap_or_default(),
        operation: operation.to_owned(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        found: found(pod),
    }
}

/// Whether the cluster may begin a drill, as not more than so many do at once.
pub fn place(
    object: &Pgcluster,
    cluster: &Cluster,
    observed: &Observed,
    context: &Context,
) -> DrillPlace {
    let limit = context.config.borrow().pgo.drills_at_once();
    let Some(status) = object.status.as_ref().map(|status| &status.0) else {
        return DrillPlace::Unknown;
    };
    let wants = !cluster.is_to_go() && wants_drill(status, cluster, observed, Timestamp::now());
    let at_it = is_drilled(status);
    let (stream, wake) = (&cluster.stream, context.waking(cluster));
    let full = context.drills.full(stream, (at_it, wants), limit, wake);
    match (full, wants) {
        (true, _) if context.drills.is_new() => DrillPlace::Unknown,
        (true, _) => DrillPlace::Full,
        (false, true) => DrillPlace::Taken,
        (false, false) => DrillPlace::Unknown,
    }
}

/// An agent's last words (`services/agent/src/drill/report.rs`); none where they are something else.
fn read(said: &str) -> Option<DrillReport> {
    serde_json::from_str(said.trim()).ok()
}

fn found(pod: &Pod) -> DrillFound {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let drill = containers.iter().find(|one| one.name == DRILL_CONTAINER);
    let state = drill.and_then(|one| one.state.clone()).unwrap_or_default();
    if let Some(ended) = state.terminated {
        let said = ended.message.unwrap_or_default();
        if let Some(report) = read(&said) {
            return DrillFound::Report(report);
        }
        let reason = ended.reason.unwrap_or_default();
        let how = format!("it ended with {} {reason}", ended.exit_code);
        return DrillFound::Ended(match said.trim() {
            "" => how.trim().to_owned(),
            said => format!("{}: {said}", how.trim()),
        });
    }
    let why = [status.reason, status.message];
    let why: Vec<String> = why.into_iter().flatten().collect();
    match status.phase.as_deref() {
        Some("Failed" | "Succeeded") => {
            return DrillFound::Ended(format!("its pod ended: {}", why.join(": ")));
        }
        Some("Running") => return DrillFound::Running,
        _ => {}
    }
    if let Some(why) = drill.and_then(waiting) {
        return DrillFound::Nothing(Some(why));
    }
    let mut conditions = status.conditions.into_iter().flatten();
    let not = conditions.find(|one| one.type_ == "PodScheduled" && one.status == "False");
    DrillFound::Nothing(not.and_then(|condition| condition.message))
}

fn waiting(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.clone().unwrap_or_default();
    Some(format!("{}: {message}", waiting.reason.clone()?))
}

#[cfg(test)]
mod tests {
    use pgo_core::{DrillStage, DrillUntried};
    use serde_json::{Value, json};

    use super::*;

    fn with(phase: &str, state: Value) -> DrillFound {
        let pod = json!({
            "metadata": {"name": "hippo-restore-drill", "uid": "u"},
            "status": {"phase": phase, "containerStatuses": [
                {"name": "drill", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state},
            ]},
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        facts(&pod, "id").found
    }

    fn ended(said: &str, code: i32) -> DrillFound {
        let state = json!({"terminated": {"exitCode": code, "message": said, "reason": "Error"}});
        with("Failed", state)
    }

    /// The same text is in the test of who writes it.
    #[test]
    fn a_report_is_read_as_it_was_written() {
        let text = r#"{"backup":"20261126-210300F","stage":"checksums","error":"page 3","size":7,"timeline":2,"lsn":"0/5000148","lastCommit":"2026-11-26T21:04:00Z","checksums":true,"structure":false}"#;
        let report = DrillReport {
            backup: "20261126-210300F".to_owned(),
            stage: DrillStage::Checksums,
            error: Some("page 3".to_owned()),
            untried: None,
            size: 7,
            timeline: 2,
            lsn: "0/5000148".to_owned(),
            last_commit: "2026-11-26T21:04:00Z".parse().ok(),
            checksums: true,
            structure: false,
        };
        assert_eq!(read(text), Some(report));
        assert_eq!(read("agent: no such file"), None);
        for (word, untried) in [
            ("unreachable", DrillUntried::Unreachable),
            ("late", DrillUntried::Late),
            ("superseded", DrillUntried::Superseded),
        ] {
            let told = text.replace(r#""size""#, &format!(r#""untried":"{word}","size""#));
            let read = read(&told).and_then(|report| report.untried);
            assert_eq!(read, Some(untried));
        }
    }

    #[test]
    fn a_report_is_told_from_words_of_despair() {
        let said = r#"{"backup":"b","stage":"read","size":1,"timeline":1,"checksums":true,"structure":true}"#;
        let DrillFound::Report(report) = ended(said, 0) else {
            panic!("a report");
        };
        assert_eq!((report.backup.as_str(), report.error), ("b", None));
        let words = "it ended with 1 Error: agent: no pgbackrest";
        assert_eq!(
            ended("agent: no pgbackrest\n", 1),
            DrillFound::Ended(words.to_owned())
        );
        let killed = "it ended with 137 Error";
        assert_eq!(ended("", 137), DrillFound::Ended(killed.to_owned()));
    }

    #[test]
    fn one_that_waits_says_why() {
        let waits = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
        let why = Some("ImagePullBackOff: not found".to_owned());
        assert_eq!(with("Pending", waits), DrillFound::Nothing(why));
        assert_eq!(with("Running", json!({"running": {}})), DrillFound::Running);
    }
}
