//! Pgtasks that ask for another primary, and those that came to their end.

use pgo_crd::{Pgcluster, Pgtask, failover_request, failover_requests, label};
use serde_json::json;

const BEFORE: &str = "2026-10-15T10:11:11Z";
const AFTER: &str = "2026-10-15T10:11:13Z";

fn task(parameters: serde_json::Value) -> Pgtask {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-failover", "namespace": "pgouser1", "uid": "uid-2",
            "creationTimestamp": AFTER, "labels": {"pg-cluster": "hippo", "pgouser": "ann"}},
        "spec": {"tasktype": "failover", "parameters": parameters},
    }))
    .expect("a Pgtask")
}

fn made(at: &str) -> Pgcluster {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1", "creationTimestamp": at},
        "spec": {},
    }))
    .expect("a Pgcluster")
}

#[test]
fn a_task_asks_for_another_primary_in_4_1_s_words() {
    let mut asked = task(json!({"hippo": "hippo"}));
    let of = |task: &Pgtask| failover_request(task, &made(BEFORE));
    let any = of(&asked).expect("a request");
    assert_eq!(
        (any.actor.as_str(), any.target, any.planned),
        ("ann", None, false)
    );
    let labels = asked.metadata.labels.as_mut().expect("labels");
    labels.insert("target".to_owned(), "hippo-abcd".to_owned());
    labels.insert(label::PLANNED.to_owned(), "true".to_owned());
    let request = of(&asked).expect("a request");
    assert_eq!(
        (request.target.as_deref(), request.planned),
        (Some("hippo-abcd"), true)
    );
    assert_eq!(
        request.operation, any.operation,
        "the same task asks for the same"
    );

    let mut other = asked.clone();
    other.spec.parameters = [("rhino".to_owned(), "rhino".to_owned())].into();
    assert_eq!(of(&other), None);
    assert_eq!(
        failover_request(&asked, &made("2026-10-15T10:11:14Z")),
        None
    );
}

#[test]
fn a_task_that_came_to_its_end_asks_for_nothing_any_more() {
    let mut asked = task(json!({"hippo": "hippo"}));
    for (status, reason, asks) in [
        ("False", "Running", true),
        ("False", "Failed", false),
        ("True", "Completed", false),
    ] {
        asked.status = serde_json::from_value(json!({
            "conditions": [{"type": "Complete", "status": status, "reason": reason}],
        }))
        .expect("a status");
        let requests = failover_requests([&asked].into_iter(), &made(BEFORE));
        assert_eq!(requests.len(), usize::from(asks), "{reason}");
        assert!(
            failover_request(&asked, &made(BEFORE)).is_some(),
            "{reason}"
        );
    }
}
