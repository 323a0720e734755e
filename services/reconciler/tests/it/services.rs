//! Events of PGO's own services: their processes and their leaders.

use serde_json::{Value, json};

use crate::{
    harness::{Certificates, Reconciler, eventually, installation},
    kubernetes::Kubernetes,
};

/// Type, service, and pod or leader of each event in the outbox of PGO.
fn told(kubernetes: &Kubernetes) -> Vec<[String; 3]> {
    let pgo = kubernetes.get("pginstallations", "pgo", "pgo");
    let pgo = pgo.unwrap_or_default();
    let entries = pgo["status"]["outbox"]["entries"].as_array().cloned();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |event: &Value| {
        let who = match &event["leader"] {
            Value::Null => text(&event["pod"]),
            leader => text(leader),
        };
        [
            text(&event["eventheader"]["EventType"]),
            text(&event["service"]),
            who,
        ]
    };
    entries.unwrap_or_default().iter().map(line).collect()
}

fn count(kubernetes: &Kubernetes, wanted: [&str; 3]) -> usize {
    let told = told(kubernetes);
    told.iter()
        .filter(|line| line.each_ref().map(String::as_str) == wanted)
        .count()
}

fn pod(service: &str, name: &str, status: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"pgo-process": service, "vendor": "crunchydata"}},
        "status": {"containerStatuses": [
            {"name": "beside", "state": {"running": {"startedAt": "2026-11-22T10:00:00Z"}}},
            status,
        ]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_killed_is_told_as_stopped_with_its_cause_and_as_started() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let running =
        json!({"name": "event", "state": {"running": {"startedAt": "2026-11-22T10:00:00Z"}}});
    kubernetes.put("pods", "pgo", pod("event", "event-0", running));
    let first = Reconciler::start_with(&kubernetes, &certificates, &[]);
    eventually("the start of event", || {
        count(&kubernetes, ["ServiceStarted", "event", "event-0"]) == 1
    })
    .await;
    first.stop().await;
    // Nobody looks while it happens.
    let again = json!({
        "name": "event", "restartCount": 1, "state": {"running": {"startedAt": "2026-11-22T11:00:05Z"}},
        "lastState": {"terminated": {
            "exitCode": 137, "reason": "OOMKilled",
            "startedAt": "2026-11-22T10:00:00Z", "finishedAt": "2026-11-22T11:00:00Z",
        }},
    });
    let former = kubernetes.get("pods", "pgo", "event-0").unwrap();
    kubernetes.edit("pods", "pgo", "event-0", |object| {
        object["status"] = self::pod("event", "event-0", again)["status"].clone();
    });
    let now = kubernetes.get("pods", "pgo", "event-0").unwrap();
    assert_eq!(now["metadata"]["uid"], former["metadata"]["uid"]);
    let second = Reconciler::start_with(&kubernetes, &certificates, &["--identity=second"]);
    eventually("both to be told", || {
        count(&kubernetes, ["ServiceStopped", "event", "event-0"]) == 1
            && count(&kubernetes, ["ServiceStarted", "event", "event-0"]) == 2
    })
    .await;
    let pgo = kubernetes.get("pginstallations", "pgo", "pgo").unwrap();
    let entries = pgo["status"]["outbox"]["entries"].as_array().unwrap();
    let stopped = entries
        .iter()
        .find(|e| e["eventheader"]["EventType"] == "ServiceStopped");
    let stopped = stopped.unwrap();
    assert!(
        stopped["cause"].as_str().unwrap().contains("OOMKilled"),
        "{stopped}"
    );
    assert_eq!(stopped["eventheader"]["timestamp"], "2026-11-22T11:00:00Z");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_leader_is_told_by_the_one_that_follows() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let first = Reconciler::start_with(&kubernetes, &certificates, &[]);
    eventually("the first leader", || {
        count(&kubernetes, ["LeaderElected", "reconciler", "first"]) == 1
    })
    .await;
    first.stop().await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "pgo-scheduler"},
        "spec": {"holderIdentity": "scheduler-1"},
    });
    kubernetes.put("leases", "pgo", lease);
    let _second = Reconciler::start_with(&kubernetes, &certificates, &["--identity=second"]);
    eventually("the second leader", || {
        count(&kubernetes, ["LeaderLost", "reconciler", "first"]) == 1
            && count(&kubernetes, ["LeaderElected", "reconciler", "second"]) == 1
            && count(&kubernetes, ["LeaderElected", "scheduler", "scheduler-1"]) == 1
    })
    .await;
}
