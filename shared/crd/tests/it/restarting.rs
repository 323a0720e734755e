//! Pgtasks that ask for a reload or a restart, and those that came to their end.

use pgo_crd::{
    Pgcluster, Pgtask, reload_request, reload_requests, restart_request, restart_requests,
};
use serde_json::json;

const BEFORE: &str = "2026-10-15T10:11:11Z";
const TIME: &str = "2026-10-15T10:11:13Z";
const AFTER: &str = "2026-10-15T10:11:14Z";
const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn task(tasktype: &str, parameters: serde_json::Value) -> Pgtask {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-it", "namespace": "pgouser1", "uid": "uid-2", "creationTimestamp": TIME,
            "labels": {"pgouser": "ann", "workflowid": ID}},
        "spec": {"tasktype": tasktype, "parameters": parameters},
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
fn a_task_asks_for_a_reload_of_its_own_cluster_and_of_no_former_one() {
    let asked = task("reload", json!({"pg-cluster": "hippo"}));
    let request = reload_request(&asked, &made(BEFORE)).expect("a request");
    assert_eq!(
        (
            request.operation.to_string().as_str(),
            request.actor.as_str()
        ),
        (ID, "ann")
    );
    assert_eq!(reload_request(&asked, &made(AFTER)), None);
    let other = task("reload", json!({"pg-cluster": "rhino"}));
    assert_eq!(reload_request(&other, &made(BEFORE)), None);
    assert_eq!(restart_request(&asked, &made(BEFORE)), None);
}

#[test]
fn a_restart_is_of_all_or_of_the_instance_that_is_named() {
    for (parameters, target) in [
        (json!({"pg-cluster": "hippo"}), None),
        (json!({"pg-cluster": "hippo", "instance": ""}), None),
        (
            json!({"pg-cluster": "hippo", "instance": "hippo-abcd"}),
            Some("hippo-abcd"),
        ),
    ] {
        let asked = task("restart", parameters);
        let request = restart_request(&asked, &made(BEFORE)).expect("a request");
        assert_eq!(request.target.as_deref(), target);
        assert_eq!(reload_request(&asked, &made(BEFORE)), None);
    }
}

#[test]
fn a_task_that_came_to_its_end_asks_for_nothing_any_more() {
    for (status, reason, asks) in [
        ("False", "Running", 1),
        ("False", "Failed", 0),
        ("True", "Completed", 0),
    ] {
        let ended = |tasktype| {
            let mut asked = task(tasktype, json!({"pg-cluster": "hippo"}));
            asked.status = serde_json::from_value(json!({
                "conditions": [{"type": "Complete", "status": status, "reason": reason}],
            }))
            .expect("a status");
            asked
        };
        let (reload, restart) = (ended("reload"), ended("restart"));
        let tasks = || [&reload, &restart].into_iter();
        assert_eq!(
            reload_requests(tasks(), &made(BEFORE)).len(),
            asks,
            "{reason}"
        );
        assert_eq!(
            restart_requests(tasks(), &made(BEFORE)).len(),
            asks,
            "{reason}"
        );
    }
}
